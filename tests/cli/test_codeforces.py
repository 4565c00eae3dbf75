"""`cascade codeforces`: the table, the JSON, and what the documentation shows."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from cascade_rl.evaluation.codeforces.files import contest_to_json
from tests.cli.conftest import Done
from tests.conftest import REPOSITORY
from tests.evaluation.codeforces.helpers import contest, rating_changes, row, save, standings

Cascade = Callable[..., Done]
PAGE = REPOSITORY / "docs" / "codeforces.md"


@pytest.fixture
def contests(tmp_path: Path) -> Path:
    """A regular round as Codeforces answers it, and an ICPC one of our own shape."""
    directory = tmp_path / "contests"
    rows = [row("ann", 1400), row("bob", 480), row("eve", 1500, kind="PRACTICE")]
    save(directory / "2085", standings(rows), rating_changes({"ann": 1900, "bob": 1200}))
    humans = [(1400, 2, 61.0), (1300, 1, 5.0), (1200, 1, 40.0)]
    icpc = contest(humans, [None, None], "icpc", "edu")
    (directory / "edu.json").write_text(contest_to_json(icpc))
    return directory


@pytest.fixture
def samples(tmp_path: Path) -> Path:
    """8 attempts a problem; 7, 0 and 4, 0 of them right."""
    rights = {"2085A": 7, "2085B": 0, "eduA": 4, "eduB": 0}
    lines = [
        json.dumps({"problem_id": name, "sample": i, "score": float(i < right)})
        for name, right in rights.items()
        for i in range(8)
    ]
    path = tmp_path / "samples.jsonl"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_the_table_shows_each_contest_and_the_rating(
    cascade: Cascade, contests: Path, samples: Path
) -> None:
    done = cascade("codeforces", contests, samples)
    assert (done.status, done.err) == (0, "")
    lines = [line.split() for line in done.out.splitlines()]
    assert lines[0] == ["contest", "solved", "points", "penalty", "rank", "of", "rating"]
    [edu] = [line for line in lines if line[0] == "edu"]
    [cf] = [line for line in lines if line[0] == "2085"]
    assert edu[3:8] == ["1/2", "8.00", "min", "3", "4"]
    assert cf[6:10] == ["1/2", "493.75", "2", "3"]
    assert "1 rows of standings without a known rating are left out" in done.out
    assert "8 attempts a problem; plain mean of 2 contests, 95 % interval" in done.out


def test_json_holds_what_the_table_shows_and_the_options(
    cascade: Cascade, contests: Path, samples: Path
) -> None:
    done = cascade("codeforces", contests, samples, "--json", "--plus-one", "--first-rank", "0")
    found = json.loads(done.out)
    assert found["options"] == {"cap": 100, "plus_one": True, "first_rank": 0, "ties": "behind"}
    assert [(c["id"], c["rank"], c["points"]) for c in found["contests"]] == [
        ("edu", 2, 1.0),
        ("2085", 1, 493.75),
    ]
    assert found["low"] <= found["rating"] <= found["high"]
    assert found["rating"] == sum(c["rating"] for c in found["contests"]) / 2
    assert (found["attempts"], found["unused_problems"]) == (8, 0)


def test_every_option_changes_what_it_names(
    cascade: Cascade, contests: Path, samples: Path, tmp_path: Path
) -> None:
    def rating(*more: str | Path) -> float:
        done = cascade("codeforces", contests, samples, "--json", *more)
        assert done.status == 0
        return float(json.loads(done.out)["rating"])

    plain = rating()
    assert rating("--plus-one") > plain
    assert rating("--plus-one", "--first-rank", "0", "--cap", "5") < rating(
        "--plus-one", "--first-rank", "0", "--cap", "50"
    )
    assert rating("--plus-one", "--first-rank", "0", "--no-cap") > 3000
    assert rating("--ties", "ahead") == plain  # nobody is equal here
    table = tmp_path / "ratings.json"
    table.write_text("[-3, -2, -1, 4000]")
    done = cascade("codeforces", contests, samples, "--ratings", table)
    assert "above 75.0 % of 4 ratings of ratings.json" in done.out


CASES = [
    (["--attempts", "16"], "has 8 attempts; expected 16", "same command"),
    (["--first-rank", "2"], "--first-rank", "codeforces --help"),
    (["--ties", "best"], "--ties", "'behind', 'ahead'"),
    (["--ratings", "absent.json"], "absent.json cannot be read", "user.ratedList"),
]


@pytest.mark.parametrize(("more", "message", "hint"), CASES)
def test_wrong_options_are_sentences_with_status_2(
    cascade: Cascade, contests: Path, samples: Path, more: list[str], message: str, hint: str
) -> None:
    done = cascade("codeforces", contests, samples, *more)
    assert done.status == 2 and done.out == ""
    assert done.err.startswith("error: ") and message in done.err and hint in done.err


def test_a_contest_without_ratings_and_a_lacking_problem_end_with_status_2(
    cascade: Cascade, contests: Path, samples: Path
) -> None:
    save(contests / "2086", standings([row("ann", 500)]), {"status": "OK", "result": []})
    done = cascade("codeforces", contests, samples)
    assert done.status == 2 and "changed none" in done.err and "leave it out" in done.err
    save(contests / "2086", standings([row("ann", 500)], [500] * 3), rating_changes({"ann": 1}))
    (contests / "2085").rename(contests / ".2085")
    done = cascade("codeforces", contests, samples)
    assert done.status == 2 and "2085C" in done.err and "--allow-missing" in done.err
    allowed = cascade("codeforces", contests, samples, "--allow-missing")
    assert allowed.status == 0 and "1 problems have no attempts" in allowed.out


def test_what_was_not_judged_ends_with_status_1(
    cascade: Cascade, contests: Path, samples: Path
) -> None:
    text = samples.read_text()
    samples.write_text(text.replace('"score": 0.0', '"score": null', 1))
    done = cascade("codeforces", contests, samples)
    assert done.status == 1 and "was not judged" in done.err and done.out == ""


def test_the_documented_example_runs_and_prints_what_the_page_shows(
    cascade: Cascade,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    page = PAGE.read_text(encoding="utf-8")
    blocks = re.findall(r"^```(\w+)\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    monkeypatch.chdir(tmp_path)
    for text in (text for language, text in blocks if language == "python"):
        exec(compile(text, str(PAGE), "exec"), {})
    assert f"# {capsys.readouterr().out}" in page
    [console] = [text for language, text in blocks if language == "console"]
    command, *shown = console.splitlines()
    assert command.startswith("$ cascade codeforces ")
    done = cascade(*command.removeprefix("$ cascade ").split())
    assert done.status == 0
    assert [line.rstrip() for line in done.out.splitlines()] == shown
