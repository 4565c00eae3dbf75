"""Contests small enough to work out by hand, and what Codeforces' API would answer of them."""

from __future__ import annotations

import datetime
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cascade_rl.evaluation.codeforces.attempts import Attempts
from cascade_rl.evaluation.codeforces.contests import Contest, ContestProblem, Human, Kind


def contest(
    humans: Sequence[tuple[float, float, float]],
    scores: Sequence[float | None] = (500.0, 1000.0),
    kind: Kind = "score",
    name: str = "c1",
) -> Contest:
    """Humans are (rating, points, penalty); problems A, B, ... have the ids c1A, c1B, ..."""
    return Contest(
        id=name,
        name=f"Round {name}",
        date=datetime.date(2025, 1, 31),
        kind=kind,
        problems=tuple(
            ContestProblem("ABCDEFGH"[i], f"{name}{'ABCDEFGH'[i]}", score)
            for i, score in enumerate(scores)
        ),
        humans=tuple(Human(f"h{i}", *values) for i, values in enumerate(humans)),
    )


def solved(name: str, rights: Sequence[int], attempts: int = 8) -> Attempts:
    """So many right answers to A, B, ... of a contest."""
    return Attempts(attempts, {f"{name}{'ABCDEFGH'[i]}": k for i, k in enumerate(rights)})


def row(handle: str, points: float, penalty: float = 0, kind: str = "CONTESTANT") -> dict[str, Any]:
    """A row of `contest.standings`, with the fields that nobody reads here too."""
    return {
        "party": {
            "contestId": 2085,
            "members": [{"handle": handle}],
            "participantType": kind,
            "ghost": False,
            "startTimeSeconds": 1742049300,
        },
        "rank": 1,
        "points": points,
        "penalty": penalty,
        "successfulHackCount": 0,
        "unsuccessfulHackCount": 0,
        "problemResults": [
            {"points": points, "rejectedAttemptCount": 0, "type": "FINAL"},
            {"points": 0.0, "rejectedAttemptCount": 1, "type": "FINAL"},
        ],
    }


def standings(
    rows: Sequence[dict[str, Any]],
    points: Sequence[float | None] = (500.0, 1000.0),
    kind: str = "CF",
) -> dict[str, Any]:
    """The answer of `contest.standings`; a problem of None has no `points`, as under ICPC rules."""
    problems = [
        {"contestId": 2085, "index": "ABCDEFGH"[i], "name": "P", "type": "PROGRAMMING", "tags": []}
        | ({} if score is None else {"points": score})
        for i, score in enumerate(points)
    ]
    about = {
        "id": 2085,
        "name": "Codeforces Round 1012 (Div. 1)",
        "type": kind,
        "phase": "FINISHED",
        "frozen": False,
        "durationSeconds": 7200,
        "startTimeSeconds": 1742740500,  # 23 March 2025
        "relativeTimeSeconds": 9999999,
    }
    result = {"contest": about, "problems": problems, "rows": list(rows)}
    return {"status": "OK", "result": result}


def rating_changes(ratings: dict[str, int], contest_id: int = 2085) -> dict[str, Any]:
    """The answer of `contest.ratingChanges`."""
    return {
        "status": "OK",
        "result": [
            {
                "contestId": contest_id,
                "contestName": "Codeforces Round 1012 (Div. 1)",
                "handle": handle,
                "rank": rank,
                "ratingUpdateTimeSeconds": 1742749000,
                "oldRating": rating,
                "newRating": rating + 10,
            }
            for rank, (handle, rating) in enumerate(ratings.items(), 1)
        ],
    }


def save(directory: Path, standings_answer: object, changes_answer: object) -> Path:
    """Both answers where a contest keeps them."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "standings.json").write_text(json.dumps(standings_answer))
    (directory / "ratingChanges.json").write_text(json.dumps(changes_answer))
    return directory
