"""A model directory as a `Generator`: its answers, and how sure of their ends it was."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from cascade_rl.engines.generate import GREEDY, Prompt, Response, Sampling
from cascade_rl.engines.local.batches import Row
from cascade_rl.engines.local.generate import LocalGenerator, tail_of
from cascade_rl.engines.local.model import Model, load_model
from cascade_rl.engines.local.replica import confidences_of
from cascade_rl.engines.local.workers import Team
from cascade_rl.errors import ConfigError
from cascade_rl.types import Checkpoint, Message
from tests.engines.helpers import CHAT, LOCAL

SAMPLING = Sampling(temperature=1.0, top_p=1.0, max_new_tokens=25, seed=3)
PROMPTS = [
    Prompt("a", (Message("user", "one"),), samples=(GREEDY, 0, 1)),
    Prompt("b", (Message("user", "another"),), samples=(1,)),
]


def answers(start: Checkpoint, processes: int = 1, confidence: bool = False) -> list[Response]:
    team = Team(LOCAL.model_copy(update={"processes": processes}))
    try:
        generator = LocalGenerator(team, start, CHAT, confidence=confidence)
        found = list(generator.generate(PROMPTS, SAMPLING))
    finally:
        team.close()
    return sorted(found, key=lambda r: (r.prompt, r.sample))


def test_the_wanted_answers_come_and_depend_on_id_and_number_alone(start: Checkpoint) -> None:
    found = answers(start)
    assert [(r.prompt, r.sample) for r in found] == [(0, GREEDY), (0, 0), (0, 1), (1, 1)]
    team = Team(LOCAL)
    try:
        [again] = LocalGenerator(team, start, CHAT).generate(
            [replace(PROMPTS[0], samples=(1,))], SAMPLING
        )
    finally:
        team.close()
    assert again.text == found[2].text != found[1].text


@pytest.mark.parametrize("processes", [1, 2])
def test_confidence_changes_no_answer(start: Checkpoint, processes: int) -> None:
    plain, sure = answers(start), answers(start, processes, confidence=True)
    assert [replace(r, tail_confidence=None) for r in sure] == plain
    assert all(r.tail_confidence is not None and r.tail_confidence > 0 for r in sure)


@pytest.mark.parametrize("padded", [False, True])
def test_confidence_is_minus_the_mean_of_the_likeliest_tokens(
    start: Checkpoint, padded: bool
) -> None:
    model: Model = replace(load_model(start.path, CHAT, LOCAL), padded=padded)
    rng = np.random.default_rng(0)
    prompts = [tuple(map(int, rng.integers(0, 250, 4 + group))) for group in range(2)]
    rows = [
        Row(prompts[group], tuple(map(int, rng.integers(0, 250, tokens))), tail_of(tokens), group)
        for group, tokens in ((0, 30), (0, 11), (1, 9))
    ]
    found = confidences_of(model, rows, 5, 1 << 14, shared=not padded)
    for row, values in zip(rows, found, strict=True):
        ids = torch.tensor([[*row.prompt_ids, *row.ids]])
        with torch.no_grad():
            logprobs = model.module(input_ids=ids).logits[0].log_softmax(-1)
        places = len(row.prompt_ids) - 1 + np.flatnonzero(row.weights_T)
        expected = -logprobs[places].topk(5, dim=-1).values.mean(-1)
        np.testing.assert_allclose(values, expected.numpy(), atol=1e-4)


@pytest.mark.parametrize(("tokens", "counted"), [(1, 1), (9, 1), (10, 1), (11, 2), (30, 3)])
def test_the_tail_is_the_last_tenth(tokens: int, counted: int) -> None:
    weights_T = tail_of(tokens)
    assert weights_T.sum() == counted and weights_T[tokens - counted :].all()


def test_a_prompt_that_leaves_no_room_is_refused_by_its_id(start: Checkpoint) -> None:
    team = Team(LOCAL)
    generator = LocalGenerator(team, start, CHAT, what="benchmark x")
    try:
        with pytest.raises(ConfigError, match=r"benchmark x: row a has \d+ prompt tokens"):
            next(generator.generate(PROMPTS, replace(SAMPLING, max_new_tokens=4000)))
    finally:
        team.close()


def test_its_name_is_that_of_the_stage_or_the_directory(start: Checkpoint, tmp_path: Path) -> None:
    stage = replace(start, path=tmp_path / "math_rl-0123" / "model")
    assert LocalGenerator(Team(LOCAL), stage, CHAT).name == "math_rl-0123"
    other = replace(start, path=tmp_path / "my-model")
    assert LocalGenerator(Team(LOCAL), other, CHAT).name == "my-model"
