"""The example for FastAPI, with a lifespan of its own, and a request and a job that end when a test lets them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from examples.fastapi_app.main import app as example
from examples.fastapi_app.main import worker
from fastapi import FastAPI

from frameworks.held.gates import note, wait_at

NEVER = 3600.0


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
    await asyncio.to_thread(wait_at, name)
    note(f"job {name} ended")


@app.post("/begin/{name}")
async def begin(name: str) -> None:
    await held.aperform(name)


@app.post("/held/{name}")
async def answer_late(name: str) -> None:
    note("request began")
    await asyncio.to_thread(wait_at, "request")
    await held.aperform(name)
    note("request ended")
