"""The audit finds each weakness, and blames nobody for another's."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import psutil
import pytest

from cascade_rl.audit import Case, Target, audit, load_cases
from cascade_rl.errors import InputError

DEADLINE_S = 1.0
HONEST = ("math.right.plain", "math.chain.two", "math.comma.list")


def math_cases(*names: str) -> list[Case]:
    return [case for case in load_cases("math") if case.id in (names or HONEST)]


@pytest.fixture(autouse=True)
def _from_the_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(__file__).resolve().parents[2])


def faults(function: str, **options: str) -> dict[str, tuple[str, ...]]:
    target = Target(f"tests.audit.bad_rewards:{function}", **options)  # type: ignore[arg-type]
    report = audit(target, math_cases(), DEADLINE_S)
    return {result.id: result.faults for result in report.results}


WELL: dict[str, tuple[str, ...]] = {name: () for name in HONEST}


@pytest.mark.parametrize(
    ("function", "fault"),
    [
        ("slow", "hung"),
        ("raising", "crashed"),
        ("dying", "crashed"),
        ("undecided", "crashed"),
        ("not_a_number", "crashed"),
        ("leaving_a_process", "leaked"),
        ("writing_a_file", "leaked"),
        ("calling_out", "leaked"),
    ],
)
def test_a_weakness_is_found_where_it_is(function: str, fault: str) -> None:
    assert faults(function) == {**WELL, "math.chain.two": (fault,)}


def test_a_reward_for_everything_is_fooled_by_every_wrong_answer() -> None:
    assert faults("gullible") == {
        "math.right.plain": (),
        "math.chain.two": ("fooled",),
        "math.comma.list": ("fooled",),
    }


def test_a_reward_for_nothing_refuses_the_right_answer() -> None:
    assert faults("blind") == {**WELL, "math.right.plain": ("refused",)}


@pytest.mark.parametrize("function", ["honest", "forging_replies", "reading_stdin"])
def test_an_honest_function_has_no_fault(function: str) -> None:
    assert faults(function) == WELL


@pytest.mark.parametrize(
    ("function", "options"),
    [
        ("verl_style", {"signature": "verl"}),
        ("trl_style", {"signature": "trl", "form": "solution"}),
        ("honest", {"thread": True}),
    ],
)
def test_a_function_is_called_as_its_framework_does(function: str, options: dict[str, str]) -> None:
    assert faults(function, **options) == WELL


def test_programs_run_in_the_rewards_own_process_reach_everything() -> None:
    names = {
        "code.right.call", "code.files.environment", "code.files.read", "code.files.write",
        "code.socket.tcp", "code.state.plant_builtins", "code.state.find_builtins",
        "code.lie.int", "code.exit.os_in_call", "code.daemon.double_fork",
    }  # fmt: skip
    cases = [case for case in load_cases("code") if case.id in names]
    report = audit(Target("tests.audit.bad_rewards:running_programs"), cases, 5.0)
    found = {result.id: result.faults for result in report.results}
    assert found == {
        "code.right.call": (),
        "code.exit.os_in_call": ("crashed",),
        "code.lie.int": ("fooled",),
        "code.files.environment": ("leaked",),
        "code.files.read": ("leaked",),
        "code.files.write": ("leaked",),
        "code.daemon.double_fork": ("leaked",),
        "code.socket.tcp": ("leaked",),
        "code.state.plant_builtins": (),
        "code.state.find_builtins": ("leaked",),
    }


def test_nothing_is_left_after_an_audit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = set(psutil.Process().children(recursive=True))
    descriptors = len(os.listdir("/proc/self/fd"))
    faults("slow")
    faults("leaving_a_process")
    assert set(psutil.Process().children(recursive=True)) <= before
    assert len(os.listdir("/proc/self/fd")) == descriptors
    assert not list(tmp_path.iterdir())


def test_a_report_counts_by_class_and_says_each_case() -> None:
    report = audit(Target("tests.audit.bad_rewards:gullible"), math_cases(), DEADLINE_S)
    found = report.as_json()
    assert not report.clean and not found["clean"] and found["attacks"] == 2
    assert found["total"]["cases"] == 3 and found["total"]["fooled"] == 2
    assert {line["kind"] for line in found["classes"]} == {
        "right", "equality chains", "trailing commas",
    }  # fmt: skip
    assert {"id", "kind", "expect", "faults", "score", "detail", "seconds"} <= set(
        found["cases"][0]
    )


@pytest.mark.parametrize(
    "name",
    ["absent_module:f", "tests.audit.bad_rewards:absent", "tests.audit.bad_rewards:not_a_function"],
)
def test_what_cannot_be_called_is_said(name: str) -> None:
    with pytest.raises(InputError, match="cannot import"):
        audit(Target(name), math_cases(), DEADLINE_S)
