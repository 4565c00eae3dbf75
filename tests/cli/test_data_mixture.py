"""`cascade data dedup` and `cascade data mix` on the generated rows, and what they refuse."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from cascade_rl import mini
from cascade_rl.data.dedup.identity import identity
from cascade_rl.data.rows import iter_rows, write_rows
from cascade_rl.types import Conversation, Message
from tests.cli.conftest import Done

Cascade = Callable[..., Done]


@pytest.fixture(scope="session")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some of the files that `cascade data mini` writes."""
    folder = tmp_path_factory.mktemp("mini")
    for name in ("sft/1", "sft/2", "math/train", "code/train", "chat/train"):
        path = folder / f"{name}.parquet"
        path.parent.mkdir(exist_ok=True)
        write_rows(path, mini.rows(name, 0)[:1000])
    return folder


def ids(path: Path) -> list[str]:
    return [row.id for row in iter_rows(path)]


def prompts(path: Path) -> set[int]:
    return {identity(row, None, "prompt").values["exact"] for row in iter_rows(path)}


def test_the_mini_files_go_through_dedup_and_mix(
    generated: Path, tmp_path: Path, cascade: Cascade
) -> None:
    once, apart, out = (tmp_path / f"{name}.parquet" for name in ("once", "apart", "mixed"))
    done = cascade("data", "dedup", generated / "sft/1.parquet", "--out", once)
    assert done.status == 0 and f"{once}  " in done.out and "dropped" in done.out
    against = [generated / f"{name}/train.parquet" for name in ("math", "code", "chat")]
    flags = [part for path in against for part in ("--against", path)]
    assert cascade("data", "dedup", once, *flags, "--out", apart).status == 0
    for path in against:
        assert not prompts(apart) & prompts(path)
    sources = ("--source", f"{apart}:2", "--source", f"{generated / 'sft/2.parquet'}:1.5")
    done = cascade("data", "mix", *sources, "--out", out, "--pack", "2048", "--seed", "4")
    assert done.status == 0
    assert len(ids(out)) == 2 * len(ids(apart)) + 1500
    report = json.loads((tmp_path / "mixed.parquet.report.json").read_text())
    assert [line["copies"] for line in report["composition"]] == [
        line["configured"] for line in report["composition"]
    ]
    assert report["packs"]["utilisation"] >= 0.97
    assert (tmp_path / "mixed.packs.parquet").exists() and "packs, 9" in done.out


def test_lengths_by_a_tokenizer_are_those_the_engine_trains_on(
    tmp_path: Path, cascade: Cascade, generated: Path
) -> None:
    from cascade_rl.chat import HFTokenizer, render
    from cascade_rl.mini.model import build_model

    model, out = tmp_path / "model", tmp_path / "out.jsonl"
    build_model(model, 0)
    rows = [row for row in iter_rows(generated / "sft/1.parquet") if isinstance(row, Conversation)]
    write_rows(tmp_path / "in.jsonl", rows[:20])
    done = cascade(
        "data", "mix", "--source", tmp_path / "in.jsonl", "--out", out,
        "--tokenizer", model, "--no-system", "--pack", "1000",
    )  # fmt: skip
    assert done.status == 0
    from cascade_rl.engines.local.model import load_tokenizer

    tokenizer = HFTokenizer(load_tokenizer(model))
    expected = sum(len(render(tokenizer, row.messages, system=None).ids) for row in rows[:20])
    report = json.loads((tmp_path / "out.jsonl.report.json").read_text())
    assert report["total"]["tokens"] == report["packs"]["tokens"] == expected


def test_a_mixture_file_names_its_stages(tmp_path: Path, cascade: Cascade) -> None:
    talk = (Message("user", "a?"), Message("assistant", "b"))
    write_rows(tmp_path / "a.jsonl", [Conversation(str(n), talk, "t") for n in range(4)])
    path = tmp_path / "mixture.yaml"
    path.write_text(
        "seed: 3\nstages:\n- name: one\n  sources: [{file: a.jsonl, upsample: 2}]\n"
        "- name: two\n  max_tokens: 500\n  sources: [{file: a.jsonl, rows: 3}]\n"
    )
    out = tmp_path / "out.jsonl"
    refused = cascade("data", "mix", path, "--out", out)
    assert refused.status == 2 and "--stage one or --stage two" in refused.err
    assert not out.exists()
    assert cascade("data", "mix", path, "--out", out, "--stage", "one").status == 0
    assert len(ids(out)) == 8
    assert cascade("data", "mix", path, "--out", out, "--stage", "two").status == 0
    assert len(ids(out)) == 3


def test_a_preset_is_printed_as_a_mixture(cascade: Cascade) -> None:
    done = cascade("data", "mix", "nemotron-cascade", "--print")
    assert done.status == 0 and "swe-repair.parquet" in done.out and "upsample: 3" in done.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["mix", "--out", "x.jsonl"], "neither a mixture nor --source"),
        (["mix", "m.yaml", "--source", "a.jsonl", "--out", "x.jsonl"], "both a mixture and"),
        (["mix", "--source", "a.jsonl"], "no --out is given"),
        (["mix", "--source", "a.jsonl", "--out", "x.csv"], "expected .parquet or .jsonl"),
        (["mix", "--source", "none.jsonl", "--out", "x.jsonl"], "does not exist"),
        (["mix", "--source", "a.jsonl:0", "--out", "x.jsonl"], "greater than 0"),
        (["mix", "--source", "a.jsonl", "--out", "a.jsonl"], "is one of the sources"),
        (["mix", "none.yaml", "--out", "x.jsonl"], "neither a file nor a preset"),
        (["mix", "nemotron-cascade", "--stage", "stage-1", "--out", "x.jsonl"], "does not exist"),
        (["mix", "--source", "a.jsonl", "--out", "x.jsonl", "--tokenizer", "none"],
         "holds no tokenizer.json"),
        (["dedup", "a.jsonl", "--out", "x.jsonl", "--by", "exact,neer"], "'neer' is no key"),
        (["dedup", "a.jsonl", "--out", "x.jsonl", "--scope", "all"], "--scope is 'all'"),
        (["dedup", "none.jsonl", "--out", "x.jsonl"], "does not exist"),
        (["dedup", "a.jsonl", "--out", "a.jsonl"], "is one of the inputs"),
        (["dedup", "a.jsonl", "b.jsonl", "--against", "a.jsonl", "--out", "x.jsonl"],
         "expected one file to take rows from"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_and_nothing_is_written(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    cascade: Cascade,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    talk = (Message("user", "a?"), Message("assistant", "b"))
    for name in "ab":
        write_rows(tmp_path / f"{name}.jsonl", [Conversation(name, talk, "t")])
    done = cascade("data", *arguments)
    assert done.status == 2 and message in done.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.jsonl", "b.jsonl"]


def test_an_interruption_leaves_nothing(
    tmp_path: Path, cascade: Cascade, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cascade_rl.data.dedup import run as dedup

    talk = (Message("user", "a?"), Message("assistant", "b"))
    write_rows(tmp_path / "a.jsonl", [Conversation("a", talk, "t")])

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(dedup, "text_of", stop)
    done = cascade("data", "dedup", tmp_path / "a.jsonl", "--out", tmp_path / "out.jsonl")
    assert done.status == 130 and "Run the same command again" in done.err
    assert [path.name for path in tmp_path.iterdir()] == ["a.jsonl"]
