from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cascade_rl.config import CascadeRLConfig
from cascade_rl.configfile import parse_config
from cascade_rl.errors import ConfigError, DataError
from cascade_rl.plan import make_plan, protocols
from tests.support import make_config, make_rows

MATH: dict[str, Any] = {"name": "math_rl/24k"}
LONG: dict[str, Any] = {"name": "math_rl/32k"}
CODE: dict[str, Any] = {"name": "code_rl"}
SWE: dict[str, Any] = {"name": "swe_rl", "domain": "swe"}
SERVER: dict[str, Any] = {"judge_url": "http://127.0.0.1:8000/v1", "judge_model": "big"}


def keys(config: CascadeRLConfig) -> dict[str, str]:
    return {s.name: s.key for s in make_plan(config).stages}


def changed(config: CascadeRLConfig, *sets: str) -> set[str]:
    """Names of the stages whose key differs after the settings."""
    before = keys(config)
    after = keys(parse_config(config.model_dump(), sets))
    return {name for name in before if before[name] != after[name]}


def test_a_change_moves_the_keys_of_its_stage_and_of_everything_after_it(tmp_path: Path) -> None:
    config = make_config(tmp_path, MATH, LONG, CODE)
    assert changed(config, "math_rl/32k.learning_rate=0.5") == {"math_rl/32k", "code_rl"}
    assert changed(config, "seed=1") == {"math_rl/24k", "math_rl/32k", "code_rl"}
    assert changed(config, "local.dtype=bfloat16") == {"math_rl/24k", "math_rl/32k", "code_rl"}


@pytest.mark.parametrize(
    "setting",
    ["code_rl.save_every=3", "code_rl.eval_every=2", "trackers.tensorboard=false",
     "code_rl.gate={max_drop: 0.5}", "local.verifier_workers=2", "name=other"],
)  # fmt: skip
def test_what_cannot_change_weights_changes_no_key(tmp_path: Path, setting: str) -> None:
    assert changed(make_config(tmp_path, MATH, CODE), setting) == set()


def test_the_content_of_the_data_is_in_the_key_and_its_path_is_not(tmp_path: Path) -> None:
    config = make_config(tmp_path, CODE)
    (tmp_path / "train.jsonl").rename(tmp_path / "moved.jsonl")
    moved = parse_config(config.model_dump(), [f"code_rl.train_files=['{tmp_path}/moved.jsonl']"])
    before = keys(moved)
    make_rows(tmp_path / "moved.jsonl", count=21)
    assert keys(moved) != before
    make_rows(tmp_path / "train.jsonl")
    assert keys(config) == before


def test_state_is_carried_inside_a_family_only(tmp_path: Path) -> None:
    plan = make_plan(make_config(tmp_path, MATH, LONG, CODE))
    assert [s.carries for s in plan.stages] == [False, True, False]


def test_the_parent_is_the_previous_policy_unless_named(tmp_path: Path) -> None:
    plan = make_plan(make_config(tmp_path, MATH, LONG, {**CODE, "parent": "start"}))
    first, second, third = plan.stages
    assert (first.parent, second.parent) == (plan.start.key, first.key)
    assert third.parent == plan.start.key


def test_after_a_rollback_the_rest_starts_from_the_rolled_back_stages_parent(
    tmp_path: Path,
) -> None:
    config = make_config(tmp_path, MATH, CODE, {"name": "swe_rl", "parent": "code_rl"})
    first, second, _ = make_plan(config).stages
    plan = make_plan(config, {second.key})
    assert [s.name for s in plan.skipped] == ["code_rl"]
    assert [s.name for s in plan.stages] == ["math_rl/24k", "swe_rl"]
    assert plan.stages[-1].parent == first.key


@pytest.mark.parametrize(
    ("stages", "said"),
    [
        ([{"name": "rlhf", "domain": "chat"}], "needs a reward model"),
        ([SWE], "needs a judge"),
        ([{**CODE, "parent": "math_rl"}, {"name": "math_rl"}], "comes after it"),
        ([{**CODE, "parent": "nothing"}], "no stage or family is called 'nothing'"),
        ([{**CODE, "max_new_tokens": 5000}], "context is 4096"),
        ([MATH, {**CODE, "inputs": {"judge": "math_rl/24k"}}], "has role policy"),
    ],
)
def test_a_broken_edge_is_refused_before_anything_trains(
    tmp_path: Path, stages: list[dict[str, Any]], said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        make_plan(make_config(tmp_path, *stages))


def test_modes_are_refused_with_a_template_that_has_no_flag_for_them(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="thinking modes"):
        make_plan(make_config(tmp_path, CODE, chat={"template": "own"}))


def test_a_tokenizer_without_a_template_is_refused_where_its_own_is_asked_for(
    tmp_path: Path,
) -> None:
    stage = {**CODE, "modes": {"think": 0, "no_think": 0}}
    with pytest.raises(ConfigError, match="has no chat template"):
        make_plan(make_config(tmp_path, stage, chat={"template": "own"}))


def test_a_missing_data_file_is_named(tmp_path: Path) -> None:
    config = make_config(tmp_path, CODE)
    (tmp_path / "train.jsonl").unlink()
    with pytest.raises(DataError, match=r"train\.jsonl does not exist"):
        make_plan(config)


def test_a_protocols_digest_changes_with_its_settings_and_not_with_its_name(
    tmp_path: Path,
) -> None:
    config = make_config(tmp_path, CODE)
    [(benchmark, digest)] = protocols(config)

    def other(**update: Any) -> str:
        changed = benchmark.model_copy(update=update)
        [(_, found)] = protocols(config.model_copy(update={"benchmarks": (changed,)}))
        return found

    assert other(name="renamed") == digest
    assert other(k=5) != digest
    assert other(temperature=0.6) != digest
    assert other(limit=3) != digest
    assert other(test_limit=3) == digest


def test_the_test_split_reads_its_own_file_and_limit(tmp_path: Path) -> None:
    config = make_config(tmp_path, CODE)
    [benchmark] = config.benchmarks
    split = benchmark.model_copy(
        update={"limit": 3, "test_file": benchmark.file, "test_limit": None}
    )
    config = config.model_copy(update={"benchmarks": (split,)})
    [(val, _)], [(test, _)] = protocols(config), protocols(config, "test")
    assert (val.limit, test.limit) == (3, None)


def test_an_unknown_verifier_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    config = make_config(tmp_path, CODE)
    [benchmark] = config.benchmarks
    bad = benchmark.model_copy(update={"verifier": "vibes"})
    with pytest.raises(ConfigError, match="expected one of: auto"):
        protocols(config.model_copy(update={"benchmarks": (bad,)}))


def test_a_server_judges_in_place_of_a_stage(tmp_path: Path) -> None:
    [stage] = make_plan(make_config(tmp_path, {**SWE, "reward": SERVER})).stages
    assert stage.name == "swe_rl"
