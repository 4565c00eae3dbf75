"""Our verifiers as reward functions of other frameworks: verl, TRL, or a plain call.

    from cascade_rl.adapters import verl_math as compute_score       # verl
    GRPOTrainer(reward_funcs=trl_reward("math"), ...)                # TRL
    plain("math")("so \\\\boxed{4}", "4").score                        # anything else

One rule: what could not be judged is never a silent 0. TRL has a value for it, None, and leaves
such a completion out of the loss. verl has none: an `invalid` row raises at once, because it
would at every epoch; `infra`, our own failure, is tried again and then raises; a number in their
place is the user's own choice (`unjudged=0.0`), and `status` says so in verl's metrics.

Ground truths are those of our rows (`docs/data.md`), as text or as objects; for code that
includes the lists `inputs` and `outputs` of verl's own data sets.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cascade_rl.data.references import REFERENCES
from cascade_rl.errors import DataError, InputError, TrainingError
from cascade_rl.types import Domain, Problem, Verdict, Verifier, unjudged
from cascade_rl.verifiers import VERIFIERS

INFRA_TRIES = 3
"""How often an answer is judged when our own machinery fails, before that is an error."""
SHOWN = 200
"""Characters of reason and answer that go into verl's metrics."""


@dataclass(frozen=True, slots=True)
class PlainReward:
    """`(text, ground_truth) -> Verdict`; never raises for any text, picklable.

    A row that cannot be read is a Verdict of status `invalid`.
    """

    domain: Domain
    verifier: Verifier

    def __call__(self, text: str, ground_truth: Any) -> Verdict:
        try:
            problem = _problem(self.domain, _as_text(ground_truth))
        except DataError as error:
            return unjudged("invalid", error.message)
        verdict = unjudged("infra", "not tried")
        for _attempt in range(INFRA_TRIES):
            verdict = self.verifier(problem, text)
            if verdict.status != "infra":
                break
        return verdict


@dataclass(frozen=True, slots=True)
class VerlReward:
    """verl 0.9's `compute_score`: a dict whose `score` is the reward, the rest are metrics.

    Raises DataError for an `invalid` row and TrainingError for `infra`, unless the keyword
    `unjudged` (`custom_reward_function.reward_kwargs` in verl's config) gives a number for both.
    """

    judge: PlainReward

    def __call__(
        self,
        data_source: str,
        solution_str: str,
        ground_truth: Any,
        extra_info: Mapping[str, Any] | None = None,
        *,
        unjudged: float | None = None,
        **kwargs: Any,  # verl adds its router's address and more where they are configured
    ) -> dict[str, Any]:
        verdict = self.judge(solution_str, ground_truth)
        score = unjudged if verdict.score is None else verdict.score
        if score is None:
            raise _not_judged(verdict, data_source, extra_info or {})
        return {
            "score": float(score),
            "acc": float(verdict.status == "right"),
            "status": verdict.status,
            "reason": verdict.reason[:SHOWN],
            "answer": (verdict.answer or "")[:SHOWN],
            "tier": verdict.tier,
        }


@dataclass(frozen=True)
class TrlReward:
    """TRL's reward function: one float a completion, None where it was not judged.

    `completions` are texts, or conversations whose assistant turns are joined; `column` names
    the column of the data set that holds the ground truth. Raises InputError where it is absent.
    """

    judge: PlainReward
    column: str
    __name__: str
    """TRL logs a reward function under its name."""

    def __call__(self, completions: Sequence[Any], **columns: Any) -> list[float | None]:
        if self.column not in columns:
            raise InputError(
                f"the data set has no column {self.column!r}; it has {', '.join(sorted(columns))}",
                hint=f"name it:  trl_reward({self.judge.domain!r}, column=...)",
            )
        truths = columns[self.column]
        texts = [completion_text(completion) for completion in completions]
        return [self.judge(text, truth).score for text, truth in zip(texts, truths, strict=True)]


def plain(domain: Domain, verifier: Verifier | None = None) -> PlainReward:
    """`(text, ground_truth) -> Verdict` for a domain; `verifier` replaces the domain's own.

    Options of a verifier go in with functools.partial:
    `plain("math", partial(verify_math, answer_pattern="last_number"))`.
    """
    if domain not in VERIFIERS or domain not in REFERENCES:
        known = ", ".join(name for name in VERIFIERS if name in REFERENCES)
        raise InputError(f"no verifier for {domain!r}; expected one of {known}")
    return PlainReward(domain, verifier or VERIFIERS[domain])


def score(domain: Domain, ground_truth: Any, text: str) -> float | None:
    """The score of one answer; None where it was not judged."""
    return plain(domain)(text, ground_truth).score


def verl_reward(domain: Domain, verifier: Verifier | None = None) -> VerlReward:
    """Verl's `compute_score` for a domain; see `plain` for `verifier`."""
    return VerlReward(plain(domain, verifier))


def trl_reward(
    domain: Domain, column: str = "ground_truth", verifier: Verifier | None = None
) -> TrlReward:
    """TRL's reward function for a domain; see `plain` for `verifier`."""
    return TrlReward(plain(domain, verifier), column, f"cascade_{domain}")


verl_math = verl_reward("math")
verl_code = verl_reward("code")
verl_instruction_following = verl_reward("instruction_following")
verl_swe = verl_reward("swe")


def completion_text(completion: Any) -> str:
    """The text of a TRL completion: itself, or the assistant turns of a conversation."""
    if isinstance(completion, str):
        return completion
    turns = [turn for turn in completion if turn.get("role", "assistant") == "assistant"]
    return "\n".join(str(turn.get("content") or "") for turn in turns)


def _not_judged(verdict: Verdict, source: str, extra: Mapping[str, Any]) -> Exception:
    where = f"row {extra.get('index', '?')} of {source}"
    if verdict.status == "invalid":
        return DataError(
            f"{where} cannot be judged: {verdict.reason}",
            hint="docs/data.md lists what ground_truth holds; drop the row, or pass unjudged=0.0",
        )
    return TrainingError(
        f"an answer to {where} was not judged in {INFRA_TRIES} tries: {verdict.reason}",
        hint="see what this machine allows:  cascade doctor",
    )


def _as_text(ground_truth: Any) -> str:
    if isinstance(ground_truth, str):
        return ground_truth
    try:
        return json.dumps(ground_truth)
    except (TypeError, ValueError, RecursionError) as error:
        raise DataError(f"ground_truth is unreadable: {error}") from None


@functools.lru_cache(maxsize=256)
def _problem(domain: Domain, ground_truth: str) -> Problem:
    """The problem as verifiers see it; a group's completions share it."""
    return Problem("adapter", domain, (), REFERENCES[domain](ground_truth), "adapter")
