"""A contest problem's tests as judges keep them: a zip of `1.in`, `1.ans`, ... and `config.yaml`.

LiveCodeBench Pro publishes its tests so. Two rules. What the archive declares must be there, or
the problem is an error: fewer tests would make wrong programs right. And an answer that another
program must judge (an interactor, a checker that is none of testlib's plain comparisons) is no
case for comparing texts: the problem is left out as `special judge`.
"""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from cascade_rl.data.fields import shown
from cascade_rl.errors import DataError
from cascade_rl.types import StdioTest, Tests

MAX_BYTES = 1 << 30
"""Of one problem's opened files."""
PLAIN_CHECKERS = (
    "compare sequences of tokens",
    "compare ordered sequences of signed int",
    "compare two signed int",
    "compare two signed huge integers",
    "compare files as sequence of lines",
    "compare files as sequence of tokens in lines",
)
"""How testlib's checkers that compare texts name themselves; comparing lines is as strict."""
FLOAT_CHECKERS = ("compare two doubles", "compare two sequences of doubles")
_NAME = re.compile(r'setName\(\s*"([^"]*)"')
_EPS = re.compile(r"\bEPS\s*=\s*([0-9.]+(?:[eE][+-]?\d+)?)")
_AMOUNT = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*", re.IGNORECASE)
_SECONDS = {"": 1.0, "s": 1.0, "ms": 1e-3}
_MEGABYTES = {"": 1.0, "m": 1.0, "mb": 1.0, "mib": 1.0, "k": 1 / 1024, "kb": 1 / 1024, "g": 1024.0}


class SpecialJudge(DataError):
    """A problem whose answers a program of its own judges."""


def read_archive(path: Path) -> Tests:
    """The tests in an archive. Raises SpecialJudge, and DataError where it is not whole."""
    try:
        with zipfile.ZipFile(path) as archive:
            return _tests(archive, path)
    except (OSError, zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise DataError(f"{path} cannot be read as a zip of tests: {error}") from None


def _tests(archive: zipfile.ZipFile, path: Path) -> Tests:
    files = {PurePosixPath(i.filename).name: i for i in archive.infolist() if not i.is_dir()}
    size = sum(info.file_size for info in files.values())
    if size > MAX_BYTES:
        raise DataError(f"{path} opens to {size} bytes; expected {MAX_BYTES} at most")

    def text(name: str) -> str:
        return archive.read(files[name]).decode("utf-8", "replace")

    config = _config(text("config.yaml"), path) if "config.yaml" in files else {}
    if config.get("interactor") or config.get("type") == "interactive":
        raise SpecialJudge(f"{path.stem} is interactive")
    checker = config.get("checker")
    checker = checker.get("file") if isinstance(checker, Mapping) else checker
    if isinstance(checker, str) and checker not in files:
        raise DataError(f"{path}: config.yaml names the checker {checker}, which is not there")
    ends = str(config.get("input_suffix", ".in")), str(config.get("output_suffix", ".ans"))
    names = _numbered(set(files), ends, _declared(config), path)
    megabytes = _amount(config.get("memory"), _MEGABYTES)
    return Tests(
        tuple(StdioTest(text(name + ends[0]), text(name + ends[1])) for name in names),
        time_limit_s=_amount(config.get("time"), _SECONDS),
        memory_limit_mb=None if megabytes is None else max(int(megabytes), 64),
        language="cpp",
        tolerance=_tolerance(text(checker), path) if isinstance(checker, str) else None,
    )


def _config(text: str, path: Path) -> Mapping[str, Any]:
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise DataError(f"{path}: config.yaml is no YAML: {error}") from None
    if not isinstance(found, Mapping):
        raise DataError(f"{path}: config.yaml is {shown(found)}; expected keys and values")
    return found


def _declared(config: Mapping[str, Any]) -> int | None:
    """How many tests the subtasks have together; None where they do not say."""
    parts = config.get("subtasks")
    counts = [p.get("n_cases") for p in parts if isinstance(p, Mapping)] if parts else []
    numbers = [count for count in counts if isinstance(count, int)]
    return sum(numbers) if numbers and len(numbers) == len(counts) else None


def _numbered(
    files: set[str], ends: tuple[str, str], declared: int | None, path: Path
) -> list[str]:
    """The tests' names in order. More than are declared are the statement's samples."""
    starts = {name.removesuffix(ends[0]) for name in files if name.endswith(ends[0])}
    answers = {name.removesuffix(ends[1]) for name in files if name.endswith(ends[1])}
    wanted = {str(n) for n in range(1, declared + 1)} if declared else starts | answers
    missing = sorted(wanted - (starts & answers), key=lambda name: (len(name), name))
    if missing or not wanted:
        what = f"{len(wanted - set(missing))} of {len(wanted)} tests are whole"
        first = f"; the first that is not: {missing[0]}" if missing else ""
        raise DataError(f"{path}: {what}{first}; expected NAME{ends[0]} and NAME{ends[1]} of each")
    return sorted(wanted, key=lambda name: (len(name), name))


def _tolerance(checker: str, path: Path) -> float | None:
    """What numbers may differ by; None for an exact comparison. Raises SpecialJudge."""
    name = _NAME.search(checker)
    says = name[1] if name else ""
    eps = _EPS.search(checker)
    if says.startswith(FLOAT_CHECKERS) and eps:
        return float(eps[1])
    if not says.startswith(PLAIN_CHECKERS):
        raise SpecialJudge(f"{path.stem} has a checker of its own: {says or 'without a name'}")
    return None


def _amount(found: Any, units: Mapping[str, float]) -> float | None:
    """`2s`, `1500ms` or `256m` as a number; None where there is none."""
    if found is None:
        return None
    match = _AMOUNT.fullmatch(str(found))
    if match is None or match[2].lower() not in units or float(match[1]) <= 0:
        raise DataError(f"config.yaml has the limit {shown(found)}; expected 2s or 256m, say")
    return float(match[1]) * units[match[2].lower()]
