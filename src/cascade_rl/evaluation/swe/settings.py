"""What a run of the pipeline is told: its settings, and the means it has.

One rule: `Settings` holds everything that changes a result beside the model, how it samples and
how programs are bounded; it is part of every row's key.
"""

from __future__ import annotations

from dataclasses import dataclass

from cascade_rl.data.lengths import estimated_tokens
from cascade_rl.errors import ConfigError
from cascade_rl.evaluation.swe.answers import Answers
from cascade_rl.evaluation.swe.execute import Runner
from cascade_rl.evaluation.swe.localize import LISTED, ROLLOUTS
from cascade_rl.evaluation.swe.repair import CountTokens, Shows
from cascade_rl.evaluation.swe.retrieval import Retriever, bm25
from cascade_rl.evaluation.swe.validate import TESTS
from cascade_rl.types import Mode


@dataclass(frozen=True, slots=True)
class Settings:
    """What changes a result, beside the model and how it samples.

    `prompt_tokens` bounds every prompt; `retrieval` names the retriever, empty for none, and
    `rollouts` 0 asks no model where the fault is. `counted_by` says what counted tokens: "estimate"
    or the digest of a tokenizer.
    """

    shows: Shows = "localized"
    noise: bool = False
    rollouts: int = ROLLOUTS
    listed: int = LISTED
    retrieval: str = "bm25"
    top_k: int = 4
    prompt_tokens: int = 32_768
    candidates: int = 4
    tests: int = TESTS
    suffixes: tuple[str, ...] = (".py",)
    mode: Mode | None = None
    seed: int = 0
    counted_by: str = ""

    def __post_init__(self) -> None:
        if self.shows != "ground_truth" and not (self.rollouts or self.retrieval):
            raise ConfigError(
                "no rollouts and no retrieval: nothing would be localized",
                hint="ask a model:  --rollouts 16   or retrieve:  --retrieval bm25",
            )


@dataclass(frozen=True, slots=True)
class Means:
    """Who answers, what retrieves, where programs run, how tokens are counted.

    Without runners nothing is run: patches are picked by votes, and no issue is judged.
    """

    answers: Answers
    runners: tuple[Runner, ...]
    retrieve: Retriever | None = bm25
    count: CountTokens = estimated_tokens
