"""The async core for code without an event loop: one background loop."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

from worksong.domain.errors import WorksongError

T = TypeVar("T")


class Background:
    """An event loop in a daemon thread, started at the first call and made anew in a forked child."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pid = 0
        self._starting = threading.Lock()

    def call(self, coroutine: Coroutine[Any, Any, T], *, waits_for: asyncio.AbstractEventLoop | None = None) -> T:
        """Run the coroutine there and wait for what it returns; `waits_for`: another loop that it waits for itself."""
        return self.submit(coroutine, waits_for=waits_for).result()

    def submit(
        self, coroutine: Coroutine[Any, Any, T], *, waits_for: asyncio.AbstractEventLoop | None = None
    ) -> Future[T]:
        """Run the coroutine there; refused in a loop that would have to wait for itself."""
        loop, here = self._running(), asyncio._get_running_loop()
        if here and here in (loop, waits_for):
            coroutine.close()
            raise WorksongError(
                "this call would wait for the very loop it is made in: use its twin with `a` in front, as in aperform"
            )
        return asyncio.run_coroutine_threadsafe(coroutine, loop)

    def send(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        """Run the coroutine there, for nobody who waits in that loop."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._running())

    @property
    def started(self) -> bool:
        """Whether the loop runs, in this process."""
        return self._loop is not None and self._pid == os.getpid()

    def _running(self) -> asyncio.AbstractEventLoop:
        with self._starting:
            if self._loop is None or self._pid != os.getpid():
                self._loop, self._pid = asyncio.new_event_loop(), os.getpid()
                threading.Thread(target=self._loop.run_forever, name="worksong-loop", daemon=True).start()
            return self._loop
