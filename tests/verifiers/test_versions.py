"""A verifier's version is tied to its verdicts: change one, raise the other, in one commit."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from cascade_rl.types import Answer, Message, Problem, Verdict
from cascade_rl.verifiers import (
    VERIFIER_VERSIONS,
    VERIFIERS,
    mixed_language,
    verify,
    verify_many,
    verify_math,
)
from tests.verifiers import (
    test_choice,
    test_code,
    test_code_asserts,
    test_instructions,
    test_language,
    test_swe,
    test_tool_calls,
)

CASES = Path(__file__).resolve().parents[1] / "cases"
GOLDEN = json.loads((CASES / "verifier_versions.json").read_text())


def rows(name: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in (CASES / name).read_text(encoding="utf-8").splitlines()]


def math_verdicts() -> list[Verdict]:
    return [
        verify_math(
            Problem("p", "math", (), Answer(str(row["reference"])), "t"),
            str(row["text"]),
            **row.get("options", {}),  # type: ignore[arg-type]
        )
        for row in rows("math.jsonl")
    ]


def instruction_verdicts() -> list[Verdict]:
    return [test_instructions.verdict(row) for row in rows("instructions.jsonl")]


def code_verdicts() -> list[Verdict]:
    programs = ["def add(a, b): return a + b", "def add(a, b): return a", "x", "def add(a, b): a("]
    texts = [test_code.fenced(program) for program in programs]
    prints = ["print(17)", "print(17.0)", "print('17  ')", "1 / 0"]
    asserts = [
        (
            test_code.asserts(row["code"], entry_point=row.get("entry")),
            test_code.fenced(f"def f(*args, **words): return {row[value]}"),
        )
        for row in test_code_asserts.DATA
        for value in ("good", "bad")
    ]
    return (
        verify_many((test_code.ADD, text) for text in texts)
        + verify_many((test_code.ECHO, test_code.fenced(program)) for program in prints)
        + verify_many(asserts)
    )


def swe_verdicts(verifier: str | None = None) -> list[Verdict]:
    texts = [text for text, _ in (*test_swe.PARSE, *test_swe.SOLUTIONS)]
    texts += [*test_swe.CHANGES, *test_swe.HOSTILE.values()]
    texts.append(test_swe.block("    return a - b", "    return b + a"))
    return verify_many(((test_swe.PROBLEM, text) for text in texts), verifier)


def language_verdicts() -> list[bool]:
    texts = [*test_language.MIXED, *test_language.PLAIN]
    return [mixed_language((Message("user", "hi"),), text) for text in texts]


def choice_verdicts() -> list[Verdict]:
    return [verdict for row in test_choice.CASES for verdict in test_choice.verdicts(row)]


def tool_call_verdicts() -> list[Verdict]:
    return [test_tool_calls.verdict(row) for row in test_tool_calls.CASES]


TABLES = {
    "math": math_verdicts,
    "code": code_verdicts,
    "instruction_following": instruction_verdicts,
    "swe": swe_verdicts,
    "swe_resolved": lambda: swe_verdicts("swe_resolved"),
    "tool_calls": tool_call_verdicts,
    "choice": choice_verdicts,
    "language": language_verdicts,
}


def digest(name: str) -> str:
    verdicts = TABLES[name]()
    decided = [v if isinstance(v, bool) else [v.score, v.status, v.answer] for v in verdicts]
    return hashlib.sha256(json.dumps(decided).encode()).hexdigest()[:16]


def test_every_verifier_has_a_version_and_a_table() -> None:
    assert set(VERIFIER_VERSIONS) == set(TABLES) == set(GOLDEN) == {*VERIFIERS, "language"}


@pytest.mark.parametrize("name", sorted(TABLES))
def test_the_version_names_these_verdicts(name: str) -> None:
    found = {"version": VERIFIER_VERSIONS[name], "digest": digest(name)}
    assert found == GOLDEN[name], "verdicts changed: raise VERSION, then put both in the table"


def test_a_domain_without_a_verifier_is_invalid() -> None:
    assert verify(Problem("p", "chat", (), Answer("x"), "t"), "hi").status == "invalid"
