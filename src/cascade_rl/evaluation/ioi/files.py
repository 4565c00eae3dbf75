"""Problems of the IOI kind from disk: a directory with `problem.json`, statement and tests.

One rule: what is wrong with a problem is said before anything is generated, with the file and the
key. Every test is read once here, for the digest that a run is tied to.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from cascade_rl.digests import digest_json
from cascade_rl.errors import DataError
from cascade_rl.evaluation.ioi.task import (
    Checker,
    CheckerProgram,
    Comparison,
    Grader,
    Subtask,
    Task,
    Test,
)
from cascade_rl.sandbox.base import Language

FILE = "problem.json"
LANGUAGES: dict[str, Language] = {".cpp": "cpp", ".py": "python"}
_CLOSE = 1e-6

Text = Annotated[str, Field(min_length=1)]
Above0 = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Whole = Annotated[int, Field(gt=0)]
TestNames = Annotated[tuple[Text, ...], Field(min_length=1)]


class _Shape(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class _CheckerShape(_Shape):
    """One of the three; a word alone is how to compare."""

    compare: Literal["exact", "tokens"] | None = None
    tolerance: Above0 | None = None
    program: Text | None = None

    @model_validator(mode="before")
    @classmethod
    def _word(cls, value: object) -> object:
        return {"compare": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _one(self) -> Self:
        if sum(one is not None for one in (self.compare, self.tolerance, self.program)) != 1:
            raise ValueError('expected "exact", "tokens", {"tolerance": 1e-6} or {"program": FILE}')
        return self


class _SubtaskShape(_Shape):
    name: Text
    points: Above0
    constraints: str = ""
    tests: TestNames


class _TaskShape(_Shape):
    """The keys of `problem.json`; docs/ioi.md says what each means."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]
    title: str = ""
    statement: Text
    languages: Annotated[tuple[Literal["cpp", "python"], ...], Field(min_length=1)] = ("cpp",)
    time_limit_s: Above0
    language_time_limits_s: dict[Literal["cpp", "python"], Above0] = Field(default_factory=dict)
    memory_limit_mb: Whole = 256
    output_limit_mb: Whole = 16
    max_submissions: Whole = 50
    points: Above0 = 100.0
    samples: tuple[Text, ...] = ()
    checker: _CheckerShape = _CheckerShape(compare="exact")
    grader: dict[Literal["cpp", "python"], tuple[Text, Text]] = Field(default_factory=dict)
    subtasks: Annotated[tuple[_SubtaskShape, ...], Field(min_length=1)]


def read_tasks(paths: Sequence[Path]) -> list[Task]:
    """The problems of these directories, in order; a directory of problems gives all of its own.

    Raises DataError for the first that is not one, and for two of one name.
    """
    found: dict[str, Path] = {}
    tasks = []
    for directory in _directories(paths):
        task = read_task(directory)
        if task.name in found:
            raise DataError(
                f"{found[task.name]} and {directory} are both called {task.name!r}; "
                "expected a name of its own for each",
                hint=f'change "name" in {directory / FILE}',
            )
        found[task.name] = directory
        tasks.append(task)
    return tasks


def _directories(paths: Sequence[Path]) -> Iterator[Path]:
    for path in paths:
        inside = sorted(path.glob(f"*/{FILE}"))
        if (path / FILE).is_file() or not inside:
            yield path
        else:
            yield from (file.parent for file in inside)


def read_task(directory: Path) -> Task:
    """One problem. Raises DataError that names the file and the key."""
    file = directory / FILE
    shape = _shape(file)
    _refuse_sums(file, shape)
    limits_s = dict.fromkeys(shape.languages, shape.time_limit_s) | shape.language_time_limits_s
    statement = _text(directory / shape.statement, f"{file}: statement")
    samples = _tests(directory, shape.samples, f"{file}: samples")
    subtasks = tuple(
        Subtask(one.name, one.points, one.constraints, _tests(directory, one.tests, where))
        for one, where in _placed(file, shape)
    )
    checker, graders = _checker(directory, shape), _graders(directory, shape)
    return Task(
        name=shape.name,
        title=shape.title or shape.name,
        statement=statement,
        languages=shape.languages,
        time_limits_s={language: limits_s[language] for language in shape.languages},
        memory_limit_mb=shape.memory_limit_mb,
        output_limit_mb=shape.output_limit_mb,
        max_submissions=shape.max_submissions,
        samples=samples,
        subtasks=subtasks,
        checker=checker,
        graders=graders,
        digest=_digest(shape, statement, samples, subtasks, checker, graders),
    )


def _shape(file: Path) -> _TaskShape:
    try:
        text = file.read_bytes()
    except OSError as error:
        raise DataError(
            f"{file} cannot be read: {error.strerror}",
            hint="a problem is a directory with problem.json in it; see docs/ioi.md",
        ) from None
    try:
        return _TaskShape.model_validate_json(text)
    except ValidationError as error:
        wrong = [item for item in error.errors() if not _echoes(item)]
        lines = dict.fromkeys(f"{file}: {_said(item)}" for item in wrong)
        raise DataError("\n  ".join(lines), hint="its keys are in docs/ioi.md") from None


_PLAIN = {
    "too_short": "expected at least one",
    "string_too_short": "expected some text",
    "greater_than": "expected a number above 0",
    "float_type": "expected a number",
    "int_type": "expected a whole number",
    "string_type": "expected text",
    "string_pattern_mismatch": "expected letters, digits, - and _",
    "tuple_type": "expected a list",
    "model_type": "expected an object",
    "model_attributes_type": "expected an object",
    "extra_forbidden": "no key is called that",
    "missing": "it is required",
}


def _echoes(item: ErrorDetails) -> bool:
    """Whether a list is only called too short because what is in it is wrong."""
    return item["type"] == "too_short" and bool(item["input"])


def _said(item: ErrorDetails) -> str:
    """What is wrong at one key, as a person would write the key."""
    place = ""
    for part in item["loc"]:
        if part == "[key]":
            break
        place += f"[{part}]" if isinstance(part, int) else f".{part}" if place else part
    words = item["msg"].removeprefix("Value error, ").replace("Input should be", "expected")
    message = _PLAIN.get(item["type"], words)
    if item["type"] == "json_invalid":
        return f"it is no JSON: {item['ctx']['error']}"
    if item["type"] in ("missing", "extra_forbidden"):
        return f"{place}: {message}"
    return f"{place} is {json.dumps(item['input'])[:60]}; {message}"


def _refuse_sums(file: Path, shape: _TaskShape) -> None:
    """Points that do not add up, or two subtasks of one name."""
    total = sum(subtask.points for subtask in shape.subtasks)
    if abs(total - shape.points) > _CLOSE:
        raise DataError(
            f"{file}: the points of its subtasks add up to {total:g}, expected {shape.points:g}",
            hint=f'correct them, or say how many there are:  "points": {total:g}',
        )
    names = [subtask.name for subtask in shape.subtasks]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise DataError(f"{file}: two subtasks are called {twice!r}; expected names of their own")


def _placed(file: Path, shape: _TaskShape) -> Iterator[tuple[_SubtaskShape, str]]:
    for subtask in shape.subtasks:
        yield subtask, f"{file}: subtask {subtask.name}"


def _tests(directory: Path, names: Sequence[str], where: str) -> tuple[Test, ...]:
    """Tests by name, or by a pattern of names: `tests/2-*`; each once, in order."""
    found: dict[str, Test] = {}
    for name in names:
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise DataError(f"{where}: {name!r} leaves the problem's directory")
        inputs = (
            sorted(directory.glob(f"{name}.in"))
            if _is_pattern(name)
            else [directory / f"{name}.in"]
        )
        if not inputs:
            raise DataError(f"{where} has no tests: no file is called {directory / name}.in")
        for file in inputs:
            answer = file.with_suffix(".out")
            for one in (file, answer):
                if not one.is_file():
                    raise DataError(f"{where}: {one} is missing; a test is NAME.in and NAME.out")
            short = file.relative_to(directory).with_suffix("").as_posix()
            found[short] = Test(short, file, answer)
    return tuple(found.values())


def _is_pattern(name: str) -> bool:
    return any(letter in name for letter in "*?[")


def _checker(directory: Path, shape: _TaskShape) -> Checker:
    given = shape.checker
    if given.program is None:
        return Comparison(given.compare or "tolerance", given.tolerance)
    where = f"{directory / FILE}: checker.program"
    language = LANGUAGES.get(Path(given.program).suffix)
    if language is None:
        raise DataError(f"{where} is {given.program!r}; expected a name that ends in .cpp or .py")
    return CheckerProgram(given.program, _text(directory / given.program, where), language)


def _graders(directory: Path, shape: _TaskShape) -> dict[Language, Grader]:
    found: dict[Language, Grader] = {}
    for language, names in shape.grader.items():
        where = f"{directory / FILE}: grader.{language}"
        if language not in shape.languages:
            raise DataError(f"{where} is there, but {language} is not among its languages")
        before, after = (_text(directory / name, where) for name in names)
        found[language] = Grader(before, after)
    return found


def _text(file: Path, where: str) -> str:
    return _bytes(file, where).decode("utf-8")


def _bytes(file: Path, where: str) -> bytes:
    """A file's bytes, which are UTF-8. Raises DataError otherwise."""
    try:
        data = file.read_bytes()
        data.decode("utf-8")
    except OSError as error:
        raise DataError(f"{where}: {file} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{where}: {file} is not UTF-8 at byte {error.start}") from None
    return data


def _digest(
    shape: _TaskShape,
    statement: str,
    samples: Sequence[Test],
    subtasks: Sequence[Subtask],
    checker: Checker,
    graders: Mapping[Language, Grader],
) -> str:
    """Over all that a run of the problem depends on."""
    every = {test.name: test for test in samples}
    every |= {test.name: test for one in subtasks for test in one.tests}
    sums = {
        name: [hashlib.sha256(_bytes(file, name)).hexdigest() for file in (test.input, test.answer)]
        for name, test in every.items()
    }
    return digest_json(
        [
            shape.model_dump(mode="json"),
            statement,
            [test.name for test in samples],
            [[test.name for test in one.tests] for one in subtasks],
            sums,
            checker.source if isinstance(checker, CheckerProgram) else "",
            {str(language): [one.before, one.after] for language, one in graders.items()},
        ]
    )
