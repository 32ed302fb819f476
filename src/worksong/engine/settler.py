"""Endings on their way back: gathered into batches, carried out, and kept until their fate is known."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Sequence

from worksong.domain.errors import BackendUnavailable, InvalidArguments
from worksong.domain.job import Delivery, Job
from worksong.domain.names import one_line
from worksong.domain.outcome import Done, Outcome, Settlement
from worksong.engine.deeds import Deeds
from worksong.engine.reminder import Reminder
from worksong.ports import chance
from worksong.ports.backend import Broker
from worksong.ports.clock import Clock
from worksong.ports.results import ResultStore
from worksong.wire import result as wire

BATCH = 128
IN_FLIGHT = 2
PLENTY, PATIENCE = 64, 0.002
"""Endings, and seconds, for which endings gather at most when there are plenty."""
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 1.0
"""Seconds until the next try when the server does not answer: less than a stop waits for endings, which would else hand
back what has run while the server is there again.
"""
BACKLOG = 2 * 8 * BATCH
"""Unsettled endings from which on nothing more is fetched."""

log = logging.getLogger("worksong")


class Settler:
    """Takes endings without waiting; a batch leaves once per loop turn, or as the one before it comes back."""

    def __init__(
        self,
        broker: Broker,
        clock: Clock,
        held: dict[int, Delivery],
        on_settled: Callable[[], None],
        results: ResultStore | None = None,
        *,
        deeds: Deeds | None = None,
    ) -> None:
        """`held`: every delivery not yet settled, by fence; an ending leaves it when its fate is known.

        `deeds`: the transactions that some of the endings belong to.
        """
        self._results, self._deeds = results, deeds
        self._broker, self._clock, self._held, self._on_settled = broker, clock, held, on_settled
        self._batch: list[Settlement] = []
        self.patient = False
        """Endings gather for a while, since the next fetch brings more of them anyway."""
        self._scheduled: asyncio.Handle | None = None
        self._flights: set[asyncio.Task[None]] = set()
        self._refusals: set[asyncio.Task[None]] = set()
        self._apart: set[asyncio.Task[None]] = set()
        """Endings in transactions of their own."""
        self._contested: set[int] = set()
        """Fences of failures that may be none: the success before them was perhaps committed, and nobody heard so."""
        self.fates: dict[int, Callable[[Outcome], None]] = {}
        """By fence, whom to tell how a run ended whose handler did not decide it alone."""
        self.endings: Counter[type[Outcome]] = Counter()
        self._reminder = Reminder(clock)
        self.refused = 0
        """Endings that came too late: the job was somebody else's by then."""

    @property
    def full(self) -> bool:
        """Too many endings wait for the server."""
        return len(self._batch) + len(self._refusals) + len(self._apart) >= BACKLOG

    @property
    def empty(self) -> bool:
        """Every ending is carried out."""
        return not (self._batch or self._flights or self._refusals or self._apart)

    def put(self, settlement: Settlement) -> None:
        """Take an ending."""
        self._batch.append(settlement)
        if self._scheduled is None or (len(self._batch) == PLENTY and self.patient):
            self._schedule()

    def _schedule(self) -> None:
        loop = asyncio.get_running_loop()
        if self._scheduled:
            self._scheduled.cancel()
        if self.patient and len(self._batch) < PLENTY:
            self._scheduled = loop.call_later(PATIENCE, self._flush)
        else:
            self._scheduled = loop.call_soon(self._flush)

    async def drained(self) -> None:
        """Wait until every ending is carried out."""
        while not self.empty:
            self._flush()  # nothing more will come to leave with
            under_way = self._flights | self._refusals | self._apart
            await asyncio.wait(under_way) if under_way else await asyncio.sleep(0)

    def drop(self) -> None:
        """Give up what is not carried out yet: the server is away, and those jobs run again."""
        self._batch = []
        self.fates.clear()
        for task in (*self._flights, *self._refusals, *self._apart):
            task.cancel()

    def _flush(self) -> None:
        if self._scheduled:
            self._scheduled.cancel()
            self._scheduled = None
        if self._deeds and self._deeds.open:
            self._sort_out(self._deeds)
        while self._batch and len(self._flights) < IN_FLIGHT:
            batch, self._batch = self._batch[:BATCH], self._batch[BATCH:]
            flight = asyncio.get_running_loop().create_task(self._carry_out(batch))
            self._flights.add(flight)
            flight.add_done_callback(self._landed)

    def _sort_out(self, deeds: Deeds) -> None:
        """What a handler wrote and its ending are committed together, apart from all others."""
        batch, self._batch = self._batch, []
        for settlement in batch:
            if settlement.delivery.fence in deeds.open:
                task = asyncio.get_running_loop().create_task(self._conclude(settlement, deeds))
                self._apart.add(task)
                task.add_done_callback(self._concluded)
            else:
                self._batch.append(settlement)

    def _concluded(self, task: asyncio.Task[None]) -> None:
        self._apart.discard(task)
        self._landed(task)

    async def _conclude(self, settlement: Settlement, deeds: Deeds) -> None:
        """The ending of a run that failed, or could not commit, goes its usual way once nothing is left of the rest.

        Where a commit was not answered, that ending finds the job gone if all was committed, and held if nothing was.
        """
        unsure = False
        try:
            if isinstance(settlement.outcome, Done):
                await self._keep([settlement], self._clock.now())
            held = await deeds.end(settlement, self._clock.now())
        except Exception as failure:
            held, unsure = None, isinstance(failure, BackendUnavailable)
            deeds.abandon(settlement.delivery.fence)  # its result could not be kept
            settlement = Settlement(settlement.delivery, deeds.judge(settlement.delivery, failure))
        if unsure:
            self._contested.add(settlement.delivery.fence)
        if held is None:
            await self._carry_out([settlement], unsure=unsure)
            if settlement.delivery.fence not in self._held:
                self._contested.discard(settlement.delivery.fence)
        else:
            self._count([settlement], [held], unsure=False)

    def _landed(self, flight: asyncio.Task[None]) -> None:
        self._flights.discard(flight)
        if not flight.cancelled() and flight.exception():
            log.error("settling failed unexpectedly", exc_info=flight.exception())
        if self._scheduled is None:
            self._flush()  # what had to wait for a flight to land
        self._on_settled()

    async def _carry_out(self, batch: list[Settlement], *, unsure: bool = False) -> None:
        """`unsure`: it may have been carried out already."""
        pause = FIRST_PAUSE
        while batch:
            try:
                held = await self._settle(batch)
            except BackendUnavailable:
                # The backend logs the outage once. An ending is worth repeating until somebody else has the job.
                await self._clock.sleep(chance.uniform(0, pause))
                pause, unsure = min(LONGEST_PAUSE, pause * 2), True
                batch = [settlement for settlement in batch if settlement.delivery.fence in self._held]
            except Exception as refusal:
                if len(batch) > 1:
                    # Some of them may have been carried out before the refusal.
                    await asyncio.gather(*(self._carry_out([settlement], unsure=True) for settlement in batch))
                    return
                if self._deeds and isinstance(refusal, InvalidArguments) and isinstance(batch[0].outcome, Done):
                    # What should follow cannot be carried: that is a failure of the job, and no ending of it.
                    batch = [Settlement(batch[0].delivery, self._deeds.judge(batch[0].delivery, refusal))]
                    continue
                self._set_aside(batch[0], refusal)
                return
            else:
                self._count(batch, held, unsure=unsure)
                return

    async def _settle(self, batch: Sequence[Settlement]) -> list[bool]:
        """Results are kept before the job is gone: a crash in between runs it again, and loses no result."""
        now = self._clock.now()
        if self._contested and batch[0].delivery.fence in self._contested:  # and so alone
            return await self._settle_contested(batch, now)
        await self._keep(batch, now)
        return await self._broker.settle(batch, now)

    async def _settle_contested(self, batch: Sequence[Settlement], now: float) -> list[bool]:
        """The result of the success is there already, and is right unless the failure finds the job held."""
        held = await self._broker.settle(batch, now)
        # It is decided. Should the result of the failure not be kept at once, the next try keeps it before all else.
        self._contested.discard(batch[0].delivery.fence)
        if all(held):
            await self._keep(batch, now)
        return held

    async def _keep(self, batch: Sequence[Settlement], now: float) -> None:
        if self._results:
            ended = (wire.of(one.delivery.job.id, one.outcome, now) for one in batch)
            await self._results.put([result for result in ended if result])

    def _set_aside(self, settlement: Settlement, refusal: Exception) -> None:
        """An ending that the server refuses holds up no other: it is tried again by itself."""
        task = asyncio.get_running_loop().create_task(self._insist(settlement, refusal))
        self._refusals.add(task)
        task.add_done_callback(self._refusals.discard)

    async def _insist(self, settlement: Settlement, refusal: Exception) -> None:
        job = settlement.delivery.job
        while settlement.delivery.fence in self._held:
            self._tell(job, refusal)
            await self._clock.sleep(chance.uniform(0.5, 5.0))
            try:
                held = await self._settle([settlement])
            except Exception as another:
                refusal = another
            else:
                self._count([settlement], held, unsure=True)
                self._on_settled()
                return

    def _tell(self, job: Job, refusal: Exception) -> None:
        """One line for all that are refused, and again after a while: one key of a wrong type refuses every ending."""
        if not self._reminder.due("an ending is refused"):
            return
        log.error(
            "job %s (%s) has ended, but the server refuses to note it%s: %s",
            one_line(job.id),
            one_line(job.handler),
            f" (nor {len(self._refusals) - 1} others)" if len(self._refusals) > 1 else "",
            one_line(str(refusal)),
            extra={"job": job},
        )

    def _count(self, batch: Sequence[Settlement], held: Sequence[bool], *, unsure: bool) -> None:
        """`unsure`: an attempt whose answer was lost may have carried them out already."""
        pop, endings, fates = self._held.pop, self.endings, self.fates
        for settlement, was_held in zip(batch, held, strict=True):
            pop(settlement.delivery.fence, None)
            if fates and (fate := fates.pop(settlement.delivery.fence, None)):
                fate(settlement.outcome)
            if was_held or unsure:
                endings[type(settlement.outcome)] += 1
            else:
                self.refused += 1
                job = settlement.delivery.job
                log.warning(
                    "job %s (%s) ended here after it was given to another worker",
                    one_line(job.id),
                    one_line(job.handler),
                    extra={"job": job},
                )
