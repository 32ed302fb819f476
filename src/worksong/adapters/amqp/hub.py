"""The thread in which the connections of this process to one server live; all siblings share it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from worksong.adapters.amqp.core import Core
from worksong.domain.errors import BackendUnavailable

T = TypeVar("T")


class Hub:
    """Runs coroutines beside whatever the callers' loops are busy with, so that heartbeats and acks are never late."""

    def __init__(self, make: Callable[[], Core]) -> None:
        self._make = make
        self._guard = threading.RLock()  # a finalizer may run inside of it
        self._users: set[int] = set()
        self._running: _Running | None = None

    async def run(self, user: int, work: Callable[[Core], Coroutine[Any, Any, T]]) -> T:
        """Carry it out over there; cancelling here cancels there."""
        with self._guard:  # before anybody ends its loop
            running = self._joined(user)
            answer = asyncio.run_coroutine_threadsafe(work(running.core), running.loop)
        try:
            return await asyncio.wrap_future(answer)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if running.ending and not (task and task.cancelling()):
                raise BackendUnavailable("the connection was closed before the server answered") from None
            raise

    def _joined(self, user: int) -> _Running:
        with self._guard:
            self._users.add(user)
            if self._running is None or self._running.pid != os.getpid():  # a fork has no threads
                self._running = _Running(self._make)
            return self._running

    async def release(self, user: int) -> None:
        """The user needs it no longer; with the last one, the connections are closed."""
        ending = self._left(user)
        if ending:
            await asyncio.wrap_future(ending.end())

    def forget(self, user: int) -> None:
        """The same for a user that is no more, from any thread."""
        ending = self._left(user)
        if ending and ending.pid == os.getpid():
            ending.end()

    def _left(self, user: int) -> _Running | None:
        with self._guard:
            self._users.discard(user)
            if self._users or self._running is None:
                return None
            ending, self._running = self._running, None
            return ending


class _Running:
    """One thread with its loop."""

    def __init__(self, make: Callable[[], Core]) -> None:
        self.pid = os.getpid()
        self.ending = False
        self.loop = asyncio.new_event_loop()
        self.core = make()
        threading.Thread(target=self._run, name="worksong-amqp", daemon=True).start()

    def _run(self) -> None:
        try:
            self.loop.run_forever()
            self.loop.run_until_complete(self._last())
            self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        finally:
            self.loop.close()

    async def _last(self) -> None:
        """Nobody may wait for ever: end what is under way, and the connections that came about meanwhile."""
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        with contextlib.suppress(Exception):
            await self.core.close()
        await asyncio.sleep(0)  # for transports to let go of their sockets

    def end(self) -> Any:
        """Close the connections, then the loop; a future of `concurrent.futures`."""
        self.ending = True
        return asyncio.run_coroutine_threadsafe(self._end(), self.loop)

    async def _end(self) -> None:
        try:
            await self.core.close()
        finally:
            self.loop.call_later(0.0, self.loop.stop)
