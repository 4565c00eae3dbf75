"""The issues of a SWE benchmark: SWE-bench's own rows, and where their repositories lie.

One rule: what is wrong with a file of issues is said before anything is asked of a model, all of
it at once: a key that is missing, an id that comes twice, a repository that is not there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cascade_rl.data.fields import parse_json, shown, text_at
from cascade_rl.data.files import Unreadable, raw_rows
from cascade_rl.digests import digest_json
from cascade_rl.errors import DataError


@dataclass(frozen=True, slots=True)
class Instance:
    """One issue of one repository at one commit.

    `patch` is the golden patch, empty where it is not known: recall is then not measured.
    `fail_to_pass` and `pass_to_pass` are test ids: pytest's (`tests/test_a.py::test_b`, or a
    whole file), unittest's as Django prints them (`test_b (tests.test_a.Case)`) or dotted. They
    are run with `test_patch` applied.
    """

    id: str
    repo: Path
    base_commit: str
    issue: str
    patch: str = ""
    test_patch: str = ""
    fail_to_pass: tuple[str, ...] = ()
    pass_to_pass: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """16 hex digits over everything but the place of the repository."""
        fields = asdict(self)
        del fields["repo"]
        return digest_json(fields)[:16]


def read_instances(path: Path, repos: Path) -> list[Instance]:
    """The rows of a file in SWE-bench's shape, in order.

    `instance_id`, `base_commit` and `problem_statement` are needed, `repo`, `patch`, `test_patch`,
    `FAIL_TO_PASS` and `PASS_TO_PASS` (a list, perhaps as JSON) are read where they are. A
    repository is looked for under `repos` by the instance's id, then as `owner__name`,
    `owner/name` and `name`. Raises DataError.
    """
    found: list[Instance] = []
    wrong: list[str] = []
    for number, raw in enumerate(raw_rows(path)):
        try:
            found.append(_instance(raw, repos))
        except DataError as error:
            wrong.append(f"row {number}: {error.message}")
    ids = [instance.id for instance in found]
    twice = sorted({name for name in ids if ids.count(name) > 1})
    wrong += [f"instance_id {name} comes twice" for name in twice]
    if wrong:
        raise DataError(f"{path}: " + "; ".join(wrong[:10]))
    if not found:
        raise DataError(f"{path} holds no issue; expected rows in the shape of SWE-bench")
    return found


def _instance(raw: Any, repos: Path) -> Instance:
    if isinstance(raw, Unreadable):
        raise DataError(raw.reason)
    if not isinstance(raw, Mapping):
        raise DataError(f"{shown(raw)}; expected an object")
    name = text_at(raw, "instance_id")
    return Instance(
        name,
        _place(repos, name, text_at(raw, "repo", default="")),
        text_at(raw, "base_commit"),
        text_at(raw, "problem_statement"),
        text_at(raw, "patch", default=""),
        text_at(raw, "test_patch", default=""),
        _tests(raw, "FAIL_TO_PASS"),
        _tests(raw, "PASS_TO_PASS"),
    )


def _place(repos: Path, name: str, repo: str) -> Path:
    """The directory of the repository."""
    names = [name]
    if repo:
        names += [repo.replace("/", "__"), repo, repo.rpartition("/")[2]]
    for each in names:
        if each and ".." not in each.split("/") and (repos / each).is_dir():
            return repos / each
    raise DataError(f"no repository of {name}: none of {', '.join(names)} is under {repos}")


def _tests(raw: Mapping[str, Any], key: str) -> tuple[str, ...]:
    value = raw.get(key)
    if isinstance(value, str):
        value = parse_json(value, key) if value.strip() else []
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(test, str) and test for test in value):
        raise DataError(f"{key} is {shown(value)}; expected a list of test ids")
    return tuple(dict.fromkeys(value))
