"""`cascade data decontaminate` and what `cascade plan` refuses, as a user sees them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from cascade_rl.cli.data.decontaminate import clean_name
from cascade_rl.data.rows import read_problems
from tests.cli.conftest import SHORT, Done
from tests.support import make_rows

Cascade = Callable[..., Done]


def test_one_file_is_cleaned_and_every_drop_is_accounted_for(
    cascade: Cascade, tmp_path: Path
) -> None:
    train, held_out = make_rows(tmp_path / "train.jsonl"), make_rows(tmp_path / "b.jsonl", first=15)
    out = tmp_path / "clean" / "train.parquet"
    done = cascade("data", "decontaminate", train, "--against", held_out, "--out", out)
    assert done.status == 0, done.err
    assert f"{out}  15 kept, dropped: 5 prompt of an evaluation item" in done.out
    assert len(read_problems(out)) == 15
    report = json.loads((out.parent / "train.parquet.report.json").read_text())
    assert report["benchmarks"][0]["items_hit"] == 5
    assert report["parameters"] == {"against": [str(held_out)], "ngram": 9}


def config_file(folder: Path, **changes: object) -> Path:
    """The short cascade with one stage on rows of a file and a benchmark of another."""
    make_rows(folder / "train.jsonl")
    make_rows(folder / "val.jsonl", first=18)
    sft, rl = SHORT["stages"]  # type: ignore[misc]
    [benchmark] = SHORT["benchmarks"]  # type: ignore[misc]
    values = {
        **SHORT,
        "stages": [sft, {**rl, "train_files": ["train.jsonl"]}],  # type: ignore[dict-item]
        "benchmarks": [{**benchmark, "file": "val.jsonl", "test_file": None}],  # type: ignore[dict-item]
        **changes,
    }
    path = folder / "cascade.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


def test_a_config_is_a_table_and_a_leak_is_exit_status_1(cascade: Cascade, tmp_path: Path) -> None:
    path = config_file(tmp_path)
    done = cascade("data", "decontaminate", "--config", path)
    assert done.status == 1, done.err
    lines = [line.split() for line in done.out.splitlines()]
    assert ["train", "set", "rows", "val.jsonl"] in lines
    assert ["train.jsonl", "20", "2"] in lines
    assert ["mini:sft/1", "10000", "0"] in lines
    assert "2 of 10020 training rows show an evaluation item" in done.out


def test_a_config_with_a_directory_is_cleaned_into_it(cascade: Cascade, tmp_path: Path) -> None:
    path, out = config_file(tmp_path), tmp_path / "clean"
    assert cascade("data", "decontaminate", "--config", path, "--out", out).status == 1
    assert len(read_problems(out / "train.jsonl")) == 18
    report = json.loads((out / "report.json").read_text())
    [train] = [entry for name, entry in report["trains"].items() if name.endswith("train.jsonl")]
    assert (train["rows"], train["leaking"]) == (20, 2)
    settings = f"math_rl.train_files=[{out / 'train.jsonl'}]"
    done = cascade("data", "decontaminate", "--config", path, "--set", settings)
    assert done.status == 0 and "0 of 10018" in done.out


def test_plan_refuses_a_leak_and_takes_a_named_override(cascade: Cascade, tmp_path: Path) -> None:
    path = config_file(tmp_path)
    refused = cascade("plan", path)
    assert refused.status == 2
    assert "2 of 20 rows of train.jsonl show an item of math (val.jsonl)" in refused.err
    assert "--set 'allow_overlap=[math_rl:math]'" in refused.err
    assert cascade("plan", path, "--set", "allow_overlap=[math_rl:math]").status == 0
    allowed = config_file(tmp_path, allow_overlap=["math_rl:math"])
    assert cascade("plan", allowed).status == 0


def test_plan_says_what_is_shared_as_expected(cascade: Cascade, tmp_path: Path) -> None:
    path = config_file(tmp_path, benchmarks=[])
    values = yaml.safe_load(path.read_text())
    first = {**values["stages"][1], "name": "math_rl/1"}
    values["stages"] = [first, {**first, "name": "math_rl/2"}]
    path.write_text(yaml.safe_dump(values))
    assert "prompts in common, as expected:" in cascade("plan", path).out
    [line] = json.loads(cascade("plan", path, "--json").out)["expected_overlaps"]
    assert "20 of 20 rows of train.jsonl are also prompts of math_rl/2" in line


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "expected FILE, --against and --out"),
        (("x.jsonl", "--out", "y.jsonl"), "expected FILE, --against and --out"),
        (("x.jsonl", "--config", "mini"), "names the files already"),
        (("x.jsonl", "--against", "nothing.jsonl", "--out", "y.jsonl"), "does not exist"),
        (("mini:nothing", "--against", "mini:math/val", "--out", "y.jsonl"), "math/train"),
    ],
)
def test_what_cannot_be_done_is_one_error_and_leaves_nothing(
    arguments: tuple[str, ...],
    said: str,
    cascade: Cascade,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    done = cascade("data", "decontaminate", *arguments)
    assert done.status == 2
    assert said in done.err
    assert list(tmp_path.iterdir()) == []


def test_an_evaluation_set_of_which_too_much_is_broken_is_refused(
    cascade: Cascade, tmp_path: Path
) -> None:
    held_out = make_rows(tmp_path / "b.jsonl")
    held_out.write_text(held_out.read_text() + "{broken\n")
    train = make_rows(tmp_path / "train.jsonl")
    done = cascade(
        "data", "decontaminate", train, "--against", held_out, "--out", tmp_path / "o.jsonl"
    )
    assert done.status == 2
    assert "20 rows can be compared with and 1 cannot be read; the first: not JSON" in done.err


def test_generated_sets_go_through_the_same_command(cascade: Cascade, tmp_path: Path) -> None:
    out = tmp_path / "math.parquet"
    done = cascade(
        "data", "decontaminate", "mini:math/train", "--against", "mini:math/val",
        "--against", "mini:math/test", "--out", out,
    )  # fmt: skip
    assert done.status == 0, done.err
    assert "3000 kept, dropped: none" in done.out


def test_every_train_set_gets_a_file_of_its_own() -> None:
    names = ["a/train.parquet", "b/train.jsonl", "c/x.jsonl", "mini:sft/1"]
    assert [clean_name(name, names) for name in names] == [
        "train-1.parquet", "train-2.jsonl", "x.jsonl", "mini-sft-1.parquet",
    ]  # fmt: skip
