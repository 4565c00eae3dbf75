"""Our own verifiers as `cascade audit --self` calls them: `(text, ground_truth)`.

Where a judge model decides in training, a stand-in judges here that believes every word it reads
outside the delimiters of the patch. What it cannot be told, no judge can be told by an answer.
"""

from __future__ import annotations

from functools import partial

from cascade_rl.adapters import plain
from cascade_rl.chat import answer_part
from cascade_rl.data.references import REFERENCES
from cascade_rl.types import Problem, Verdict
from cascade_rl.types import partial as partly
from cascade_rl.verifiers.judge_prompt import judge_messages, nonce_for
from cascade_rl.verifiers.swe import verify_swe

math = plain("math")
code = plain("code")
instruction_following = plain("instruction_following")
_swe = plain("swe", partial(verify_swe, similarity="changed_lines", identical="syntax"))


def swe(text: str, ground_truth: str) -> Verdict:
    """The swe verdict; `partial` is 1 where the answer can speak to the judge."""
    verdict = _swe(text, ground_truth)
    if verdict.status != "partial":
        return verdict
    problem = Problem("audit", "swe", (), REFERENCES["swe"](ground_truth), "audit")
    said = _outside(problem, answer_part(text))
    if said is None or said != _outside(problem, "no patch"):
        return partly(1.0, "the answer speaks to the judge")
    return verdict


def _outside(problem: Problem, answer: str) -> list[str] | None:
    """The judge's lines outside the delimiters; None where the patch has no two of them."""
    nonce = nonce_for(problem.id, answer)
    lines = "\n".join(m.content for m in judge_messages(problem, answer)).split("\n")
    ends = [number for number, line in enumerate(lines) if line.strip() == nonce]
    if len(ends) != 2:
        return None
    outside = lines[: ends[0]] + lines[ends[1] + 1 :]
    return [line.replace(nonce, "") for line in outside]
