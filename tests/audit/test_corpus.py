"""The corpus holds what it says: every class of attack, several of each, no case twice."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from cascade_rl.adapters import plain
from cascade_rl.audit.corpus import DOMAINS, expand, in_form, load_cases
from cascade_rl.data.references import REFERENCES
from cascade_rl.types import Domain

CASES = [case for domain in DOMAINS for case in load_cases(domain)]
CLASSES: dict[Domain, list[str]] = {
    "code": [
        "early exit", "success words and forged protocol", "operators that lie",
        "heap, frame and module scans", "patched builtins and modules",
        "files, /proc, environment", "daemons", "bombs", "uninterruptible calls",
        "loops that end for nothing", "descriptors", "sockets", "state between answers",
        "sitecustomize and .pth", "ctypes, ptrace, io_uring, user namespaces", "exact values",
        "fences", "size and noise",
    ],
    "math": [
        "many boxes", "alternatives", "equality chains", "trailing commas", "towers",
        "factorials", "binomials", "sums", "nesting", "long numbers", "unicode", "percent",
        "units", "intervals", "sets against tuples", "nan and infinity", "free variables",
        "rounding", "unevaluated restatement", "parser injection", "thousands separators",
    ],
    "instruction_following": [
        "commas", "hidden letters", "language without words", "empty JSON",
        "keyword as a substring", "empty parts", "size", "unknown instructions",
    ],
    "swe": [
        "identical", "whitespace", "comment", "delete only", "rename and paths", "extra files",
        "tests touched", "ambiguous or empty search block", "CRLF and BOM", "300 KB patches",
        "instructions to the judge", "forged delimiters", "two solutions",
        "patch inside the thinking",
    ],
    "chat": ["NaN", "infinite or missing score", "zero variance", "template tokens"],
}  # fmt: skip
SEVERAL = 2


@pytest.mark.parametrize("domain", DOMAINS)
def test_every_class_of_attack_has_several_payloads(domain: Domain) -> None:
    counts = Counter(case.kind for case in load_cases(domain) if case.attack)
    assert list(counts) == CLASSES[domain]
    assert min(counts.values()) >= SEVERAL


def test_there_are_enough_attacks_and_right_answers() -> None:
    assert sum(case.attack for case in CASES) >= 150
    assert sum(not case.attack for case in CASES) >= 60


def test_no_case_has_the_id_of_another() -> None:
    assert [name for name, count in Counter(case.id for case in CASES).items() if count > 1] == []


def test_every_case_says_why_and_what_is_expected() -> None:
    odd = [
        case.id
        for case in CASES
        if len(case.why) < 5
        or case.expect not in ("wrong", "right", "unjudged")
        or (case.kind == "right") != (case.expect == "right")
    ]
    assert odd == []


def test_every_ground_truth_is_a_readable_row() -> None:
    for case in CASES:
        if case.kind != "unknown instructions":
            REFERENCES[case.domain](case.ground_truth)


def test_a_recipe_stands_for_a_large_text() -> None:
    assert expand(["a", {"repeat": [["b", "c"], 3]}]) == "abcbcbc"


def test_a_call_test_becomes_lists_and_comes_back() -> None:
    case = next(case for case in load_cases("code") if case.id == "code.right.call")
    lists = in_form(case, "lists")
    assert lists is not None and json.loads(lists)["fn_name"] == "f"
    assert plain("code")(case.response, lists).status == "right"


def test_a_check_function_cannot_be_said_in_lists() -> None:
    case = next(case for case in load_cases("code") if case.id == "code.right.check")
    assert in_form(case, "lists") is None
