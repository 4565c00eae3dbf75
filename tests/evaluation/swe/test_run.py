from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from cascade_rl.data.sft.journal import Journal
from cascade_rl.engines.generate import Sampling
from cascade_rl.errors import ConfigError, EndpointError, EvaluationError, OutputError
from cascade_rl.evaluation.swe.answers import Answers
from cascade_rl.evaluation.swe.execute import Runner
from cascade_rl.evaluation.swe.instances import Instance, read_instances
from cascade_rl.evaluation.swe.results import rows_in
from cascade_rl.evaluation.swe.run import Progress, run_swe
from cascade_rl.evaluation.swe.settings import Means, Settings
from cascade_rl.sandbox.base import Limits, Outcome, Program, Sandbox
from tests.evaluation.swe.answering import QUALITIES, RESOLVED, Scripted, scripted
from tests.evaluation.swe.repositories import SPECS, git, write_rows
from tests.evaluation.swe.settings import SETTINGS

ROOT = Path(__file__).resolve().parents[3]


def run(
    instances: Sequence[Instance],
    out: Path,
    runners: Sequence[Runner],
    model: Scripted | None = None,
    settings: Settings = SETTINGS,
    leave_unfit: bool = False,
    at_once: int = 16,
    checking: Progress = lambda done, total: None,
) -> dict[str, Any]:
    out.mkdir(parents=True, exist_ok=True)
    with Journal(out / "answers.jsonl") as journal:
        means = Means(Answers(model or scripted(), Sampling(), journal), tuple(runners))
        found = run_swe(
            instances, means, settings, out,
            leave_unfit=leave_unfit, at_once=at_once, checking=checking,
        )  # fmt: skip
    assert json.loads(json.dumps(found)) == json.loads((out / "summary.json").read_text())
    return dict(found)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@dataclass(frozen=True)
class Finished:
    out: Path
    summary: dict[str, Any]
    rows: dict[str, dict[str, Any]]
    model: Scripted


@pytest.fixture(scope="module")
def finished(
    instances: list[Instance], runner: Runner, tmp_path_factory: pytest.TempPathFactory
) -> Finished:
    """All ten issues, end to end."""
    out, model = tmp_path_factory.mktemp("run"), scripted()
    summary = run(instances, out, [runner], model)
    rows = {row["instance_id"]: row for row in lines(out / "results.jsonl")}
    return Finished(out, summary, rows, model)


# --- ten repositories end to end ------------------------------------------------------------------


def test_ten_repositories_resolve_as_the_models_quality_says(finished: Finished) -> None:
    assert {name for name, row in finished.rows.items() if row["resolved"]} == {
        spec.id for spec in SPECS if spec.name in RESOLVED
    }
    for spec in SPECS:
        passed = [c["passed"] for c in finished.rows[spec.id]["candidates"]]
        kinds = QUALITIES[spec.name].repairs
        assert passed == [kind in ("good", "noted") for kind in kinds], spec.name
    assert finished.summary["issues"] == 10 and finished.summary["not_judged"] == {}
    assert finished.summary["resolved"] == 0.7
    found = finished.summary["curves"]
    assert found["avg"] == pytest.approx(13 / 40)
    assert found["pass_at"][3] == pytest.approx(0.8)
    assert found["best_at"][3] == pytest.approx(0.7)
    assert found["majority_at"][3] == pytest.approx(0.4)


def test_best_at_k_lies_between_avg_and_pass_at_k_on_the_ten(finished: Finished) -> None:
    found = finished.summary["curves"]
    for best, most in zip(found["best_at"], found["pass_at"], strict=True):
        assert found["avg"] - 1e-12 <= best <= most + 1e-12


def test_fused_recall_of_the_run_is_at_least_that_of_either_part(finished: Finished) -> None:
    found = finished.summary["recall"]
    for fused, *parts in zip(
        *(found[n] for n in ("fused", "generation", "retrieval")), strict=True
    ):
        assert fused >= max(parts)


def test_answers_that_are_no_patch_or_no_list_are_counted(finished: Finished) -> None:
    kinds = [kind for quality in QUALITIES.values() for kind in quality.repairs]
    none = sum(kind not in ("good", "noted", "worse", "aside") for kind in kinds)
    assert finished.summary["answers"] == {
        "candidates": 40, "no_patch": none, "lists_unread": 8, "without_prompt": 0,
    }  # fmt: skip
    errors = [c["error"] for c in finished.rows["small__grid-1"]["candidates"]]
    assert "no SEARCH/REPLACE block" in errors and "cut off" in errors
    assert any("leaves the repository" in error for error in errors)


def test_scripts_that_do_not_reproduce_are_dropped(finished: Finished) -> None:
    dropped = {"does not reproduce the issue": 2}
    assert finished.rows["small__spans-1"]["scripts"] == {
        "generated": 3, "kept": 1, "dropped": dropped
    }  # fmt: skip
    assert finished.rows["small__query-1"]["scripts"]["kept"] == 0
    assert finished.rows["small__wrap-1"]["scripts"]["kept"] == 3
    assert finished.rows["small__grid-1"]["scripts"]["generated"] == 0  # no patch to tell apart
    assert finished.summary["tests"] == {"generated": 27, "reproduce": 10}


def test_predictions_are_swe_benchs_and_git_apply_takes_them(
    finished: Finished, repos: Path
) -> None:
    paths = [finished.out / "predictions.jsonl", *sorted((finished.out / "candidates").iterdir())]
    assert len(paths) == 5
    for path in paths:
        found = lines(path)
        assert [row["instance_id"] for row in found] == [spec.id for spec in SPECS]
        for spec, row in zip(SPECS, found, strict=True):
            assert set(row) == {"instance_id", "model_name_or_path", "model_patch"}
            if row["model_patch"]:
                repo = repos / f"small__{spec.name}"
                git(repo, "apply", "--check", "-", given=row["model_patch"])
    picked = {row["instance_id"]: row["model_patch"] for row in lines(paths[0])}
    assert picked["small__grid-1"] == "" and picked["small__spans-1"] != ""
    for name, row in finished.rows.items():
        if row["chosen"] is not None:
            assert picked[name] == row["candidates"][row["chosen"]]["patch"]


def test_prompts_show_what_the_settings_say(finished: Finished) -> None:
    prompts = finished.model.prompts
    shown = finished.rows["small__query-1"]["shown"]
    repair = prompts["small__query-1/repair"].messages[0].content
    assert sorted(shown) == ["query/decode.py", "query/escape.py", "query/log.py"]
    at = [repair.index(f"--- BEGIN FILE {path}\n") for path in shown]
    assert at == sorted(at) and "tests/" not in repair
    asked = prompts["small__query-1/localize"].messages[0].content
    assert "query/\n  decode.py\n  escape.py\n  log.py" in asked
    assert "test_query" not in asked and "BEGIN FILE" not in asked
    assert prompts["small__query-1/reproduce"].messages[0].content.count("CANDIDATE PATCH") == 4


# --- killed and continued -------------------------------------------------------------------------


def test_a_run_that_is_killed_again_and_again_ends_as_the_unbroken_one(
    finished: Finished, instances: list[Instance], runner: Runner, repos: Path, tmp_path: Path
) -> None:
    some, out = [instances[n] for n in (0, 2, 6, 8)], tmp_path / "out"
    rows = lines(repos.parent / "issues.jsonl")
    issues = write_rows(tmp_path / "issues.jsonl", [rows[n] for n in (0, 2, 6, 8)])
    (tmp_path / "repos").symlink_to(repos)
    command = [sys.executable, "-m", "tests.evaluation.swe.killed_run", str(issues), str(out), "40"]
    path = os.pathsep.join([str(ROOT), str(ROOT / "src")])
    killed = subprocess.run(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": path}, check=False)
    assert killed.returncode == -signal.SIGKILL

    def dies(given: int) -> None:
        if given == 10:
            raise EndpointError("the server is gone")

    total = 4 * (16 + 4) + 3 * 3
    deaths = 0
    while True:
        model = scripted()
        model.before = dies
        try:
            summary = run(some, out, [runner], model, at_once=2)
            break
        except EndpointError:
            deaths += 1
            with (out / "results.jsonl").open("a") as file:
                file.write('{"key": "torn')
    assert deaths == (total - 40) // 10
    known = {row["instance_id"]: row for row in lines(out / "results.jsonl")}
    assert known == {i.id: finished.rows[i.id] for i in some}
    whole = {row["instance_id"]: row for row in lines(finished.out / "predictions.jsonl")}
    assert lines(out / "predictions.jsonl") == [whole[instance.id] for instance in some]
    before = {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}
    model = scripted()
    assert run(some, out, [runner], model) == summary
    assert model.given == [] and before == {p: p.read_bytes() for p in before}


def test_more_runners_change_nothing(
    finished: Finished, instances: list[Instance], runner: Runner, tmp_path: Path
) -> None:
    run(instances[:3], tmp_path, [runner, runner])
    assert lines(tmp_path / "results.jsonl") == [finished.rows[i.id] for i in instances[:3]]


def test_other_settings_make_other_rows(
    instances: list[Instance], tmp_path: Path, runner: Runner
) -> None:
    model = scripted()
    one = replace(SETTINGS, rollouts=0, candidates=2, tests=0)
    first = run(instances[:1], tmp_path, [], model, one)
    assert "resolved" not in first and "curves" not in first
    assert [task for task, _ in model.given] == ["small__spans-1/repair"] * 2
    run(instances[:1], tmp_path, [], model, replace(one, shows="ground_truth"))
    assert len(lines(tmp_path / "results.jsonl")) == 2
    assert lines(tmp_path / "results.jsonl")[1]["shown"] == ["spans/merge.py"]
    assert len(model.given) == 4  # another prompt is another question


def test_files_of_samples_that_were_more_are_removed(
    instances: list[Instance], tmp_path: Path
) -> None:
    folder = tmp_path / "candidates"
    for count in (4, 2):
        run(instances[:1], tmp_path, [], None, replace(SETTINGS, candidates=count, tests=0))
        (folder / "notes.jsonl").touch()
    assert sorted(p.name for p in folder.iterdir()) == ["00.jsonl", "01.jsonl", "notes.jsonl"]


def test_an_output_that_another_command_writes_is_refused(
    instances: list[Instance], tmp_path: Path
) -> None:
    with rows_in(tmp_path), pytest.raises(OutputError, match="another  cascade swe  is writing"):
        run(instances, tmp_path, [])


def test_a_file_of_somebody_elses_is_left_alone(instances: list[Instance], tmp_path: Path) -> None:
    (tmp_path / "results.jsonl").write_text('{"id": 1}\n')
    with pytest.raises(OutputError, match="rows that  cascade swe  did not write"):
        run(instances, tmp_path, [])
    assert (tmp_path / "results.jsonl").read_text() == '{"id": 1}\n'


# --- no tests, other prompts ----------------------------------------------------------------------


def test_without_tests_the_majority_decides_and_nothing_is_judged(
    instances: list[Instance], tmp_path: Path
) -> None:
    model = scripted()
    run(instances, tmp_path, [], model)
    rows = {row["instance_id"]: row for row in lines(tmp_path / "results.jsonl")}
    assert rows["small__wrap-1"]["chosen"] == 1  # two votes for what is no fix
    assert rows["small__spans-1"]["chosen"] == 0
    assert all(row["resolved"] is None for row in rows.values())
    assert {name.rpartition("/")[2] for name, _ in model.given} == {"localize", "repair"}


def test_an_issue_whose_files_do_not_fit_has_no_prompt_and_is_not_resolved(
    instances: list[Instance], runner: Runner, tmp_path: Path
) -> None:
    model = scripted()
    summary = run(instances[:2], tmp_path, [runner], model, replace(SETTINGS, prompt_tokens=150))
    assert model.given == []  # nothing that was asked would fit
    assert summary["answers"]["without_prompt"] == 2 and summary["resolved"] == 0
    assert [row["model_patch"] for row in lines(tmp_path / "predictions.jsonl")] == ["", ""]


@pytest.mark.parametrize("shows", ["ground_truth", "mixed"])
def test_golden_files_are_shown_only_where_they_are_known(
    instances: list[Instance], tmp_path: Path, shows: Any
) -> None:
    unknown = [*instances[:1], replace(instances[1], patch="")]
    with pytest.raises(ConfigError, match=f"1 issues have no golden patch, {instances[1].id}"):
        run(unknown, tmp_path, [], None, replace(SETTINGS, shows=shows))
    run(instances[4:5], tmp_path, [], None, replace(SETTINGS, shows=shows, noise=True))
    row = lines(tmp_path / "results.jsonl")[0]
    assert {"numerals/roman.py", "numerals/table.py"} <= set(row["shown"])
    assert row["noise"] == (1 if shows == "ground_truth" else 0)


def test_nothing_to_localize_with_is_refused() -> None:
    with pytest.raises(ConfigError, match="nothing would be localized"):
        Settings(rollouts=0, retrieval="")


# --- issues that cannot be judged -----------------------------------------------------------------


def spoiled(instances: list[Instance], repos: Path) -> list[Instance]:
    """Issues that cannot be judged, each for a reason of its own, and one that can."""
    one, two, three, four, five, six, last = instances[:7]
    return [
        replace(one, fail_to_pass=one.pass_to_pass, pass_to_pass=()),
        replace(two, pass_to_pass=("tests/test_gone.py::test_x",)),
        replace(
            three, patch=three.patch.replace("+        self.items[key] = value", "+        x = 1")
        ),
        replace(four, base_commit="1" * 40),
        replace(five, test_patch=five.test_patch.replace(" class Roman", " class Greek")),
        replace(six, fail_to_pass=()),
        last,
    ]


REASONS = [
    "tests that should fail pass as it is: tests/test_spans.py::test_apart",
    "tests that should pass do not run or fail as it is: tests/test_gone.py::test_x: Module",
    "tests fail after the golden patch: tests/test_cache.py::test_read",
    "git rev-parse failed",
    "its patch or test patch: a hunk does not apply",
    "it names no test that has to pass: FAIL_TO_PASS is empty",
]


def test_issues_that_cannot_be_judged_are_all_named_before_anything_is_asked(
    instances: list[Instance], repos: Path, runner: Runner, tmp_path: Path
) -> None:
    model = scripted()
    with pytest.raises(EvaluationError) as caught:
        run(spoiled(instances, repos), tmp_path, [runner], model)
    said = str(caught.value)
    assert said.startswith("6 of 7 issues cannot be judged here:\nsmall__spans-1: ")
    for instance, reason in zip(instances, REASONS, strict=False):
        assert f"{instance.id}: " in said and reason in said
    assert model.given == []


def test_issues_that_cannot_be_judged_can_be_left_out_and_are_never_wrong(
    instances: list[Instance], repos: Path, runner: Runner, tmp_path: Path
) -> None:
    some = [spoiled(instances, repos)[1], instances[0]]
    summary = run(some, tmp_path, [runner], leave_unfit=True)
    assert list(summary["not_judged"]) == [instances[1].id]
    assert summary["issues"] == 1 and summary["resolved"] == 1.0
    assert [row["instance_id"] for row in lines(tmp_path / "predictions.jsonl")] == [some[1].id]


@dataclass
class Watched:
    """A sandbox that does something before every program, and counts them."""

    sandbox: Sandbox
    before: Callable[[int], Outcome | None] = lambda runs: None
    runs: int = 0

    @property
    def tier(self) -> str:
        return self.sandbox.tier

    @property
    def refusal(self) -> str:
        return self.sandbox.refusal

    def missing(self, language: Any) -> str:
        return self.sandbox.missing(language)

    def run(self, program: Program, limits: Limits, wanted: Any = None) -> Outcome:
        self.runs += 1
        return self.before(self.runs) or self.sandbox.run(program, limits)


def test_what_was_found_of_an_issue_is_kept_whether_it_can_be_judged_or_not(
    instances: list[Instance], repos: Path, runner: Runner, tmp_path: Path
) -> None:
    some = [*spoiled(instances, repos)[:3], instances[4]]
    first, second = Watched(runner.sandbox), Watched(runner.sandbox)
    with pytest.raises(EvaluationError) as caught:
        run(some, tmp_path, [replace(runner, sandbox=first)])
    assert first.runs > 4
    with pytest.raises(EvaluationError) as again:
        run(some, tmp_path, [replace(runner, sandbox=second)])
    assert str(again.value) == str(caught.value) and second.runs == 0


def test_every_sandbox_looks_at_issues_and_says_how_far_it_is(
    instances: list[Instance], runner: Runner, tmp_path: Path
) -> None:
    """The first program of each waits for the first of the other."""
    both = threading.Barrier(2, timeout=30)

    def meet(runs: int) -> None:
        if runs == 1:
            both.wait()

    runners = [replace(runner, sandbox=Watched(runner.sandbox, meet)) for _ in range(2)]
    told: list[tuple[int, int]] = []
    some = [replace(each, fail_to_pass=each.pass_to_pass) for each in instances[:3]]
    with pytest.raises(EvaluationError, match="3 of 3 issues cannot be judged here") as caught:
        run(some, tmp_path, runners, checking=lambda *done: told.append(done))
    assert told == [(n, 3) for n in range(4)]
    places = [str(caught.value).index(each.id) for each in some]
    assert places == sorted(places)


def test_a_sandbox_that_fails_and_a_repository_that_is_not_there_say_nothing_for_good(
    instances: list[Instance], runner: Runner, tmp_path: Path
) -> None:
    broken = Watched(runner.sandbox, lambda runs: Outcome("infra", (), "it ended"))
    with pytest.raises(EvaluationError, match="the sandbox did not run a program: it ended"):
        run(instances[:1], tmp_path, [replace(runner, sandbox=broken)])
    away = replace(instances[0], repo=tmp_path)
    with pytest.raises(EvaluationError, match="git rev-parse failed"):
        run([away], tmp_path, [runner])
    assert run(instances[:1], tmp_path, [runner])["not_judged"] == {}


def test_where_nothing_is_judged_a_patch_that_cannot_be_read_only_hides_recall(
    instances: list[Instance], tmp_path: Path
) -> None:
    odd = replace(instances[0], patch="Binary files a/x and b/x differ", test_patch="none")
    summary = run([odd], tmp_path, [])
    assert summary["recall"] == {} and summary["not_judged"] == {}
    assert lines(tmp_path / "predictions.jsonl")[0]["model_patch"] != ""


def test_an_edit_of_the_tests_changes_no_verdict(
    instances: list[Instance], runner: Runner, tmp_path: Path
) -> None:
    test = "tests/test_spans.py"

    def cheat(issue: str, task: str, sample: int) -> str:
        if task != "repair":
            return "nothing"
        calm = "    assert merge([(4, 5), (1, 2)]) == [(1, 2), (4, 5)]"
        return (
            f"### {test}\n<<<<<<< SEARCH\n{calm}\n=======\n    pass\n>>>>>>> REPLACE\n"
            "### conftest.py\n<<<<<<< SEARCH\n=======\nraise SystemExit(0)\n>>>>>>> REPLACE"
        )

    summary = run(instances[:1], tmp_path, [runner], Scripted(cheat))
    assert summary["resolved"] == 0 and summary["answers"]["no_patch"] == 0


def test_issues_are_read_as_swe_bench_writes_them(repos: Path) -> None:
    found = read_instances(repos.parent / "issues.jsonl", repos)
    assert [instance.id for instance in found] == [spec.id for spec in SPECS]
    assert found[0].fail_to_pass == ("tests/test_spans.py::test_touching",)
