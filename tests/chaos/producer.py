"""A producer that writes down, for each job, that it tries, and whether it was told that the job is stored."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from pathlib import Path

from msgspec.structs import replace

from chaos.ledger import Journal
from worksong.adapters import connect
from worksong.domain.errors import BackendUnavailable, EnqueueOutcomeUnknown
from worksong.domain.job import Job, new_id
from worksong.ports.backend import Allowance

TURN = 0.02
"""Seconds between two pushes of a producer that keeps a rate."""
PAUSE = 0.1
"""Seconds after a push that failed."""


def mixed_job(chance: random.Random) -> Job:
    """Mean 5 ms; one of a hundred takes 300."""
    return Job("work", {"ms": 300.0 if chance.random() < 0.01 else round(chance.expovariate(1 / 5), 2)})


class Producer:
    """Pushes jobs without `once`, under ids of its own: so the ledger knows of an attempt before the server does."""

    def __init__(self, url: str, directory: Path, *, allowance: Allowance | None = None) -> None:
        """`allowance`: of every job type, where the store must know it at the push."""
        self._backend = connect(url, namespace="chaos")
        self._backend.advise(lambda _: allowance)
        self._journal = Journal(directory, "producer")
        self.acked = 0

    async def push(self, jobs: list[Job]) -> list[str]:
        """One push; answers the ids that were acknowledged."""
        ready = [replace(job, id=new_id(), enqueued_at=time.time()) for job in jobs]
        for job in ready:
            self._journal.write("A", job.id)
        try:
            await self._backend.push(ready, time.time())
        except EnqueueOutcomeUnknown:
            self._note("U", ready)
            return []
        except BackendUnavailable:  # it is not stored
            return []
        self._note("K", ready)
        self.acked += len(ready)
        return [job.id for job in ready]

    async def produce(self, make: Callable[[], Job], rate: float, enough: Callable[[], bool]) -> None:
        """`rate` jobs a second until there are enough; an outage is waited out, and nothing made up for."""
        begun, due = time.monotonic(), 1.0
        while not enough():
            if due >= 1 and not await self.push([make() for _ in range(int(due))]):
                await asyncio.sleep(PAUSE)
            await asyncio.sleep(TURN)
            now = time.monotonic()
            due, begun = due % 1 + min(1.0, now - begun) * rate, now

    async def close(self) -> None:
        await self._backend.close()
        self._journal.close()

    def _note(self, kind: str, jobs: list[Job]) -> None:
        for job in jobs:
            self._journal.write(kind, job.id)
