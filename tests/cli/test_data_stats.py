"""`cascade data stats`: tables, JSON and a page of the same counts."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cascade_rl.data.rows import write_rows
from cascade_rl.types import Answer, Message, Problem
from tests.cli.conftest import Done
from tests.data.test_stats import ROWS
from tests.engines.helpers import tiny_model

Cascade = Callable[..., Done]


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    write_rows(tmp_path / "rows.jsonl", ROWS)
    return tmp_path / "rows.jsonl"


def test_the_tables_say_what_was_counted(cascade: Cascade, rows: Path) -> None:
    done = cascade("data", "stats", rows)
    assert done.status == 0
    for said in ("instruction_following", "helpsteer", "63.6 %", "11 rows in 1 file, 0 unreadable",
                 "9 different prompts, 2 repeated", "pass rate of 3 rows"):  # fmt: skip
        assert said in done.out


def test_json_is_one_value_and_the_page_has_the_same_counts(cascade: Cascade, rows: Path) -> None:
    page = rows.parent / "new" / "stats.html"
    done = cascade("data", "stats", rows, "--json", "--html", page)
    found = json.loads(done.out)
    assert done.status == 0 and found["rows"] == 11
    assert "<h1>11 rows</h1>" in page.read_text()


def test_a_tokenizer_adds_lengths_in_tokens(cascade: Cascade, rows: Path, tmp_path: Path) -> None:
    tiny_model(tmp_path / "model")  # one token a byte
    done = cascade("data", "stats", rows, "--json", "--tokenizer", tmp_path / "model")
    lengths = {(x["what"], x["of"], x["unit"]): x for x in json.loads(done.out)["lengths"]}
    assert lengths["prompt", "math", "tokens"] == {
        **lengths["prompt", "math", "characters"], "unit": "tokens",
    }  # fmt: skip


def test_names_that_would_move_the_cursor_or_cannot_be_written_are_shown_harmless(
    cascade: Cascade, tmp_path: Path
) -> None:
    evil = Problem("e", "math", (Message("user", "x"),), Answer("1"), "\x1b[2J[red]\ud800", {})
    write_rows(tmp_path / "rows.jsonl", [evil])
    done = cascade("data", "stats", tmp_path / "rows.jsonl")
    assert done.status == 0 and "\x1b" not in done.out and "[2J[red]" in done.out


def test_rows_of_another_shape_are_counted_and_the_way_out_is_named(
    cascade: Cascade, tmp_path: Path
) -> None:
    (tmp_path / "rows.jsonl").write_text('{"question": "2+2?", "answer": "4"}\n')
    done = cascade("data", "stats", tmp_path / "rows.jsonl")
    assert done.status == 0
    assert "1 unreadable rows" in done.out and "cascade data prepare" in done.out


WRONG = [
    (["nowhere.jsonl"], "does not exist"),
    (["rows.jsonl", "--html", "page.jsonl"], ".html"),
    (["rows.jsonl", "--tokenizer", "."], "tokenizer"),
    (["torn.parquet"], "not readable as Parquet"),
]


@pytest.mark.parametrize(("arguments", "said"), WRONG, ids=str)
def test_a_wrong_command_is_a_sentence(
    arguments: list[str], said: str, cascade: Cascade, rows: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(rows.parent)
    (rows.parent / "torn.parquet").write_bytes(b"PAR1 and then nothing")
    done = cascade("data", "stats", *arguments)
    assert done.status == 2 and said in done.err


PEAK = """
import re, sys
from pathlib import Path
from cascade_rl.data.stats import collect
from cascade_rl.data.stats.page import page
page(collect([Path(sys.argv[1])]))
status = Path("/proc/self/status").read_text()  # getrusage would tell the parent's peak
print(int(re.search(r"VmHWM:\\s+(\\d+)", status)[1]) // 1024)
"""


def test_memory_does_not_grow_with_the_rows(tmp_path: Path) -> None:
    peaks = []
    for count in (2_000, 50_000):
        path = tmp_path / f"{count}.jsonl"
        line = '{"data_source": "s%d", "prompt": "%s", "ability": "math", "reward_model": '
        line += '{"style": "rule", "ground_truth": "1"}, "extra_info": {"index": %d}}\n'
        with path.open("w") as file:
            for i in range(count):
                file.write(line % (i, f"{i} " + "word " * 60, i))
        command = [sys.executable, "-c", PEAK, str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        peaks.append(int(done.stdout))
    assert peaks[1] < peaks[0] + 12, peaks
