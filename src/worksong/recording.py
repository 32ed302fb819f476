"""Recording: a layer around handlers that notes in the ledger how far the jobs are that have a record."""

from __future__ import annotations

import asyncio

import msgspec

from worksong.domain.record import CANCELLED, META, JobRecord, Status, message_of
from worksong.domain.verdict import Discard, Retry, Snooze
from worksong.ledger import Ledger
from worksong.perloop import PerLoop
from worksong.ports.clock import Clock
from worksong.ports.context import Context
from worksong.ports.handler import Handler
from worksong.ports.insistence import insist

TWIN_WAITS = 60.0
"""Seconds between two looks of a message at what becomes of another one of the same job."""
LATE = "context deadline exceeded"
"""What Valet says of a run that took too long."""


class Recording:
    """Outermost around handlers. Endings are noted by the ledger itself, as results are put there."""

    def __init__(self, ledgers: PerLoop[Ledger], clock: Clock) -> None:
        self._ledgers, self._clock = ledgers, clock

    async def __call__(self, context: Context, call_next: Handler) -> object:
        job = context.job
        if META not in job.meta:
            return await call_next(context)
        ledger, message = self._ledgers.here(), message_of(job)
        kept = await insist(lambda: ledger.begin(job.id, message), self._clock)
        if kept is None:
            raise Discard("its record was deleted")
        if kept.status is Status.COMPLETED:  # its worker died before the queue heard of it
            return await self._value(ledger, job.id)
        if kept.cancelled:
            raise Discard(CANCELLED)
        if kept.message != message:
            return _twin(kept)
        return await self._run(ledger, kept, context, call_next)

    async def _value(self, ledger: Ledger, job_id: str) -> object:
        """What it returned, if that is kept still."""
        result = await insist(lambda: ledger.result(job_id), self._clock)
        return msgspec.json.decode(result.value) if result else None

    async def _run(self, ledger: Ledger, kept: JobRecord, context: Context, call_next: Handler) -> object:
        """Run it, and note if it is to run again."""

        async def put_off(verdict: Exception, reason: str) -> None:
            why = "" if isinstance(verdict, Snooze) else reason
            await insist(lambda: ledger.put_off(kept.id, why), self._clock)

        try:
            returned = await _within(kept.timeout, context, call_next)
        except (Discard, asyncio.CancelledError):
            raise
        except Exception as failure:
            await put_off(failure, str(failure) or type(failure).__name__)
            raise
        if isinstance(returned, Retry | Snooze):
            await put_off(returned, str(returned))
        return returned


def _twin(kept: JobRecord) -> Snooze:
    """Another message of the same job came first: this one waits until that has ended it, and ends likewise."""
    if kept.status is Status.FAILED:
        raise Discard(kept.failure_reason)
    return Snooze(TWIN_WAITS)


async def _within(seconds: float, context: Context, call_next: Handler) -> object:
    if seconds <= 0:
        return await call_next(context)
    patience = asyncio.timeout(seconds)
    try:
        async with patience:
            return await call_next(context)
    except TimeoutError as late:
        raise TimeoutError(LATE) if patience.expired() else late from late
