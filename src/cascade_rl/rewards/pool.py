"""Verification in worker processes while generation goes on, from threads, asyncio or Ray.

`submit` gives a ticket and `gather` the verdicts in order of submission; `verify` is the same to
await. A worker that dies or idles is replaced, and its answer is tried once more; then it is
`infra`, not judged, and too many of those stop the stage. An answer is timed out only for
processor time that was really used, so a busy machine changes no verdict.

One surprise: processes start with the first answer, in the process that brings it. So a pool may
be pickled or forked, and the copy has workers of its own.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import pickle
import threading
import weakref
from collections import deque
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from types import TracebackType
from typing import Self

from cascade_rl.errors import TrainingError
from cascade_rl.rewards.pool_crew import Crew, PoolMetrics, Task, Ticket
from cascade_rl.rewards.pool_room import Room
from cascade_rl.types import Problem, Verdict, Verifier

__all__ = ["PoolMetrics", "Ticket", "VerifierPool", "last_infra", "refuse_unjudged"]

_FEW = 20


def refuse_unjudged(unjudged: int, verdicts: int, limit: float, reason: str) -> None:
    """The circuit breaker: raise TrainingError where more than `limit` were not judged.

    The share is of at least 20 verdicts. `reason` is the last one's.
    """
    if unjudged > limit * max(verdicts, _FEW):
        raise TrainingError(
            f"{unjudged} of {verdicts} answers could not be judged; "
            f"at most {limit:.0%} may be. The last reason: {reason.strip()}",
            hint="see what this machine allows:  cascade doctor",
        )


def last_infra(verdicts: Sequence[Verdict]) -> str:
    """Why the last of them that was not judged was not."""
    return next((v.reason for v in reversed(verdicts) if v.status == "infra"), "")


class VerifierPool:
    """Worker processes that run verifiers. Use as a context manager, or `close()` it.

    `deadline_s` bounds one answer in a worker, above every verifier's own bounds.
    `breaker` is the share of `infra` verdicts above which TrainingError is raised.
    `max_undone` answers may be in the pool; whoever brings another one waits.
    Verifiers are pickled by reference: functions of modules, or `functools.partial` of them.
    """

    def __init__(
        self,
        workers: int = 2,
        deadline_s: float = 120.0,
        breaker: float = 0.05,
        max_undone: int = 4096,
    ) -> None:
        assert workers > 0 and deadline_s > 0 and max_undone > 0
        self._settings = workers, deadline_s, breaker, max_undone
        self._closed = False
        self._fresh()
        _POOLS.add(self)

    def _fresh(self) -> None:
        self._lock = threading.Lock()
        self._crew: Crew | None = None
        self._room = Room(self._settings[3])
        self._pickled: dict[int, tuple[Verifier, bytes]] = {}
        self._handed_out = self._unjudged = 0
        self._finalizer: weakref.finalize[..., VerifierPool] | None = None

    def __reduce__(self) -> tuple[type[VerifierPool], tuple[int, float, float, int]]:
        return VerifierPool, self._settings

    # --- judging ------------------------------------------------------------------------------

    def submit(self, verifier: Verifier, problem: Problem, text: str, place: int = 0) -> Ticket:
        """Queue one answer; the ticket's verdict is read with `gather`. Waits for room.

        Of the answers that wait, those with the lowest `place` are judged first.
        """
        pickled = self._pickle(verifier)
        self._running()
        self._room.enter()
        return self._queued(pickled, problem, text, place)

    def gather(self, tickets: Sequence[Ticket]) -> list[Verdict]:
        """Wait for the tickets; their verdicts in the same order.

        Raises TrainingError when the share of `infra` among all verdicts exceeds the limit.
        """
        return self._handed([ticket.result() for ticket in tickets])

    def map(self, verifier: Verifier, pairs: Iterable[tuple[Problem, str]]) -> Iterator[Verdict]:
        """Verdicts in the order of the pairs, which are read as there is room for them."""
        ahead: deque[Ticket] = deque()
        try:
            for problem, text in pairs:
                ahead.append(self.submit(verifier, problem, text))
                while ahead and (ahead[0].done() or len(ahead) >= self._settings[3]):
                    yield from self.gather([ahead.popleft()])
            while ahead:
                yield from self.gather([ahead.popleft()])
        finally:
            for ticket in ahead:
                ticket.cancel()

    async def verify(self, verifier: Verifier, problem: Problem, text: str) -> Verdict:
        """One verdict to await; cancelling the task withdraws an answer that has not begun."""
        pickled = self._pickle(verifier)
        self._running()
        await self._room.enter_async()
        ticket = self._queued(pickled, problem, text)
        return self._handed([await asyncio.wrap_future(ticket)])[0]

    async def map_async(
        self, verifier: Verifier, pairs: Iterable[tuple[Problem, str]]
    ) -> AsyncIterator[Verdict]:
        """`map` for `async for`: verdicts in the order of the pairs."""
        ahead: deque[asyncio.Task[Verdict]] = deque()
        try:
            for problem, text in pairs:
                ahead.append(asyncio.create_task(self.verify(verifier, problem, text)))
                await asyncio.sleep(0)  # the task goes to the queue before the next pair is read
                while ahead and (ahead[0].done() or len(ahead) >= self._settings[3]):
                    yield await ahead.popleft()
            while ahead:
                yield await ahead.popleft()
        finally:
            for task in ahead:
                task.cancel()

    # --- its state ----------------------------------------------------------------------------

    def metrics(self) -> PoolMetrics:
        """What was done so far, in this process."""
        return PoolMetrics() if self._crew is None else self._crew.metrics()

    def close(self) -> None:
        """End every worker and everything under it; unfinished tickets are cancelled."""
        with self._lock:
            self._closed = True
            self._room.close()
            crew, finalizer = self._crew, self._finalizer
        if crew is not None and finalizer is not None:
            finalizer.detach()
            crew.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        await asyncio.to_thread(self.close)

    # --- inside -------------------------------------------------------------------------------

    def _running(self) -> Crew:
        with self._lock:
            if self._closed:
                raise RuntimeError("the pool is closed")
            if self._crew is None:
                workers, deadline_s, _, _ = self._settings
                self._crew = Crew(workers, deadline_s, self._room)
                self._finalizer = weakref.finalize(self, self._crew.abandon)
                self._finalizer.atexit = False  # `_at_exit` waits for the workers
            return self._crew

    def _queued(self, pickled: bytes, problem: Problem, text: str, place: int = 0) -> Ticket:
        ticket = Ticket()
        self._running().put(Task(pickled, problem, text, ticket, place))
        return ticket

    def _pickle(self, verifier: Verifier) -> bytes:
        """The verifier as bytes, made once for each; an error here is the caller's."""
        known = self._pickled.get(id(verifier))
        if known is None or known[0] is not verifier:
            if len(self._pickled) >= 64:
                self._pickled.clear()
            known = verifier, pickle.dumps(verifier)
            self._pickled[id(verifier)] = known
        return known[1]

    def _handed(self, verdicts: list[Verdict]) -> list[Verdict]:
        """Count what is handed out, and break the circuit where too much was not judged."""
        breaker = self._settings[2]
        with self._lock:
            self._handed_out += len(verdicts)
            self._unjudged += sum(verdict.status == "infra" for verdict in verdicts)
            handed_out, unjudged = self._handed_out, self._unjudged
        refuse_unjudged(unjudged, handed_out, breaker, last_infra(verdicts))
        return verdicts


_POOLS: weakref.WeakSet[VerifierPool] = weakref.WeakSet()


def _after_fork() -> None:
    """In a forked child every pool starts anew: threads and workers stayed with the parent."""
    for pool in list(_POOLS):
        if pool._finalizer is not None:
            pool._finalizer.detach()
        if pool._crew is not None:
            pool._crew.forget()
        pool._fresh()


def _at_exit() -> None:
    for pool in list(_POOLS):
        pool.close()


atexit.register(_at_exit)
os.register_at_fork(after_in_child=_after_fork)
