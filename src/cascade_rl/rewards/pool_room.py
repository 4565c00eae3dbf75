"""Back-pressure: at most so many answers are in the pool, and whoever brings one more waits.

Threads wait by blocking, coroutines by awaiting; places go to them in the order they came.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from concurrent.futures import Future


class Room:
    """A counter of free places."""

    def __init__(self, places: int) -> None:
        self._lock = threading.RLock()  # a finalizer may close the room anywhere
        self._free = places
        self._waiting: deque[Future[None]] = deque()
        self._closed = False

    def enter(self) -> None:
        """Take a place, blocking until there is one. RuntimeError when the room closes."""
        place = self._ask()
        if place is None:
            return
        try:
            place.result()
        except BaseException:  # an interrupt while waiting
            self._give_back(place)
            raise

    async def enter_async(self) -> None:
        """Take a place without blocking the event loop."""
        place = self._ask()
        if place is None:
            return
        try:
            await asyncio.wrap_future(place)
        except BaseException:  # cancelled while waiting, perhaps just when a place came free
            self._give_back(place)
            raise

    def leave(self) -> None:
        """Free a place, or hand it to whoever waits longest."""
        with self._lock:
            while self._waiting:
                place = self._waiting.popleft()
                if place.set_running_or_notify_cancel():
                    place.set_result(None)
                    return
            self._free += 1

    def close(self) -> None:
        """Everyone who waits, or comes later, gets a RuntimeError."""
        with self._lock:
            self._closed = True
            waiting = list(self._waiting)
            self._waiting.clear()
        for place in waiting:
            if place.set_running_or_notify_cancel():
                place.set_exception(RuntimeError("the pool was closed"))

    def _ask(self) -> Future[None] | None:
        """None where a place was free and is taken, else what to wait for."""
        with self._lock:
            if self._closed:
                raise RuntimeError("the pool is closed")
            if self._free:
                self._free -= 1
                return None
            place: Future[None] = Future()
            self._waiting.append(place)
            return place

    def _give_back(self, place: Future[None]) -> None:
        if not place.cancel() and not place.cancelled() and place.exception() is None:
            self.leave()
