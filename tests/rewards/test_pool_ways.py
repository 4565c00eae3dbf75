"""The pool from asyncio, from forked and spawned processes, from Ray, and after a crash."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import pickle
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import psutil
import pytest

from cascade_rl.errors import TrainingError
from cascade_rl.rewards.pool import VerifierPool
from cascade_rl.types import Answer, CallTest, Problem, Tests, Verdict
from cascade_rl.verifiers import verifier_for, verify, verify_many
from tests.rewards.pool_verifiers import PROBLEM, obedient

ADD = Problem("a", "code", (), Tests((CallTest((1, 2), 3),), entry_point="f"), "t")


def mixed() -> list[tuple[Problem, str]]:
    """Math and code, right and wrong, quick and slow."""
    pairs = [(Problem(f"p{i}", "math", (), Answer("5"), "t"), f"\\boxed{{{i}}}") for i in range(20)]
    for wait, plus in ((0, 0), (0.2, 0), (0.1, 1), (0, 1), (0.3, 0)):
        body = f"import time\ndef f(a, b):\n    time.sleep({wait})\n    return a + b + {plus}"
        pairs.append((ADD, f"```python\n{body}\n```"))
    return pairs


def decided(verdicts: list[Verdict]) -> list[tuple[Any, ...]]:
    return [(v.score, v.status, v.answer) for v in verdicts]


# --- asyncio ----------------------------------------------------------------------------------


def test_verdicts_are_the_same_in_this_process_in_the_pool_and_awaited() -> None:
    pairs = mixed()
    alone = decided(verify_many(pairs))

    async def awaited(pool: VerifierPool) -> tuple[list[Verdict], list[Verdict]]:
        gathered = await asyncio.gather(*(pool.verify(verify, *pair) for pair in pairs))
        return list(gathered), [v async for v in pool.map_async(verify, pairs)]

    with VerifierPool(2) as pool:
        assert decided(verify_many(pairs, pool=pool)) == alone
        for found in asyncio.run(awaited(pool)):
            assert decided(found) == alone


@pytest.mark.parametrize("seed", range(3))
def test_verdicts_do_not_depend_on_the_order_of_submission(seed: int) -> None:
    pairs = mixed()
    order = random.Random(seed).sample(range(len(pairs)), len(pairs))
    with VerifierPool(2) as pool:
        found = list(pool.map(verify, [pairs[i] for i in order]))
    expected = verify_many(pairs)
    assert decided(found) == decided([expected[i] for i in order])


def test_the_event_loop_runs_on_while_answers_are_judged_and_wait_for_room() -> None:
    async def run(pool: VerifierPool) -> int:
        ticks = 0
        jobs = [asyncio.create_task(pool.verify(obedient, PROBLEM, "sleep 0.1")) for _ in range(5)]
        while not all(job.done() for job in jobs):
            await asyncio.sleep(0.01)
            ticks += 1
        return ticks

    with VerifierPool(1, max_undone=1) as pool:
        assert asyncio.run(run(pool)) > 20


def test_a_cancelled_task_withdraws_its_answer_and_frees_its_place() -> None:
    async def run(pool: VerifierPool) -> list[Verdict]:
        first = asyncio.create_task(pool.verify(obedient, PROBLEM, "sleep 0.5"))
        queued = asyncio.create_task(pool.verify(obedient, PROBLEM, "sleep 30"))
        outside = asyncio.create_task(pool.verify(obedient, PROBLEM, "sleep 30"))
        last = asyncio.create_task(pool.verify(obedient, PROBLEM, "last"))
        await asyncio.sleep(0.2)
        queued.cancel()
        outside.cancel()
        return [await first, await last]

    with VerifierPool(1, max_undone=2) as pool:
        assert [v.answer for v in asyncio.run(run(pool))] == ["sleep 0.5", "last"]
        assert pool.metrics().answers == 2
        assert pool.gather([pool.submit(obedient, PROBLEM, "") for _ in range(2)])


def test_a_timeout_of_asyncio_leaves_the_pool_in_order() -> None:
    async def run(pool: VerifierPool) -> Verdict:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(pool.verify(obedient, PROBLEM, "sleep 1"), 0.5)
        return await pool.verify(obedient, PROBLEM, "next")

    with VerifierPool(1) as pool:
        assert asyncio.run(run(pool)).answer == "next"


def test_leaving_an_async_block_ends_the_workers_without_blocking_the_loop() -> None:
    async def run() -> tuple[int, int]:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                await asyncio.sleep(0.005)
                ticks += 1

        async with VerifierPool(1) as pool:
            answer = (await pool.verify(obedient, PROBLEM, "pid")).answer
            ticking = asyncio.create_task(tick())
            await asyncio.sleep(0.05)
            before = ticks
        after = ticks - before
        ticking.cancel()
        return int(str(answer).split()[0]), after

    worker, ticks = asyncio.run(run())
    assert not psutil.pid_exists(worker) and ticks > 0


def test_awaited_verdicts_break_the_circuit_too() -> None:
    async def run(pool: VerifierPool) -> None:
        for _ in range(5):
            await pool.verify(obedient, PROBLEM, "infra")

    with VerifierPool(1, breaker=0.05) as pool, pytest.raises(TrainingError, match="not be judged"):
        asyncio.run(run(pool))


def test_map_async_yields_before_all_is_read() -> None:
    read: list[int] = []

    def pairs() -> Iterator[tuple[Problem, str]]:
        for i in range(1000):
            read.append(i)
            yield PROBLEM, str(i)

    async def first(pool: VerifierPool) -> Verdict:
        verdicts = pool.map_async(obedient, pairs())
        found = await anext(verdicts)
        await verdicts.aclose()  # type: ignore[attr-defined]
        return found

    with VerifierPool(1, max_undone=10) as pool:
        assert asyncio.run(first(pool)).answer == "0"
        assert len(read) < 100


# --- other processes --------------------------------------------------------------------------


def pids(pool: VerifierPool) -> set[int]:
    """Of the pool's workers, as its answers name them."""
    tickets = [pool.submit(obedient, PROBLEM, "pid") for _ in range(5)]
    return {int(str(verdict.answer).split()[0]) for verdict in pool.gather(tickets)}


def use(pool: VerifierPool) -> tuple[int, set[int], list[tuple[Any, ...]]]:
    """In another process: its id, its workers and its verdicts."""
    with pool:
        found = decided(list(pool.map(verifier_for("auto"), mixed()[-6:])))
        return os.getpid(), pids(pool), found


@pytest.mark.parametrize("how", ["fork", "spawn", "forkserver"])
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork.*:DeprecationWarning")
def test_a_pool_goes_to_another_process_and_has_workers_of_its_own_there(how: str) -> None:
    with VerifierPool(1) as pool:
        mine = pids(pool)
        context = multiprocessing.get_context(how)
        with ProcessPoolExecutor(1, mp_context=context) as other:
            pid, workers, found = other.submit(use, pool).result(timeout=60)
        assert pid != os.getpid() and not workers & mine
        assert found == decided(verify_many(mixed()[-6:]))
        assert not any(psutil.pid_exists(worker) for worker in workers)
        assert pids(pool) == mine


def use_in_fork(pool: VerifierPool, told: Any) -> None:
    told.send(use(pool)[1:])


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork.*:DeprecationWarning")
def test_a_forked_daemon_inherits_the_pool_and_shares_no_worker() -> None:
    with VerifierPool(1) as pool:
        mine = pids(pool)
        ours, theirs = multiprocessing.Pipe()
        context = multiprocessing.get_context("fork")
        child = context.Process(target=use_in_fork, args=(pool, theirs), daemon=True)
        child.start()
        assert ours.poll(60)
        workers, found = ours.recv()
        child.join(20)
        assert child.exitcode == 0 and not workers & mine
        assert found == decided(verify_many(mixed()[-6:]))
        assert pids(pool) == mine


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork.*:DeprecationWarning")
def test_a_fork_while_answers_are_judged_disturbs_neither_side() -> None:
    with VerifierPool(2) as pool:
        pids(pool)
        tickets = [pool.submit(obedient, PROBLEM, "sleep 0.02") for _ in range(100)]
        children = []
        for _ in range(5):
            child = os.fork()
            if child == 0:
                os._exit(0 if len(pids(pool)) in (1, 2) and pool.close() is None else 1)
            children.append(child)
        assert [os.waitpid(child, 0)[1] for child in children] == [0] * 5
        assert {verdict.outcome for verdict in pool.gather(tickets)} == {True}


def test_a_pickled_pool_is_its_settings() -> None:
    with VerifierPool(3, 7.0, 0.5, 9) as pool:
        pids(pool)
        copy = pickle.loads(pickle.dumps(pool))
    with copy:
        assert copy.__reduce__() == (VerifierPool, (3, 7.0, 0.5, 9))
        assert copy.metrics().answers == 0
        assert pids(copy)


def test_ray_tasks_and_actors_use_a_pool() -> None:
    ray = pytest.importorskip("ray")
    ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False)
    try:
        pid, workers, found = ray.get(ray.remote(use).remote(VerifierPool(1)), timeout=120)
        assert pid != os.getpid()
        assert found == decided(verify_many(mixed()[-6:]))
        assert not any(psutil.pid_exists(worker) for worker in workers)

        class Actor:
            def __init__(self, pool: VerifierPool) -> None:
                self.pool = pool

            async def judge(self, text: str) -> Verdict:
                return await self.pool.verify(obedient, PROBLEM, text)

        actor = ray.remote(Actor).options(max_concurrency=10).remote(VerifierPool(2))
        found = ray.get([actor.judge.remote(f"sleep 0.0{i}") for i in range(9)], timeout=60)
        assert [v.answer for v in found] == [f"sleep 0.0{i}" for i in range(9)]
        worker = int(ray.get(actor.judge.remote("pid")).answer.split()[0])
        ray.kill(actor)
        for _ in range(100):
            if not psutil.pid_exists(worker):
                break
            time.sleep(0.1)
        assert not psutil.pid_exists(worker)
    finally:
        ray.shutdown()


# --- a crash of the owner ---------------------------------------------------------------------

OWNER = """
import os, time
from tests.rewards.test_pool_ways import *
pool = VerifierPool(2)
list(pool.map(verify, mixed()))
for _ in range(4):
    pool.submit(verify, ADD, 'while True: pass')
    pool.submit(verify, PROBLEM, '\\\\boxed{\\\\binom{10^9}{10^8}}')
if {forks}:
    os.fork()  # a child that holds copies of the pool's sockets
print(os.getpid(), flush=True)
time.sleep(100)
"""


@pytest.mark.parametrize("forks", [False, True])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_workers_and_sandboxes_end_with_their_owner(number: signal.Signals, forks: bool) -> None:
    code = OWNER.replace("{forks}", str(forks))
    owner = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert owner.stdout is not None
    owner.stdout.readline()
    below = psutil.Process(owner.pid).children(recursive=True)
    forked = [p for p in below if p.cmdline() == psutil.Process(owner.pid).cmdline()]
    assert len(below) >= 4 and len(forked) == int(forks)
    owner.send_signal(number)
    owner.wait()
    owner.stdout.close()
    try:
        _, alive = psutil.wait_procs([p for p in below if p not in forked], timeout=20)
        assert not alive
    finally:
        for process in forked:
            process.kill()


# --- cores ------------------------------------------------------------------------------------


def test_as_many_workers_as_cores_keep_to_one_each_and_fewer_use_any() -> None:
    cores = [str(core) for core in sorted(os.sched_getaffinity(0))]
    if len(cores) < 2:
        pytest.skip("one core: there is nothing to share out")
    with VerifierPool(len(cores)) as pool:
        found = {v.answer for v in pool.map(obedient, [(PROBLEM, "cores")] * 4 * len(cores))}
    assert found == set(cores)
    with VerifierPool(len(cores) - 1) as pool:
        found = {v.answer for v in pool.map(obedient, [(PROBLEM, "cores")] * 4)}
    assert found == {" ".join(cores)}


# --- speed ------------------------------------------------------------------------------------


def test_two_workers_take_half_the_time_of_one_over_mixed_waits() -> None:
    waits = [0.0, 0.3, 0.05, 0.0, 0.2, 0.1, 0.02, 0.25, 0.0, 0.15] * 2
    taken = []
    for workers in (1, 2):
        with VerifierPool(workers) as pool:
            list(pool.map(obedient, [(PROBLEM, "sleep 0.01")] * 8))
            started = time.monotonic()
            verdicts = list(pool.map(obedient, [(PROBLEM, f"sleep {wait}") for wait in waits]))
            taken.append(time.monotonic() - started)
        assert [v.answer for v in verdicts] == [f"sleep {wait}" for wait in waits]
    assert taken[0] > 1.5 * taken[1]  # 2.14 s and 1.1 s


def test_verifying_while_generating_takes_the_longer_of_both() -> None:
    with VerifierPool(1) as pool:
        pids(pool)
        started = time.monotonic()
        tickets = []
        for _ in range(8):
            time.sleep(0.1)  # the next answer is generated
            tickets.append(pool.submit(obedient, PROBLEM, "sleep 0.1"))
        pool.gather(tickets)
        assert time.monotonic() - started < 1.4  # 0.9; one after the other 1.6
