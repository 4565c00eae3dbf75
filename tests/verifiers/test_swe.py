"""Edits against the golden patch, in the paper's order, and against hidden tests."""

from __future__ import annotations

import time
from functools import partial

import pytest

from cascade_rl.sandbox.client import default_sandbox
from cascade_rl.types import Patch, Problem
from cascade_rl.verifiers.swe import verify_swe, verify_swe_resolved

FILES = {
    "calc.py": "def add(a, b):\n    return a - b\n\n\ndef twice(a):\n    return add(a, a)\n",
    "pkg/use.py": "from calc import add\n\n\ndef three():\n    return add(1, 2)\n",
}
GOLD = "--- a/calc.py\n+++ b/calc.py\n@@ -1,2 +1,2 @@\n def add(a, b):\n"
GOLD += "-    return a - b\n+    return a + b\n"
TESTS = ["assert add(1, 2) == 3", "import pkg.use\nassert pkg.use.three() == 3"]
TESTS += ["from calc import twice\nassert twice(4) == 8"]
PROBLEM = Problem(
    "swe",
    "swe",
    (),
    Patch(FILES, GOLD, ("calc.py",), "either", "add subtracts"),
    "test",
    {"tests": TESTS, "entry_file": "calc.py"},
)


def block(search: str, replace: str, path: str = "calc.py") -> str:
    between = "\n" if replace else ""
    head = search + "\n" if search else ""
    body = f"<<<<<<< SEARCH\n{head}=======\n{replace}{between}>>>>>>> REPLACE"
    return f"```diff\n### {path}\n{body}\n```\n"


RIGHT = block("    return a - b", "    return a + b")
PARSE = [
    (RIGHT, 1.0),
    (RIGHT.replace("```diff\n", "").replace("```\n", ""), 1.0),
    (f"<think>{block('x', 'y')}</think>{RIGHT}", 1.0),
    (RIGHT.replace("\n", "\r\n"), 1.0),
    (GOLD, 1.0),
    (f"```diff\n{GOLD}```", 1.0),
    (block("    return a - b", "    return a - b"), 0.0),
    (RIGHT + block("    return a + b", "    return a - b"), 0.0),
    ("no edit at all", -1.0),
    ("", -1.0),
    (f"<think>{RIGHT}", -1.0),
    (f"<think>{RIGHT}</think>done", -1.0),
    (block("    return a * b", "    return a + b"), -1.0),
    (block("    return", "    pass"), -1.0),  # whole lines only
    (block("", "x = 1"), -1.0),  # an empty SEARCH in a file that exists
    (block("x", "y", "missing.py"), -1.0),
    (block("x", "y", "../calc.py"), -1.0),
    (block("x", "y", "/etc/passwd"), -1.0),
    (block("", "y", ".git/hooks/pre-commit"), -1.0),
    (RIGHT.replace("### calc.py\n", ""), -1.0),
    (RIGHT.replace(">>>>>>> REPLACE", ""), -1.0),
    (GOLD.replace("@@ -1,2", "@@ -1,3"), -1.0),
    (GOLD.replace("a - b", "a / b"), -1.0),
    ("\ud800\0" * 1000, -1.0),
    ("x" * 10**7, -1.0),
]


@pytest.mark.parametrize(("text", "score"), PARSE)
def test_the_decided_cases(text: str, score: float) -> None:
    verdict = verify_swe(PROBLEM, text)
    assert verdict.score == score, verdict
    assert verdict.status == ("right" if score == 1 else "wrong")


@pytest.mark.parametrize(
    "text",
    [
        block("    return a - b", "    return b + a"),
        block("    return a - b", "    return a  +  b"),
        RIGHT + block("", "pass", "new.py"),
        RIGHT + block("    return add(a, a)", "    return 2 * a"),
        block("    return a - b", ""),
    ],
)
def test_anything_else_is_partial_with_its_similarity(text: str) -> None:
    verdict = verify_swe(PROBLEM, text)
    assert verdict.status == "partial"
    assert verdict.score is not None and 0 < verdict.score < 1


def test_a_golden_patch_that_does_not_apply_is_the_rows_fault() -> None:
    broken = Patch(FILES, GOLD.replace("a - b", "a / b"), (), "either", "")
    assert verify_swe(Problem("p", "swe", (), broken, "t"), RIGHT).status == "invalid"


@pytest.mark.parametrize(
    ("text", "status"),
    [
        (RIGHT, "right"),
        (block("    return a - b", "    return b + a"), "right"),
        (block("    return a - b", "    return a - b"), "wrong"),
        (block("    return a - b", "    return a + b + 0.5"), "wrong"),
        ("nothing", "wrong"),
        (block("    return a - b", "    import os; os._exit(0)"), "runtime"),
        (block("    return a - b", "    return ("), "runtime"),
    ],
)
def test_hidden_tests_say_whether_an_edit_resolves(text: str, status: str) -> None:
    assert verify_swe_resolved(PROBLEM, text).status == status


def test_an_edit_of_the_tests_changes_nothing() -> None:
    cheat = block("", "assert True", "tests.py")
    assert verify_swe_resolved(PROBLEM, cheat).outcome is False


# --- what an edit may not do ------------------------------------------------------------------


def solution(text: str) -> str:
    return f"\n<solution>\n{text}\n</solution>\n"


OTHER = block("    return a - b", "    return b + a")


SOLUTIONS = [
    (solution(RIGHT), 1.0),
    (f"I first thought of\n{OTHER}\nbut\n{solution(RIGHT)}", 1.0),
    (solution(RIGHT) + solution(OTHER), -1.0),
    (solution(RIGHT) + solution(RIGHT), -1.0),
    (f"<think>so</think>{solution(RIGHT)}", 1.0),
    (f"<think>so</think><solution>{RIGHT}</solution>", 1.0),
    (f"<think>so</think><solution>\n{RIGHT}", -1.0),
    (RIGHT + OTHER, -1.0),  # the second one searches what the first one replaced
    (OTHER + RIGHT, -1.0),
    (GOLD + GOLD, -1.0),
    (RIGHT + GOLD, -1.0),  # one solution in each format
    (RIGHT + RIGHT, -1.0),
    (f"<think>{GOLD}</think>I give up.", -1.0),
    (f"<think>{RIGHT}</think><think>{RIGHT}", -1.0),
]


@pytest.mark.parametrize(("text", "score"), SOLUTIONS)
def test_only_one_solution_outside_the_thinking_counts(text: str, score: float) -> None:
    assert verify_swe(PROBLEM, text).score == score


EXTRA = block("", "x = 1", "extra.py")
TOUCHED_TESTS = block("", "def test_add():\n    pass", "tests/test_calc.py")


@pytest.mark.parametrize(("more", "similarity"), [(EXTRA, 1 / 2), (EXTRA + TOUCHED_TESTS, 1 / 3)])
@pytest.mark.parametrize("name", ["swe_rl", "changed_lines"])
def test_each_extra_file_and_touched_test_lowers_the_similarity(
    more: str, similarity: float, name: str
) -> None:
    verdict = verify_swe(PROBLEM, RIGHT + more, similarity=name)  # type: ignore[arg-type]
    assert (verdict.status, verdict.score) == ("partial", pytest.approx(similarity))


BLANK = block("    return a - b", "    return a  -  b ")
COMMENT = block("    return a - b", "    return a - b  # fixed")
INDENT = block("    return a - b", "        return a - b")
CHANGES = [BLANK, COMMENT, INDENT, RIGHT + EXTRA + TOUCHED_TESTS]


@pytest.mark.parametrize(
    ("text", "identical", "score"),
    [
        (BLANK, "whitespace", 0.0),
        (BLANK, "syntax", 0.0),
        (COMMENT, "syntax", 0.0),
        (INDENT, "syntax", 0.0),
        (RIGHT, "syntax", 1.0),
        (block("    return a - b", "    return (a - b)"), "syntax", 0.0),
    ],
)
def test_an_edit_that_changes_no_program_can_count_as_unchanged(
    text: str, identical: str, score: float
) -> None:
    verdict = verify_swe(PROBLEM, text, identical=identical)  # type: ignore[arg-type]
    assert (verdict.status, verdict.score) == ("right" if score else "wrong", score)


@pytest.mark.parametrize(
    ("text", "identical"),
    [
        (BLANK, "text"),
        (COMMENT, "text"),
        (COMMENT, "whitespace"),
        (INDENT, "whitespace"),  # indentation is program text in Python
        (block("    return a - b", "    return a - c"), "syntax"),
        (block("    return a - b", "    return ("), "syntax"),  # no syntax tree
    ],
)
def test_what_counts_as_unchanged_is_no_wider_than_asked(text: str, identical: str) -> None:
    assert verify_swe(PROBLEM, text, identical=identical).status == "partial"  # type: ignore[arg-type]


@pytest.mark.parametrize("text", [BLANK, COMMENT, INDENT, block("    return a - b", "")])
def test_changed_lines_gives_nothing_for_the_right_place_alone(text: str) -> None:
    assert verify_swe(PROBLEM, text, similarity="changed_lines").score == 0.0
    published = verify_swe(PROBLEM, text).score
    assert published is not None and published > 0.6


@pytest.mark.parametrize("separator", ["\x0b", "\x0c", "\x1c", "\x85", "\u2028"])
def test_what_only_looks_like_a_line_end_is_not_the_golden_patch(separator: str) -> None:
    gold = GOLD.replace("-1,2 +1,2", "-1,2 +1,3") + "+    # done\n"
    problem = Problem("p", "swe", (), Patch(FILES, gold, (), "either", ""), "t")
    assert verify_swe(problem, gold).score == 1.0
    forged = block("    return a - b", f"    return a + b{separator}    # done")
    verdict = verify_swe(problem, forged)
    assert verdict.status == "partial" and verdict.score == 0.99


RENAME = "diff --git a/calc.py b/calc2.py\nrename from calc.py\nrename to calc2.py\n"
MOVE = GOLD.replace("+++ b/calc.py", "+++ b/calc2.py")


@pytest.mark.parametrize(
    "text",
    [
        RENAME,
        MOVE,
        "--- a/calc.py\n+++ /dev/null\n"
        + "@@ -1,6 +0,0 @@\n"
        + "".join(f"-{line}\n" for line in FILES["calc.py"].splitlines()),
    ],
)
@pytest.mark.parametrize("name", ["swe_rl", "changed_lines"])
def test_a_renamed_or_deleted_file_is_not_an_edit_of_it(text: str, name: str) -> None:
    verdict = verify_swe(PROBLEM, text, similarity=name)  # type: ignore[arg-type]
    assert verdict.status == "partial"
    assert verdict.score is not None and verdict.score < (0.7 if name == "swe_rl" else 0.2)


def test_a_golden_patch_that_changes_nothing_is_the_rows_fault() -> None:
    nothing = GOLD.replace("a + b", "a - b")
    problem = Problem("p", "swe", (), Patch(FILES, nothing, (), "either", ""), "t")
    assert verify_swe(problem, RIGHT).status == "invalid"


def lines(count: int) -> str:
    return "".join(f"x_{n} = {n}\n" for n in range(count))


BIG = Problem(
    "big", "swe", (), Patch({**FILES, "a.py": lines(20_000)}, GOLD, (), "either", ""), "t"
)
MANY = "".join(block(f"x_{n} = {n}", f"y_{n} = {n}", "a.py") for n in range(4_000))
HOSTILE = {
    "one block of 300 KB": block("", "y = 1\n" * 50_000, "b.py"),
    "300 KB of blocks": MANY[:300_000].rpartition("```diff")[0],
    "300 KB of hunks": "--- a/a.py\n+++ b/a.py\n"
    + "".join(f"@@ -{n} +{n} @@\n-x_{n - 1} = {n - 1}\n+y\n" for n in range(1, 9_000)),
    "hunks elsewhere": "--- a/a.py\n+++ b/a.py\n"
    + "".join(f"@@ -1 +1 @@\n-x_{n} = {n}\n+y\n" for n in range(9_000)),
    "a file of its own in every block": "".join(block("", "x", f"f{n}.py") for n in range(5_000)),
    "open blocks": "### a.py\n<<<<<<< SEARCH\n" * 10_000,
    "dividers": "### a.py\n<<<<<<< SEARCH\n" + "=======\n" * 40_000,
    "headers": "diff --git a/a b/" * 20_000,
    "many headers": "--- a/a.py\n+++ b/a.py\n" * 15_000,
    "a long path": "### " + "a/" * 150_000,
    "huge counts": "--- a/a.py\n+++ b/a.py\n@@ -1,999999999 +1,999999999 @@\n" + " x\n" * 90_000,
    "huge numbers": "--- a/a.py\n+++ b/a.py\n@@ -" + "9" * 300_000 + " +1 @@\n-x\n",
    "binary": bytes(range(256)).decode("latin-1") * 1200,
    "surrogates": "\ud800" * 300_000,
    "solutions": "<solution>\n" * 20_000 + "</solution>\n" * 20_000,
    "thoughts": "<think>" * 40_000 + "</think>",
    "brackets": block("", "(" * 300_000, "b.py"),
    "attributes": block("", "a" + ".b" * 95_000, "b.py"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_no_answer_takes_long_or_raises(name: str) -> None:
    verify = partial(verify_swe, identical="syntax")
    started = time.process_time()
    verdict = verify(BIG, HOSTILE[name])
    assert time.process_time() - started < 5.0
    assert verdict.status in ("wrong", "partial")
    assert verdict.score is not None and -1 <= verdict.score < 0.7


def test_the_tier_that_the_tests_ran_under_stands_beside_the_verdict() -> None:
    tier = default_sandbox().tier
    assert verify_swe_resolved(PROBLEM, RIGHT).tier == tier
    assert verify_swe_resolved(PROBLEM, block("    return a - b", "    return a * b")).tier == tier
    assert verify_swe_resolved(PROBLEM, "no edit").tier == ""
