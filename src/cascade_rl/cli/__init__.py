"""The `cascade` command. Exit status: 0 done, 1 what was examined fell short, 2 the input was
wrong, 130 interrupted.

One rule: a command module imports only typer and rich at its top; everything else is imported
inside the command, so that `cascade --help` answers at once.
"""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable, Mapping, Sequence

import typer
from typer.main import get_command

from cascade_rl.cli.arena import arena
from cascade_rl.cli.audit import audit
from cascade_rl.cli.codeforces import codeforces
from cascade_rl.cli.data import data_app
from cascade_rl.cli.doctor import doctor
from cascade_rl.cli.eval_rm import eval_rm
from cascade_rl.cli.evaluate import evaluate
from cascade_rl.cli.init import init
from cascade_rl.cli.ioi import ioi
from cascade_rl.cli.ledger import ledger
from cascade_rl.cli.plan import plan
from cascade_rl.cli.report import report
from cascade_rl.cli.run import run
from cascade_rl.cli.serve_rm import serve_rm
from cascade_rl.cli.swe import swe
from cascade_rl.cli.verify import verify
from cascade_rl.errors import CascadeError, InputError, OutputError

app = typer.Typer(
    name="cascade",
    help="Cascade RL: SFT, then reinforcement learning one domain after another.",
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
COMMANDS: Mapping[str, Callable[..., int | None]] = {
    "init": init,
    "plan": plan,
    "run": run,
    "eval": evaluate,
    "swe": swe,
    "arena": arena,
    "eval-rm": eval_rm,
    "codeforces": codeforces,
    "serve-rm": serve_rm,
    "ioi": ioi,
    "ledger": ledger,
    "report": report,
    "verify": verify,
    "audit": audit,
    "doctor": doctor,
}
for name, command in COMMANDS.items():
    app.command(name)(command)
app.add_typer(data_app, name="data")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit the process with its status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    sys.exit(status_of(given or ["--help"]))


def status_of(arguments: Sequence[str]) -> int:
    """Run one command; every error a user can meet is a sentence on stderr, not a traceback."""
    command = get_command(app)
    return guarded(
        lambda: command.main(args=list(arguments), prog_name="cascade", standalone_mode=False),
        arguments,
    )


def guarded(call: Callable[[], object], arguments: Sequence[str] = ()) -> int:
    """The exit status of what `call` does: what it returns, or that of the error it raises."""
    try:
        status = call()
        return status if isinstance(status, int) else 0
    except CascadeError as error:
        return _fail(error)
    except typer.TyperException as error:
        return _fail(_usage(error, arguments))
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        where = f" while writing {error.filename}" if error.filename else ""
        hint = "free some space and run the same command again; what was committed is intact"
        return _fail(OutputError(f"no space left on the disk{where}", hint=hint))


def _fail(error: CascadeError) -> int:
    text = error.message + (f"\n{error.hint}" if error.hint else "")
    print("error: " + text.replace("\n", "\n  ").replace("\n    ", "\n  "), file=sys.stderr)
    return error.exit_status


def _usage(error: typer.TyperException, arguments: Sequence[str]) -> CascadeError:
    """A wrong option or argument, in the words of every other error."""
    message = error.format_message().rstrip(".")
    command = [name for name in arguments[:1] if name in (*COMMANDS, "data")]
    hint = " ".join(["see  cascade", *command, "--help"])
    return InputError(message[:1].lower() + message[1:], hint=hint)
