"""Code stays small enough to read: files, functions, types, words."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "cascade_rl"
FILES = sorted(SOURCE.rglob("*.py"))
Function = ast.FunctionDef | ast.AsyncFunctionDef

FILE_LINES = 450
FUNCTION_LINES = 60
FUNCTION_LINES_P95 = 40
FOREIGN_KWARGS = ("adapters.py", "engines/verl/", "engines/local/padded.py", "sandbox/child.py")
"""Where a foreign API calls us with keyword arguments we do not know."""
BOUNDARIES = (
    "sandbox/", "rewards/pool", "audit/worker.py", "engines/verl/", "evaluation/swe/harness.py"
)  # fmt: skip
"""Where code that is not ours runs, and any exception of it is a result."""


def functions(path: Path) -> Iterator[Function]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return (node for node in ast.walk(tree) if isinstance(node, Function))


def length(function: Function) -> int:
    assert function.end_lineno is not None
    return function.end_lineno - function.lineno + 1


def short(path: Path) -> str:
    return path.relative_to(SOURCE).as_posix()


def test_there_is_code_to_measure() -> None:
    assert len(FILES) > 20


@pytest.mark.parametrize("path", FILES, ids=short)
def test_no_file_is_too_long(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= FILE_LINES


@pytest.mark.parametrize("path", FILES, ids=short)
def test_no_function_is_too_long(path: Path) -> None:
    long = {f.name: length(f) for f in functions(path) if length(f) > FUNCTION_LINES}
    assert not long


def test_most_functions_are_short() -> None:
    lengths = sorted(length(f) for path in FILES for f in functions(path))
    assert lengths[int(0.95 * len(lengths))] < FUNCTION_LINES_P95


@pytest.mark.parametrize("path", FILES, ids=short)
def test_every_return_is_typed(path: Path) -> None:
    assert not [f"{f.name}:{f.lineno}" for f in functions(path) if f.returns is None]


@pytest.mark.parametrize("path", FILES, ids=short)
def test_no_function_takes_any_keyword(path: Path) -> None:
    if short(path).startswith(FOREIGN_KWARGS):
        pytest.skip("a foreign API calls these")
    assert not [f"{f.name}:{f.lineno}" for f in functions(path) if f.args.kwarg]


@pytest.mark.parametrize("path", FILES, ids=short)
def test_exceptions_are_caught_whole_only_at_the_boundaries(path: Path) -> None:
    if short(path).startswith(BOUNDARIES):
        pytest.skip("code that is not ours runs here")
    tree = ast.parse(path.read_text(encoding="utf-8"))
    broad = [
        handler.lineno
        for handler in ast.walk(tree)
        if isinstance(handler, ast.ExceptHandler)
        and (
            handler.type is None
            or (
                isinstance(handler.type, ast.Name)
                and handler.type.id in ("Exception", "BaseException")
            )
        )
        and not isinstance(handler.body[-1], ast.Raise)
    ]
    assert not broad


UNWANTED = re.compile(
    r"\b(TODO|FIXME|XXX|HACK)\b|signal\.alarm|setitimer|(?<![\w.])/(home|root|Users)/\w"
)


@pytest.mark.parametrize("path", FILES, ids=short)
def test_nothing_is_left_for_later_and_no_path_of_a_machine_stays(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    assert not [f"{n}: {line}" for n, line in enumerate(lines, 1) if UNWANTED.search(line)]
