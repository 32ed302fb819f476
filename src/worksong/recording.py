"""Recording: a layer around handlers that notes in the ledger how far the jobs are that have a record."""

from __future__ import annotations

import asyncio

import msgspec

from worksong.domain.record import CANCELLED, META
from worksong.domain.verdict import Discard, Retry, Snooze
from worksong.ledger import Ledger
from worksong.perloop import PerLoop
from worksong.ports.clock import Clock
from worksong.ports.context import Context
from worksong.ports.handler import Handler, Middleware
from worksong.ports.insistence import insist

LATE = "context deadline exceeded"
"""What Valet says of a run that took too long."""


def recording(ledgers: PerLoop[Ledger], clock: Clock) -> Middleware:
    """Outermost around handlers. Endings are noted by the ledger itself, as results are put there."""

    async def record(context: Context, call_next: Handler) -> object:
        job = context.job
        if META not in job.meta:
            return await call_next(context)
        ledger = ledgers.here()
        kept, result = await insist(lambda: ledger.begin(job.id), clock)
        if kept is None:
            raise Discard("its record was deleted")
        if kept.cancelled:
            raise Discard(CANCELLED)
        if result:  # it was through, and its worker died before the queue heard of it
            value: object = msgspec.json.decode(result.value)
            return value
        try:
            returned = await _within(kept.timeout, context, call_next)
        except (Discard, asyncio.CancelledError):
            raise
        except Exception as failure:
            reason = "" if isinstance(failure, Snooze) else str(failure) or type(failure).__name__
            await insist(lambda: ledger.put_off(job.id, reason), clock)
            raise
        if isinstance(returned, Retry | Snooze):
            await insist(lambda: ledger.put_off(job.id, str(returned) if isinstance(returned, Retry) else ""), clock)
        return returned

    return record


async def _within(seconds: float, context: Context, call_next: Handler) -> object:
    if seconds <= 0:
        return await call_next(context)
    patience = asyncio.timeout(seconds)
    try:
        async with patience:
            return await call_next(context)
    except TimeoutError as late:
        raise TimeoutError(LATE) if patience.expired() else late from late
