"""All jobs of a worker begin, wait for a test, and then run."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from frameworks.held.gates import note, wait_at
from worksong import Context, Worker


def hold_jobs_of(worker: Worker) -> None:
    @worker.middleware
    async def hold(ctx: Context, call_next: Callable[[Context], Awaitable[object]]) -> object:
        note("job began")
        await asyncio.to_thread(wait_at, "job")
        result = await call_next(ctx)
        note("job ended")
        return result
