"""The small commands: init, data, verify, doctor."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from cascade_rl.data.rows import read_problems
from cascade_rl.presets import PRESETS
from tests.cli.conftest import Done

Cascade = Callable[..., Done]


@pytest.mark.parametrize("name", PRESETS)
def test_init_prints_a_config_that_reads_back_equal(
    name: str, cascade: Cascade, tmp_path: Path
) -> None:
    from cascade_rl.configfile import parse_config

    printed = cascade("init", name)
    assert printed.status == 0
    assert parse_config(yaml.safe_load(printed.out)) == PRESETS[name]()


def test_plan_marks_what_differs_from_the_preset(cascade: Cascade) -> None:
    from cascade_rl.cli.plan import changed

    config = PRESETS["founding-recipe"]()
    assert changed(config) == []
    stages = tuple(s.model_copy(update={"learning_rate": 1e-6}) for s in config.stages[-1:])
    lines = changed(config.model_copy(update={"stages": (*config.stages[:-1], *stages)}))
    assert lines == ["stages.swe_rl.learning_rate: 2e-06 -> 1e-06"]


def test_data_mini_writes_files_that_read_back(cascade: Cascade, tmp_path: Path) -> None:
    done = cascade("data", "mini", tmp_path, "--jsonl")
    assert done.status == 0
    for domain in ("chat", "instruction_following", "math", "code", "swe"):
        assert len(read_problems(tmp_path / domain / "val.jsonl")) >= 300


def _row(answer: str, response: str | None) -> str:
    row = {
        "data_source": "t",
        "prompt": [{"role": "user", "content": "What is 1 + 1?"}],
        "ability": "math",
        "reward_model": {"style": "rule", "ground_truth": answer},
        "extra_info": {"index": 0},
    }
    return json.dumps(row if response is None else {**row, "response": response})


@pytest.mark.parametrize("workers", ["1", "2"])
def test_verify_writes_one_verdict_a_row_in_order(
    workers: str, cascade: Cascade, tmp_path: Path
) -> None:
    rows, out = tmp_path / "rows.jsonl", tmp_path / "verdicts.jsonl"
    lines = [_row("2", f"\\boxed{{{i}}}") for i in range(1, 7)]
    rows.write_text("\n".join(lines) + "\n")
    done = cascade("verify", rows, "--out", out, "--workers", workers)
    assert done.status == 0
    verdicts = [json.loads(line) for line in out.read_text().splitlines()]
    assert [v["index"] for v in verdicts] == list(range(6))
    assert [v["score"] for v in verdicts] == [0, 1, 0, 0, 0, 0]
    assert list(verdicts[0]) == ["index", "score", "status", "reason", "answer", "seconds", "tier"]
    assert all(v["seconds"] > 0 and v["tier"] for v in verdicts)


def test_verify_gives_unreadable_rows_a_line_and_exits_1(cascade: Cascade, tmp_path: Path) -> None:
    rows, out = tmp_path / "rows.jsonl", tmp_path / "verdicts.jsonl"
    rows.write_text("\n".join(["{", _row("2", None), _row("", "2"), _row("2", "\\boxed{2}")]))
    assert cascade("verify", rows, "--out", out).status == 1
    verdicts = [json.loads(line) for line in out.read_text().splitlines()]
    assert [v["status"] for v in verdicts] == ["invalid", "invalid", "invalid", "right"]
    assert [v["score"] for v in verdicts] == [None, None, None, 1]
    assert "response" in verdicts[1]["reason"] and "ground_truth" in verdicts[2]["reason"]


def test_doctor_says_what_this_machine_has(cascade: Cascade) -> None:
    done = cascade("doctor")
    assert done.status == 0
    for name in ("python", "torch", "threads", "sandbox", "disk", "chromium"):
        assert any(name in line for line in done.out.splitlines())


def test_no_arguments_show_the_help(cascade: Cascade) -> None:
    assert "Usage: cascade" in cascade("--help").out
