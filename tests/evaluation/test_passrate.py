"""Pass rates: counted right, resumable at every batch, and never made of what was not judged."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cascade_rl.config import BenchmarkConfig, ChatConfig
from cascade_rl.data.pass_rate import pass_rates as rates_of
from cascade_rl.data.rows import Reject, iter_rows, read_problems, rejects_path, write_rows
from cascade_rl.data.step import Step, report_path
from cascade_rl.engines.base import EvaluationJob
from cascade_rl.engines.local.engine import LocalEngine
from cascade_rl.errors import ConfigError, DataError, EvaluationError, OutputError
from cascade_rl.evaluation.passrate import (
    FITS,
    Sampling,
    count_problems,
    journal,
    pass_rates,
    prompt_check,
)
from cascade_rl.types import (
    Checkpoint,
    Problem,
    Sample,
    Verdict,
    Verifier,
    right,
    unjudged,
)
from cascade_rl.verifiers import verify
from tests.engines.helpers import CHAT, LOCAL, chat_problems, comma_problems, tiny_model, user

LOCAL_16 = LOCAL.model_copy(update={"sample_batch": 16})
"""Four problems of four completions a batch."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return tiny_model(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture(scope="module")
def engine() -> Iterator[LocalEngine]:
    engine = LocalEngine()
    yield engine
    engine.close()


class Interrupted:
    """The engine, with Ctrl-C after so many batches."""

    def __init__(self, engine: LocalEngine, batches: int) -> None:
        self.engine, self.left = engine, batches

    def evaluate(self, checkpoint: Checkpoint, job: EvaluationJob) -> Iterator[Sample]:
        if self.left == 0:
            raise KeyboardInterrupt
        self.left -= 1
        yield from self.engine.evaluate(checkpoint, job)

    def train(self, job: Any, workspace: Any) -> Checkpoint:
        raise AssertionError("nothing is trained here")

    def close(self) -> None:
        self.engine.close()


def sampling(
    engine: Any, model: Checkpoint, verifier: Verifier = verify, *, keep: bool = False,
    chat: ChatConfig = CHAT, **values: Any,
) -> Sampling:  # fmt: skip
    fields = {"name": "p", "file": "x", "k": 4, "greedy": False, "max_new_tokens": 60} | values
    protocol = BenchmarkConfig(**fields)
    check = prompt_check(model.path, chat, protocol)
    return Sampling(engine, model, protocol, verifier, chat, LOCAL_16, check, keep)


def run(found: Sampling, rows: Path, out: Path, samples: Path | None = None) -> list[int]:
    """Sample; returns the progress that was reported."""
    count_problems(rows)
    done: list[int] = []
    pass_rates(rows, Step("passrate", out, {}), found, samples, lambda n, _: done.append(n))
    return done


@pytest.fixture(scope="module")
def whole(
    engine: LocalEngine, model: Checkpoint, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, bytes]:
    """The output that nothing stopped, by its ending."""
    folder = tmp_path_factory.mktemp("whole")
    write_rows(folder / "rows.jsonl", comma_problems(10))
    found = {}
    for ending in (".jsonl", ".parquet"):
        out = folder / f"whole{ending}"
        assert run(sampling(engine, model), folder / "rows.jsonl", out) == [0, 4, 8, 10]
        found[ending] = out.read_bytes()
    return found


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """Ten problems: two batches of four and one of two."""
    path = tmp_path / "rows.jsonl"
    write_rows(path, comma_problems(10))
    return path


def test_the_counts_are_those_of_the_stored_samples_verified_again(
    engine: LocalEngine, model: Checkpoint, rows: Path, tmp_path: Path
) -> None:
    kept = tmp_path / "samples.jsonl"
    run(sampling(engine, model, keep=True), rows, tmp_path / "out.jsonl", kept)
    lines = [json.loads(line) for line in kept.read_text().splitlines()]
    assert len(lines) == 40
    seen = set()
    for problem in read_problems(tmp_path / "out.jsonl"):
        mine = [line for line in lines if line["extra_info"]["id"] == problem.id]
        assert [line["sample"] for line in mine] == [0, 1, 2, 3]
        again = [
            line["finish"] == "stop" and verify(problem, line["response"]).outcome for line in mine
        ]
        recorded = problem.extra["pass_rate"]
        assert (recorded["correct"], recorded["total"]) == (sum(map(bool, again)), 4)
        assert recorded["truncated"] == sum(line["finish"] == "length" for line in mine)
        seen.add(recorded["correct"])
    assert len(seen) > 1, "a model that is always right or wrong shows nothing"


def test_a_row_keeps_everything_and_gains_its_counts_model_and_protocol(
    engine: LocalEngine, model: Checkpoint, rows: Path, tmp_path: Path
) -> None:
    run(sampling(engine, model, seed=3), rows, tmp_path / "out.parquet")
    before, after = read_problems(rows), read_problems(tmp_path / "out.parquet")
    for old, new in zip(before, after, strict=True):
        recorded = new.extra["pass_rate"]
        assert replace(new, extra=old.extra) == old
        assert rates_of(new.extra)[0].share == recorded["correct"] / 4
        assert recorded["weights"] == model.weights_digest[:16]
        assert recorded["model"] == model.path.parent.name
        named = ("temperature", "top_p", "max_new_tokens", "seed")
        assert [recorded[name] for name in named] == [1.0, 1.0, 60, 3]
    report = json.loads(report_path(tmp_path / "out.parquet").read_text())
    assert (report["read"], report["kept"], report["completions"]) == (10, 10, 40)
    assert sum(report["rows_by_correct"].values()) == 10


def test_the_rate_of_another_model_is_kept_in_a_list_and_that_of_the_same_is_replaced(
    engine: LocalEngine, model: Checkpoint, rows: Path, tmp_path: Path
) -> None:
    one, two, three = (tmp_path / f"{name}.parquet" for name in ("one", "two", "three"))
    run(sampling(engine, model), rows, one)
    run(sampling(engine, tiny_model(tmp_path / "strong", seed=1)), one, two)
    run(sampling(engine, tiny_model(tmp_path / "strong", seed=1), seed=1), two, three)
    first = [p.extra["pass_rate"] for p in read_problems(one)]
    for path in (two, three):
        found = [p.extra for p in read_problems(path)]
        assert [extra["pass_rates"] for extra in found] == [[rate] for rate in first]
        assert {extra["pass_rate"]["model"] for extra in found} == {"strong"}


@pytest.mark.parametrize("batches", [0, 1, 2])
def test_stopped_after_any_batch_it_goes_on_to_the_same_bytes(
    batches: int, engine: LocalEngine, model: Checkpoint, rows: Path, tmp_path: Path,
    whole: dict[str, bytes],
) -> None:  # fmt: skip
    out = tmp_path / "out.parquet"
    with pytest.raises(KeyboardInterrupt):
        run(sampling(Interrupted(engine, batches), model), rows, out)
    assert not out.exists()
    assert run(sampling(engine, model), rows, out)[0] == 4 * batches
    assert out.read_bytes() == whole[".parquet"]
    assert not list(tmp_path.glob("*.journal"))


@pytest.mark.parametrize("cut", [1, 200, 900])
def test_a_torn_journal_is_continued_from_its_last_whole_batch(
    cut: int, engine: LocalEngine, model: Checkpoint, rows: Path, tmp_path: Path,
    whole: dict[str, bytes],
) -> None:  # fmt: skip
    out = tmp_path / "out.jsonl"
    with pytest.raises(KeyboardInterrupt):
        run(sampling(Interrupted(engine, 2), model), rows, out)
    [path] = tmp_path.glob("*.journal")
    path.write_bytes(path.read_bytes()[:-cut])
    assert run(sampling(engine, model), rows, out)[0] in (0, 4)
    assert out.read_bytes() == whole[".jsonl"]


def test_a_complete_journal_is_only_written_out(
    engine: LocalEngine, model: Checkpoint, rows: Path, tmp_path: Path, whole: dict[str, bytes]
) -> None:
    out = tmp_path / "out.jsonl"
    before = rows.read_text()
    found = sampling(Interrupted(engine, 3), model)
    with pytest.raises(DataError, match="changed"):
        run(replace(found, check=_append(rows)), rows, out)
    rows.write_text(before)
    assert run(sampling(Interrupted(engine, 0), model), rows, out) == [10]
    assert out.read_bytes() == whole[".jsonl"]


def _append(rows: Path) -> Any:
    """A check that, at the last problem, puts a row before all others."""

    def check(problem: Problem) -> str:
        if problem.id == "p9":
            lines = rows.read_text().splitlines(keepends=True)
            rows.write_text("".join([lines[0].replace("say 0", "say 10"), *lines]))
        return FITS

    return check


def test_another_protocol_or_model_does_not_use_the_journal(
    engine: LocalEngine, model: Checkpoint, rows: Path, tmp_path: Path
) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(sampling(Interrupted(engine, 2), model), rows, tmp_path / "out.jsonl")
    for values in ({"seed": 1}, {"temperature": 0.5}, {"max_new_tokens": 50}):
        assert run(sampling(engine, model, **values), rows, tmp_path / "out.jsonl")[0] == 0
    other = tiny_model(tmp_path / "other", seed=1)
    assert run(sampling(engine, other), rows, tmp_path / "out.jsonl")[0] == 0


def test_rows_that_changed_are_sampled_anew_and_those_before_them_are_not(
    engine: LocalEngine, model: Checkpoint, rows: Path, tmp_path: Path
) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(sampling(Interrupted(engine, 2), model), rows, tmp_path / "out.jsonl")
    write_rows(rows, [*comma_problems(5), *comma_problems(9)[6:]])
    assert run(sampling(engine, model), rows, tmp_path / "out.jsonl")[0] == 4
    run(sampling(engine, model), rows, tmp_path / "fresh.jsonl")
    assert (tmp_path / "out.jsonl").read_bytes() == (tmp_path / "fresh.jsonl").read_bytes()


def unknown_rule(problem: Problem, text: str) -> Verdict:
    return unjudged("invalid", "no such rule") if "say 3" in str(problem.prompt) else right()


def broken(problem: Problem, text: str) -> Verdict:
    return unjudged("infra", "the disk is on fire") if "say 6" in str(problem.prompt) else right()


def test_an_invalid_row_and_a_prompt_that_is_too_long_are_rejects_with_their_reason(
    engine: LocalEngine, model: Checkpoint, tmp_path: Path
) -> None:
    problems = comma_problems(6)
    problems[1] = replace(problems[1], prompt=(user("long " * 100),))
    problems[2] = replace(problems[2], prompt=(user("half a pair \ud800"),))
    write_rows(tmp_path / "rows.jsonl", problems)
    with (tmp_path / "rows.jsonl").open("a") as file:
        file.write("{broken\n")
    run(sampling(engine, model, unknown_rule), tmp_path / "rows.jsonl", tmp_path / "out.jsonl")
    assert [p.id for p in read_problems(tmp_path / "out.jsonl")] == ["p0", "p4", "p5"]
    lines = rejects_path(tmp_path / "out.jsonl").read_text().splitlines()
    found = [(r["reason"], r["detail"]) for r in map(json.loads, lines)]
    assert [reason for reason, _ in found] == [
        "cannot be sampled", "cannot be sampled", "invalid row", "unreadable",
    ]  # fmt: skip
    assert "context of 256" in found[0][1] and "encoded" in found[1][1]
    assert found[2][1] == "no such rule"


def test_what_is_not_judged_ends_the_command_and_everything_before_it_is_kept(
    engine: LocalEngine, model: Checkpoint, rows: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.jsonl"
    with pytest.raises(EvaluationError, match="the disk is on fire"):
        run(sampling(engine, model, broken), rows, out)
    assert not out.exists()
    assert run(sampling(engine, model), rows, out)[0] == 4


def test_truncated_samples_count_as_wrong(
    engine: LocalEngine, model: Checkpoint, rows: Path, tmp_path: Path
) -> None:
    found = sampling(engine, model, unknown_rule, max_new_tokens=1)
    run(found, rows, tmp_path / "out.jsonl")
    for problem in read_problems(tmp_path / "out.jsonl"):
        recorded = problem.extra["pass_rate"]
        assert recorded["correct"] + recorded["truncated"] <= 4
        assert recorded["truncated"] >= 3


def test_rows_that_share_an_id_are_counted_apart(
    engine: LocalEngine, model: Checkpoint, tmp_path: Path
) -> None:
    problems = [replace(p, id="same") for p in comma_problems(8)]
    write_rows(tmp_path / "rows.jsonl", problems)
    kept = tmp_path / "samples.jsonl"
    found = sampling(engine, model, keep=True)
    run(found, tmp_path / "rows.jsonl", tmp_path / "out.jsonl", kept)
    texts = [json.loads(line)["response"] for line in kept.read_text().splitlines()]
    assert len({tuple(texts[i : i + 4]) for i in range(0, 32, 4)}) == 8


def test_chat_rows_are_refused_before_anything_is_sampled(tmp_path: Path) -> None:
    write_rows(tmp_path / "rows.jsonl", [*comma_problems(2), *chat_problems(3)])
    with pytest.raises(DataError, match="3 of 5 rows are chat"):
        count_problems(tmp_path / "rows.jsonl")


@pytest.mark.parametrize(("text", "said"), [("", "it is empty"), ("{broken\n", "1 rows cannot")])
def test_a_file_without_a_problem_is_refused(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text(text)
    with pytest.raises(DataError, match=said):
        count_problems(tmp_path / "rows.jsonl")
    assert all(isinstance(row, Reject) for row in iter_rows(tmp_path / "rows.jsonl"))


def test_a_length_that_leaves_no_room_for_a_prompt_is_refused(model: Checkpoint) -> None:
    with pytest.raises(ConfigError, match="context is 256"):
        sampling(None, model, max_new_tokens=256)


def test_two_commands_do_not_write_one_output(tmp_path: Path) -> None:
    with (
        journal(tmp_path / "out.jsonl", "abc"),
        pytest.raises(OutputError, match="another"),
        journal(tmp_path / "out.jsonl", "abc"),
    ):
        pass
