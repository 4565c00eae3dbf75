"""`cascade verify`: a line for every row in order, whatever the rows hold and whenever it stops."""

from __future__ import annotations

import importlib
import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.cli.conftest import Done

Cascade = Callable[..., Done]
MODULE = importlib.import_module("cascade_rl.cli.verify")  # the package has the command's name


def row(answer: str, response: str | None, ability: str = "math") -> str:
    found = {
        "data_source": "t",
        "prompt": [{"role": "user", "content": "What is 1 + 1?"}],
        "ability": ability,
        "reward_model": {"style": "rule", "ground_truth": answer},
        "extra_info": {"index": 0},
    }
    return json.dumps(found if response is None else {**found, "response": response})


def verdicts(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.read_text().splitlines()]


@pytest.fixture
def judged(cascade: Cascade, tmp_path: Path) -> Callable[..., list[dict[str, Any]]]:
    """The verdicts on lines of bytes or text."""

    def call(*lines: str | bytes, arguments: tuple[str, ...] = ()) -> list[dict[str, Any]]:
        data = [line.encode() if isinstance(line, str) else line for line in lines]
        (tmp_path / "rows.jsonl").write_bytes(b"\n".join(data) + b"\n")
        out = tmp_path / "verdicts.jsonl"
        done = cascade("verify", tmp_path / "rows.jsonl", "--out", out, *arguments)
        found = verdicts(out)
        assert done.status == (1 if any(v["score"] is None for v in found) else 0)
        assert [v["index"] for v in found] == list(range(len(found)))
        assert sorted(p.name for p in tmp_path.iterdir()) == ["rows.jsonl", "verdicts.jsonl"]
        return found

    return call


@pytest.mark.parametrize("workers", ["1", "2"])
def test_every_row_has_its_verdict_in_order(workers: str, judged: Any) -> None:
    found = judged(
        *(row("2", f"\\boxed{{{i}}}") for i in range(1, 7)), arguments=("--workers", workers)
    )
    assert [v["score"] for v in found] == [0, 1, 0, 0, 0, 0]
    names = ["index", "score", "status", "reason", "answer", "seconds", "tier"]
    assert list(found[0]) == names
    assert all(v["seconds"] > 0 for v in found)


def test_the_tier_is_empty_where_no_program_ran(judged: Any) -> None:
    assert judged(row("2", "\\boxed{2}"))[0]["tier"] == ""


BAD = [
    (b"{", "not JSON"),
    (b"\xff\xfe\x00 \x80 binary \x00", "not JSON"),
    (b"[" * 100_000, "not JSON"),
    (b"1" * 5000, "not JSON"),
    (b"[1, 2]", "response"),
    (b'{"response": 5}', "response"),
    (row("2", None).encode(), "response"),
    (row("", "2").encode(), "ground_truth"),
    (row("2", "2", "poetry").encode(), "ability"),
    (row("{}", "x", "code").encode(), "tests"),
    (row("[", "x", "code").encode(), "JSON"),
]


@pytest.mark.parametrize(("line", "said"), BAD, ids=lambda value: str(value)[:30])
def test_an_unreadable_row_keeps_its_line_and_says_why(line: bytes, said: str, judged: Any) -> None:
    found = judged(line, row("2", "\\boxed{2}"))
    assert [v["status"] for v in found] == ["invalid", "right"]
    assert found[0]["score"] is None and said in found[0]["reason"]


def test_an_answer_of_ten_megabytes_of_binary_or_of_nothing_is_judged(judged: Any) -> None:
    binary = "".join(map(chr, range(256))) + "\ud800\udfff\u2028"
    long = "x " * 5_000_000
    ends = ["\\boxed{2}", "\\boxed{3}"]
    started = time.monotonic()
    found = judged(*(row("2", text + end) for text in (binary, long) for end in ends), row("2", ""))
    assert [v["status"] for v in found] == ["right", "wrong", "right", "wrong", "wrong"]
    assert time.monotonic() - started < 60


def test_bytes_that_are_no_text_inside_an_answer_are_judged_as_they_are(judged: Any) -> None:
    line = row("2", "HERE \\boxed{2}").encode().replace(b"HERE", b"\xff\x80")
    assert judged(line)[0]["status"] == "right"


def test_blank_lines_and_a_byte_order_mark_are_no_rows(judged: Any) -> None:
    found = judged(b"\xef\xbb\xbf" + row("2", "\\boxed{2}").encode(), b"", b"  ", row("2", "3"))
    assert [v["status"] for v in found] == ["right", "wrong"]


def test_a_row_that_is_too_long_is_not_read_whole(
    judged: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MODULE, "MAX_ROW", 1000)
    found = judged(row("2", "x" * 5000), row("2", "\\boxed{2}"))
    assert [v["status"] for v in found] == ["invalid", "right"]


def test_no_rows_have_no_verdicts(cascade: Cascade, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").touch()
    done = cascade("verify", tmp_path / "rows.jsonl", "--out", tmp_path / "v.jsonl")
    assert done.status == 0 and "0 verdicts" in done.out
    assert (tmp_path / "v.jsonl").read_bytes() == b""


def test_only_a_few_rows_are_read_ahead(judged: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from cascade_rl.rewards.pool import VerifierPool

    undone: list[int] = []
    put = VerifierPool.submit

    def submit(pool: VerifierPool, *task: Any) -> Any:
        metrics = pool.metrics()
        undone.append(metrics.waiting + metrics.running)
        return put(pool, *task)

    monkeypatch.setattr(VerifierPool, "submit", submit)
    monkeypatch.setattr(MODULE, "AHEAD_ROWS", 4)
    judged(*(row("2", str(i)) for i in range(50)))
    assert len(undone) == 50 and max(undone) <= 4


def test_options_reach_the_verifiers(judged: Any) -> None:
    said = row("2", "so it is 2")
    assert judged(said)[0]["status"] == "wrong"
    assert judged(said, arguments=("--answer-pattern", "last_number"))[0]["status"] == "right"
    commas = json.dumps({"instruction_id_list": ["punctuation:no_comma"], "kwargs": [{}]})
    starred = row(commas, "a, b\nno comma", "instruction_following")
    assert judged(starred)[0]["status"] == "wrong"
    assert judged(starred, arguments=("--loose",))[0]["status"] == "right"


def test_the_named_verifier_judges_every_row(judged: Any) -> None:
    found = judged(row("2", "2"), arguments=("--verifier", "code"))
    assert found[0]["status"] == "invalid" and "tests" in found[0]["reason"]


WRONG = [
    (["rows.jsonl", "--out", "v", "--verifier", "maths"], "no verifier is called", "math"),
    (["rows.jsonl", "--out", "v", "--policy", "lax"], "--policy", "official"),
    (["rows.jsonl", "--out", "folder"], "is a directory", "folder/verdicts.jsonl"),
    (["rows.jsonl", "--out", "rows.jsonl"], "rows itself", "another file"),
    (["rows.jsonl", "--out", "rows.jsonl/v.jsonl"], "cannot write", "--out"),
    (["folder", "--out", "v"], "is not a file", "JSON lines"),
    (["rows.parquet", "--out", "v"], "Parquet", "JSON lines"),
]


@pytest.mark.parametrize(("arguments", "said", "hint"), WRONG, ids=lambda value: str(value)[:50])
def test_a_wrong_command_is_a_sentence_and_touches_nothing(
    arguments: list[str], said: str, hint: str, cascade: Cascade, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    for name in ("rows.jsonl", "rows.parquet"):
        (tmp_path / name).write_text(row("2", "2") + "\n")
    done = cascade("verify", *arguments)
    assert done.status == 2 and said in done.err and hint in done.err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["folder", "rows.jsonl", "rows.parquet"]


def test_the_directory_of_the_output_is_made(cascade: Cascade, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text(row("2", "2") + "\n")
    out = tmp_path / "a" / "b" / "v.jsonl"
    assert cascade("verify", tmp_path / "rows.jsonl", "--out", out).status == 0
    assert len(verdicts(out)) == 1


# --- stopped and continued --------------------------------------------------------------------


def many(folder: Path, slow_from: int = 40) -> list[str]:
    """A command on rows that are quick at first and then take a second each."""
    tests = json.dumps({"tests": [{"input": "", "output": "1\n"}]})
    slow = "```python\nimport time\ntime.sleep(1)\nprint(1)  # {}\n```"
    lines = [row("2", f"\\boxed{{{i}}}") for i in range(slow_from)]
    lines += [row(tests, slow.format(i), "code") for i in range(30)]
    (folder / "rows.jsonl").write_text("\n".join(lines) + "\n")
    rows, out = str(folder / "rows.jsonl"), str(folder / "v.jsonl")
    return [sys.executable, "-m", "cascade_rl.cli", "verify", rows, "--out", out]


def part_with(folder: Path, lines: int) -> Path:
    """The unfinished file once it has so many lines."""
    for _ in range(600):
        for path in folder.glob("*.part"):
            if path.read_bytes().count(b"\n") >= lines:
                return path
        time.sleep(0.1)
    raise AssertionError("no verdicts")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_stopped_command_keeps_what_is_judged_and_the_same_command_goes_on(
    number: signal.Signals, cascade: Cascade, tmp_path: Path
) -> None:
    command = many(tmp_path)
    running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    part = part_with(tmp_path, 41)
    below = psutil.Process(running.pid).children(recursive=True)
    running.send_signal(number)
    _, said = running.communicate(timeout=20)
    assert not psutil.wait_procs(below, timeout=15)[1]
    assert not (tmp_path / "v.jsonl").exists()
    if number == signal.SIGINT:
        assert running.returncode == 130
        assert "Run the same command to go on" in said and "Traceback" not in said
    kept = part.read_bytes()
    kept = kept[: kept.rindex(b"\n") + 1]
    with part.open("ab") as file:
        file.write(b'{"index": 999, "scor')  # as a crash of the machine may leave it
    rows = (tmp_path / "rows.jsonl").stat()
    quick = (tmp_path / "rows.jsonl").read_text().replace("time.sleep(1)", "time.sleep(0)")
    (tmp_path / "rows.jsonl").write_text(quick)  # of the same size, and then of the same time
    os.utime(tmp_path / "rows.jsonl", ns=(rows.st_atime_ns, rows.st_mtime_ns))
    assert cascade("verify", tmp_path / "rows.jsonl", "--out", tmp_path / "v.jsonl").status == 0
    assert (tmp_path / "v.jsonl").read_bytes().startswith(kept)
    assert [v["index"] for v in verdicts(tmp_path / "v.jsonl")] == list(range(70))
    assert not list(tmp_path.glob("*.part"))


def test_another_command_begins_anew(cascade: Cascade, tmp_path: Path) -> None:
    rows, out = tmp_path / "rows.jsonl", tmp_path / "v.jsonl"
    rows.write_text(row("2", "it is 2") + "\n")
    from cascade_rl.cli.verdicts import digest_of
    from cascade_rl.config import VerifierConfig

    part = tmp_path / f"v.jsonl.{digest_of(rows, 'auto', VerifierConfig())}.part"
    part.write_text(json.dumps({"index": 0, "score": 0.25}) + "\n")
    assert cascade("verify", rows, "--out", out, "--answer-pattern", "last_number").status == 0
    assert verdicts(out)[0]["score"] == 1
    assert not part.exists()


def test_two_commands_do_not_write_one_file(cascade: Cascade, tmp_path: Path) -> None:
    command = many(tmp_path, slow_from=2)
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        part_with(tmp_path, 2)
        done = cascade("verify", tmp_path / "rows.jsonl", "--out", tmp_path / "v.jsonl")
        assert done.status == 2 and "another" in done.err
    finally:
        running.kill()
        running.wait()


def test_a_terminal_shows_rows_rate_and_time_left(tmp_path: Path) -> None:
    command = many(tmp_path, slow_from=4)
    ours, theirs = pty.openpty()
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=theirs)
    os.close(theirs)
    shown = b""
    try:
        while b"5 rows" not in shown:
            shown += os.read(ours, 4096)
        assert b"/s" in shown and b"left" in shown
    finally:
        running.kill()
        running.wait()
        os.close(ours)
