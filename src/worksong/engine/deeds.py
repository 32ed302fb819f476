"""Transactions that handlers write in: opened when first asked for, ended together with the job or undone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from worksong.domain.errors import NotStarted, Unsupported
from worksong.domain.job import Delivery
from worksong.domain.outcome import Done, Outcome, Settlement
from worksong.ports.backend import Broker, Deed, Running

Judge = Callable[[Delivery, BaseException], Outcome]


class Deeds:
    """Those of one lane, one for a job at most. Those that ask for none never come here."""

    def __init__(self, broker: Broker, slots: Sequence[Running | None], judge: Judge) -> None:
        """`slots`: what runs now; nothing is lent to any other run. `judge`: what comes of a job that failed."""
        self._broker, self._slots, self.judge = broker, slots, judge
        self._loop = asyncio.get_running_loop()
        self.open: dict[int, asyncio.Task[Deed]] = {}
        """By the fence of the job; a task that is not done is still at opening it."""
        self._room = asyncio.Semaphore(len(slots))
        self._undoing: set[asyncio.Task[None]] = set()

    # lent

    def lend(self, running: Running) -> Any:
        """For a function in a thread."""
        if _in_a_loop():
            raise Unsupported(
                "give async code a connection by ctx.connection(), which would block its event loop",
                f"the handler {running.delivery.job.handler!r}",
                "write: connection = await ctx.aconnection()",
            )
        return asyncio.run_coroutine_threadsafe(self._lend(running, blocks=True), self._loop).result()

    async def alend(self, running: Running) -> Any:
        """For a coroutine; one that runs in the loop of a thread gets what threads get."""
        if asyncio.get_running_loop() is self._loop:
            return await self._lend(running, blocks=False)
        lending = asyncio.run_coroutine_threadsafe(self._lend(running, blocks=True), self._loop)
        return await asyncio.wrap_future(lending)

    async def _lend(self, running: Running, *, blocks: bool) -> Any:
        self._check(running)
        fence = running.delivery.fence
        opening = self.open.get(fence)
        if opening is None:
            opening = self.open[fence] = self._loop.create_task(self._begin(blocks=blocks))
            opening.add_done_callback(lambda task: self._opened(fence, task))
        deed = await asyncio.shield(opening)  # it is shared: who is cancelled here must not cancel it
        self._check(running)
        return deed.connection

    def _check(self, running: Running) -> None:
        if self._slots[running.slot] is not running:
            job = running.delivery.job
            raise NotStarted(f"job {job.id} ({job.handler}) does not run any more: no connection is lent to it")

    async def _begin(self, *, blocks: bool) -> Deed:
        await self._room.acquire()
        try:
            return await self._broker.begin(blocks=blocks)
        except BaseException:
            self._room.release()
            raise

    def _opened(self, fence: int, task: asyncio.Task[Deed]) -> None:
        """What could not be opened may be asked for again."""
        if (task.cancelled() or task.exception()) and self.open.get(fence) is task:
            del self.open[fence]

    # ended

    async def end(self, settlement: Settlement, now: float) -> bool | None:
        """Commit the ending together with what the handler wrote: whether the claim held.

        None: nothing of it is left, and the ending is to be carried out as any other. Raises as `Deed.settle`.
        """
        fence = settlement.delivery.fence
        deed = await _result(self.open[fence])
        self.open.pop(fence, None)
        if deed is None:
            return None
        try:
            return await deed.settle(settlement, now) if isinstance(settlement.outcome, Done) else None
        finally:
            await deed.undo()
            self._room.release()

    def abandon(self, fence: int) -> None:
        """The job is somebody else's: leave nothing behind."""
        opening = self.open.pop(fence, None)
        if opening:
            task = self._loop.create_task(self._undo(opening))
            self._undoing.add(task)
            task.add_done_callback(self._undoing.discard)

    async def _undo(self, opening: asyncio.Task[Deed]) -> None:
        if deed := await _result(opening):
            await deed.undo()
            self._room.release()

    async def close(self) -> None:
        """Leave nothing of what handlers wrote that would not stop."""
        for fence, opening in list(self.open.items()):
            opening.cancel()
            self.abandon(fence)
        if self._undoing:
            await asyncio.wait(self._undoing)


class Nobody:
    """Lends nothing, and says why."""

    def __init__(self, place: str, instead: str) -> None:
        self._place, self._instead = place, instead

    def lend(self, running: Running) -> NoReturn:
        raise Unsupported("lend a connection in whose transaction the job ends", self._place, self._instead)

    async def alend(self, running: Running) -> NoReturn:
        self.lend(running)


def _in_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


async def _result(opening: asyncio.Task[Deed]) -> Deed | None:
    """None: it could not be opened, and who asked for it knows."""
    await asyncio.wait([opening])
    return None if opening.cancelled() or opening.exception() else opening.result()
