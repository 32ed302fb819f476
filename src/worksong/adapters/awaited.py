"""Endings that somebody waits for: one look at a store finds them for all who wait in a loop."""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeAlias, TypeVar

from worksong.adapters.bells import Bells

T = TypeVar("T")
FIRST_NAP, LONGEST_NAP = 0.005, 0.1
"""Seconds between two looks while this process is not told of any ending: others cannot tell."""

Look: TypeAlias = Callable[[Sequence[str]], Awaitable[dict[str, T]]]
"""What there is to tell by now, by id."""


class Awaited(Generic[T]):
    """Looks at the store while anybody waits, whenever a bell rings and now and then."""

    def __init__(self, look: Look[T], bells: Bells) -> None:
        self._look, self._bells = look, bells
        self._waiting: defaultdict[str, list[asyncio.Future[T]]] = defaultdict(list)
        self._watching: asyncio.Task[None] | None = None
        self._idle = 0

    async def wait(self, awaited_id: str, seconds: float) -> T | None:
        """What is told of it as soon as there is something; None after `seconds`."""
        told: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting[awaited_id].append(told)
        try:
            found = (await self._look([awaited_id])).get(awaited_id)
            if found or seconds <= 0:
                return found
            self._watch()
            await asyncio.wait([told], timeout=seconds)
            return told.result() if told.done() else None
        finally:
            self._give_up(awaited_id, told)

    def _watch(self) -> None:
        self._idle = 0  # a job that was just enqueued may be over soon
        if self._watching is None or self._watching.done():
            self._watching = asyncio.get_running_loop().create_task(self._tell())

    async def _tell(self) -> None:
        rang = False
        while self._waiting:
            rings = self._bells.rings
            try:
                found = await self._look(list(self._waiting))
            except Exception as failure:
                self._fail(failure)
                return
            for awaited_id, ending in found.items():
                for told in self._waiting.pop(awaited_id, ()):
                    if not told.done():
                        told.set_result(ending)
            nap = min(LONGEST_NAP, FIRST_NAP * 2 ** min(self._idle, 10))
            if rang and not found:  # it rings for others: a look for each of their endings would be in their way
                await asyncio.sleep(FIRST_NAP)
            rang = await self._bells.hear(nap, rings)
            self._idle += not rang

    def _fail(self, failure: Exception) -> None:
        """Everybody who waits hears what is wrong."""
        waiting = [told for many in self._waiting.values() for told in many]
        self._waiting.clear()
        for told in waiting:
            if not told.done():
                told.set_exception(failure)

    def _give_up(self, awaited_id: str, told: asyncio.Future[T]) -> None:
        if told.done():
            told.exception()  # who was cancelled meanwhile never reads it
        elif told in (waiting := self._waiting.get(awaited_id, [])):
            waiting.remove(told)
            if not waiting:
                del self._waiting[awaited_id]

    async def close(self) -> None:
        """Look no more until somebody waits again."""
        watching, self._watching = self._watching, None
        if watching:
            watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watching
