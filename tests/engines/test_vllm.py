"""vLLM as the sampler. Without it (`make test-vllm` installs it) only refusals are tested."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch

from cascade_rl.config import LocalConfig
from cascade_rl.engines.local.batches import Row
from cascade_rl.engines.local.engine import LocalEngine
from cascade_rl.engines.local.model import Model, load_model
from cascade_rl.engines.local.replica import logprobs_of
from cascade_rl.engines.local.sampler import Generated, Request, SamplingParams, generate, row_key
from cascade_rl.engines.local.vllm_sampler import VLLMSampler, samples_with_vllm
from cascade_rl.engines.local.workers import Team
from cascade_rl.errors import ConfigError
from cascade_rl.types import Checkpoint
from tests.engines.helpers import (
    CHAT,
    Recording,
    comma_problems,
    job_of,
    rl_stage,
    tiny_model,
)

pytestmark = pytest.mark.filterwarnings("default")  # what vLLM's imports warn of is not ours
INSTALLED = importlib.util.find_spec("vllm") is not None
installed = pytest.mark.skipif(not INSTALLED, reason="vllm is not installed: make test-vllm")
LOCAL = LocalConfig(sampler="vllm", device="cpu", sample_batch=32, micro_batch_tokens=2048)
STOP = (2,)
PLAIN = SamplingParams(1.0, 1.0, 0, 20)
CUT = SamplingParams(0.6, 0.95, 20, 20)


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """Heads of 32, which vLLM's attention on a CPU wants."""
    return tiny_model(tmp_path_factory.mktemp("start"), head_dim=32)


@pytest.fixture(scope="module")
def model(start: Checkpoint) -> Model:
    return load_model(start.path, CHAT, LOCAL)


@pytest.fixture(scope="module")
def sampler(model: Model) -> VLLMSampler:
    return VLLMSampler(model, LOCAL)


def requests(keys: tuple[int | None, ...]) -> list[Request]:
    rng = np.random.default_rng(0)
    return [Request(tuple(rng.integers(3, 200, size=3 + i).tolist()), keys) for i in range(6)]


def difference(model: Model, found: list[Generated], asked: list[Request], t: float) -> float:
    """Largest difference of the sampler's log-probabilities from the learner's."""
    rows = [
        Row(asked[g.request].prompt_ids, g.ids, np.ones(len(g.ids), np.float32), g.request)
        for g in found
    ]
    learned = logprobs_of(model, rows, t, 2048, shared=True)
    return max(
        float(np.abs(line - np.array(g.logprobs)).max())
        for line, g in zip(learned, found, strict=True)
    )


@installed
def test_its_logprobs_are_the_learners_also_after_the_weights_have_changed(
    model: Model, sampler: VLLMSampler
) -> None:
    asked = requests(tuple(row_key(0, j) for j in range(4)))
    before = list(sampler.generate(model, asked, PLAIN, STOP))
    assert len(before) == 24
    assert difference(model, before, asked, 1.0) < 1e-4
    with torch.no_grad():
        for parameter in model.module.parameters():
            parameter.mul_(1.2)
    after = list(sampler.generate(model, asked, PLAIN, STOP))
    assert difference(model, after, asked, 1.0) < 1e-4
    assert difference(model, before, asked, 1.0) > 1e-2


@installed
def test_top_p_and_top_k_cut_what_it_samples(model: Model, sampler: VLLMSampler) -> None:
    asked = requests(tuple(row_key(1, j) for j in range(4)))
    found = list(sampler.generate(model, asked, CUT, STOP))
    assert difference(model, found, asked, 0.6) < 1e-4
    for one in found:  # renormalised over what is kept, so larger
        assert all(a >= b - 1e-5 for a, b in zip(one.sampled_logprobs, one.logprobs, strict=True))


@installed
def test_greedy_answers_are_those_of_the_engines_own_sampler(
    model: Model, sampler: VLLMSampler
) -> None:
    asked = requests((None,))
    theirs = {g.request: g.ids for g in sampler.generate(model, asked, PLAIN, STOP)}
    ours = {g.request: g.ids for g in generate(model, asked, PLAIN, STOP, 32)}
    assert theirs == ours


@installed
def test_it_is_given_up_half_way_without_a_trace(model: Model, sampler: VLLMSampler) -> None:
    asked = requests(tuple(row_key(2, j) for j in range(4)))
    stream = sampler.generate(model, asked, PLAIN, STOP)
    next(stream)
    stream.close()
    assert len(list(sampler.generate(model, asked, PLAIN, STOP))) == 24


@installed
def test_a_stage_learns_from_what_it_samples(start: Checkpoint, tmp_path: Path) -> None:
    engine, workspace = LocalEngine(), Recording(tmp_path)
    config = rl_stage(rollout_n=8)  # enough that some answers of every batch are right
    engine.train(job_of(start, config, comma_problems(8), LOCAL), workspace)
    engine.close()
    assert len(workspace.metric("loss")) == 4
    assert all(abs(found) < 1e-6 for found in workspace.metric("mismatch_kl"))
    assert all(found > 0 for found in workspace.metric("tokens_learned"))
    rewards = workspace.metric("reward/mean")
    assert rewards[-1] > rewards[0]


@installed
def test_it_is_one_process() -> None:
    with pytest.raises(ConfigError, match=r"local\.processes is 2"):
        Team(LOCAL.model_copy(update={"processes": 2}))


@pytest.mark.skipif(INSTALLED, reason="vllm is installed")
def test_where_it_is_missing_both_ways_out_are_named() -> None:
    with pytest.raises(ConfigError) as found:
        Team(LOCAL)
    assert "pip install vllm" in str(found.value.hint)
    assert "local.sampler=native" in str(found.value.hint)


def test_on_a_cpu_it_is_taken_by_name_only() -> None:
    assert not samples_with_vllm(LOCAL.model_copy(update={"sampler": "auto"}))
