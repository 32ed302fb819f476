"""More applications for the fleets, on the ledger of `chaos.app`: jobs with a limit, and jobs with results."""

from __future__ import annotations

import asyncio
import os

from chaos.app import Fleet, note
from worksong import Context

URL = "redis://localhost"  # WORKSONG_URL goes before it

limited = Fleet(URL, name="chaos", concurrency=5)
limited.middleware(note)


@limited.job(max_concurrency=3)
async def three(ms: float = 0.0) -> None:
    await asyncio.sleep(ms / 1000)


answering = Fleet(URL, name="chaos", concurrency=10, results=os.environ.get("WORKSONG_URL", URL))
answering.middleware(note)


@answering.job()
async def answer(ctx: Context, ms: float = 0.0) -> list[object]:
    """Which process and which lending answered; a crash and a rerun answer something else."""
    await asyncio.sleep(ms / 1000)
    return [os.getpid(), ctx.fence]
