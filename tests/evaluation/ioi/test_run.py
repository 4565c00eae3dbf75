"""Whole contests on a simulated judge: within every cap, and the same after any kill."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from cascade_rl.engines.generate import Prompt
from cascade_rl.errors import EvaluationError, OutputError
from cascade_rl.evaluation.ioi.files import read_task
from cascade_rl.evaluation.ioi.medals import Thresholds
from cascade_rl.evaluation.ioi.run import RESULTS, Setup, run_ioi
from cascade_rl.evaluation.ioi.strategy import Options, State
from cascade_rl.evaluation.ioi.task import Task
from tests.evaluation.ioi.scripted import ScriptedGenerator, ScriptedJudge, Step, problem

SETUP = Setup()
SHORT = Setup(options=Options(rounds=6, candidates=5))


def tasks_in(directory: Path, *names: str) -> list[Task]:
    return [problem(directory / name, name=name) for name in names]


def play(
    tasks: list[Task],
    out: Path,
    setup: Setup = SHORT,
    generator: ScriptedGenerator | None = None,
    judge: ScriptedJudge | None = None,
) -> dict[str, Any]:
    generator, judge = generator or ScriptedGenerator(), judge or ScriptedJudge()
    return run_ioi(tasks, generator, judge, setup, out, Thresholds())


def lines(path: Path, kind: str) -> list[dict[str, Any]]:
    """The events of that kind in a journal."""
    found = map(json.loads, path.read_text().splitlines())
    return [line for line in found if line["event"] == kind]


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Prompt], dict[str, Any]]:
    """A contest of two problems, too hard to be solved, under the paper's numbers."""
    out = tmp_path_factory.mktemp("played")
    generator = ScriptedGenerator()
    found = play(tasks_in(out, "a", "b"), out / "out", SETUP, generator, ScriptedJudge(hard=400))
    return out / "out", generator.prompts, found


Played = tuple[Path, list[Prompt], dict[str, Any]]


def test_a_problem_has_at_most_fifty_rounds_of_twenty_and_one_submission_each(
    played: Played,
) -> None:
    out, prompts, found = played
    for part in found["problems"]:
        events = lines(out / f"{part['name']}.jsonl", "begun")
        assert part["rounds"] == 50
        assert part["submissions"] == len(events) == len({one["round"] for one in events}) <= 50
        assert part["submissions"] > 40  # the caps below are reached
        assert part["generations"] == 1000
        assert len(lines(out / f"{part['name']}.jsonl", "answered")) == 1000
    assert len({prompt.id for prompt in prompts}) == len(prompts) == 100
    asked = [prompt.samples for prompt in prompts[::2]]
    assert asked == [tuple(range(n, n + 20)) for n in range(0, 1000, 20)]


def test_prompts_show_at_most_five_failures_and_three_partial_scores(played: Played) -> None:
    shown = []
    for prompt in played[1]:
        text = prompt.messages[0].content
        best, _, failed = text.partition("# Recent submissions")
        shown.append((failed.count("Verdict on subtask"), best.count("Verdict on subtask")))
    assert max(shown)[0] == 5
    assert max(best for _, best in shown) == 3


def test_no_program_is_submitted_twice(played: Played) -> None:
    for name in ("a", "b"):
        sources = [one["source"] for one in lines(played[0] / f"{name}.jsonl", "begun")]
        assert len(set(sources)) == len(sources)


def test_a_problem_takes_no_more_submissions_than_it_allows(tmp_path: Path) -> None:
    task = problem(tmp_path / "a", max_submissions=7)
    judge = ScriptedJudge(hard=400)
    part = play([task], tmp_path / "out", SETUP, judge=judge)["problems"][0]
    assert (part["submissions"], len(judge.made)) == (7, 7)
    assert part["rounds"] < 50


def test_a_solved_problem_ends_and_its_score_is_whole(tmp_path: Path) -> None:
    found = play(tasks_in(tmp_path, "a"), tmp_path / "out", SETUP, judge=ScriptedJudge(hard=1))
    part = found["problems"][0]
    assert (found["score"], part["score"], found["medal"]) == (100, 100, None)
    assert part["rounds"] < 50
    assert all(one["solved_in_round"] for one in part["subtasks"])
    assert part["history"][-1]["score"] == 100
    assert json.loads((tmp_path / "out" / RESULTS).read_text()) == found


def test_rounds_without_a_worthy_candidate_submit_nothing(tmp_path: Path) -> None:
    class Mute(ScriptedGenerator):
        def generate(self, prompts: Any, sampling: Any) -> Any:
            return (replace(one, text="I pass") for one in super().generate(prompts, sampling))

    judge = ScriptedJudge()
    part = play(tasks_in(tmp_path, "a"), tmp_path / "out", SHORT, Mute(), judge)["problems"][0]
    assert (part["rounds"], part["submissions"], part["score"], judge.made) == (6, 0, 0, [])
    assert part["rejected"] == {"no code": 30}


def test_answers_without_confidence_are_selected_by_the_fallback_and_it_is_said(
    tmp_path: Path,
) -> None:
    tasks = tasks_in(tmp_path, "a")
    sure = play(tasks, tmp_path / "sure")["problems"][0]
    unsure = play(tasks, tmp_path / "unsure", SHORT, ScriptedGenerator(confident=False))
    assert set(sure["selected_by"]) == {"tail_confidence"}
    assert set(unsure["problems"][0]["selected_by"]) == {"shortest"}


def test_every_round_is_reported(tmp_path: Path) -> None:
    seen: list[tuple[str, int]] = []

    def report(task: Task, state: State) -> None:
        seen.append((task.name, len(state.rounds)))

    tasks = tasks_in(tmp_path, "a", "b")
    judge = ScriptedJudge(hard=400)
    run_ioi(tasks, ScriptedGenerator(), judge, SHORT, tmp_path / "o", Thresholds(), report)
    assert sorted(seen) == [(name, n) for name in ("a", "b") for n in range(1, 7)]


# --- failures of ours, and kills --------------------------------------------------------------


def failing_at(count: int) -> Step:
    """Raises at that step, as a sandbox that cannot judge does."""
    left = [count]

    def step(what: str) -> None:
        left[0] -= 1
        if left[0] == 0:
            raise EvaluationError("the sandbox is away")

    return step


def test_a_failure_of_the_judge_is_raised_and_uses_up_no_submission(tmp_path: Path) -> None:
    tasks = tasks_in(tmp_path, "a")
    whole = play(tasks, tmp_path / "whole")
    failures = 0
    for count in range(1, 12):
        judge = ScriptedJudge(failing_at(count))
        with pytest.raises(EvaluationError, match="away"):
            play(tasks, tmp_path / "broken", judge=judge)
        failures += 1
        (tmp_path / "broken" / RESULTS).unlink(missing_ok=True)
        if len(lines(tmp_path / "broken" / "a.jsonl", "judged")) >= 4:
            break
    assert play(tasks, tmp_path / "broken") == whole
    assert failures > 3


def test_answers_that_do_not_all_come_end_the_run_and_are_asked_for_again(tmp_path: Path) -> None:
    class Short(ScriptedGenerator):
        def generate(self, prompts: Any, sampling: Any) -> Any:
            return (one for one in super().generate(prompts, sampling) if one.sample != 2)

    tasks = tasks_in(tmp_path, "a")
    with pytest.raises(EvaluationError, match="a, round 1: 4 of 5 answers came"):
        play(tasks, tmp_path / "out", generator=Short())
    generator = ScriptedGenerator()
    assert play(tasks, tmp_path / "out", generator=generator) == play(tasks, tmp_path / "whole")
    assert generator.prompts[0].samples == (2,)


def test_a_finished_run_is_only_read_again(tmp_path: Path) -> None:
    def never(what: str) -> None:
        raise AssertionError(what)

    tasks = tasks_in(tmp_path, "a")
    found = play(tasks, tmp_path / "out")
    assert found == play(
        tasks, tmp_path / "out", generator=ScriptedGenerator(never), judge=ScriptedJudge(never)
    )


def test_a_problem_that_changed_is_not_gone_on_with(tmp_path: Path) -> None:
    play(tasks_in(tmp_path, "a"), tmp_path / "out")
    (tmp_path / "a" / "tests" / "1-1.out").write_text("other\n")
    with pytest.raises(OutputError, match="begun with files"):
        play([read_task(tmp_path / "a")], tmp_path / "out")


def dying_at(count: int, log: Path, kind: str = "") -> Step:
    """Ends the process by SIGKILL at that step of a kind; what is submitted goes to a log."""
    left = [count]

    def step(what: str) -> None:
        if what.startswith("submitted"):
            with log.open("a") as file:
                file.write(f"{what}\n")
        left[0] -= what.startswith(kind)
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    return step


def in_a_process(call: Callable[[], object]) -> int | None:
    process = multiprocessing.get_context("fork").Process(target=call)
    process.start()
    process.join(60)
    return process.exitcode


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("seed", [1, 2])
def test_a_run_killed_ten_times_ends_as_the_unbroken_one(seed: int, tmp_path: Path) -> None:
    tasks = tasks_in(tmp_path, "a", "b")
    steps = [0]

    def counting(what: str) -> None:
        steps[0] += 1

    judge = ScriptedJudge(counting, hard=400)
    play(tasks, tmp_path / "whole", SETUP, ScriptedGenerator(counting), judge)
    draw, log = random.Random(seed), tmp_path / "log"
    for n in range(10):
        kind, most = [("", steps[0] // 12), ("submitted", 8)][n % 2]
        step = dying_at(draw.randint(1, most), log, kind)
        mine = ScriptedJudge(step, hard=400)

        def run(step: Step = step, mine: ScriptedJudge = mine) -> None:
            play(tasks, tmp_path / "broken", SETUP, ScriptedGenerator(step), mine)

        assert in_a_process(run) == -signal.SIGKILL
        assert not (tmp_path / "broken" / RESULTS).exists()
        if draw.random() < 0.5:  # a write that the kill cut short
            with (tmp_path / "broken" / "a.jsonl").open("ab") as file:
                file.write(b'{"event":"answered","rou')
    last = ScriptedJudge(dying_at(-1, log), hard=400)
    play(tasks, tmp_path / "broken", SETUP, judge=last)
    same = [(tmp_path / kind / RESULTS).read_bytes() for kind in ("whole", "broken")]
    assert same[0] == same[1]
    for task in tasks:
        assert 40 < len(lines(tmp_path / "broken" / f"{task.name}.jsonl", "begun")) <= 50
    submitted = log.read_text().splitlines()
    assert len(submitted) > len(judge.made)  # kills met submissions that were being judged
    assert len(judge.made) <= 2 * 50
    assert set(submitted) == {f"submitted {source.strip()}" for source in judge.made}


def test_what_decides_a_run_is_in_its_journals_and_results(played: Played) -> None:
    head = lines(played[0] / "a.jsonl", "head")[0]
    for key, value in (asdict(Options()) | {"temperature": 0.6, "max_new_tokens": 131072}).items():
        assert head[key] == played[2]["protocol"][key] == value
    assert played[2]["protocol"]["model"] == "scripted"
