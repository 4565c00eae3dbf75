"""The corpus: hostile and right answers to small problems, read from `cases/<domain>.yaml`.

A file holds `rows`, ground truths by name as in our rows, and `cases`. Each case has an `id`, a
`class`, a `row` (or `truth`, its own), a `why`, and the answer: `program` (put in a Python
fence), `box` (put in `\\boxed{}`) or `response` (as it is). A response is text, or a list of
texts and of recipes `{repeat: [text, times]}`, so that nothing large is stored.

`expect` is `wrong` (its reward may not exceed `at_most`, 0 by default), `right` (its reward must
reach `at_least`, 1 by default) or `unjudged` (no reward at all). A `probe` is a wrong answer
that turns right if what it tries is possible: a reward for it is a leak.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml

from cascade_rl.errors import InputError
from cascade_rl.types import Domain

Expect = Literal["wrong", "right", "unjudged"]
Form = Literal["rows", "lists", "solution"]
"""How the ground truth is given: as our rows, as lists `inputs` and `outputs` (verl's own data
sets of code), or as a text in dollar signs (TRL's column `solution`)."""

DOMAINS: tuple[Domain, ...] = ("math", "code", "instruction_following", "swe", "chat")
"""Those that are trained; tool calls are evaluated only."""
FOLDER = Path(__file__).parent / "cases"


@dataclass(frozen=True, slots=True)
class Case:
    """One answer to one problem, and what its reward may be.

    `response` may hold the placeholders of `canaries.fill`, which are known only when it runs.
    """

    id: str
    domain: Domain
    kind: str
    expect: Expect
    why: str
    ground_truth: str
    response: str
    at_most: float = 0.0
    at_least: float = 1.0
    probe: bool = False

    @property
    def attack(self) -> bool:
        """Whether it is an attack; the rest are right answers in another form."""
        return self.expect != "right"


@cache
def load_cases(domain: Domain) -> tuple[Case, ...]:
    """Every case of a domain, right answers first: they also warm a function up."""
    path = FOLDER / f"{domain}.yaml"
    if not path.exists():
        raise InputError(f"no corpus for {domain!r}; expected one of {', '.join(DOMAINS)}")
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    content = yaml.load(path.read_text(encoding="utf-8"), loader)
    rows = {name: _text(row) for name, row in content["rows"].items()}
    cases = [_case(domain, entry, rows) for entry in content["cases"]]
    return tuple(sorted(cases, key=lambda case: case.attack))


def _case(domain: Domain, entry: Mapping[str, Any], rows: Mapping[str, str]) -> Case:
    known = {
        "id", "class", "row", "truth", "why", "expect", "program", "box", "response",
        "at_most", "at_least", "probe",
    }  # fmt: skip
    assert entry.keys() <= known, f"{entry['id']}: unknown keys {entry.keys() - known}"
    truth = _text(entry["truth"]) if "truth" in entry else rows[entry["row"]]
    return Case(
        id=entry["id"],
        domain=domain,
        kind=entry["class"],
        expect=entry.get("expect", "wrong"),
        why=entry["why"],
        ground_truth=truth,
        response=_response(entry),
        at_most=float(entry.get("at_most", 0.0)),
        at_least=float(entry.get("at_least", 1.0)),
        probe=bool(entry.get("probe", False)),
    )


def _text(row: Any) -> str:
    return row if isinstance(row, str) else json.dumps(row, ensure_ascii=False)


def _response(entry: Mapping[str, Any]) -> str:
    if "program" in entry:
        return f"```python\n{expand(entry['program'])}\n```"
    if "box" in entry:
        return f"So the answer is $\\boxed{{{expand(entry['box'])}}}$."
    return expand(entry["response"])


def expand(recipe: str | Sequence[Any]) -> str:
    """The text of a recipe: a text, or a list of texts and of `{repeat: [recipe, times]}`."""
    if isinstance(recipe, str):
        return recipe
    parts = []
    for part in recipe:
        if isinstance(part, Mapping):
            text, times = part["repeat"]
            parts.append(expand(text) * times)
        else:
            parts.append(str(part))
    return "".join(parts)


def in_form(case: Case, form: Form) -> str | None:
    """The case's ground truth in another form; None where that form cannot say it."""
    if form == "rows":
        return case.ground_truth
    if form == "solution":
        return f"${case.ground_truth}$" if case.domain == "math" else case.ground_truth
    if case.domain != "code":
        return case.ground_truth
    row = json.loads(case.ground_truth)
    if "asserts" in row:
        return None
    limit = {"time_limit_s": row["time_limit_s"]}  # ours; graders of this form ignore it
    if "entry_point" not in row:
        found = {key: [test[key[:-1]] for test in row["tests"]] for key in ("inputs", "outputs")}
        return json.dumps(found | limit)
    inputs = ["\n".join(json.dumps(value) for value in test["args"]) for test in row["tests"]]
    outputs = [json.dumps(test["expected"]) for test in row["tests"]]
    name = row["entry_point"]
    return json.dumps({"inputs": inputs, "outputs": outputs, "fn_name": name} | limit)
