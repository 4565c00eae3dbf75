"""Contests from files: a directory of contests, or one.

A contest is a directory of what Codeforces answers (`public`), or a file of our own shape,

    {"id": "r1", "name": "Round 1", "date": "2025-01-31", "kind": "score",
     "problems": [{"index": "A", "score": 500, "id": "r1-A"}, ...],
     "standings": [{"handle": "h", "rating": 1512, "points": 1730, "penalty": 0}, ...]}

or the same as JSON lines: the contest without its standings, then a row a line. `kind` is `score`
or `icpc`; `score` is absent in `icpc` contests, `penalty` in regular rounds. A `rating` of null
is not known, and the row is left out and counted.
"""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from cascade_rl.errors import DataError
from cascade_rl.evaluation.codeforces.contests import (
    Contest,
    ContestProblem,
    Human,
    Kind,
    checked,
)
from cascade_rl.evaluation.codeforces.public import HOW_TO_SAVE, is_public, read_public
from cascade_rl.evaluation.codeforces.shapes import fitted, read_json

ENDINGS = (".json", ".jsonl")
HINT = (
    "a file holds id, name, date, kind (score or icpc), problems [{index, score, id}] and "
    f"standings [{{handle, rating, points, penalty}}]; or {HOW_TO_SAVE}"
)


class _Strict(BaseModel):
    """A typo in a key is refused: a penalty that is not read would be a penalty of 0."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, coerce_numbers_to_str=True)


class _Problem(_Strict):
    index: str
    id: str
    score: float | None = None


class _Row(_Strict):
    handle: str
    rating: float | None
    points: float
    penalty: float = 0.0


class _Contest(_Strict):
    id: str
    name: str
    date: datetime.date
    kind: Kind
    problems: list[_Problem]
    standings: list[_Row]


def read_contests(path: Path) -> tuple[Contest, ...]:
    """The contest at `path`, or every one in that directory, by date.

    Raises DataError where there is none, where one has another shape or lacks what a rating
    needs, and where two have one id.
    """
    contests: dict[str, tuple[Contest, Path]] = {}
    for place in _places(path):
        contest = read_contest(place)
        if contest.id in contests:
            raise DataError(
                f"{contests[contest.id][1]} and {place} are both contest {contest.id}",
                hint="a contest counts once: leave one of them out",
            )
        contests[contest.id] = contest, place
    return tuple(sorted((c for c, _ in contests.values()), key=lambda c: (c.date, c.id)))


def read_contest(path: Path) -> Contest:
    """One contest of either shape."""
    if path.is_dir():
        return read_public(path)
    if path.suffix not in ENDINGS:
        raise DataError(f"{path} ends in {path.suffix!r}; expected {' or '.join(ENDINGS)}")
    value = read_json(path, HINT) if path.suffix == ".json" else _json_lines(path)
    found = fitted(_Contest, value, str(path), HINT)
    humans = tuple(
        Human(row.handle, row.rating, row.points, row.penalty)
        for row in found.standings
        if row.rating is not None
    )
    contest = Contest(
        id=found.id,
        name=found.name,
        date=found.date,
        kind=found.kind,
        problems=tuple(ContestProblem(p.index, p.id, p.score) for p in found.problems),
        humans=humans,
        left_out=len(found.standings) - len(humans),
    )
    return checked(contest, str(path))


def contest_to_json(contest: Contest) -> str:
    """The contest as one document of our own shape; `read_contest` gives it back."""
    value = {
        "id": contest.id,
        "name": contest.name,
        "date": contest.date.isoformat(),
        "kind": contest.kind,
        "problems": [{"index": p.index, "id": p.id, "score": p.score} for p in contest.problems],
        "standings": [
            {"handle": h.handle, "rating": h.rating, "points": h.points, "penalty": h.penalty}
            for h in contest.humans
        ],
    }
    return json.dumps(value) + "\n"


def _places(path: Path) -> list[Path]:
    if not path.exists():
        raise DataError(f"{path} does not exist; expected contests", hint=HINT)
    if path.is_file() or is_public(path):
        return [path]
    found = sorted(
        entry
        for entry in path.iterdir()
        if not entry.name.startswith(".") and (entry.is_dir() or entry.suffix in ENDINGS)
    )
    if not found:
        raise DataError(f"{path} holds no contest", hint=HINT)
    return found


def _json_lines(path: Path) -> Any:
    lines = []
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        try:
            lines.append(json.loads(line))
        except ValueError as error:
            raise DataError(f"{path}, line {number} is not JSON: {error}", hint=HINT) from None
    if not lines or not isinstance(lines[0], dict):
        raise DataError(f"{path}: line 1 is not a contest", hint=HINT)
    return {**lines[0], "standings": lines[1:]} if len(lines) > 1 else lines[0]
