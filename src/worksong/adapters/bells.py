"""Who waits for work in this process, whichever loop it waits in."""

from __future__ import annotations

import asyncio
import contextlib
import threading


class Bells:
    """Rung when something may have become ready; every waiter hears it once."""

    def __init__(self) -> None:
        self.rings = 0
        """How often so far: read before a look at the store, so that no ring between look and wait is missed."""
        self._guard = threading.Lock()
        self._waiting: list[tuple[asyncio.AbstractEventLoop, asyncio.Future[bool]]] = []

    def ring(self) -> None:
        """Wake everybody who waits now."""
        with self._guard:
            self.rings += 1
            if not self._waiting:
                return
            waiting, self._waiting = self._waiting, []
        for loop, bell in waiting:
            with contextlib.suppress(RuntimeError):  # its loop is closed, so nobody waits there any more
                loop.call_soon_threadsafe(_set, bell, True)

    async def hear(self, seconds: float, since: int) -> bool:
        """Wait for a ring after the first `since` ones, so long at most; whether there was one."""
        loop = asyncio.get_running_loop()
        bell: asyncio.Future[bool] = loop.create_future()
        with self._guard:
            if self.rings != since:
                return True
            self._waiting.append((loop, bell))
        timer = loop.call_later(seconds, _set, bell, False)
        try:
            return await bell
        finally:
            timer.cancel()
            with self._guard:
                if (loop, bell) in self._waiting:
                    self._waiting.remove((loop, bell))


def _set(bell: asyncio.Future[bool], rung: bool) -> None:
    if not bell.done():
        bell.set_result(rung)
