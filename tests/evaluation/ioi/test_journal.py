"""The journal: events before they count, torn ends cut off, anything else refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from cascade_rl.engines.generate import Response
from cascade_rl.errors import OutputError
from cascade_rl.evaluation.ioi.journal import (
    Answered,
    Begun,
    Event,
    OutOfOrder,
    Passed,
    Settled,
    Standing,
    followed,
    journal,
)
from tests.evaluation.ioi.scripted import verdict

HEAD = {"problem": "pairs", "rounds": 50}
ANSWER = Answered(0, Response(0, 3, "text é", "stop", 7, 1.25))
BEGUN = Begun(0, 1, 3, "// program\n", "shortest", 20, {"no code": 2})
SETTLED = Settled(0, verdict(1, 0.5, 0))
PASSED = Passed(1, 0, 20, {"no code": 20})
EVENTS: list[Event] = [ANSWER, BEGUN, SETTLED, PASSED]


def written(path: Path, *events: Event) -> Standing:
    with journal(path, HEAD) as found:
        for event in events:
            found.add(event)
        return found.standing


def test_what_is_read_again_is_what_was_written(tmp_path: Path) -> None:
    path = tmp_path / "out" / "pairs.jsonl"
    for count in range(len(EVENTS) + 1):
        path.unlink(missing_ok=True)
        before = written(path, *EVENTS[:count])
        assert written(path) == before
    assert [one.subtask for one in before.state.rounds] == [1, 0]
    assert before.state.submissions[0].verdict == SETTLED.verdict


def test_a_torn_last_line_is_cut_off_wherever_it_tears(tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    shorter = written(path, *EVENTS[:2])
    start = path.stat().st_size
    whole = written(path, SETTLED)
    data = path.read_bytes()
    for size in range(start, len(data)):
        path.write_bytes(data[:size])
        assert written(path) == shorter
        assert path.read_bytes() == data[:start]
    path.write_bytes(data[:10])
    assert written(path, *EVENTS[:3]) == whole


WRONG_ORDERS: list[list[Event]] = [
    [SETTLED],
    [BEGUN, BEGUN],
    [BEGUN, ANSWER],
    [ANSWER, ANSWER],
    [PASSED],
    [BEGUN, SETTLED, BEGUN],
]


@pytest.mark.parametrize("events", WRONG_ORDERS)
def test_events_that_cannot_follow_each_other_are_refused(events: list[Event]) -> None:
    standing = Standing()
    for event in events[:-1]:
        standing = followed(standing, event)
    with pytest.raises(OutOfOrder):
        followed(standing, events[-1])


@pytest.mark.parametrize(
    "line", ["{}", "[]", "garbage", '{"event": "won"}', '{"event": "judged", "round": 0}']
)
def test_a_line_that_is_no_event_is_named_and_nothing_is_lost(line: str, tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    written(path, *EVENTS)
    lines = path.read_text().splitlines(keepends=True)
    lines[2] = line + "\n"
    path.write_text("".join(lines))
    data = path.read_bytes()
    with pytest.raises(OutputError, match="is damaged in line 3"):
        written(path)
    assert path.read_bytes() == data


def test_a_run_of_other_settings_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    written(path, *EVENTS)
    with (
        pytest.raises(OutputError, match="begun with rounds 50, now 40") as error,
        journal(path, {**HEAD, "rounds": 40}),
    ):
        pass
    assert "--out" in error.value.hint


def test_two_commands_cannot_write_one_journal(tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    with (
        journal(path, HEAD),
        pytest.raises(OutputError, match="in use by another command"),
        journal(path, HEAD),
    ):
        pass
