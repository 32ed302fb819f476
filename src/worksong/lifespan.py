"""A worker that lives as long as an ASGI application does: what Starlette and FastAPI take as `lifespan`."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Protocol

from worksong.blocking import Background
from worksong.domain.errors import ConfigError

SWITCH = "WORKSONG_WORKER_OFF"
"""The variable that makes of a web process one that only enqueues."""
YES, NO = ("1", "true", "yes", "on"), ("", "0", "false", "no", "off")


class Living(Protocol):
    """The worker, as far as starting and stopping goes."""

    background: Background

    async def astart(self) -> None: ...
    async def astop(self, grace: float) -> None: ...


@asynccontextmanager
async def lifespan(worker: Living, *, worker_off: bool | None, grace: float) -> AsyncGenerator[None]:
    """Start the worker before the first request; stop it when the last one is answered.

    A server ends the lifespan when its requests have ended, so whatever is enqueued by one that is still answered is
    taken in. What then runs has `grace` seconds to finish. With `worker_off` jobs are enqueued only.
    """
    off = is_off() if worker_off is None else worker_off
    if not off:
        await worker.astart()
    try:
        yield
    finally:
        await worker.astop(grace)
        if worker.background.started:  # endpoints that are no coroutines have enqueued through it
            await asyncio.wrap_future(worker.background.send(worker.astop(grace)))


def is_off() -> bool:
    """What the environment says; raises `ConfigError` where it says nothing that could be understood."""
    said = os.environ.get(SWITCH, "").lower()
    if said not in (*YES, *NO):
        raise ConfigError(
            f"{SWITCH}={said!r:.40} is neither yes nor no: write 1 for a process that only enqueues, or 0"
        )
    return said in YES
