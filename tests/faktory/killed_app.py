"""A worker that is killed while it runs a job: it says where it is, and waits."""

from __future__ import annotations

import asyncio
import os

from worksong import Worker

worker = Worker("faktory:", concurrency=2)


@worker.job()
async def hold(n: int) -> None:
    os.write(1, f"holding {n}\n".encode())
    await asyncio.Event().wait()
