"""Verdicts come in order, while the caller works, whatever the workers meet."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from cascade_rl.errors import TrainingError
from cascade_rl.rewards.pool import VerifierPool
from cascade_rl.types import Answer, CallTest, Problem, Tests, Verdict, right, wrong
from cascade_rl.verifiers import verify_code, verify_math

PROBLEM = Problem("p", "math", (), Answer("5"), "t")
ADD = Problem("a", "code", (), Tests((CallTest((1, 2), 3),), entry_point="f"), "t")


def sleepy(problem: Problem, text: str) -> Verdict:
    time.sleep(float(text))
    return right(text)


def deadly(problem: Problem, text: str) -> Verdict:
    os._exit(1)


def dies_once(problem: Problem, text: str) -> Verdict:
    mark = Path(text)
    if not mark.exists():
        mark.touch()
        os._exit(1)
    return right()


def spinning(problem: Problem, text: str) -> Verdict:
    while True:
        pass


def raising(problem: Problem, text: str) -> Verdict:
    raise ValueError("a bug of the verifier")


def echo(problem: Problem, text: str) -> Verdict:
    return wrong("", answer=text)


def children() -> set[psutil.Process]:
    return set(psutil.Process().children(recursive=True))


def test_a_prompt_answer_costs_no_look_at_the_process_table(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looks: list[int] = []
    monkeypatch.setattr(
        "cascade_rl.rewards.pool_process.tree_seconds", lambda pid: looks.append(pid) or 0
    )
    with VerifierPool(1) as pool:
        pool.gather([pool.submit(echo, PROBLEM, "start the worker")])
        looks.clear()
        pool.gather([pool.submit(echo, PROBLEM, str(i)) for i in range(20)])
        assert looks == []
        pool.gather([pool.submit(sleepy, PROBLEM, "1.3")])
        assert len(looks) == 1


def test_verdicts_come_in_the_order_of_submission() -> None:
    with VerifierPool(2) as pool:
        waits = ["0.3", "0", "0.1", "0", "0.2"]
        verdicts = pool.gather([pool.submit(sleepy, PROBLEM, wait) for wait in waits])
    assert [verdict.answer for verdict in verdicts] == waits
    assert pool.metrics().answers == 5


def test_of_those_that_wait_the_lowest_place_is_judged_first() -> None:
    with VerifierPool(1) as pool:
        first = pool.submit(sleepy, PROBLEM, "0.3")  # the others wait behind it
        order: list[int] = []
        tickets = []
        for place in (2, 1, 0, 1):
            ticket = pool.submit(sleepy, PROBLEM, "0.02", place)
            ticket.add_done_callback(lambda _, place=place: order.append(place))
            tickets.append(ticket)
        pool.gather([first, *tickets])
    assert order == [0, 1, 1, 2]


def test_verification_runs_while_the_caller_works() -> None:
    with VerifierPool(1) as pool:
        pool.gather([pool.submit(sleepy, PROBLEM, "0")])
        started = time.monotonic()
        tickets = [pool.submit(sleepy, PROBLEM, "0.2") for _ in range(3)]
        assert time.monotonic() - started < 0.1
        time.sleep(1)
        assert all(ticket.done() for ticket in tickets)


def test_a_worker_starts_in_less_than_a_second() -> None:
    started = time.monotonic()
    with VerifierPool(1) as pool:
        pool.gather([pool.submit(verify_math, PROBLEM, "\\boxed{5}")])
        first = time.monotonic() - started
    assert first < 3  # with room for a busy machine; 0.2 s on an idle one


def test_a_worker_that_dies_is_replaced_and_the_answer_tried_again(tmp_path: Path) -> None:
    with VerifierPool(1) as pool:
        verdict = pool.gather([pool.submit(dies_once, PROBLEM, str(tmp_path / "mark"))])[0]
    assert verdict.outcome is True
    assert pool.metrics().respawns == 1


def test_an_answer_that_kills_its_worker_is_not_judged_and_the_next_one_is() -> None:
    with VerifierPool(1, breaker=1.0) as pool:
        tickets = [pool.submit(deadly, PROBLEM, ""), pool.submit(sleepy, PROBLEM, "0")]
        first, second = pool.gather(tickets)
    assert (first.status, first.score) == ("infra", None)
    assert second.outcome is True


@pytest.mark.parametrize(
    ("verifier", "text", "status"), [(spinning, "", "timeout"), (sleepy, "1000", "infra")]
)
def test_a_hang_is_a_timeout_only_if_it_computed(
    verifier: Callable[[Problem, str], Verdict], text: str, status: str
) -> None:
    with VerifierPool(1, deadline_s=1.0, breaker=1.0) as pool:
        tickets = [pool.submit(verifier, PROBLEM, text), pool.submit(sleepy, PROBLEM, "0")]
        verdicts = pool.gather(tickets)
    assert [v.status for v in verdicts] == [status, "right"]


def test_a_verifier_that_raises_is_infra_with_its_traceback() -> None:
    with VerifierPool(1, breaker=1.0) as pool:
        verdict = pool.gather([pool.submit(raising, PROBLEM, "")])[0]
    assert verdict.status == "infra"
    assert "a bug of the verifier" in verdict.reason


def test_too_many_unjudged_answers_stop_the_stage() -> None:
    with VerifierPool(1, breaker=0.05) as pool:
        pool.gather([pool.submit(raising, PROBLEM, "")])  # one of few is no share yet
        with pytest.raises(TrainingError, match="could not be judged"):
            pool.gather([pool.submit(raising, PROBLEM, "")])


@pytest.mark.parametrize("text", ["x" * 10**7, "\0\ud800\udfff", "", "\n" * 1000])
def test_any_text_travels_unchanged(text: str) -> None:
    with VerifierPool(1) as pool:
        assert pool.gather([pool.submit(echo, PROBLEM, text)])[0].answer == text


def test_the_pool_judges_as_the_verifier_does_alone() -> None:
    texts = [f"```python\ndef f(a, b): return a + b + {n % 2}\n```" for n in range(20)]
    with VerifierPool(2) as pool:
        pooled = pool.gather([pool.submit(verify_code, ADD, text) for text in texts])
    assert pooled == [verify_code(ADD, text) for text in texts]


def test_closing_leaves_no_process() -> None:
    before = children()
    with VerifierPool(2) as pool:
        hostile = "```python\nimport os\nfor _ in range(9): os.fork()\ndef f(a, b): return 3\n```"
        tickets = [pool.submit(verify_code, ADD, hostile) for _ in range(4)]
        tickets += [pool.submit(verify_math, PROBLEM, "\\boxed{\\sqrt{25}}") for _ in range(4)]
        pool.gather(tickets)
        mine = children() - before
        assert mine
    _, alive = psutil.wait_procs(list(mine), timeout=10)
    assert not alive


def test_closing_does_not_wait_for_hanging_answers() -> None:
    started = time.monotonic()
    with VerifierPool(1) as pool:
        pool.submit(spinning, PROBLEM, "")
        pool.submit(spinning, PROBLEM, "")
        time.sleep(0.3)
    assert time.monotonic() - started < 20


def test_workers_die_with_a_killed_caller() -> None:
    code = (
        "import time\n"
        "from cascade_rl.rewards.pool import VerifierPool\n"
        "from cascade_rl.types import *\n"
        "from cascade_rl.verifiers import verify_code\n"
        "p = Problem('a', 'code', (), Tests((CallTest((1,), 1),), entry_point='f'), 't')\n"
        "pool = VerifierPool(2)\n"
        "pool.gather([pool.submit(verify_code, p, 'def f(x): return x') for _ in range(8)])\n"
        "pool.submit(verify_code, p, 'while True: pass')\n"
        "print('ready', flush=True)\n"
        "time.sleep(100)\n"
    )
    caller = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert caller.stdout is not None
    assert caller.stdout.readline() == b"ready\n"
    below = psutil.Process(caller.pid).children(recursive=True)
    assert len(below) >= 3
    caller.kill()
    caller.wait()
    caller.stdout.close()
    _, alive = psutil.wait_procs(below, timeout=15)
    assert not alive
