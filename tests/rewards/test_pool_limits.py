"""Room, messages of several answers, metrics, and what is not an answer's fault."""

from __future__ import annotations

import functools
import gc
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import CancelledError
from dataclasses import FrozenInstanceError, replace
from pathlib import Path

import psutil
import pytest

from cascade_rl.rewards.pool import PoolMetrics, VerifierPool
from cascade_rl.types import Problem, Verdict
from tests.rewards.pool_verifiers import PROBLEM, obedient, options


def warm(pool: VerifierPool, count: int = 40) -> None:
    """Let the pool see that these answers are quick."""
    pool.gather([pool.submit(obedient, PROBLEM, "") for _ in range(count)])


def together(pool: VerifierPool, texts: list[str]) -> list[Verdict]:
    """Verdicts on texts that all wait in the queue before the first of them is taken."""
    first = pool.submit(obedient, PROBLEM, "sleep 0.2")
    tickets = [pool.submit(obedient, PROBLEM, text) for text in texts]
    return pool.gather([first, *tickets])[1:]


# --- room -------------------------------------------------------------------------------------


def test_a_full_pool_makes_the_caller_wait() -> None:
    with VerifierPool(1, max_undone=3) as pool:
        warm(pool)
        started = time.monotonic()
        for _ in range(3):
            pool.submit(obedient, PROBLEM, "sleep 0.3")
        assert time.monotonic() - started < 0.2
        pool.submit(obedient, PROBLEM, "")
        assert time.monotonic() - started > 0.2
        assert pool.metrics().waiting + pool.metrics().running <= 3


def test_many_threads_share_a_small_pool_and_each_gets_its_own_verdicts() -> None:
    found: dict[str, list[str | None]] = {}

    def use(name: str) -> None:
        tickets = [pool.submit(obedient, PROBLEM, f"{name} {i}") for i in range(50)]
        found[name] = [verdict.answer for verdict in pool.gather(tickets)]

    with VerifierPool(2, max_undone=5) as pool:
        threads = [threading.Thread(target=use, args=(f"thread{n}",)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert found == {f"thread{n}": [f"thread{n} {i}" for i in range(50)] for n in range(8)}


def test_closing_wakes_a_caller_that_waits_for_room() -> None:
    pool = VerifierPool(1, max_undone=1)
    said: list[str] = []

    def wait() -> None:
        try:
            pool.submit(obedient, PROBLEM, "")
        except RuntimeError as error:
            said.append(str(error))

    pool.submit(obedient, PROBLEM, "sleep 30")
    waiting = threading.Thread(target=wait)
    waiting.start()
    time.sleep(0.5)
    started = time.monotonic()
    pool.close()
    waiting.join()
    assert time.monotonic() - started < 3
    assert "closed" in said[0]


def test_a_closed_pool_takes_nothing_and_its_queued_answers_are_cancelled() -> None:
    pool = VerifierPool(1)
    running = pool.submit(obedient, PROBLEM, "sleep 30")
    queued = pool.submit(obedient, PROBLEM, "")
    time.sleep(0.5)
    pool.close()
    assert running.result().status == "infra"
    with pytest.raises(CancelledError):
        queued.result()
    with pytest.raises(RuntimeError, match="closed"):
        pool.submit(obedient, PROBLEM, "")


def test_a_withdrawn_answer_is_not_judged_and_frees_its_place() -> None:
    with VerifierPool(1, max_undone=2) as pool:
        warm(pool)
        before = pool.metrics().answers
        first = pool.submit(obedient, PROBLEM, "sleep 0.3")
        assert pool.submit(obedient, PROBLEM, "sleep 30").cancel()
        last = pool.submit(obedient, PROBLEM, "last")
        assert [v.outcome for v in pool.gather([first, last])] == [True, True]
        assert pool.metrics().answers - before == 2


def test_map_reads_its_pairs_as_there_is_room_and_keeps_their_order() -> None:
    read: list[int] = []

    def pairs(count: int) -> object:
        for i in range(count):
            read.append(i)
            yield PROBLEM, f"sleep {0.02 * (i % 3)}"

    with VerifierPool(2, max_undone=4) as pool:
        verdicts = pool.map(obedient, pairs(40))  # type: ignore[arg-type]
        assert next(verdicts).answer == "sleep 0.0"
        assert len(read) < 20
        rest = [verdict.answer for verdict in verdicts]
    assert rest == [f"sleep {0.02 * (i % 3)}" for i in range(1, 40)]


def test_leaving_map_early_withdraws_what_has_not_begun() -> None:
    with VerifierPool(1) as pool:
        verdicts = pool.map(obedient, [(PROBLEM, "sleep 0.2")] * 30)
        next(verdicts)
        verdicts.close()  # type: ignore[attr-defined]
        assert pool.gather([pool.submit(obedient, PROBLEM, "next")])[0].answer == "next"
        assert pool.metrics().answers <= 4


# --- several answers in one message -----------------------------------------------------------


def test_an_answer_that_dies_costs_the_others_in_its_message_nothing() -> None:
    texts = ["a", "b", "die", "c", "exit now", "d"]
    with VerifierPool(1, breaker=1.0) as pool:
        warm(pool)
        verdicts = together(pool, texts)
    assert [v.status for v in verdicts] == ["right", "right", "infra", "right", "infra", "right"]
    assert "ended with status 3, twice" in verdicts[2].reason


def test_only_the_answer_that_computes_is_timed_out() -> None:
    with VerifierPool(1, deadline_s=1.0, breaker=1.0) as pool:
        warm(pool)
        verdicts = together(pool, ["a", "b", "spin", "c"])
    assert [v.status for v in verdicts] == ["right", "right", "timeout", "right"]


def test_the_deadline_is_for_one_answer_however_many_there_are() -> None:
    with VerifierPool(1, deadline_s=1.0) as pool:
        warm(pool)
        verdicts = together(pool, ["sleep 0.4"] * 8)
    assert {v.status for v in verdicts} == {"right"}


def test_slow_answers_are_shared_out_among_workers_one_by_one() -> None:
    with VerifierPool(2) as pool:
        warm(pool)
        pool.gather([pool.submit(obedient, PROBLEM, "sleep 0.2") for _ in range(6)])
        started = time.monotonic()
        pool.gather([pool.submit(obedient, PROBLEM, "sleep 0.2") for _ in range(10)])
        assert time.monotonic() - started < 1.6  # 1.0 in turns, 2.0 in one worker


def test_a_message_that_turns_out_slow_is_shared_out_again() -> None:
    with VerifierPool(2) as pool:
        warm(pool)
        started = time.monotonic()
        verdicts = together(pool, ["sleep 0.2"] * 16)
        assert time.monotonic() - started < 2.8  # 1.6 and the start of a worker; 3.2 in one worker
    assert {v.status for v in verdicts} == {"right"}


def test_quick_answers_cost_little_beside_their_verifier() -> None:
    with VerifierPool(1) as pool:
        warm(pool, 500)
        best = float("inf")
        for _ in range(3):
            started = time.monotonic()
            pool.gather([pool.submit(obedient, PROBLEM, "") for _ in range(1000)])
            best = min(best, (time.monotonic() - started) / 1000)
    assert best < 0.001  # 0.00007 on an idle machine, 0.0003 without messages of several


# --- whose fault ------------------------------------------------------------------------------


def test_a_verifier_that_cannot_be_pickled_is_refused_at_once() -> None:
    with VerifierPool(1) as pool, pytest.raises(Exception, match=r"pickle|lambda"):
        pool.submit(lambda problem, text: Verdict(1.0, "right"), PROBLEM, "")


def test_a_problem_that_cannot_be_sent_is_infra_and_the_others_are_judged() -> None:
    odd = replace(PROBLEM, extra={"lock": threading.Lock()})
    with VerifierPool(1, breaker=1.0) as pool:
        warm(pool)
        first = pool.submit(obedient, PROBLEM, "sleep 0.2")
        tickets = [pool.submit(obedient, p, "x") for p in (PROBLEM, odd, PROBLEM)]
        verdicts = pool.gather([first, *tickets])[1:]
    assert [v.status for v in verdicts] == ["right", "infra", "right"]
    assert "cannot be sent" in verdicts[1].reason


class Unreadable:
    """Pickles here, and raises where it is read."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return int, ("no number",)


def test_a_problem_that_cannot_be_read_is_infra_and_the_others_are_judged() -> None:
    odd = replace(PROBLEM, extra={"x": Unreadable()})
    with VerifierPool(1, breaker=1.0) as pool:
        warm(pool)
        first = pool.submit(obedient, PROBLEM, "sleep 0.2")
        tickets = [pool.submit(obedient, p, "x") for p in (PROBLEM, odd, PROBLEM)]
        verdicts = pool.gather([first, *tickets])[1:]
    assert [v.status for v in verdicts] == ["right", "infra", "right"]
    assert "no number" in verdicts[1].reason


def test_a_verifier_of_a_script_is_infra_and_says_where_it_should_be(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "from cascade_rl.rewards.pool import VerifierPool\n"
        "from tests.rewards.pool_verifiers import PROBLEM\n"
        "def mine(problem, text): pass\n"
        "with VerifierPool(1) as pool:\n"
        "    print(pool.gather([pool.submit(mine, PROBLEM, '')])[0].reason)\n"
    )
    paths = os.pathsep.join([str(Path(__file__).resolve().parents[2]), *filter(None, sys.path)])
    done = subprocess.run(
        [sys.executable, script],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": paths},
    )
    assert "mine" in done.stdout and "module" in done.stdout


def test_a_verifier_with_options_is_a_partial() -> None:
    with VerifierPool(1) as pool:
        noted = functools.partial(options, note="so")
        tickets = [pool.submit(v, PROBLEM, "") for v in (options, noted, options)]
        assert [v.answer for v in pool.gather(tickets)] == ["none", "so", "none"]


def test_what_a_verifier_prints_is_no_output_of_the_program(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with VerifierPool(1) as pool:
        pool.gather([pool.submit(obedient, PROBLEM, "print")])
    out, err = capfd.readouterr()
    assert out == "" and "a verifier that prints" in err


# --- metrics ----------------------------------------------------------------------------------


def test_metrics_count_what_was_done_and_what_is_waiting() -> None:
    with VerifierPool(1, breaker=1.0) as pool:
        assert pool.metrics() == PoolMetrics()
        tickets = [pool.submit(obedient, PROBLEM, t) for t in ("timeout", "infra", "sleep 0.4")]
        pool.gather(tickets)
        found = pool.metrics()
        assert (found.answers, found.timeouts, found.infra, found.respawns) == (3, 1, 1, 0)
        assert found.seconds > 0.4 and 0 < found.busy <= 1
        assert tickets[2].seconds >= 0.4 > tickets[0].seconds
        for _ in range(5):
            pool.submit(obedient, PROBLEM, "sleep 0.3")
        time.sleep(0.1)
        found = pool.metrics()
        assert (found.waiting, found.running) == (4, 1)
        with pytest.raises(FrozenInstanceError):
            found.answers = 0  # type: ignore[misc]


def test_an_idle_pool_is_not_busy() -> None:
    with VerifierPool(2) as pool:
        pool.gather([pool.submit(obedient, PROBLEM, "sleep 0.5")])
        time.sleep(0.5)
        assert pool.metrics().busy < 0.5


# --- nothing left -----------------------------------------------------------------------------


def worker_of(pool: VerifierPool) -> psutil.Process:
    answer = pool.gather([pool.submit(obedient, PROBLEM, "pid")])[0].answer
    assert answer is not None
    return psutil.Process(int(answer.split()[0]))


def test_an_exception_in_the_block_ends_the_workers() -> None:
    with pytest.raises(ZeroDivisionError), VerifierPool(1) as pool:
        worker = worker_of(pool)
        pool.submit(obedient, PROBLEM, "sleep 30")
        raise ZeroDivisionError
    assert not worker.is_running()


def test_a_pool_that_is_forgotten_ends_its_workers() -> None:
    pool = VerifierPool(1)
    worker = worker_of(pool)
    del pool
    gc.collect()
    psutil.wait_procs([worker], timeout=10)
    assert not worker.is_running()


def test_closing_twice_and_closing_an_unused_pool_is_nothing() -> None:
    pool = VerifierPool(1)
    pool.close()
    pool.close()
    assert psutil.Process().num_threads() >= 1


def test_no_descriptor_and_no_thread_is_left_by_lost_workers() -> None:
    me = psutil.Process()
    with VerifierPool(2, breaker=1.0) as pool:
        warm(pool)
        before = (me.num_fds(), me.num_threads(), len(me.children(recursive=True)))
        pool.gather([pool.submit(obedient, PROBLEM, "die") for _ in range(10)])
        warm(pool)
        assert (me.num_fds(), me.num_threads(), len(me.children(recursive=True))) == before
    assert me.num_fds() < before[0]


def test_a_program_that_never_closes_its_pool_ends(tmp_path: Path) -> None:
    code = (
        "from cascade_rl.rewards.pool import VerifierPool\n"
        "from tests.rewards.pool_verifiers import *\n"
        "pool = VerifierPool(1)\n"
        "print(pool.gather([pool.submit(obedient, PROBLEM, 'pid')])[0].answer)\n"
        "pool.submit(obedient, PROBLEM, 'sleep 100')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stderr == ""
    assert not psutil.pid_exists(int(done.stdout.split()[0]))


def test_the_problem_is_of_no_shape_that_the_pool_knows() -> None:
    odd = Problem("p", "chat", (), PROBLEM.reference, "t", {"any": [1, {"k": b"v"}]})
    with VerifierPool(1) as pool:
        assert pool.gather([pool.submit(obedient, odd, "x")])[0].outcome is True
