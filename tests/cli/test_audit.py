"""`cascade audit`: the exit status says whether anything got through."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Done

Cascade = Callable[..., Done]
BAD = "tests.audit.bad_rewards"


@pytest.fixture(autouse=True)
def _from_the_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(__file__).resolve().parents[2])


def test_status_0_when_nothing_got_through(cascade: Cascade) -> None:
    done = cascade("audit", f"{BAD}:honest", "--domain", "math", "--case", "math.chain")
    assert done.status == 0 and "5 attacks" in done.out


def test_status_1_and_a_table_when_something_did(cascade: Cascade) -> None:
    done = cascade("audit", f"{BAD}:gullible", "--domain", "math", "--case", "math.chain")
    assert done.status == 1
    line = next(line for line in done.out.splitlines() if line.startswith("math equality chains"))
    assert line.split()[3:][:2] == ["5", "5"]
    assert "fooled   math.chain.two score 1" in done.out


def test_json_has_every_case(cascade: Cascade) -> None:
    done = cascade("audit", f"{BAD}:gullible", "--domain", "math", "--case", "math.chain", "--json")
    found = json.loads(done.out)
    assert done.status == 1 and found["total"]["fooled"] == 5 and len(found["cases"]) == 5
    assert set(found) == {"target", "attacks", "clean", "classes", "total", "skipped", "cases"}


def test_our_own_verifiers_of_a_domain(cascade: Cascade) -> None:
    done = cascade("audit", "--self", "--domain", "math", "--case", "math.comma")
    assert done.status == 0, done.out


@pytest.mark.parametrize(
    ("arguments", "said", "hint"),
    [
        ((), "expected a function or --self", "cascade audit --help"),
        ((f"{BAD}:honest",), "no domain is given", "--domain math"),
        ((f"{BAD}:honest", "--domain", "maths"), "the domain is 'maths'", "--domain math"),
        ((BAD, "--domain", "math"), "names no function", f"{BAD}:NAME"),
        ((f"{BAD}:absent", "--domain", "math"), "cannot import", "MODULE:FUNCTION"),
        ((f"{BAD}:honest", "--domain", "math", "--case", "x"), "no case begins with 'x'", "code."),
        (
            (f"{BAD}:honest", "--domain", "math", "--python", "no-such-python"),
            "no-such-python",
            "--python",
        ),
    ],
    ids=str,
)
def test_status_2_and_a_way_out_for_a_wrong_input(
    arguments: tuple[str, ...], said: str, hint: str, cascade: Cascade
) -> None:
    done = cascade("audit", *arguments)
    assert done.status == 2 and said in done.err and hint in done.err
