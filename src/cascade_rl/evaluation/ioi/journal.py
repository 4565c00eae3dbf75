"""What has happened to one problem, on disk before it counts: a line for each event.

Two rules. The standing of a problem is these events folded, in a run as after a kill, so there is
one way to come by it. And a submission has two lines, `begun` with its program before it is
judged and `judged` after: a run that finds the first alone judges that program, not another.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

from cascade_rl.data.growing import growing, whole_lines
from cascade_rl.engines.generate import Response
from cascade_rl.errors import OutputError
from cascade_rl.evaluation.ioi.judge import Judged, TestResult
from cascade_rl.evaluation.ioi.strategy import Round, Selector, State, Submission


@dataclass(frozen=True, slots=True)
class Answered:
    """A generation arrived. `response.prompt` is not kept: it is 0."""

    round: int
    response: Response


@dataclass(frozen=True, slots=True)
class Begun:
    """A program is submitted: from here on it is one of those that are allowed."""

    round: int
    subtask: int
    sample: int
    source: str
    selector: Selector
    generations: int
    rejected: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Settled:
    """The verdict on the program that was begun; the round is over."""

    round: int
    verdict: Judged


@dataclass(frozen=True, slots=True)
class Passed:
    """No candidate was worth a submission; the round is over."""

    round: int
    subtask: int
    generations: int
    rejected: Mapping[str, int]


Event = Answered | Begun | Settled | Passed


@dataclass(frozen=True, slots=True)
class Standing:
    """Finished rounds, and of the open one the answers by number and what is being judged."""

    state: State = field(default_factory=State)
    answers: Mapping[int, Response] = field(default_factory=dict)
    begun: Begun | None = None


class OutOfOrder(ValueError):
    """An event that cannot follow on those before it."""


def followed(standing: Standing, event: Event) -> Standing:
    """The standing after one more event. Raises OutOfOrder for one that does not fit."""
    state, begun = standing.state, standing.begun
    if event.round != len(state.rounds) or (begun is not None) != isinstance(event, Settled):
        raise OutOfOrder(f"{type(event).__name__.lower()} in round {event.round}")
    match event:
        case Answered(response=response):
            if response.sample in standing.answers:
                raise OutOfOrder(f"answer {response.sample} twice in round {event.round}")
            return Standing(state, {**standing.answers, response.sample: response})
        case Begun():
            return Standing(state, {}, event)
        case Settled(verdict=verdict):
            assert begun is not None
            made = Submission(begun.round, begun.subtask, begun.source, verdict)
            over = Round(begun.subtask, begun.generations, begun.rejected, made, begun.selector)
        case Passed():
            over = Round(event.subtask, event.generations, event.rejected, None, None)
    return Standing(State((*state.rounds, over)))


@dataclass(slots=True)
class Journal:
    """The events of one problem; `standing` is what they lead to."""

    file: IO[bytes]
    standing: Standing

    def add(self, event: Event) -> None:
        """Write an event, then let it count. All but answers are on the disk when this returns."""
        after = followed(self.standing, event)
        self.file.write(_line(_fields(event)))
        self.file.flush()
        if not isinstance(event, Answered):
            os.fsync(self.file.fileno())
        self.standing = after


@contextmanager
def journal(path: Path, head: Mapping[str, Any]) -> Iterator[Journal]:
    """The journal of one problem; `head` is all that decides its run.

    Raises OutputError where another process writes it, where it was begun under another head, or
    where it is damaged before its last line.
    """
    busy = OutputError(
        f"{path} is in use by another command; expected one at a time",
        hint="wait for it, or write elsewhere:  --out DIR",
    )
    with growing(path, busy) as file:
        standing, size = _replayed(path, head)
        os.truncate(path, size)
        if not size:
            file.write(_line({"event": "head", **head}))
            file.flush()
            os.fsync(file.fileno())
        yield Journal(file, standing)


def _replayed(path: Path, head: Mapping[str, Any]) -> tuple[Standing, int]:
    """The standing that the whole lines lead to, and their size; a torn last line is left out."""
    standing, size, number = Standing(), 0, 1
    for fields, length in whole_lines(path):
        if number == 1:
            _refuse_another(path, fields, {"event": "head", **head})
        else:
            try:
                standing = followed(standing, _event(fields))
            except (KeyError, TypeError, ValueError) as error:
                raise _damaged(path, number, str(error)) from None
        size, number = size + length, number + 1
    with path.open("rb") as file:
        file.seek(size)
        if file.readline().endswith(b"\n"):  # a kill leaves a line without its end
            raise _damaged(path, number, "it is no event")
    return standing, size


def _damaged(path: Path, number: int, why: str) -> OutputError:
    return OutputError(
        f"{path} is damaged in line {number}: {why}",
        hint="put back a copy of it, or begin again elsewhere:  --out DIR",
    )


def _refuse_another(path: Path, found: Mapping[str, Any], head: Mapping[str, Any]) -> None:
    keys = [key for key in {**head, **found} if head.get(key) != found.get(key)]
    if keys:
        lines = "; ".join(f"{key} {found.get(key)!r}, now {head.get(key)!r}" for key in keys[:4])
        raise OutputError(
            f"{path} was begun with {lines}",
            hint="run the command that began it, or write elsewhere:  --out DIR",
        )


def _line(fields: Mapping[str, Any]) -> bytes:
    return json.dumps(fields, separators=(",", ":")).encode("ascii") + b"\n"


def _fields(event: Event) -> dict[str, Any]:
    """An event as JSON; `_event` reads it."""
    match event:
        case Answered(round=number, response=response):
            values = asdict(response)
            del values["prompt"]
            return {"event": "answered", "round": number, **values}
        case Settled(round=number, verdict=verdict):
            results = [asdict(result) for result in verdict.results_S]
            return {"event": "judged", "round": number, "results": results}
        case Begun():
            return {"event": "begun", **asdict(event)}
        case Passed():
            return {"event": "passed", **asdict(event)}


def _event(fields: Mapping[str, Any]) -> Event:
    """Raises KeyError, TypeError or ValueError for what is no event."""
    values = dict(fields)
    kind = values.pop("event")
    match kind:
        case "answered":
            return Answered(values.pop("round"), Response(prompt=0, **values))
        case "judged":
            results = tuple(TestResult(**result) for result in values["results"])
            return Settled(values["round"], Judged(results))
        case "begun":
            return Begun(**values)
        case "passed":
            return Passed(**values)
    raise ValueError(f"no event is called {kind!r}")
