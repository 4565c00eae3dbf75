"""`cascade serve-rm`: a reward model behind HTTP, with the scores it has in a stage."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Annotated

import typer

from cascade_rl.cli.common import trained_with


def serve_rm(
    model: Annotated[Path, typer.Argument(help="the model directory of a reward_model stage")],
    host: Annotated[str, typer.Option(help="0.0.0.0: from other machines too")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any free one")] = 8001,
) -> int:
    """Answer POST /score until Ctrl-C; a stage asks it with  reward: {model_url: URL}."""
    from cascade_rl.engines.local.workers import Team
    from cascade_rl.engines.scorer import RewardModelScorer
    from cascade_rl.engines.scorer_server import ScorerServer
    from cascade_rl.errors import InputError

    chat, local = trained_with(model)
    scorer = RewardModelScorer(model, Team(local.model_copy(update={"processes": 1})), chat=chat)
    try:
        server = ScorerServer(scorer, model.name, host, port)
    except OSError as error:
        raise InputError(
            f"cannot listen on {host}:{port}: {error.strerror}", hint="another port:  --port 0"
        ) from None
    server.start()
    print(f"serving {model} at {server.url}  (Ctrl-C ends it)", flush=True)
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        server.close()
    return 0
