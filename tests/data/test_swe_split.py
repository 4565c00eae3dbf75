"""`cascade data swe`: the split between SFT and RL by hand-computed cases, and the other filters.

Similarities are exact here by construction: a golden patch of two files, of which a response
repairs both (1), one (0.5), or one and a third file (1/3).
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cascade_rl.cli import status_of
from cascade_rl.data.rows import read_rows, rejects_path, write_rows
from cascade_rl.data.sft.swe import (
    is_rl,
    is_sft,
    repair_similarity,
    repositories,
    repository,
)
from cascade_rl.data.sft.swe_parts import localizes
from cascade_rl.data.step import report_path
from cascade_rl.errors import DataError
from cascade_rl.types import Conversation, Message, Patch, Problem
from cascade_rl.verifiers.patches import apply_diff
from tests.verifiers.swe_data import at_changes, blocks, gym_problems, swebench_patches

FILES = {name: f"x = 1\n{name[0]} = 1\n" for name in ("a.py", "b.py", "c.py")}


def diff(*names: str) -> str:
    """A unified diff that sets the second line of each file to 2."""
    return "".join(
        f"--- a/{n}\n+++ b/{n}\n@@ -1,2 +1,2 @@\n x = 1\n-{n[0]} = 1\n+{n[0]} = 2\n" for n in names
    )


PATCH = Patch(FILES, diff("a.py", "b.py"), ("a.py", "b.py"), "either", "it is broken")
ALL, HALF, THIRD = diff("a.py", "b.py"), diff("a.py"), diff("a.py", "c.py")
ZERO, MISS, CUT = diff("c.py"), "I cannot.", None
SAME = "### a.py\n<<<<<<< SEARCH\nx = 1\n=======\nx = 1\n>>>>>>> REPLACE\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [(ALL, 1.0), (f"<think>hm</think>{ALL}", 1.0), (HALF, 0.5), (THIRD, 1 / 3), (ZERO, 0.0),
     (MISS, 0.0), (CUT, 0.0), (SAME, 0.0), (f"<think>{ALL}", 0.0)],
)  # fmt: skip
def test_the_similarity_of_a_response_is_the_hand_computed_one(
    text: str | None, expected: float
) -> None:
    golden = apply_diff(PATCH.files, PATCH.patch)
    assert repair_similarity(PATCH, golden, text) == expected


@pytest.mark.parametrize(
    ("similarities", "sft", "rl"),
    [
        ([0.5] * 4 + [0.0] * 4, True, False),
        ([0.5] * 3 + [0.4999] * 5, False, True),
        ([1.0] * 8, True, False),
        ([0.0] * 7 + [0.01], False, True),
        ([0.0] * 8, False, False),
        ([0.49] * 8, False, True),
        ([1.0] * 2 + [0.0] * 2, True, False),  # four responses: the same share
        ([1.0] * 1 + [0.0] * 3, False, True),
        ([1.0] * 7 + [0.0] * 9, False, True),  # sixteen
        ([1.0] * 8 + [0.0] * 8, True, False),
        ([0.5], True, False),
        ([], False, False),
    ],
)
def test_four_of_eight_make_sft_and_one_of_eight_that_is_not_zero_rl(
    similarities: list[float], sft: bool, rl: bool
) -> None:
    assert (is_sft(similarities), is_rl(similarities)) == (sft, rl)


def problem(name: str, responses: list[str | None], source: str = "s", **extra: Any) -> Problem:
    prompt = (Message("user", "repair it"),)
    given = {"responses": responses, **extra}
    return Problem(name, "swe", prompt, PATCH, source, given)


ROWS = [
    problem("sft", [ALL, HALF, HALF, f"<think>hm</think>{ALL}", THIRD, MISS, SAME, CUT]),
    problem("rl", [ALL, ALL, ALL, THIRD, ZERO, MISS, SAME, CUT]),
    problem("rl-once", [THIRD, ZERO, ZERO, ZERO, ZERO, ZERO, ZERO, ZERO]),
    problem("neither", [ZERO, ZERO, ZERO, ZERO, MISS, MISS, SAME, CUT]),
    problem("pairs", [ALL, THIRD, ZERO, ZERO], source="fixer"),
    problem("no-pair", [THIRD, THIRD, ZERO, ZERO], source="fixer"),
    problem("none", []),
]


def run(tmp_path: Path, rows: list[Problem], *options: str, task: str = "repair") -> int:
    write_rows(tmp_path / "in.jsonl", rows)
    more = ["--rl", str(tmp_path / "rl.parquet")] if task == "repair" else []
    out = ["--out", str(tmp_path / "sft.parquet")]
    return status_of(["data", "swe", task, str(tmp_path / "in.jsonl"), *out, *more, *options])


def kept(path: Path) -> list[Conversation]:
    return [r for r in read_rows(path, "conversation") if isinstance(r, Conversation)]


def report_on(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(report_path(path).read_text())
    return found


def test_rows_are_split_as_computed_by_hand(tmp_path: Path) -> None:
    assert run(tmp_path, ROWS, "--pairs", "fixer") == 0
    sft, rl = tmp_path / "sft.parquet", tmp_path / "rl.parquet"
    assert [r.id for r in kept(sft)] == ["sft/0", "sft/1", "sft/2", "sft/3", "pairs/0"]
    assert [r.id for r in read_rows(rl, "problem")] == ["rl", "rl-once"]
    thought = kept(sft)[3].messages
    assert (thought[0].mode, thought[1].thought, thought[1].content) == (
        "think", "hm", ALL.strip(),
    )  # fmt: skip
    assert kept(sft)[0].messages[0].mode == "no_think"
    report = report_on(sft)
    assert report["dropped"] == {
        "no recorded responses": 1, "no similar response": 2, "reserved for RL": 2,
        "similarity below 0.5": 7,
    }  # fmt: skip
    assert (report["sft_instances"], report["rl_instances"]) == (2, 2)
    assert report["read"] == report["kept"] + sum(report["dropped"].values())


def test_without_its_mode_the_fixer_is_split_as_the_others_are(tmp_path: Path) -> None:
    assert run(tmp_path, ROWS[4:6]) == 0
    assert [r.id for r in read_rows(tmp_path / "rl.parquet", "problem")] == ["pairs", "no-pair"]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"repo": "astropy/astropy"}, "astropy/astropy"),
        ({"repo": "https://github.com/Astropy/astropy.git"}, "astropy/astropy"),
        ({"repo": "git@github.com:astropy/astropy"}, "astropy/astropy"),
        ({"instance_id": "astropy__astropy-7858"}, "astropy/astropy"),
        ({"instance_id": "scikit-learn__scikit-learn-10297"}, "scikit-learn/scikit-learn"),
        ({"instance_id": "owner__foo-2-17"}, "owner/foo-2"),
        ({"repo": "swesmith/Instagram__MonkeyType.70c3acf6"}, "instagram/monkeytype"),
        ({"instance_id": "instagram__monkeytype.70c3acf6.func_pm__x1"}, "instagram/monkeytype"),
        ({"repo": "owner/my__package"}, "owner/my__package"),
        ({"repo": "", "instance_id": "a__b-1"}, "a/b"),
        ({"repo": None}, ""), ({"repo": "something else"}, ""), ({}, ""),
    ],
)  # fmt: skip
def test_a_repository_is_known_by_any_of_its_names(values: dict[str, Any], expected: str) -> None:
    assert repository(values) == expected


def test_repositories_of_the_benchmark_are_left_out(
    tmp_path: Path, shared_data: Callable[[str], Path]
) -> None:
    rows = [
        problem("bench", [ALL] * 8, repo="astropy/astropy"),
        problem("mirror", [ALL] * 8, repo="swesmith/astropy__astropy.26d14738"),
        problem("other", [ALL] * 8, repo="dask/dask"),
        problem("nameless", [ALL] * 8),
    ]
    benchmark = shared_data("swe/swebench_gold_check_harness.jsonl")
    assert run(tmp_path, rows, "--exclude-repos", str(benchmark)) == 0
    assert {r.id.split("/")[0] for r in kept(tmp_path / "sft.parquet")} == {"other", "nameless"}
    rejects = rejects_path(tmp_path / "sft.parquet").read_text().splitlines()
    assert [json.loads(line)["reason"] for line in rejects] == ["a repository of the benchmark"] * 2
    assert "astropy/astropy" in repositories(benchmark) and len(repositories(benchmark)) > 5


def test_a_benchmark_that_names_no_repository_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("Astropy/astropy\n\nhttps://github.com/dask/dask\n")
    assert repositories(tmp_path / "x.txt") == {"astropy/astropy", "dask/dask"}
    (tmp_path / "x.jsonl").write_text('{"a": 1}\n')
    with pytest.raises(DataError, match="names no repository"):
        repositories(tmp_path / "x.jsonl")


def test_of_one_commit_in_several_sources_one_stays_whatever_the_order(tmp_path: Path) -> None:
    def row(name: str, source: str, commit: str, repo: str = "a/b") -> Problem:
        return problem(name, [ALL] * 8, source, repo=repo, base_commit=commit)

    rows = [
        row("1", "smith", "c1"), row("2", "rebench", "C1", "https://github.com/a/b"),
        row("3", "smith", "c2"), row("4", "smith", "c2"),  # one source may use a commit twice
        row("5", "smith", "c1", "a/other"), row("6", "train", "c1"),
    ]  # fmt: skip
    found = []
    for seed in range(4):
        random.Random(seed).shuffle(rows)
        assert run(tmp_path, rows) == 0
        found.append(sorted({r.id.split("/")[0] for r in kept(tmp_path / "sft.parquet")}))
    assert found == [["2", "3", "4", "5"]] * 4, "rebench is first by name"
    assert run(tmp_path, rows, "--source-order", "train,smith") == 0
    left = sorted({r.id.split("/")[0] for r in kept(tmp_path / "sft.parquet")})
    assert left == ["3", "4", "5", "6"]


def test_real_golden_patches_are_sft_instances_of_themselves(
    tmp_path: Path, shared_data: Callable[[str], Path]
) -> None:
    rows = []
    for n, found in enumerate(gym_problems(shared_data)):
        reference = found.reference
        assert isinstance(reference, Patch)
        files = dict(reference.files)
        right = blocks(files, apply_diff(files, reference.patch))
        other = blocks(files, at_changes(found, lambda line: "pass\n"))
        prompt = (Message("user", reference.issue),)
        for k, texts in enumerate(([right] * 4 + [other] * 4, [right] * 3 + [other] * 5)):
            extra = {"responses": texts}
            rows.append(Problem(f"{n}-{k}", "swe", prompt, reference, "gym", extra))
    assert run(tmp_path, rows) == 0
    ids = {r.id.split("/")[0] for r in kept(tmp_path / "sft.parquet")}
    assert {f"{n}-0" for n in range(5)} <= ids
    reserved = {r.id for r in read_rows(tmp_path / "rl.parquet", "problem")}
    assert ids | reserved == {row.id for row in rows} and not ids & reserved


def test_repair_needs_two_outputs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_rows(tmp_path / "in.jsonl", ROWS)
    command = ["data", "swe", "repair", str(tmp_path / "in.jsonl"), "--out", "x.parquet"]
    assert status_of(command) == 2 and "--rl FILE" in capsys.readouterr().err
    assert status_of([*command, "--rl", "x.parquet"]) == 2


# --- localization -------------------------------------------------------------------------------

CREATES = diff("a.py") + "--- /dev/null\n+++ b/new.py\n@@ -0,0 +1 @@\n+y = 1\n"


@pytest.mark.parametrize(
    ("patch", "text", "reason"),
    [
        (ALL, "```\na.py\nb.py\n```", None),
        (ALL, "<think>c.py</think>Here:\n```text\nc.py\nb.py\na.py\n```\nDone.", None),
        (ALL, "```\n1. a.py\n2. ./b.py\n```", None),
        (ALL, "```\n- `b.py`\n- a.py\n- a.py\n```", None),
        (CREATES, "```\na.py\n```", None),  # what is created cannot be found
        (ALL, "```\na.py\n```", "recall below 1"),
        (ALL, "```\na.py\na.py\n```", "recall below 1"),
        (ALL, "```\na.py\nsub/b.py\n```", "recall below 1"),
        (ALL, "<think>```\na.py\nb.py\n```</think>```\na.py\n```", "recall below 1"),
        (ALL, "```\na.py\nb.py\n```\n```\na.py\n```", "recall below 1"),
        (ALL, "```\n\n\n```", "an empty list"),
        (ALL, "a.py\nb.py", "no list of files"),
        (ALL, "", "no list of files"),
        (ALL, "```\na.py\nb.py", "no list of files"),
        (ALL, "```\na.py\n/etc/passwd\nb.py\n```", "not a path"),
        (ALL, "```\na.py\n" + "".join(f"{n}.py\n" for n in range(9)) + "b.py\n```",
         "too many files"),
        (ALL, "<think>```\na.py\nb.py\n```", "cut off"),
        (ALL, None, "cut off"),
    ],
)  # fmt: skip
def test_a_localization_is_kept_when_it_lists_every_file(
    patch: str, text: str | None, reason: str | None
) -> None:
    found = localizes(patch, text, most=5)
    assert (found and found[0]) == reason


def test_real_patches_are_localized_by_their_own_files(shared_data: Callable[[str], Path]) -> None:
    for patch in swebench_patches(shared_data):
        paths = [line[6:] for line in patch.splitlines() if line.startswith("--- a/")]
        assert localizes(patch, "```\n" + "\n".join(paths) + "\n```", most=99) is None
        short = "```\n" + "\n".join([*paths[1:], "setup.py"]) + "\n```"
        assert localizes(patch, short, most=99) is not None


def test_localizations_are_written_with_their_drops(tmp_path: Path) -> None:
    rows = [problem("p", ["```\na.py\nb.py\n```", "```\na.py\n```", None])]
    assert run(tmp_path, rows, task="localization") == 0
    assert [r.id for r in kept(tmp_path / "sft.parquet")] == ["p/0"]
    assert report_on(tmp_path / "sft.parquet")["dropped"] == {"cut off": 1, "recall below 1": 1}


# --- test generation ------------------------------------------------------------------------------

SCRIPTS: dict[str, str | None] = {
    "prints": "print('Issue reproduced')",
    "imports-the-file": "import a\nassert a.x == 1\nprint('Issue resolved')",
    "fails-as-it-should": "raise AssertionError('the bug is there')",
    "exits": "import sys\nsys.exit(1)",
    "lacks-a-module": "import not_installed_here",
    "does-not-parse": "print('x'",
    "python-2": "print 'x'",
    "indents-wrongly": "if 1:\nprint(1)",
    "breaks-as-it-runs": "exec('1 +')",
    "never-ends": "while True: pass",
    "has-no-statement": "# nothing",
}
EXPECTED = {
    "does-not-parse": "syntax error", "python-2": "syntax error", "indents-wrongly": "syntax error",
    "breaks-as-it-runs": "syntax error", "has-no-statement": "syntax error",
    "never-ends": "did not end well", "no-block": "no program", "cut-off": "cut off",
}  # fmt: skip


def test_a_test_is_kept_when_it_parses_and_runs(tmp_path: Path) -> None:
    texts = {name: f"<think>hm</think>So:\n```python\n{s}\n```" for name, s in SCRIPTS.items()}
    names = [*texts, "no-block", "cut-off"]
    rows = [problem("p", [*texts.values(), "```text\nnothing\n```", None])]
    status = run(tmp_path, rows, task="tests")
    assert status == 0
    out = tmp_path / "sft.parquet"
    assert {names[int(r.id.split("/")[1])] for r in kept(out)} == names_kept(names)
    rejects = [json.loads(line) for line in rejects_path(out).read_text().splitlines()]
    assert {names[int(r["row"]["id"].split("/")[1])]: r["reason"] for r in rejects} == EXPECTED
    assert report_on(out)["tier"]


def names_kept(names: list[str]) -> set[str]:
    return set(names) - EXPECTED.keys()
