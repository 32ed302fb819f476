"""Results in this process, the latest of them, for a while."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import OrderedDict, defaultdict
from collections.abc import Sequence

from worksong.domain.errors import ConfigError
from worksong.domain.result import Result

KEPT = 3600.0
"""Seconds that a result is kept."""
MOST = 10_000
"""Results kept at once; then the oldest ones go."""
MOST_BYTES = 64 << 20
"""What their values may take together; then the oldest ones go as well."""


class MemoryResults:
    """For all loops and threads of the process."""

    name = "memory://"

    def __init__(self, url: str = "memory://", *, namespace: str = "") -> None:
        if url.partition(":")[2].removeprefix("//"):
            raise ConfigError("memory:// takes nothing behind it: each worker keeps results of its own")
        self._guard = threading.Lock()
        self._kept: OrderedDict[str, Result] = OrderedDict()  # a dict takes ever longer to find its oldest entry
        self._bytes = 0
        self._waiting: defaultdict[str, list[tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]]]
        self._waiting = defaultdict(list)

    def sibling(self) -> MemoryResults:
        return self

    async def close(self) -> None:
        """Nothing to let go of."""

    async def put(self, results: Sequence[Result]) -> None:
        for result in results:
            self.keep(result)

    def keep(self, result: Result) -> None:
        """Keep one result and tell who waits for it."""
        with self._guard:
            self._forget(result.job_id)
            self._kept[result.job_id] = result
            self._bytes += len(result.value)
            while len(self._kept) > MOST or self._bytes > MOST_BYTES:
                self._forget(next(iter(self._kept)))
            waiting = self._waiting.pop(result.job_id, ()) if self._waiting else ()
        for loop, bell in waiting:
            with contextlib.suppress(RuntimeError):  # its loop is closed, so nobody waits there any more
                loop.call_soon_threadsafe(_ring, bell)

    def _forget(self, job_id: str) -> None:
        gone = self._kept.pop(job_id, None)
        self._bytes -= len(gone.value) if gone else 0

    def prune(self, now: float) -> int:
        """Forget what was kept long enough; answers how many."""
        with self._guard:
            old = [job_id for job_id, result in self._kept.items() if now - result.at > KEPT]
            for job_id in old:
                self._forget(job_id)
        return len(old)

    async def result(self, job_id: str) -> Result | None:
        with self._guard:
            return self._kept.get(job_id)

    async def wait_result(self, job_id: str, seconds: float) -> Result | None:
        loop = asyncio.get_running_loop()
        entry = loop, loop.create_future()
        with self._guard:
            if job_id in self._kept:
                return self._kept[job_id]
            self._waiting[job_id].append(entry)
        try:
            await asyncio.wait([entry[1]], timeout=seconds)
        finally:
            self._give_up(job_id, entry)
        return await self.result(job_id)

    def _give_up(self, job_id: str, entry: tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]) -> None:
        with self._guard:
            if entry in (waiting := self._waiting.get(job_id, [])):
                waiting.remove(entry)
            if not waiting:
                self._waiting.pop(job_id, None)


def _ring(bell: asyncio.Future[None]) -> None:
    if not bell.done():
        bell.set_result(None)
