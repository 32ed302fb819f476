"""Limits in time: jobs too old to run, runs that take too long."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from worksong.domain.verdict import Discard
from worksong.ports.context import Context
from worksong.ports.handler import Handler, Middleware


def limited(seconds: float) -> Middleware:
    """A run longer than `seconds` is cancelled, and has failed."""

    async def limit(context: Context, call_next: Handler) -> object:
        patience = asyncio.timeout(seconds)
        try:
            async with patience:
                return await call_next(context)
        except TimeoutError as late:
            if patience.expired():
                raise TimeoutError(f"timed out after {seconds:g} s") from late
            raise

    return limit


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
