"""The example for FastAPI, with a lifespan of its own, and a request and a job that end when a test lets them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from examples.fastapi_app.main import app as example
from examples.fastapi_app.main import worker
from fastapi import FastAPI

JOURNAL = Path("journal")
NEVER = 3600.0


def note(event: str) -> None:
    with JOURNAL.open("a") as journal:
        journal.write(f"{event}\n")


async def gate(name: str) -> None:
    """Until a file of this name is there."""
    await asyncio.to_thread(_look_for, Path(name))


def _look_for(file: Path) -> None:
    while not file.exists():
        time.sleep(0.01)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with worker.lifespan(app, grace=NEVER):
        note("started")
        yield
        note("drained")
    note("stopped")


app = FastAPI(lifespan=lifespan, routes=example.routes)


@worker.job()
async def held(name: str) -> None:
    note(f"job {name} began")
    await gate(name)
    note(f"job {name} ended")


@app.post("/begin/{name}")
async def begin(name: str) -> None:
    await held.aperform(name)


@app.post("/held/{name}")
async def answer_late(name: str) -> None:
    note("request began")
    await gate("request")
    await held.aperform(name)
    note("request ended")
