"""The running half of a pool: a queue, and one thread for each worker process.

Quick answers travel several at a time, because a round trip costs more than they do. The rule
that keeps the deadline per answer: a message that does not end well decides nothing, and what
it left open is asked again one by one.
"""

from __future__ import annotations

import heapq
import os
import threading
import time
import traceback
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass

from cascade_rl.rewards.pool_process import Computing, Unsendable, WorkerProcess
from cascade_rl.rewards.pool_room import Room
from cascade_rl.rewards.pool_worker import Question
from cascade_rl.types import Problem, Verdict, failed, unjudged

TOGETHER = 32
"""At most so many answers in one message,"""
TOGETHER_S = 0.01
"""which together are expected to take at most this long."""
CLOSED = "the pool was closed"


class Ticket(Future[Verdict]):
    """The verdict to come on one answer; `seconds` is then what it took in the worker."""

    seconds: float = 0.0


@dataclass(slots=True)
class Task:
    """One answer to judge. Answers of one `kind` are expected to take equally long.

    `again` is set once it has been in a message that did not end well. The lowest `place` is
    judged first.
    """

    verifier: bytes
    problem: Problem
    text: str
    ticket: Ticket
    place: int = 0
    again: bool = False

    @property
    def kind(self) -> tuple[bytes, str]:
        """The verifier and the domain."""
        return self.verifier, self.problem.domain

    @property
    def question(self) -> Question:
        """What is sent."""
        return self.verifier, self.problem, self.text


@dataclass(frozen=True, slots=True)
class PoolMetrics:
    """What a pool has done so far: a snapshot.

    `seconds` is the workers' wall clock in verifiers, `busy` its share of all the time that the
    workers had. `waiting` answers are in the queue and `running` ones in workers.
    """

    answers: int = 0
    timeouts: int = 0
    infra: int = 0
    respawns: int = 0
    seconds: float = 0.0
    busy: float = 0.0
    waiting: int = 0
    running: int = 0


def _cores(workers: int) -> list[int | None]:
    """The core that each worker keeps to, or None where it may use any.

    A worker and what runs below it take turns, so they need one core; left alone, the kernel
    puts two of them on one core for moments while another idles. Where workers are fewer than
    cores it finds a free one, and which are the busy ones is not ours to know.
    """
    cores = sorted(os.sched_getaffinity(0))
    if workers < len(cores):
        return [None] * workers
    return [cores[n % len(cores)] for n in range(workers)]


class Crew:
    """Threads and worker processes of one pool in one process; a fork makes another crew."""

    def __init__(self, workers: int, deadline_s: float, room: Room) -> None:
        self.owner = os.getpid()
        self._deadline_s, self._room = deadline_s, room
        self._changed = threading.Condition()  # re-entrant: a finalizer may close it anywhere
        self._closing = threading.Event()
        self._queue: list[tuple[int, int, Task]] = []  # a heap by place, then in order of arrival
        self._arrived = self._put_again = 0
        self._pace: dict[tuple[bytes, str], float] = {}
        self._answers = self._timeouts = self._infra = self._respawns = self._running = 0
        self._seconds, self._begun, self._ended = 0.0, time.monotonic(), 0.0
        self._workers = [WorkerProcess(self._closing, core) for core in _cores(workers)]
        self._threads = [
            threading.Thread(target=self._serve, args=(worker,), name=f"verifier-{n}", daemon=True)
            for n, worker in enumerate(self._workers)
        ]
        for thread in self._threads:
            thread.start()

    def put(self, task: Task) -> None:
        """Queue one answer, for which a place in the room is taken."""
        with self._changed:
            if self._closing.is_set():
                task.ticket.cancel()
            else:
                self._arrived += 1
                heapq.heappush(self._queue, (task.place, self._arrived, task))
                self._changed.notify()

    def metrics(self) -> PoolMetrics:
        """The numbers as they are now."""
        with self._changed:
            elapsed = (self._ended or time.monotonic()) - self._begun
            return PoolMetrics(
                answers=self._answers,
                timeouts=self._timeouts,
                infra=self._infra,
                respawns=self._respawns,
                seconds=self._seconds,
                busy=min(1.0, self._seconds / max(elapsed * len(self._workers), 1e-9)),
                waiting=len(self._queue),
                running=self._running,
            )

    def close(self) -> None:
        """End every worker and everything under it; unfinished tickets are cancelled."""
        self.abandon()
        for thread in self._threads:
            thread.join()

    def abandon(self) -> None:
        """The same without waiting: what a finalizer may do, in any thread."""
        with self._changed:
            self._closing.set()
            self._ended = self._ended or time.monotonic()
            left, self._queue = [task for _, _, task in sorted(self._queue)], []
            self._changed.notify_all()
        self._room.close()
        for task in left:
            if not task.ticket.cancel():  # it had begun
                task.ticket.set_result(unjudged("infra", CLOSED))
        for worker in self._workers:
            worker.hang_up()

    def forget(self) -> None:
        """In a forked child, where threads are gone and the workers are the parent's."""
        for worker in self._workers:
            worker.forget()

    # --- one thread's life --------------------------------------------------------------------

    def _serve(self, worker: WorkerProcess) -> None:
        try:
            while tasks := self._take():
                try:
                    if len(tasks) > 1:
                        self._together(worker, tasks)
                    else:
                        self._settle(tasks[0], *self._alone(worker, tasks[0]))
                except Exception:  # a bug here must not leave a caller waiting for ever
                    worker.kill()
                    reason = traceback.format_exc(limit=-3)
                    for task in tasks:
                        if not task.ticket.done():
                            self._settle(task, unjudged("infra", reason), 0.0)
        finally:
            worker.stop()

    def _take(self) -> list[Task]:
        """The next answer, and those behind it that are quick; empty when the pool closes."""
        taken: list[Task] = []
        expected = 0.0
        with self._changed:
            while not taken:
                self._changed.wait_for(lambda: self._queue or self._closing.is_set())
                if self._closing.is_set():
                    return []
                most = min(TOGETHER, max(1, len(self._queue) // (2 * len(self._workers))))
                while self._queue and len(taken) < most:
                    task = self._queue[0][2]
                    pace = self._pace.get(task.kind, TOGETHER_S)
                    expected += TOGETHER_S if task.again else pace
                    if taken and expected >= TOGETHER_S:
                        break
                    heapq.heappop(self._queue)
                    if task.again or task.ticket.set_running_or_notify_cancel():
                        taken.append(task)
                    else:
                        self._room.leave()
            self._running += len(taken)
        return taken

    def _together(self, worker: WorkerProcess, tasks: Sequence[Task]) -> None:
        """Settle answers that travel in one message; what could not be goes back to the queue."""
        left = deque(tasks)
        try:
            worker.ask([task.question for task in tasks], self._deadline_s)
            last = False
            while not last:
                replies = worker.replies(self._deadline_s)
                last = replies.last
                for verdict, seconds in replies.verdicts:
                    self._settle(left.popleft(), verdict, seconds)
        except Unsendable:
            pass  # alone it is seen which
        except (Computing, EOFError, OSError):
            self._replace(worker)
        self._put_back(left)

    def _put_back(self, tasks: Sequence[Task]) -> None:
        """To the head of the queue, from where they are asked one by one."""
        with self._changed:
            self._running -= len(tasks)
            for task in reversed(tasks):
                task.again = True
                if self._closing.is_set():
                    task.ticket.set_result(unjudged("infra", CLOSED))
                else:
                    self._put_again -= 1
                    heapq.heappush(self._queue, (task.place, self._put_again, task))
                    self._changed.notify()

    def _alone(self, worker: WorkerProcess, task: Task) -> tuple[Verdict, float]:
        """The verdict on one answer, in the second attempt if the worker was lost."""
        started = time.monotonic()
        reason = ""
        for _attempt in range(2):
            if self._closing.is_set():
                reason = CLOSED
                break
            try:
                worker.ask([task.question], self._deadline_s)
                replies = worker.replies(self._deadline_s)
                if replies.unread:
                    return unjudged("infra", replies.unread), 0.0
                return replies.verdicts[0]
            except Computing:
                worker.kill()
                reason = f"verifying computed for {self._deadline_s:g} s"
                return failed("timeout", reason), time.monotonic() - started
            except TimeoutError:
                reason = f"no verdict within {self._deadline_s:g} s, twice"
                self._replace(worker)
            except (EOFError, OSError) as error:
                ended = self._replace(worker)
                reason = f"the verifier's process {ended}, twice" + (f": {error}" if error else "")
            except Unsendable as error:
                return unjudged("infra", f"the problem cannot be sent to a worker: {error}"), 0.0
        return unjudged("infra", reason), time.monotonic() - started

    def _replace(self, worker: WorkerProcess) -> str:
        """Kill a worker that is lost; how it ended. The next question starts another."""
        ended = worker.kill()
        if not self._closing.is_set():
            with self._changed:
                self._respawns += 1
        return ended

    def _settle(self, task: Task, verdict: Verdict, seconds: float) -> None:
        with self._changed:
            self._answers += 1
            self._running -= 1
            self._timeouts += verdict.status == "timeout"
            self._infra += verdict.status == "infra"
            self._seconds += seconds
            known = self._pace.get(task.kind, seconds)
            self._pace[task.kind] = 0.9 * known + 0.1 * seconds
        self._room.leave()
        task.ticket.seconds = seconds
        task.ticket.set_result(verdict)
