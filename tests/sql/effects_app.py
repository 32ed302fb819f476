"""A worker that is killed: each job writes one row on the connection of its run.

Told by the environment: EFFECTS_URL, EFFECTS_NAME (its namespace), EFFECTS_PAGE (of the notes).
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import random
import signal
import sys

from sql.notes import write
from worksong import Context, Worker
from worksong.domain import retry

worker = Worker(os.environ["EFFECTS_URL"], name=os.environ["EFFECTS_NAME"], concurrency=8)


@worker.job(max_fails=1000, backoff=retry.fixed(0))
async def pay(ctx: Context, number: int) -> None:
    connection = await ctx.aconnection()
    await write(connection, os.environ["EFFECTS_PAGE"], number)
    if random.random() < 0.1:
        raise ValueError("after it has written")
    await asyncio.sleep(random.uniform(0, 0.005))


if __name__ == "__main__":
    if sys.platform.startswith("linux"):  # a test that is killed leaves no worker
        ctypes.CDLL(None).prctl(1, int(signal.SIGKILL), 0, 0, 0)
    worker.run()
