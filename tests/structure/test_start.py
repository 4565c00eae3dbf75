"""The command line answers at once: help costs no framework."""

from __future__ import annotations

import resource
import subprocess
import sys

HELP = "import sys; sys.argv = ['cascade', '--help']; from cascade_rl.cli import main; main()"
LIBRARIES = "import typer, rich.console"
HEAVY = ("torch", "transformers", "ray", "verl", "pyarrow", "numpy", "pydantic")
LOADED = (
    "import contextlib, io, sys\n"
    "from cascade_rl.cli import main\n"
    "with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):\n"
    "    main(['--help'])\n"
    f"print(*[name for name in {HEAVY} if name in sys.modules])"
)


def run_python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout


def cpu_seconds() -> float:
    """Of all children so far: unlike the clock, it does not see what else the machine does."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def test_help_takes_under_half_a_second() -> None:
    """Of an idle core: there its two libraries take .1 s to import, on a busy one both longer."""
    help_s, libraries_s = [], []
    for _ in range(5):
        for code, taken in ((HELP, help_s), (LIBRARIES, libraries_s)):
            before = cpu_seconds()
            run_python(code)
            taken.append(cpu_seconds() - before)
    assert "ledger" in run_python(HELP)
    assert min(help_s) < 4.5 * min(libraries_s)


def test_help_imports_no_framework() -> None:
    assert run_python(LOADED).split() == []


def test_the_package_itself_is_light() -> None:
    assert (
        run_python(
            f"import sys, cascade_rl\nprint(*[n for n in {HEAVY} if n in sys.modules])"
        ).split()
        == []
    )
