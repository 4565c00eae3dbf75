"""A problem's directory: read whole, and whatever is wrong with it named before anything starts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cascade_rl.errors import DataError
from cascade_rl.evaluation.ioi.files import read_task, read_tasks
from tests.evaluation.ioi.scripted import SHAPE, problem, write_problem


def subtasks(*changes: dict[str, Any]) -> list[dict[str, Any]]:
    """The three subtasks, with the first ones changed."""
    more = (*changes, *({},) * (3 - len(changes)))
    return [one | change for one, change in zip(SHAPE["subtasks"], more, strict=True)]


def test_a_problem_is_read_with_its_tests_by_name_and_by_pattern(tmp_path: Path) -> None:
    task = problem(tmp_path)
    assert (task.name, task.points, task.statement) == ("pairs", 100, "Count the pairs.")
    assert [test.name for test in task.samples] == ["samples/1"]
    assert [[test.name for test in one.tests] for one in task.subtasks] == [
        ["tests/1-1", "tests/1-2"],
        ["tests/1-1", "tests/1-2", "tests/2-1", "tests/2-2"],
        [f"tests/{s}-{n}" for s in (1, 2, 3) for n in (1, 2)],
    ]
    assert (task.max_submissions, task.time_limits_s, task.languages) == (50, {"cpp": 1}, ("cpp",))


def test_a_directory_of_problems_gives_all_of_them(tmp_path: Path) -> None:
    for name in ("b", "a"):
        write_problem(tmp_path / name, name=name)
    assert [task.name for task in read_tasks([tmp_path])] == ["a", "b"]
    assert [task.name for task in read_tasks([tmp_path / "b", tmp_path / "a"])] == ["b", "a"]
    with pytest.raises(DataError, match="both called 'a'"):
        read_tasks([tmp_path, tmp_path / "a"])


@pytest.mark.parametrize(
    "name", ["tests/2-1.in", "tests/2-1.out", "samples/1.out", "statement.md", "check.py"]
)
def test_the_digest_knows_every_file(name: str, tmp_path: Path) -> None:
    files = {"check.py": "print(1)"}
    write_problem(tmp_path, files, checker={"program": "check.py"})
    before = read_task(tmp_path).digest
    assert read_task(tmp_path).digest == before
    (tmp_path / name).write_text("changed")
    assert read_task(tmp_path).digest != before


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"subtasks": subtasks({"points": 25})}, "add up to 105, expected 100"),
    ({"points": 600.0}, "add up to 100, expected 600"),
    ({"subtasks": []}, r"subtasks is \[\]; expected at least one"),
    ({"subtasks": subtasks({"tests": []})}, r"subtasks\[0\]\.tests is \[\]; expected at least one"),
    ({"subtasks": subtasks({"tests": ["tests/9-*"]})}, "subtask 1 has no tests"),
    ({"subtasks": subtasks({"tests": ["tests/9"]})}, "tests/9.in is missing"),
    ({"subtasks": subtasks({"tests": ["../x"]})}, "leaves the problem's directory"),
    ({"subtasks": subtasks({"points": -20})}, r"subtasks\[0\]\.points is -20"),
    ({"subtasks": subtasks({"name": "2"})}, "two subtasks are called '2'"),
    ({"name": "a/b"}, 'name is "a/b"'),
    ({"time_limit_s": 0}, "time_limit_s is 0; expected a number above 0"),
    ({"time_limit_s": "fast"}, 'time_limit_s is "fast"; expected a number'),
    ({"language_time_limits_s": {"java": 1}}, r"language_time_limits_s\.java"),
    ({"time_limit_s": None}, "time_limit_s: it is required"),
    ({"languages": ["rust"]}, r'languages\[0\] is "rust"'),
    ({"statement": "other.md"}, "statement: .*other.md cannot be read"),
    ({"checker": "near"}, "checker.compare is \"near\"; expected 'exact' or 'tokens'"),
    ({"checker": {}}, 'checker is {}; expected "exact", "tokens", {"tolerance"'),
    ({"checker": 3}, "checker is 3; expected an object"),
    ({"checker": {"program": "check.rs"}}, "ends in .cpp or .py"),
    ({"checker": {"program": "check.cpp"}}, "check.cpp cannot be read"),
    ({"checker": {"tolerance": 0}}, "checker.tolerance is 0; expected a number above 0"),
    ({"grader": {"python": ["a.py", "b.py"]}}, "python is not among its languages"),
    ({"submissions": 5}, "submissions: no key is called that"),
]


@pytest.mark.parametrize(("keys", "said"), WRONG, ids=[said for _, said in WRONG])
def test_what_is_wrong_with_a_problem_is_named(
    keys: dict[str, Any], said: str, tmp_path: Path
) -> None:
    write_problem(tmp_path, **keys)
    with pytest.raises(DataError, match=said) as error:
        read_task(tmp_path)
    assert str(tmp_path) in error.value.message


def test_what_is_no_problem_at_all_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"problem\.json cannot be read"):
        read_tasks([tmp_path])
    (tmp_path / "problem.json").write_text("{")
    with pytest.raises(DataError, match=r"problem\.json: it is no JSON: EOF"):
        read_tasks([tmp_path])


def test_a_test_that_is_not_text_is_named(tmp_path: Path) -> None:
    write_problem(tmp_path)
    (tmp_path / "tests" / "3-1.in").write_bytes(b"ab\xff")
    with pytest.raises(DataError, match=r"3-1\.in is not UTF-8 at byte 2"):
        read_task(tmp_path)


def test_a_grader_stands_around_the_submission_and_its_header_is_part_of_it(tmp_path: Path) -> None:
    files = {"before.h": "int f(int);", "after.cpp": "int main() { return f(0); }"}
    write_problem(tmp_path, files, grader={"cpp": ["before.h", "after.cpp"]})
    task = read_task(tmp_path)
    source = '#include <vector>\n# include "pairs.h"\nint f(int x) { return x; }'
    assert task.program(source, "cpp").splitlines() == [
        "int f(int);",
        "#include <vector>",
        "",
        "int f(int x) { return x; }",
        "int main() { return f(0); }",
    ]
    assert task.program(source, "python") == source
