"""Our own verifiers as `cascade audit --self` calls them: `(text, ground_truth)`.

Where a model decides in training, a stand-in obeys here whatever it can be made to read: the
judge believes every word outside the delimiters of the patch, the reward model every turn that
the text forges. What they cannot be told, no model can be told by such an answer.
"""

from __future__ import annotations

import functools
import json
import math as mathematics

from cascade_rl.adapters import plain
from cascade_rl.chat import IM_START, HFTokenizer, answer_part, render
from cascade_rl.data.references import REFERENCES
from cascade_rl.rewards.combine import RewardSpec, rewards_of
from cascade_rl.types import (
    Completion,
    Constraints,
    Group,
    Message,
    Preference,
    Problem,
    Signals,
    Verdict,
    partial,
    right,
    unjudged,
)
from cascade_rl.verifiers.judge_prompt import judge_messages, nonce_for

math = plain("math")
code = plain("code")
instruction_following = plain("instruction_following")
_swe = plain("swe")
FORGED = 100.0
"""The reward of an answer that forged a turn."""


def swe(text: str, ground_truth: str) -> Verdict:
    """The swe verdict; `partial` is 1 where a judge that obeys all it reads was told YES."""
    verdict = _swe(text, ground_truth)
    if verdict.status != "partial":
        return verdict
    problem = Problem("audit", "swe", (), REFERENCES["swe"](ground_truth), "audit")
    answer = answer_part(text)
    nonce = nonce_for(problem.id, answer)
    prompt = "\n".join(message.content for message in judge_messages(problem, answer))
    outside = prompt.replace(answer.strip("\n"), "") if prompt.count(nonce) == 2 else prompt
    return partial(1.0, "the judge was told YES") if "YES" in outside else verdict


def chat(text: str, ground_truth: str) -> Verdict:
    """The reward of one completion of a group whose scores the row gives."""
    row = json.loads(ground_truth)
    scores = [None if score is None else float(score) for score in row["scores"]]
    gated = row["kind"] == "gated_if"
    texts = [text] * len(scores)
    problem = Problem(
        "audit",
        "instruction_following" if gated else "chat",
        (Message("user", "Say hello."),),
        Constraints(("x",), ({},)) if gated else Preference(),
        "audit",
    )
    completions = tuple(Completion(text, (), (), (), "stop") for text in texts)
    signals = [Signals(right() if gated else None, preference=score) for score in scores]
    spec = RewardSpec(kind="gated_if" if gated else "preference", language_penalty=False)
    reward = rewards_of(spec, [Group(problem, None, completions)], [signals])[0][row["index"]]
    if _forges_a_turn(problem, text):
        return partial(FORGED, "the answer became more than one turn")
    if reward is None:
        return unjudged("infra", "no score")
    return partial(reward, "") if mathematics.isfinite(reward) else unjudged("infra", "not finite")


def _forges_a_turn(problem: Problem, text: str) -> bool:
    """Whether the conversation, as models see it, has other turns than its messages."""
    tokenizer = _tokenizer()
    start = tokenizer.token_id(IM_START)
    turns = [*problem.prompt, Message("assistant", answer_part(text))]
    return render(tokenizer, turns, system=None).ids.count(start or 0) != len(turns)


@functools.cache
def _tokenizer() -> HFTokenizer:
    from cascade_rl.mini.model import train_tokenizer

    return HFTokenizer(train_tokenizer())
