"""Who answers a command's prompts: a model directory on this machine, or a server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cascade_rl.cli.common import trained_with
from cascade_rl.cli.data.asking import AskMode

if TYPE_CHECKING:
    from cascade_rl.engines.generate import Generator
    from cascade_rl.types import Checkpoint

Model = Annotated[
    str, typer.Argument(help="a model directory; with --endpoint the server's name for the model")
]
Endpoint = Annotated[
    str, typer.Option(help="base URL of an OpenAI-compatible server, up to /v1, that answers")
]
KeyVariable = Annotated[str, typer.Option(help="environment variable that holds its API key")]
Asking = Annotated[
    AskMode, typer.Option(help="how a server is told the mode: ` /think`, its template, or not")
]
Concurrency = Annotated[int, typer.Option(min=1, help="requests to the server at a time")]
Tries = Annotated[int, typer.Option(min=1, help="tries of a request")]
TimeoutS = Annotated[float, typer.Option(min=0.1, help="seconds to wait for an answer")]


@dataclass(frozen=True, slots=True)
class Asked:
    """How a server is asked; without `endpoint` the model is a directory on this machine.

    `confidence` asks for log-probabilities too, for selectors that need them.
    """

    endpoint: str = ""
    api_key_env: str = ""
    ask_mode: AskMode = AskMode.TEMPLATE
    concurrency: int = 16
    tries: int = 6
    timeout_s: float = 900.0
    confidence: bool = False


@contextmanager
def answering(
    model: str, asked: Asked, cache: Path, *, yarn_factor: float = 1.0, what: str = "prompts"
) -> Iterator[Generator]:
    """The generator of a command. A server's answers are kept beside `cache`, and paid once.

    Its address is part of the file's name: another server's answers are others.

    Raises CheckpointError where a directory holds no model, InputError for a wrong address.
    """
    if asked.endpoint:
        with _server(model, asked, cache) as server:
            yield server
        return
    from cascade_rl.engines.local.generate import LocalGenerator
    from cascade_rl.engines.local.workers import Team

    path = Path(model)
    chat, local = trained_with(path)
    team = Team(local)
    try:
        yield LocalGenerator(team, checkpoint_of(path), chat, yarn_factor, what, asked.confidence)
    finally:
        team.close()


@contextmanager
def _server(model: str, asked: Asked, cache: Path) -> Iterator[Generator]:
    from cascade_rl.data.sft.endpoint import Endpoint, Settings, api_key
    from cascade_rl.data.sft.journal import Journal
    from cascade_rl.digests import digest_json
    from cascade_rl.engines.endpoint import EndpointGenerator

    settings = Settings(
        asked.endpoint,
        api_key=api_key(asked.api_key_env),
        concurrency=asked.concurrency,
        tries=asked.tries,
        timeout_s=asked.timeout_s,
    )
    server = digest_json(asked.endpoint.rstrip("/"))[:8]
    with Journal(cache.with_name(f"{cache.stem}-{server}{cache.suffix}")) as journal:
        endpoint = Endpoint(settings, journal)
        yield EndpointGenerator(endpoint, model, asked.ask_mode.value, asked.confidence)


def checkpoint_of(path: Path) -> Checkpoint:
    """A model directory as a checkpoint, its weights digested."""
    from cascade_rl.digests import weights_digest
    from cascade_rl.types import Checkpoint

    digest = weights_digest(path)
    return Checkpoint(digest, 0, path, digest)
