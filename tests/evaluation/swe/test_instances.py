from __future__ import annotations

import json
from pathlib import Path

import pytest

from cascade_rl.errors import DataError
from cascade_rl.evaluation.swe.instances import Instance, read_instances
from tests.evaluation.swe.repositories import write_rows

ROW = {"instance_id": "o__n-1", "repo": "o/n", "base_commit": "abc", "problem_statement": "bad"}


def rows_error(tmp_path: Path, *rows: object) -> str:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(DataError) as caught:
        read_instances(path, tmp_path)
    return str(caught.value)


def test_tests_are_read_as_a_list_and_as_a_list_in_json(tmp_path: Path) -> None:
    (tmp_path / "o__n").mkdir()
    lists = {"FAIL_TO_PASS": '["a.py::b", "a.py::b"]', "PASS_TO_PASS": ["c (d.E)"]}
    path = write_rows(tmp_path / "rows.jsonl", [{**ROW, **lists, "patch": "p", "hints": 3}])
    assert read_instances(path, tmp_path) == [
        Instance("o__n-1", tmp_path / "o__n", "abc", "bad", "p", "", ("a.py::b",), ("c (d.E)",))
    ]


@pytest.mark.parametrize("place", ["o__n-1", "o__n", "o/n", "n"])
def test_a_repository_is_found_under_its_usual_names(tmp_path: Path, place: str) -> None:
    (tmp_path / place).mkdir(parents=True)
    path = write_rows(tmp_path / "rows.jsonl", [dict(ROW)])
    assert read_instances(path, tmp_path)[0].repo == tmp_path / place


def test_the_digest_does_not_depend_on_where_the_repository_lies() -> None:
    one = Instance("a", Path("x"), "c", "bad", "p")
    assert one.digest == Instance("a", Path("y"), "c", "bad", "p").digest
    assert one.digest != Instance("a", Path("x"), "c", "bad", "q").digest


def test_everything_that_is_wrong_with_a_file_is_said_at_once(tmp_path: Path) -> None:
    (tmp_path / "n").mkdir()
    message = rows_error(
        tmp_path,
        ROW,
        ROW,
        {**ROW, "problem_statement": None},
        {**ROW, "FAIL_TO_PASS": "[1]"},
        {**ROW, "repo": "o/elsewhere", "instance_id": "x-1"},
        [1],
    )
    assert "row 2: problem_statement is missing; expected text" in message
    assert "row 3: FAIL_TO_PASS is list [1]; expected a list of test ids" in message
    assert "row 4: no repository of x-1: none of x-1, o__elsewhere, o/elsewhere" in message
    assert "row 5: list [1]; expected an object" in message
    assert "instance_id o__n-1 comes twice" in message
    assert "holds no issue" in rows_error(tmp_path)


def test_a_name_that_climbs_out_of_the_folder_finds_nothing(tmp_path: Path) -> None:
    (tmp_path / "repos").mkdir()
    (tmp_path / "out").mkdir()
    path = write_rows(tmp_path / "rows.jsonl", [{**ROW, "repo": "../out"}])
    with pytest.raises(DataError, match="no repository of o__n-1"):
        read_instances(path, tmp_path / "repos")
