"""Limits in time: jobs too old to run, runs that take too long."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from worksong.domain.names import one_line
from worksong.domain.verdict import Discard
from worksong.ports.context import Context
from worksong.ports.handler import Handler, Middleware

STUCK_AFTER = 5.0
"""Seconds that a run has to end once it is cancelled, before it is told of."""

log = logging.getLogger("worksong")


def limited(seconds: float) -> Middleware:
    """A run longer than `seconds` is cancelled, and has failed; one that will not end is told of as stuck."""

    async def limit(context: Context, call_next: Handler) -> object:
        patience = asyncio.timeout(seconds)
        alarm = asyncio.get_running_loop().call_later(seconds + STUCK_AFTER, _tell_stuck, context, seconds)
        try:
            async with patience:
                return await call_next(context)
        except TimeoutError as late:
            if patience.expired():
                raise TimeoutError(f"timed out after {seconds:g} s") from late
            raise
        finally:
            alarm.cancel()

    return limit


def _tell_stuck(context: Context, seconds: float) -> None:
    """In the log, and where operators look what a slot does."""
    job, text = context.job, f"stuck: cancelled after {seconds:g} s, and it goes on"
    context.checkin(text)
    log.error(
        "job %s (%s) is %s; its slot is taken until it ends: let its handler raise asyncio.CancelledError",
        one_line(job.id),
        job.handler,
        text,
        extra={"job": job},
    )


def expiring(seconds: float, now: Callable[[], float]) -> Middleware:
    """A job that waited longer than `seconds` since it was ready to run is discarded."""

    async def expire(context: Context, call_next: Handler) -> object:
        since = context.job.enqueued_at
        waited = now() - since
        # Formats with whole seconds cut the time: give such a job the second it may have lost.
        if waited > seconds + (1.0 if float(since).is_integer() else 0.0):
            raise Discard(f"expired: it waited {waited:.1f} s and was good for {seconds:g} s")
        return await call_next(context)

    return expire
