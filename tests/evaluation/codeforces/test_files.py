"""Contests of both shapes, and what is refused before anything is computed."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cascade_rl.errors import DataError
from cascade_rl.evaluation.codeforces.contests import ContestProblem, Human
from cascade_rl.evaluation.codeforces.files import contest_to_json, read_contest, read_contests
from tests.evaluation.codeforces.helpers import contest, rating_changes, row, save, standings

OWN: dict[str, Any] = {
    "id": 7,
    "name": "Round 7",
    "date": "2025-02-01",
    "kind": "score",
    "problems": [{"index": "A", "score": 500, "id": "7A"}],
    "standings": [
        {"handle": "ann", "rating": 1500, "points": 480},
        {"handle": "bob", "rating": None, "points": 500},
    ],
}


def write(path: Path, value: object) -> Path:
    path.write_text(json.dumps(value))
    return path


# --- our own shape ----------------------------------------------------------------------------


def test_a_file_is_a_contest_and_humans_without_a_rating_are_left_out(tmp_path: Path) -> None:
    found = read_contest(write(tmp_path / "7.json", OWN))
    assert (found.id, found.kind, found.date) == ("7", "score", datetime.date(2025, 2, 1))
    assert found.problems == (ContestProblem("A", "7A", 500),)
    assert (found.humans, found.left_out) == ((Human("ann", 1500, 480, 0),), 1)


def test_json_lines_are_the_contest_and_then_its_rows(tmp_path: Path) -> None:
    path = tmp_path / "7.jsonl"
    head = {key: value for key, value in OWN.items() if key != "standings"}
    path.write_text("\n".join(map(json.dumps, [head, *OWN["standings"]])))
    assert read_contest(path) == read_contest(write(tmp_path / "7.json", OWN))


def test_a_contest_is_written_and_read_back_the_same(tmp_path: Path) -> None:
    icpc = contest([(1500, 3, 12.5), (1400, 2, 7)], [None, None, None], "icpc")
    path = tmp_path / "c1.json"
    path.write_text(contest_to_json(icpc))
    assert read_contest(path) == icpc


def test_a_directory_gives_its_contests_by_date(tmp_path: Path) -> None:
    write(tmp_path / "a.json", OWN)
    write(tmp_path / "b.json", OWN | {"id": "6", "date": "2025-01-01"})
    (tmp_path / "README.md").write_text("not a contest")
    (tmp_path / ".cache").mkdir()
    save(tmp_path / "2085", standings([row("ann", 500)]), rating_changes({"ann": 1500}))
    assert [found.id for found in read_contests(tmp_path)] == ["6", "7", "2085"]


Change = Callable[[dict[str, Any]], dict[str, Any]]
BAD_FILES: list[tuple[Change, str]] = [
    (lambda c: c | {"kind": "educational"}, "kind: input should be 'score' or 'icpc'"),
    (lambda c: c | {"date": "spring"}, "date: "),
    (lambda c: {k: v for k, v in c.items() if k != "standings"}, "standings: field required"),
    (lambda c: c | {"problems": []}, "contest 7 .Round 7. has no problems"),
    (lambda c: c | {"standings": []}, "no contestant with a known rating .0 without"),
    (lambda c: c | {"standings": c["standings"][1:]}, "no contestant .* .1 without"),
    (lambda c: c | {"standings": [{"handle": "ann", "points": 1}]}, "standings.0.rating: field"),
    (
        lambda c: c | {"standings": [c["standings"][0] | {"penality": 3}]},
        "standings.0.penality: extra inputs",
    ),
    (
        lambda c: c | {"standings": [c["standings"][0] | {"points": float("nan")}]},
        "standings.0.points: input should be a finite number",
    ),
    (lambda c: c | {"problems": c["problems"] * 2}, "two problems of index 'A'"),
    (
        lambda c: c | {"problems": [*c["problems"], {"index": "B", "score": 1, "id": "7A"}]},
        "two problems of id '7A'",
    ),
    (
        lambda c: c | {"problems": [*c["problems"], {"index": "B", "id": "7B"}]},
        "is a regular round, and B of its problems have no score",
    ),
    (lambda c: c | {"problems": [{"index": "A", "id": "7A", "score": 0}]}, "no score above 0"),
]


@pytest.mark.parametrize(("change", "message"), BAD_FILES)
def test_a_file_that_cannot_be_rated_is_refused(
    tmp_path: Path, change: Change, message: str
) -> None:
    path = write(tmp_path / "7.json", change(OWN))
    with pytest.raises(DataError, match=message) as caught:
        read_contests(path)
    assert "7.json" in caught.value.message


def test_icpc_problems_need_no_score(tmp_path: Path) -> None:
    problems = [{"index": "A", "id": "7A"}]
    found = read_contest(write(tmp_path / "7.json", OWN | {"kind": "icpc", "problems": problems}))
    assert found.problems[0].score is None


def test_no_contest_a_contest_twice_and_no_json_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist; expected contests"):
        read_contests(tmp_path / "absent")
    with pytest.raises(DataError, match="holds no contest") as caught:
        read_contests(tmp_path)
    assert "contest.standings" in caught.value.hint
    with pytest.raises(DataError, match=r"ends in '\.txt'; expected \.json or \.jsonl"):
        read_contests(write(tmp_path / "a.txt", OWN))
    write(tmp_path / "a.json", OWN)
    write(tmp_path / "b.json", OWN)
    with pytest.raises(DataError, match=r"a\.json and .*b\.json are both contest 7"):
        read_contests(tmp_path)
    (tmp_path / "b.json").write_text("{")
    with pytest.raises(DataError, match=r"b\.json is not JSON"):
        read_contests(tmp_path)
    (tmp_path / "b.json").unlink()
    (tmp_path / "c.jsonl").write_text('{"id": 1}\n{')
    with pytest.raises(DataError, match=r"c\.jsonl, line 2 is not JSON"):
        read_contests(tmp_path)
    (tmp_path / "c.jsonl").write_text("")
    with pytest.raises(DataError, match="line 1 is not a contest"):
        read_contests(tmp_path)


# --- what Codeforces' API answers -------------------------------------------------------------

ROWS = [
    row("ann", 1400),
    row("bob", 500),
    row("new", 450),
    row("cat", 1400, kind="VIRTUAL"),
    row("dan", 1400, kind="PRACTICE"),
    row("eve", 1400, kind="OUT_OF_COMPETITION"),
    row("unrated", 900),
]
RATINGS = {"ann": 1900, "bob": 1200, "new": 0, "cat": 2000}


def test_saved_answers_are_a_contest_of_its_rated_contestants(tmp_path: Path) -> None:
    found = read_contest(save(tmp_path / "r", standings(ROWS), rating_changes(RATINGS)))
    assert (found.id, found.kind, found.date) == ("2085", "score", datetime.date(2025, 3, 23))
    assert found.problems == (ContestProblem("A", "2085A", 500), ContestProblem("B", "2085B", 1000))
    assert found.humans == (
        Human("ann", 1900, 1400),
        Human("bob", 1200, 500),
        Human("new", 0, 450),
    )
    assert found.left_out == 4


def test_a_team_has_no_rating_of_its_own(tmp_path: Path) -> None:
    team = row("ann", 900)
    team["party"]["members"].append({"handle": "bob"})
    answers = standings([team, row("ann", 1400)]), rating_changes(RATINGS)
    found = read_contest(save(tmp_path / "r", *answers))
    assert (len(found.humans), found.left_out) == (1, 1)


def test_an_icpc_contest_has_problems_without_points_and_rows_with_penalty(tmp_path: Path) -> None:
    answer = standings([row("ann", 2, 61)], [None, None], "ICPC")
    found = read_contest(save(tmp_path / "r", answer, rating_changes(RATINGS)))
    assert (found.kind, found.problems[1].score) == ("icpc", None)
    assert found.humans == (Human("ann", 1900, 2, 61),)


def test_a_file_beside_them_gives_problems_the_ids_of_an_evaluation(tmp_path: Path) -> None:
    directory = save(tmp_path / "r", standings(ROWS), rating_changes(RATINGS))
    write(directory / "ids.json", {"B": "lcb-pro/17"})
    assert [p.id for p in read_contest(directory).problems] == ["2085A", "lcb-pro/17"]
    write(directory / "ids.json", {"Z": "lcb-pro/17"})
    with pytest.raises(DataError, match="no problem 'Z'; it has A, B"):
        read_contest(directory)
    write(directory / "ids.json", ["lcb-pro/17"])
    with pytest.raises(DataError, match=r"ids\.json: the document"):
        read_contest(directory)


REFUSED = {"status": "FAILED", "comment": "contestId: Contest with id 9 not found"}
BAD_ANSWERS: list[tuple[object, object, str]] = [
    (standings(ROWS), rating_changes({}), "changed none"),
    (
        standings(ROWS),
        rating_changes({"zoe": 1500}),
        "no contestant with a known rating .7 without",
    ),
    (REFUSED, rating_changes(RATINGS), "answered FAILED: contestId: Contest with id 9 not found"),
    (standings(ROWS), REFUSED, "ratingChanges.json: Codeforces answered FAILED"),
    (rating_changes(RATINGS), rating_changes(RATINGS), "standings.json: result: input should be"),
    (standings(ROWS), standings(ROWS), "ratingChanges.json: result: input should be a valid list"),
    (OWN, rating_changes(RATINGS), "standings.json: status: field required"),
    (
        standings([{"handle": "ann"}]),
        rating_changes(RATINGS),
        "result.rows.0.party: field required",
    ),
    (standings(ROWS, [500, None]), rating_changes(RATINGS), "and B of its problems have no score"),
    (standings(ROWS, kind="IOI"), rating_changes(RATINGS), "has IOI rules; expected CF or ICPC"),
    (standings(ROWS), rating_changes(RATINGS, 2086), "is of contest 2085, ratingChanges.json of"),
]


@pytest.mark.parametrize(("first", "second", "message"), BAD_ANSWERS)
def test_answers_that_cannot_be_rated_are_refused(
    tmp_path: Path, first: object, second: object, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        read_contests(save(tmp_path / "2085", first, second))


def test_a_missing_answer_says_how_to_save_it(tmp_path: Path) -> None:
    directory = save(tmp_path / "2085", standings(ROWS), rating_changes(RATINGS))
    (directory / "ratingChanges.json").unlink()
    with pytest.raises(DataError, match=r"ratingChanges\.json cannot be read") as caught:
        read_contests(tmp_path)
    assert "api/contest.ratingChanges?contestId=ID" in caught.value.hint
