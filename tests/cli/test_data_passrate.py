"""`cascade data passrate`: stopped and killed at any moment it ends with the same file."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from cascade_rl.data.rows import write_rows
from tests.cli.conftest import Done
from tests.engines.helpers import chat_problems, comma_problems, tiny_model

Cascade = Callable[..., Done]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of thirty thousand parameters, and problems that it solves now and then."""
    folder = tmp_path_factory.mktemp("passrate")
    tiny_model(folder / "model")
    write_rows(folder / "rows.parquet", comma_problems(64))
    return folder


def arguments(folder: Path, out: Path) -> list[str]:
    return [
        "data", "passrate", str(folder / "rows.parquet"), "--out", str(out),
        "--model", str(folder / "model"), "--n", "16", "--max-new-tokens", "60",
    ]  # fmt: skip


def start(folder: Path, out: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "cascade_rl.cli", *arguments(folder, out)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT,
    )  # fmt: skip


def lines(out: Path) -> int:
    return sum(path.read_bytes().count(b"\n") for path in out.parent.glob("*.journal"))


def stop_after(folder: Path, out: Path, more: int, number: signal.Signals) -> tuple[int, str]:
    """Run until `more` problems are in the journal, then send the signal."""
    process = start(folder, out)
    wanted = lines(out) + more
    until = time.monotonic() + 120
    while lines(out) < wanted and process.poll() is None and time.monotonic() < until:
        time.sleep(0.005)
    below = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(number)
    _, said = process.communicate(timeout=30)
    assert not psutil.wait_procs(below, timeout=15)[1]
    return process.returncode, said


@pytest.fixture(scope="module")
def whole(folder: Path) -> bytes:
    """The file of a command that nothing stopped."""
    process = start(folder, folder / "whole.parquet")
    said, errors = process.communicate(timeout=240)
    assert process.returncode == 0, errors
    assert "64 rows with pass rates" in said
    return (folder / "whole.parquet").read_bytes()


def test_interrupted_it_says_how_to_go_on_and_ends_the_same(
    folder: Path, whole: bytes, cascade: Cascade, tmp_path: Path
) -> None:
    out = tmp_path / "out.parquet"
    code, said = stop_after(folder, out, 16, signal.SIGINT)
    assert code == 130 and "Run the same command to go on" in said and "Traceback" not in said
    assert not out.exists() and lines(out) >= 16
    done = cascade(*arguments(folder, out))
    assert done.status == 0 and out.read_bytes() == whole


def test_killed_at_random_moments_it_ends_the_same(
    folder: Path, whole: bytes, cascade: Cascade, tmp_path: Path
) -> None:
    out, rng = tmp_path / "out.parquet", random.Random(0)
    for _ in range(2):
        before = lines(out)
        code, _ = stop_after(folder, out, rng.randrange(1, 20), signal.SIGKILL)
        assert code == -signal.SIGKILL and lines(out) > before and not out.exists()
        with next(out.parent.glob("*.journal")).open("ab") as file:
            file.write(b'{"key": "torn')  # as a crash of the machine may leave it
    done = cascade(*arguments(folder, out))
    assert done.status == 0 and out.read_bytes() == whole


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_killed_at_twelve_random_times_it_ends_the_same(
    folder: Path, whole: bytes, cascade: Cascade, tmp_path: Path
) -> None:
    rng = random.Random(1)
    for attempt in range(4):
        out = tmp_path / str(attempt) / "out.parquet"
        for _ in range(3):
            process = start(folder, out)
            time.sleep(rng.uniform(1.0, 12.0))
            process.kill()
            process.communicate()
        assert cascade(*arguments(folder, out)).status == 0
        assert out.read_bytes() == whole


def test_stored_samples_are_rows_that_verify_reads(cascade: Cascade, tmp_path: Path) -> None:
    tiny_model(tmp_path / "model")
    write_rows(tmp_path / "rows.jsonl", comma_problems(6))
    names = ("rows", "out", "samples", "verdicts")
    rows, out, samples, verdicts = (tmp_path / f"{name}.jsonl" for name in names)
    done = cascade(
        "data", "passrate", rows, "--out", out, "--model", tmp_path / "model", "--n", "3",
        "--max-new-tokens", "60", "--samples", samples,
    )  # fmt: skip
    assert done.status == 0 and "18 completions" in done.out
    assert cascade("verify", samples, "--out", verdicts).status == 0
    kept = [json.loads(line) for line in samples.read_text().splitlines()]
    judged = [json.loads(line) for line in verdicts.read_text().splitlines()]
    for row, verdict in zip(kept, judged, strict=True):
        expected = verdict["status"] if row["finish"] == "stop" else "wrong"
        assert row["status"] == expected


WRONG = [
    (["--out", "rows.jsonl"], "rows itself"),
    (["--out", "out.csv"], "expected .parquet or .jsonl"),
    (["--out", "o.jsonl", "--samples", "s.parquet"], "expected .jsonl"),
    (["--out", "o.jsonl", "--samples", "o.jsonl"], "--samples"),
    (["--out", "o.jsonl", "--mode", "loud"], "--mode"),
    (["--out", "o.jsonl", "--temperature", "0"], "--temperature"),
    (["--out", "o.jsonl", "--n", "0"], "--n"),
    (["--out", "o.jsonl", "--verifier", "maths"], "no verifier is called"),
    (["--out", "o.jsonl", "--max-new-tokens", "4000"], "context is 256"),
    (["--out", "o.jsonl", "--model", "rows.jsonl"], "model directory"),
]


@pytest.mark.parametrize(("options", "said"), WRONG, ids=lambda value: str(value)[:40])
def test_a_wrong_command_is_a_sentence_and_leaves_nothing(
    options: list[str], said: str, folder: Path, cascade: Cascade, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    write_rows(tmp_path / "rows.jsonl", comma_problems(2))
    model = [] if "--model" in options else ["--model", folder / "model"]
    done = cascade("data", "passrate", "rows.jsonl", *options, *model)
    assert done.status == 2 and said in done.err
    assert [p.name for p in tmp_path.iterdir()] == ["rows.jsonl"]


def test_chat_has_no_pass_rate(cascade: Cascade, folder: Path, tmp_path: Path) -> None:
    write_rows(tmp_path / "rows.jsonl", chat_problems(2))
    done = cascade("data", "passrate", tmp_path / "rows.jsonl", "--out", tmp_path / "o.jsonl",
                   "--model", folder / "model")  # fmt: skip
    assert done.status == 2 and "no pass rate" in done.err
