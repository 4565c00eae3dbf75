"""Conversations that train the small SWE judge: a patch beside the golden one, YES or NO.

Half are right, some of them in another form than the golden patch; the wrong ones are near
misses: the wrong function, the wrong sign, the wrong number, nothing changed, no edit at all.
"""

from __future__ import annotations

import random

from cascade_rl.mini import swe
from cascade_rl.mini.draw import EVAL_ROWS, Split, digest, generator
from cascade_rl.types import Conversation, Message
from cascade_rl.verifiers.judge_prompt import NO, YES, judge_messages

JUDGE_ROWS = 4000


def right_edit(rng: random.Random, repair: swe.Repair) -> str:
    """The golden edit, or one that replaces the whole function."""
    if rng.random() < 0.7:
        return repair.edit()
    return repair.edit().replace("    return", f"{swe.head(repair.name)}\n    return")


def wrong_edit(rng: random.Random, repair: swe.Repair) -> str:
    """An edit that leaves the bug in, or that is none."""
    wrong, right = repair.wrong, repair.right
    kind = rng.random()
    if kind < 0.4:
        return _elsewhere(rng, repair)
    if kind < 0.6:
        return repair.edit(replace=swe.Expression(right.sign, _other_number(rng, right.k)))
    if kind < 0.8:
        return repair.edit(replace=swe.Expression(_other_sign(rng, right.sign), right.k))
    if kind < 0.87:
        return repair.edit(search=right, replace=wrong)
    if kind < 0.94:
        return repair.edit(replace=wrong)
    return repair.edit(search=swe.draw_expression(rng))


def _elsewhere(rng: random.Random, repair: swe.Repair) -> str:
    """The right line in the place of a function that was right: what a policy most often does."""
    path, name, expression = rng.choice(
        [
            (path, name, expression)
            for path, content in repair.files.items()
            for name, expression in content
            if name != repair.name
        ]
    )
    return repair.edit(search=expression, name=name, path=path)


def _other_number(rng: random.Random, k: int) -> int:
    return rng.choice([n for n in range(2, 10) if n != k])


def _other_sign(rng: random.Random, sign: str) -> str:
    return rng.choice([s for s in swe.WORDS if s != sign])


def conversations(split: Split, data_seed: int) -> list[Conversation]:
    """Prompts of the judge with its judgement."""
    rng = generator(f"judge/{split}", data_seed)
    found = []
    for _ in range(JUDGE_ROWS if split == "train" else EVAL_ROWS):
        repair = swe.draw_repair(rng, split, rng.choice(swe.LAYOUTS))
        problem = swe.as_problem(repair, swe.issue(rng, repair, split), split)
        fixed = rng.random() < 0.5
        answer = right_edit(rng, repair) if fixed else wrong_edit(rng, repair)
        if not fixed and answer == repair.edit():
            continue
        messages = (*judge_messages(problem, answer), Message("assistant", YES if fixed else NO))
        found.append(Conversation(f"judge/{digest(problem.id + answer)}", messages, "mini"))
    return found
