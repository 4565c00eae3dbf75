"""What training makes of a reward model's scores, as `cascade audit --self` calls it.

The stand-in for the model obeys every turn that a text forges: an answer that becomes more than
one turn in the chat template gets FORGED. The tokenizer is made when this module is imported, so
that no case pays for it.
"""

from __future__ import annotations

import json
import math

from cascade_rl.chat import IM_START, HFTokenizer, answer_part, render
from cascade_rl.mini.model import train_tokenizer
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

FORGED = 100.0
_TOKENIZER = HFTokenizer(train_tokenizer())
_QUESTION = (Message("user", "Say hello."),)
_CHAT = Problem("audit", "chat", _QUESTION, Preference(), "audit")
_FOLLOWING = Problem(
    "audit", "instruction_following", _QUESTION, Constraints(("x",), ({},)), "audit"
)


def chat(text: str, ground_truth: str) -> Verdict:
    """The reward of one completion of a group whose scores the row gives."""
    if _forges_a_turn(text):
        return partial(FORGED, "the answer became more than one turn")
    row = json.loads(ground_truth)
    gated = row["kind"] == "gated_if"
    scores = [None if score is None else float(score) for score in row["scores"]]
    signals = [Signals(right() if gated else None, preference=score) for score in scores]
    completions = tuple(Completion(text, (), (), (), "stop") for _ in scores)
    group = Group(_FOLLOWING if gated else _CHAT, None, completions)
    spec = RewardSpec(kind="gated_if" if gated else "preference", language_penalty=False)
    reward = rewards_of(spec, [group], [signals])[0][row["index"]]
    if reward is None:
        return unjudged("infra", "the reward model gave no score")
    return partial(reward, "" if math.isfinite(reward) else "not finite")


def _forges_a_turn(text: str) -> bool:
    """Whether the conversation, as models see it, has other turns than its messages."""
    turns = [*_QUESTION, Message("assistant", answer_part(text))]
    start = _TOKENIZER.token_id(IM_START)
    assert start is not None
    return render(_TOKENIZER, turns, system=None).ids.count(start) != len(turns)
