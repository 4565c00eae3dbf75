from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cascade_rl.engines.local import decode, llama, sampler
from cascade_rl.engines.local.batches import Row
from cascade_rl.engines.local.model import Model, load_model
from cascade_rl.engines.local.replica import logprobs_of
from cascade_rl.engines.local.sampler import (
    Generated,
    Request,
    SamplingParams,
    _by_room,
    choose,
    generate,
    row_key,
    truncate,
    uniforms,
)
from cascade_rl.types import Checkpoint
from tests.engines.helpers import CHAT, LOCAL

STOP = (2,)
PLAIN = SamplingParams(1.0, 1.0, 0, 20)
CUT = SamplingParams(0.6, 0.95, 20, 20)


@pytest.fixture(scope="module")
def model(start: Checkpoint) -> Model:
    return load_model(start.path, CHAT, LOCAL)


def requests(prompts: int = 6, samples: int = 4) -> list[Request]:
    rng = np.random.default_rng(0)
    return [
        Request(
            tuple(rng.integers(3, 200, size=int(rng.integers(2, 12))).tolist()),
            tuple(row_key(0, i, j) for j in range(samples)),
        )
        for i in range(prompts)
    ]


def by_place(found: list[Generated]) -> dict[tuple[int, int], Generated]:
    return {(g.request, g.sample): g for g in found}


@pytest.mark.parametrize("params", [PLAIN, CUT], ids=["plain", "cut"])
@pytest.mark.parametrize("shared", [True, False])
def test_the_samplers_logprobs_are_the_learners(
    model: Model, params: SamplingParams, shared: bool
) -> None:
    asked = requests()
    found = list(generate(model, asked, params, STOP, 64))
    rows = [
        Row(asked[g.request].prompt_ids, g.ids, np.ones(len(g.ids), np.float32), g.request)
        for g in found
    ]
    learned = logprobs_of(model, rows, params.temperature, 512, shared)
    for generated, line in zip(found, learned, strict=True):
        assert np.abs(line - np.array(generated.logprobs)).max() < 1e-4


def test_what_a_row_becomes_does_not_depend_on_its_batch(model: Model) -> None:
    asked = requests()
    together = by_place(list(generate(model, asked, PLAIN, STOP, 64)))
    for i, request in enumerate(asked):
        alone = by_place(list(generate(model, [request], PLAIN, STOP, 1)))
        for j in range(4):
            assert alone[0, j].ids == together[i, j].ids


@pytest.mark.parametrize("params", [PLAIN, CUT], ids=["plain", "cut"])
@pytest.mark.parametrize("path", ["torch", "fixed shapes", "transformers"])
def test_what_is_written_out_equals_transformers_own_forward(
    model: Model, params: SamplingParams, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = requests(8, 5)
    assert llama.is_llama(model.module)
    found = by_place(list(generate(model, asked, params, STOP, 20)))
    monkeypatch.setattr(decode, "kernel", lambda: None)
    monkeypatch.setattr(sampler, "kernel", lambda: None)
    if path == "fixed shapes":  # what a GPU records as a graph
        step = decode.Decoder._step
        monkeypatch.setattr(decode.Decoder, "_step", lambda self, lines, _: step(self, lines))
    if path == "transformers":
        model = replace(model, padded=True)
    other = by_place(list(generate(model, asked, params, STOP, 20)))
    assert {place: row.ids for place, row in found.items()} == {
        place: row.ids for place, row in other.items()
    }
    for place, row in found.items():
        np.testing.assert_allclose(row.logprobs, other[place].logprobs, atol=1e-5)
        np.testing.assert_allclose(row.entropy, other[place].entropy, atol=1e-4)


def test_prompts_too_long_to_be_held_together_come_in_parts(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = requests(prompts=9)
    together = by_place(list(generate(model, asked, PLAIN, STOP, 12)))
    monkeypatch.setattr(sampler, "ROOM", 30)
    monkeypatch.setattr(decode, "FILLED", 16)
    parts = list(_by_room(asked, 12))
    assert len(parts) > 1 and sorted(i for part, _ in parts for i in part) == list(range(9))
    for part, slots in parts:
        assert slots == 1 or slots * max(len(asked[i].prompt_ids) for i in part) <= 30
    apart = by_place(list(generate(model, asked, PLAIN, STOP, 12)))
    assert apart.keys() == together.keys()
    for place, found in apart.items():
        assert found.ids == together[place].ids
        np.testing.assert_allclose(found.logprobs, together[place].logprobs, atol=1e-5)


def test_greedy_rows_take_the_most_likely_token(model: Model) -> None:
    [found] = generate(model, [Request((5, 9, 30), (None,))], PLAIN, STOP, 8)
    context = [5, 9, 30]
    for token in found.ids:
        with torch.no_grad():
            logits = model.module(input_ids=torch.tensor([context])).logits[0, -1]
        assert int(logits.argmax()) == token
        context.append(token)


def test_a_row_ends_at_a_stop_token_or_at_the_limit(model: Model) -> None:
    found = list(generate(model, requests(12, 6), PLAIN, tuple(range(0, 259, 9)), 64))
    assert {g.finish for g in found} == {"stop", "length"}
    for g in found:
        stops = [token % 9 == 0 for token in g.ids]
        assert not any(stops[:-1])
        assert stops[-1] == (g.finish == "stop")
        assert g.finish == "stop" or len(g.ids) == PLAIN.max_new_tokens


def test_more_tokens_than_the_first_capacity_are_cached_correctly(model: Model) -> None:
    params = SamplingParams(1.0, 1.0, 0, 150)
    found = list(generate(model, requests(2, 2), params, (), 64))
    asked = requests(2, 2)
    rows = [
        Row(asked[g.request].prompt_ids, g.ids, np.ones(len(g.ids), np.float32), g.request)
        for g in found
    ]
    assert {len(g.ids) for g in found} == {150}
    for g, line in zip(found, logprobs_of(model, rows, 1.0, 4096, False), strict=True):
        assert np.abs(line - np.array(g.logprobs)).max() < 1e-4


def chi_square(logits: torch.Tensor, params: SamplingParams, expected: torch.Tensor) -> float:
    count = 40_000
    keys = np.array([row_key("chi", i) for i in range(count)], dtype=np.uint64)
    lines = logits[None].expand(count, -1)
    ids, _ = choose(lines, uniforms(keys, np.full(count, 3)), np.zeros(count, dtype=bool), params)
    seen = np.bincount(ids, minlength=len(logits))
    wanted = expected.double().numpy() * count
    assert (seen[wanted == 0] == 0).all()
    live = wanted > 0
    return float(((seen[live] - wanted[live]) ** 2 / wanted[live]).sum())


def test_sampled_frequencies_agree_with_the_softmax() -> None:
    torch.manual_seed(1)
    logits = torch.randn(30) * 1.5
    # 29 degrees of freedom: 58.3 is exceeded once in a thousand
    plain = SamplingParams(1.0, 1.0, 0, 1)
    assert chi_square(logits, plain, logits.softmax(-1)) < 58.3
    warm = SamplingParams(0.7, 1.0, 0, 1)
    assert chi_square(logits, warm, (logits / 0.7).softmax(-1)) < 58.3


def test_truncated_frequencies_agree_with_the_renormalised_softmax() -> None:
    torch.manual_seed(2)
    logits = torch.randn(30) * 1.5
    probs = logits.softmax(-1)
    top = probs.sort(descending=True)
    keep = top.indices[: int((top.values.cumsum(0) < 0.8).sum()) + 1]
    expected = torch.zeros(30)
    expected[keep] = probs[keep] / probs[keep].sum()
    assert chi_square(logits, SamplingParams(1.0, 0.8, 0, 1), expected) < 58.3


@given(seed=st.integers(0, 50), top_p=st.floats(0.05, 1.0), top_k=st.integers(0, 12))
def test_truncation_keeps_a_smallest_set_and_renormalises(
    seed: int, top_p: float, top_k: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    full = torch.randn(1, 10, generator=generator).log_softmax(-1)
    kept = truncate(full, top_p, top_k)
    live = kept[0] > -torch.inf
    assert kept.exp().sum().item() == pytest.approx(1.0, abs=1e-5)
    assert live[full[0].argmax()]
    assert full[0][live].min() >= full[0][~live].max() if (~live).any() else True
    if top_k:
        assert live.sum() <= top_k
    elif top_p < 1.0:
        mass = full[0].exp()
        least = mass[live].min()
        assert mass[live].sum() >= top_p - 1e-5
        assert mass[live].sum() - least < top_p + 1e-5


def test_the_logprob_after_truncation_is_reported(model: Model) -> None:
    found = list(generate(model, requests(), CUT, STOP, 64))
    assert all(
        s >= f - 1e-6 for g in found for f, s in zip(g.logprobs, g.sampled_logprobs, strict=True)
    )
    plain = list(generate(model, requests(), PLAIN, STOP, 64))
    assert all(g.logprobs == g.sampled_logprobs for g in plain)


def test_uniforms_are_uniform_and_differ_by_key_and_position() -> None:
    keys = np.array([row_key("u", i) for i in range(20_000)], dtype=np.uint64)
    place = np.zeros(len(keys), dtype=np.int64)
    first, second = uniforms(keys, place), uniforms(keys, place + 1)
    assert ((first >= 0) & (first < 1)).all()
    counts = np.histogram(first, bins=20, range=(0, 1))[0]
    assert ((counts - 1000) ** 2 / 1000).sum() < 43.8  # 19 degrees of freedom, one in a thousand
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.03
