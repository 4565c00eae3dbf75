"""`cascade data prepare`: one file or a directory of domains, all of it or none of it."""

from __future__ import annotations

import gzip
import importlib.util
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cascade_rl.data import directory_step
from cascade_rl.data.files import MAX_LINE, RowFile, raw_rows
from cascade_rl.data.prepare import Choices, prepare_directory
from cascade_rl.data.rows import load_rows, read_rows, rejects_path
from cascade_rl.data.sources.hub import hub_rows
from cascade_rl.data.step import report_path
from cascade_rl.errors import DataError
from tests.cli.conftest import Done
from tests.data.sources.test_shapes import CASES, filled

Cascade = Callable[..., Done]
PREPARE = ("data", "prepare")
DOLCI = [case for case in CASES if case["case"].startswith("dolci") and "ability" in case]


def lines(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def math_rows(count: int) -> list[dict[str, Any]]:
    return [{"problem": f"What is {n} + 1?", "answer": str(n + 1)} for n in range(count)]


def dolci_rows() -> list[dict[str, Any]]:
    found = [
        case["raw"] for case in CASES if case["case"].startswith("dolci") and "ability" in case
    ]
    return [filled(row) for row in found]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def prompts(path: Path) -> set[str]:
    return {row["prompt"][-1]["content"] for row in raw_rows(path)}


def test_the_founding_recipes_command_works_as_it_is_written(
    cascade: Cascade,
    tmp_path: Path,
) -> None:
    source = lines(tmp_path / "dolci.jsonl", dolci_rows())
    out = tmp_path / "data"
    done = cascade(*PREPARE, "--input_path", source, "--output_dir", out, "--split_by_domain")
    assert (done.status, done.err) == (0, "")
    domains = ("math", "code", "instruction_following", "chat")
    assert set(names(out)) == {
        "report.json", "rejects.jsonl",
        *(f"{domain}_{side}.parquet" for domain in domains for side in ("train", "val")),
    }  # fmt: skip
    counts: dict[str, int] = {}
    for domain in domains:
        for side in ("train", "val"):
            rows = read_rows(out / f"{domain}_{side}.parquet", "problem")
            counts[domain] = counts.get(domain, 0) + len(rows)
            assert {row.domain for row in rows} == {domain}  # type: ignore[union-attr]
            assert [row.extra["index"] for row in rows] == list(range(len(rows)))  # type: ignore[union-attr]
            assert {row.extra["split"] for row in rows} == {side}  # type: ignore[union-attr]
    wanted = [
        case["ability"] for case in CASES if case["case"].startswith("dolci") and "ability" in case
    ]
    assert counts == {domain: wanted.count(domain) for domain in domains}
    assert str(len(wanted)) + " kept" in done.out


def test_what_went_in_is_what_came_out_and_the_rejects(
    cascade: Cascade,
    tmp_path: Path,
) -> None:
    raws = [filled(case["raw"]) for case in CASES if "named" not in case]
    source, out = lines(tmp_path / "in.jsonl", raws), tmp_path / "data"
    with source.open("ab") as file:
        file.write(b'{"broken\n{"problem": "a\\u0000b", "answer": "1"}\n"x\0y"\n')
        file.write(b'{"problem": "\\ud800", "answer": "1"}\n\xff\xfe\n')
    done = cascade(*PREPARE, source, "--out", out, "--split-by-domain")
    report = json.loads((out / "report.json").read_text())
    rejects = list(raw_rows(out / "rejects.jsonl"))
    assert report["read"] == len(raws) + 5 == report["kept"] + len(rejects)
    assert report["kept"] == sum(report["outputs"].values())
    assert sum(report["dropped"].values()) == len(rejects)
    reasons = [row["reason"] for row in rejects[-5:]]
    assert reasons == ["unreadable", "unusable text", "unreadable", "unusable text", "unreadable"]
    assert all(row["detail"] for row in rejects)
    assert done.status == 1 and "are rejects" in done.err
    assert all(f"\n  {reason}: " in done.err for reason in report["dropped"])
    assert (
        cascade(*PREPARE, source, "--out", out, "--split-by-domain", "--allow-rejects").status == 0
    )


@pytest.mark.parametrize("ending", ["parquet", "jsonl"])
def test_one_file_has_all_rows_in_order(
    ending: str,
    cascade: Cascade,
    tmp_path: Path,
) -> None:
    first = lines(tmp_path / "a.jsonl", math_rows(3))
    second = tmp_path / "b.json.gz"
    second.write_bytes(gzip.compress(json.dumps({"data": math_rows(2)}).encode()))
    out = tmp_path / "new" / f"out.{ending}"
    assert cascade(*PREPARE, first, "--input", second, "--out", out, "--instruct").status == 0
    rows = read_rows(out, "problem")
    assert [row.reference.text for row in rows] == ["1", "2", "3", "1", "2"]  # type: ignore[union-attr]
    assert all(row.prompt[0].content.endswith("\\boxed{}.") for row in rows)  # type: ignore[union-attr]
    assert rejects_path(out).read_text() == "" and report_path(out).exists()


def test_the_sides_do_not_depend_on_the_order_of_rows(tmp_path: Path) -> None:
    rows = math_rows(300) + [
        {"problem": f"  what is\n{n} + 1?", "answer": "0", "id": n} for n in range(300)
    ]
    found = []
    for turn in range(2):
        source = lines(tmp_path / f"{turn}.jsonl", rows)
        out = tmp_path / f"out{turn}"
        validation = directory_step.Validation(share=0.1, seed=5)
        prepare_directory(
            [str(source)], out, Choices(), lambda step: None, validation, by_domain=True
        )
        val, train = (prompts(out / f"math_{side}.parquet") for side in ("val", "train"))
        found.append((val, train))
        said = [{" ".join(text.lower().split()) for text in side} for side in (val, train)]
        assert not said[0] & said[1], "a prompt is on one side only, however it is spaced"
        assert 30 < len(val) < 90
        random.Random(1).shuffle(rows)
    assert found[0] == found[1]


@pytest.mark.parametrize("count", [0, 1, 7, 100, 1000])
def test_so_many_rows_are_held_out_as_asked_for(count: int, tmp_path: Path) -> None:
    rows = math_rows(200)
    source = lines(tmp_path / "in.jsonl", rows)
    sides = []
    for seed in (0, 1):
        out = tmp_path / f"out{seed}"
        step = prepare_directory(
            [str(source)],
            out,
            Choices(),
            lambda step: None,
            directory_step.Validation(rows=count, seed=seed),
            by_domain=False,
            ending=".jsonl",
        )
        held = min(count, 199)
        assert step.outputs.get("val.jsonl", 0) == held
        assert step.outputs["train.jsonl"] == 200 - held
        sides.append(prompts(out / "val.jsonl") if held else set())
    assert (sides[0] != sides[1]) is (count > 0)


def test_rows_of_one_prompt_are_held_out_together_or_not_at_all(tmp_path: Path) -> None:
    rows = [row for row in math_rows(20) for _ in range(3)]
    source = lines(tmp_path / "in.jsonl", rows)
    validation = directory_step.Validation(rows=10)
    step = prepare_directory(
        [str(source)], tmp_path / "o", Choices(), lambda step: None, validation, by_domain=True
    )
    assert step.outputs == {"math_train.parquet": 51, "math_val.parquet": 9}


def test_a_domain_of_one_prompt_is_for_training(tmp_path: Path) -> None:
    source = lines(tmp_path / "in.jsonl", math_rows(1))
    step = prepare_directory(
        [str(source)],
        tmp_path / "o",
        Choices(),
        lambda step: None,
        directory_step.Validation(share=0.9),
        by_domain=True,
    )
    assert step.outputs == {"math_train.parquet": 1}


def test_pairs_and_conversations_have_files_of_their_own(
    cascade: Cascade,
    tmp_path: Path,
) -> None:
    rows = [{"prompt": f"q{n}", "chosen": "a", "rejected": "b"} for n in range(2)]
    rows += [{"prompt": f"q{n}", "response": "a"} for n in range(2)]
    source = lines(tmp_path / "in.jsonl", rows)
    done = cascade(*PREPARE, source, "--out", tmp_path / "out.jsonl")
    assert done.status == 2 and "conversations and pairs" in done.err
    assert names(tmp_path) == ["in.jsonl"]
    assert cascade(*PREPARE, source, "--out", tmp_path / "data", "--jsonl").status == 0
    for name, kind in (("preference", "pair"), ("sft", "conversation")):
        for side in ("train", "val"):
            assert len(load_rows(tmp_path / "data" / f"{name}_{side}.jsonl", kind).rows) == 1  # type: ignore[arg-type]


def test_ties_are_no_fault_of_the_input(cascade: Cascade, tmp_path: Path) -> None:
    rows = [
        {"context": f"q{n}", "response1": "a", "response2": "b", "overall_preference": n % 2}
        for n in range(10)
    ]
    source = lines(tmp_path / "in.jsonl", rows)
    done = cascade(*PREPARE, source, "--out", tmp_path / "out.jsonl")
    assert done.status == 0 and "5 kept, dropped: 5 tie" in done.out


def test_a_column_is_kept_where_it_is_named(cascade: Cascade, tmp_path: Path) -> None:
    rows = [{**row, "outputs": ["a", "b"], "other": 1} for row in math_rows(2)]
    source, out = lines(tmp_path / "in.jsonl", rows), tmp_path / "out.parquet"
    assert cascade(*PREPARE, source, "--out", out, "--keep", "outputs").status == 0
    extra = next(iter(raw_rows(out)))["extra_info"]
    assert extra["outputs"] == ["a", "b"] and "other" not in extra


# --- what goes wrong --------------------------------------------------------------------------


def test_nothing_is_left_of_a_directory_that_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = lines(tmp_path / "in.jsonl", math_rows(50))
    bad = tmp_path / "bad.parquet"
    bad.write_bytes(b"PAR1 and no more")
    out = tmp_path / "data"
    arguments = (Choices(), lambda step: None, directory_step.Validation())
    with pytest.raises(DataError, match="not readable as Parquet"):
        prepare_directory([str(good), str(bad)], out, *arguments, by_domain=True)
    assert not out.exists()
    (out / ".unfinished").mkdir(parents=True)  # as a killed command leaves it
    (out / ".unfinished" / "math_train.parquet").write_text("")
    (out / "mine.txt").write_text("mine")

    def interrupted(row: Any, index: int, split: str) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(directory_step, "_placed", interrupted)
        with pytest.raises(KeyboardInterrupt):
            prepare_directory([str(good)], out, *arguments, by_domain=True)
    assert names(out) == ["mine.txt"]
    prepare_directory([str(good)], out, *arguments, by_domain=True)
    assert "mine.txt" in names(out) and "report.json" in names(out)


@pytest.mark.parametrize("out", ["data", "out.parquet"])
def test_an_interrupted_command_leaves_nothing_and_says_so(
    out: str, cascade: Cascade, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(path: Path) -> Any:
        yield from math_rows(5)
        raise KeyboardInterrupt

    source = lines(tmp_path / "in.jsonl", math_rows(5))
    monkeypatch.setattr("cascade_rl.data.prepare.raw_rows", interrupted)
    done = cascade(*PREPARE, source, "--out", tmp_path / out)
    assert done.status == 130 and "nothing was written" in done.err
    assert names(tmp_path) == ["in.jsonl"]


def test_a_prepared_directory_can_be_prepared_again(cascade: Cascade, tmp_path: Path) -> None:
    source = lines(tmp_path / "in.jsonl", [*dolci_rows(), {"a": 1}])
    first, second = tmp_path / "first", tmp_path / "second"
    for given, out in ((source, first), (first, second)):
        done = cascade(*PREPARE, given, "--out", out, "--split_by_domain", "--allow-rejects")
        assert done.status == 0
    assert names(first) == names(second), "rejects and reports are not taken for rows"
    reports = [json.loads((folder / "report.json").read_text()) for folder in (first, second)]
    assert reports[0]["outputs"] == reports[1]["outputs"], "and the sides stay the same"
    assert reports[1]["read"] == reports[1]["kept"] == reports[0]["kept"] == len(DOLCI)
    abilities = [case["ability"] for case in DOLCI]
    assert reports[1]["converted_to"] == {name: abilities.count(name) for name in set(abilities)}


def corrupt(path: Path) -> Path:
    with RowFile(path) as file:
        for row in math_rows(100):
            file.write(row)
    data = bytearray(path.read_bytes())
    data[20:60] = bytes(40)
    path.write_bytes(data)
    return path


def test_rows_that_parquet_cannot_hold_are_one_error_and_fit_in_lines(
    cascade: Cascade, tmp_path: Path
) -> None:
    prompt = [{"role": "user", "content": "q"}]
    rows = [
        {
            "data_source": "x",
            "prompt": prompt,
            "ability": "math",
            "reward_model": {"style": "rule", "ground_truth": "1"},
            "extra_info": {"level": level},
        }
        for level in (3, "hard")
    ]
    source, out = lines(tmp_path / "in.jsonl", rows), tmp_path / "data"
    done = cascade(*PREPARE, source, "--out", out)
    assert done.status == 2 and "--jsonl" in done.err and ".unfinished" not in done.err
    assert names(tmp_path) == ["in.jsonl"]
    assert cascade(*PREPARE, source, "--out", out, "--jsonl").status == 0


BAD: dict[str, tuple[Callable[[Path], Path], str]] = {
    "corrupt parquet": (lambda p: corrupt(p / "x.parquet"), "Parquet"),
    "an empty parquet": (lambda p: lines(p / "x.parquet", []), "Parquet"),
    "an empty file": (lambda p: lines(p / "x.jsonl", []), "no rows"),
    "an empty directory": (lambda p: p, "holds no file"),
    "a file that is not there": (lambda p: p / "x.jsonl", "does not exist"),
    "a list of numbers": (lambda p: lines(p / "x.jsonl", [1, 2]), "none of 2 rows"),
    "rows of no source": (lambda p: lines(p / "x.jsonl", [{"a": 1}]), "unknown shape"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_clear_error_and_leaves_nothing(
    name: str,
    cascade: Cascade,
    tmp_path: Path,
) -> None:
    (tmp_path / "in").mkdir()
    make, said = BAD[name]
    source = make(tmp_path / "in")
    for out in ("data", "out.parquet"):
        done = cascade(*PREPARE, source, "--out", tmp_path / out)
        assert done.status == 2 and said in done.err and "Traceback" not in done.err
    assert names(tmp_path) == ["in"]


def test_a_line_of_two_hundred_megabytes_is_a_reject(
    cascade: Cascade,
    tmp_path: Path,
) -> None:
    source = lines(tmp_path / "in.jsonl", math_rows(2))
    with source.open("ab") as file:
        file.write(b'{"problem": "')
        for _ in range(200):
            file.write(b"x" * (1 << 20))
        file.write(b'", "answer": "1"}\n{"problem": "last", "answer": "1"}\n')
    done = cascade(*PREPARE, source, "--out", tmp_path / "out.jsonl", "--allow-rejects")
    assert done.status == 0 and "3 kept, dropped: 1 unreadable" in done.out
    (reject,) = raw_rows(rejects_path(tmp_path / "out.jsonl"))
    assert f"longer than {MAX_LINE >> 20} MB" in reject["detail"] and len(reject["row"]) < 1000


WRONG = {
    "no input": (("--out", "data"), "no input"),
    "no output": (("in.jsonl",), "no output"),
    "two ways to hold out": (
        ("in.jsonl", "--out", "data", "--val_share", "0.1", "--val_rows", "3"), "one of them"),
    "a share of all": (("in.jsonl", "--out", "data", "--val_share", "1"), "below 1"),
    "a file to split": (("in.jsonl", "--out", "x.parquet", "--split_by_domain"), "is a file"),
    "an ending nobody writes": (("in.jsonl", "--out", "x.csv"), "expected .parquet or .jsonl"),
    "a source nobody knows": (("in.jsonl", "--out", "data", "--source", "dolcy"), "dolcy"),
    "the input itself": (("in.jsonl", "--out", "in.jsonl"), "is in the input"),
    "a directory that is a file": (("in.jsonl", "--out", "taken"), "is a file"),
    "a directory inside the input": ((".", "--out", "data"), "is in the input"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_command_line_says_so(
    name: str,
    cascade: Cascade,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    lines(tmp_path / "in.jsonl", math_rows(3))
    (tmp_path / "taken").write_text("")
    arguments, said = WRONG[name]
    done = cascade(*PREPARE, *arguments)
    assert done.status == 2 and said in done.err
    assert names(tmp_path) == ["in.jsonl", "taken"]


# --- the hub ----------------------------------------------------------------------------------

HAS_DATASETS = importlib.util.find_spec("datasets") is not None


def test_a_hub_that_cannot_be_had_is_one_error_that_says_what_to_do(
    cascade: Cascade,
    tmp_path: Path,
) -> None:
    done = cascade(*PREPARE, "--input", "allenai/Dolci-Think-RL-32B", "--out", tmp_path / "data")
    assert done.status == 2 and "hf download --repo-type dataset allenai/Dolci" in done.err
    assert ("cannot be had from the hub" if HAS_DATASETS else "pip install") in done.err
    assert names(tmp_path) == []


@pytest.mark.skipif(not HAS_DATASETS, reason="needs the extra `hub`: pip install datasets")
def test_the_rows_of_one_split_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    folder = tmp_path / "set"
    folder.mkdir()
    lines(folder / "train.jsonl", math_rows(3))
    lines(folder / "test.jsonl", math_rows(2))
    assert list(hub_rows(str(folder))) == math_rows(3)
    assert list(hub_rows(str(folder), split="test")) == math_rows(2)
    with pytest.raises(DataError, match="no split 'dev'; it has train, test"):
        list(hub_rows(str(folder), split="dev"))
