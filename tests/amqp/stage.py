"""What tests on RabbitMQ have in common: a worker in a namespace of its own, and patience."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeAlias

import patience
from worksong import Worker
from worksong.adapters.amqp import AmqpBackend
from worksong.domain.job import new_id

PATIENT = "timeout=60&heartbeat=60"
"""Of a URL: a server that is slow to answer is not taken for dead, nor are we by it."""
PATIENCE = 240.0
"""Seconds in which what must happen has happened, on a slow machine: one call may last as long as `PATIENT` says,
and what it is needed for comes after it."""
LIMIT = 900
"""Seconds that a test may take which waits so."""
MakesWorkers: TypeAlias = Callable[..., Worker]
MakesBackends: TypeAlias = Callable[[str], AmqpBackend]
"""Of the fixtures `a_worker` and `a_backend`."""


def a_worker(url: str, **options: object) -> Worker:
    """A worker on the server, in a namespace of its own unless the URL names one."""
    mark = "&" if "?" in url else "?"
    named = url if "namespace=" in url else f"{url}{mark}namespace={new_id()}"
    return Worker(f"{named}&{PATIENT}", **options)


def until(happened: Callable[[], object], what: str) -> None:
    """Wait for it."""
    patience.until(happened, what, within=PATIENCE)


async def awaited(happened: Callable[[], Awaitable[object]], what: str) -> None:
    """The same, for what must be asked of the server."""
    await patience.auntil(happened, what, within=PATIENCE)
