"""The options of commands that ask an endpoint, and the endpoint they make."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from cascade_rl.data.sft.endpoint import Endpoint, Settings
    from cascade_rl.data.sft.responses import Teacher


class AskMode(StrEnum):
    """How a model is told to think or not to."""

    FLAG = "flag"
    TEMPLATE = "template"
    NONE = "none"


Url = Annotated[str, typer.Option(help="base URL of an OpenAI-compatible server, up to /v1")]
Model = Annotated[str, typer.Option(help="its name for the model")]
NoThinkModel = Annotated[str, typer.Option(help="another model for no_think; else --model")]
Modes = Annotated[str, typer.Option(help="modes to ask for, with commas")]
Asking = Annotated[
    AskMode,
    typer.Option(help="the mode goes as ` /think` in user turns, to the chat template, or not"),
]
Temperature = Annotated[float, typer.Option(min=0.0)]
TopP = Annotated[float, typer.Option("--top-p", min=0.0, max=1.0)]
MaxTokens = Annotated[int, typer.Option(min=1, help="tokens the server may write")]
Cap = Annotated[
    int, typer.Option(min=1, help="longest response kept: 16384 in stage 1, 32768 in stage 2")
]
Body = Annotated[
    str, typer.Option(help="JSON object for the request's body; null leaves a key out")
]
Concurrency = Annotated[int, typer.Option(min=1, help="requests at a time")]
Rpm = Annotated[float, typer.Option(min=0.0, help="requests a minute; 0 is no limit")]
Tpm = Annotated[float, typer.Option(min=0.0, help="tokens a minute; 0 is no limit")]
Tries = Annotated[int, typer.Option(min=1, help="tries of a request")]
TimeoutS = Annotated[float, typer.Option(min=0.1, help="seconds to wait for an answer")]
KeyVariable = Annotated[str, typer.Option(help="environment variable that holds the API key")]
Cache = Annotated[Path | None, typer.Option(help="where answers are kept; else OUT.responses")]


def teacher(
    models: Mapping[str, str],
    modes: str,
    ask_mode: AskMode,
    *,
    samples: int,
    seed: int,
    cap: int,
    sampling: Mapping[str, Any],
    body: str,
) -> Teacher:
    """Who is asked, and how. `models` are those of think and no_think."""
    from cascade_rl.data.schema import MODES
    from cascade_rl.data.sft.responses import Teacher
    from cascade_rl.errors import InputError

    wanted = _chosen_modes(modes)
    found = {mode: models[mode] for mode in MODES if mode in wanted}
    if ask_mode is AskMode.NONE and len(found) > 1 and len(set(found.values())) == 1:
        raise InputError(
            "both modes would be the same request: one model, and it is not told the mode",
            hint="pass --ask-mode flag or template, or --no-think-model NAME",
        )
    more = {**sampling, **_object(body)}
    return Teacher(found, samples, ask_mode.value, more, cap, seed)


def _object(text: str) -> Mapping[str, Any]:
    from cascade_rl.errors import InputError

    try:
        found = json.loads(text)
    except ValueError as error:
        raise InputError(f"--body is not JSON: {error}") from None
    if not isinstance(found, dict) or {"messages", "model"} & found.keys():
        raise InputError(
            f"--body is {text[:60]!r}; expected an object without model and messages",
            hint="""for example:  --body '{"reasoning_effort": "high"}'""",
        )
    return found


@contextmanager
def endpoints(settings: Sequence[Settings], cache: Path) -> Iterator[list[Endpoint]]:
    """The endpoints, all with one journal."""
    from cascade_rl.data.sft.endpoint import Endpoint
    from cascade_rl.data.sft.journal import Journal

    with Journal(cache) as journal:
        yield [Endpoint(one, journal) for one in settings]


def stopped(cache: Path) -> int:
    """After Ctrl-C: what is left of the work, and how to go on. The exit status."""
    kept = f"what is answered is kept in {cache}" if cache.exists() else "nothing is written"
    print(f"stopped; {kept}. Run the same command to go on.", file=sys.stderr)
    return 130


def listed(text: str) -> tuple[str, ...]:
    """The parts of a list written with commas, each once."""
    return tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))


def _chosen_modes(text: str) -> tuple[str, ...]:
    from cascade_rl.data.schema import MODES
    from cascade_rl.errors import InputError

    found = listed(text)
    if not found or set(found) - set(MODES):
        raise InputError(
            f"--modes is {text!r}; expected some of {', '.join(MODES)}",
            hint=f"for example:  --modes {','.join(MODES)}",
        )
    return found


def cache_of(out: Path, cache: Path | None) -> Path:
    """The journal's place: as given, or beside the output."""
    return cache or out.with_name(f"{out.name}.responses")
