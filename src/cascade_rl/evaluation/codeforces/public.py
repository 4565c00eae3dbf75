"""Contests as Codeforces' own API answers them, saved by the user: one directory a contest.

    2085/standings.json        contest.standings?contestId=2085
    2085/ratingChanges.json    contest.ratingChanges?contestId=2085
    2085/ids.json              optional: {"A": "my-id", ...}, else the problem's id is 2085A

One rule: a row counts when it is a CONTESTANT of one member whose rating changed, at its
`oldRating`. Newcomers have an `oldRating` of 0 there, and count at 0, as in CodeElo.
"""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict, RootModel
from pydantic.alias_generators import to_camel

from cascade_rl.errors import DataError
from cascade_rl.evaluation.codeforces.contests import Contest, ContestProblem, Human, checked
from cascade_rl.evaluation.codeforces.shapes import fitted, read_json

STANDINGS, RATINGS, IDS = "standings.json", "ratingChanges.json", "ids.json"
HOW_TO_SAVE = (
    "save both answers of Codeforces, one directory a contest:\n"
    f"  curl -o ID/{STANDINGS} 'https://codeforces.com/api/contest.standings?contestId=ID'\n"
    f"  curl -o ID/{RATINGS} 'https://codeforces.com/api/contest.ratingChanges?contestId=ID'"
)


class _Answer(BaseModel):
    """Some of the fields of an object of the API, in its spelling."""

    model_config = ConfigDict(alias_generator=to_camel, allow_inf_nan=False)


Answer = TypeVar("Answer", bound=_Answer)


class _Status(_Answer):
    status: str
    comment: str = ""


class _Contest(_Answer):
    id: int
    name: str
    type: Literal["CF", "ICPC", "IOI"]
    start_time_seconds: int


class _Problem(_Answer):
    index: str
    points: float | None = None


class _Member(_Answer):
    handle: str


class _Party(_Answer):
    members: list[_Member]
    participant_type: str


class _Row(_Answer):
    party: _Party
    points: float
    penalty: float


class _Standings(_Answer):
    contest: _Contest
    problems: list[_Problem]
    rows: list[_Row]


class _StandingsAnswer(_Answer):
    result: _Standings


class _Change(_Answer):
    handle: str
    old_rating: float
    contest_id: int | None = None


class _ChangesAnswer(_Answer):
    result: list[_Change]


class _Ids(RootModel[dict[str, str]]):
    """A problem's id in the evaluation, by its letter."""


def is_public(directory: Path) -> bool:
    """Whether this directory is one contest, whole or not."""
    return any((directory / name).exists() for name in (STANDINGS, RATINGS))


def read_public(directory: Path) -> Contest:
    """One contest from its two saved answers.

    Raises DataError for a file that is missing or of another shape, an answer that is a refusal,
    ratings of another contest, and what `checked` refuses.
    """
    standings = _answer(_StandingsAnswer, directory / STANDINGS).result
    changes = _answer(_ChangesAnswer, directory / RATINGS).result
    if not changes:
        raise DataError(
            f"{directory / RATINGS} holds no rating: the contest changed none",
            hint="only rated contests can be used: leave it out, or save its ratings again",
        )
    about, other = standings.contest, changes[0].contest_id
    if other not in (None, about.id):
        raise DataError(
            f"{directory}: {STANDINGS} is of contest {about.id}, {RATINGS} of {other}",
            hint=HOW_TO_SAVE,
        )
    if about.type == "IOI":
        raise DataError(f"{directory}: contest {about.id} has IOI rules; expected CF or ICPC")
    humans = _humans(standings.rows, {change.handle: change.old_rating for change in changes})
    contest = Contest(
        id=str(about.id),
        name=about.name,
        date=datetime.datetime.fromtimestamp(about.start_time_seconds, datetime.UTC).date(),
        kind="icpc" if about.type == "ICPC" else "score",
        problems=_problems(directory, standings),
        humans=humans,
        left_out=len(standings.rows) - len(humans),
    )
    return checked(contest, str(directory))


def _answer(shape: type[Answer], path: Path) -> Answer:
    value = read_json(path, HOW_TO_SAVE)
    said = fitted(_Status, value, str(path), HOW_TO_SAVE)
    if said.status != "OK":
        raise DataError(
            f"{path}: Codeforces answered {said.status}: {said.comment}", hint=HOW_TO_SAVE
        )
    return fitted(shape, value, str(path), HOW_TO_SAVE)


def _humans(rows: list[_Row], ratings: dict[str, float]) -> tuple[Human, ...]:
    return tuple(
        Human(row.party.members[0].handle, rating, row.points, row.penalty)
        for row in rows
        if row.party.participant_type == "CONTESTANT"
        and len(row.party.members) == 1
        and (rating := ratings.get(row.party.members[0].handle)) is not None
    )


def _problems(directory: Path, standings: _Standings) -> tuple[ContestProblem, ...]:
    ids = {p.index: f"{standings.contest.id}{p.index}" for p in standings.problems}
    path = directory / IDS
    if path.exists():
        hint = 'expected {"A": "id of problem A in the evaluation", ...}'
        given = fitted(_Ids, read_json(path, hint), str(path), hint).root
        unknown = [index for index in given if index not in ids]
        if unknown:
            raise DataError(
                f"{path}: the contest has no problem {unknown[0]!r}; it has {', '.join(ids)}"
            )
        ids |= given
    return tuple(
        ContestProblem(problem.index, ids[problem.index], problem.points)
        for problem in standings.problems
    )
