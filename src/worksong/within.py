"""Enqueueing within a transaction of the application: a job is there when that commits, and never otherwise."""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from datetime import datetime
from typing import Any, Protocol, TypeVar

from worksong import enqueueing
from worksong.domain.errors import InvalidArguments
from worksong.domain.job import Job
from worksong.enqueueing import Delay
from worksong.handle import Handle
from worksong.ports.backend import Intake, Transaction
from worksong.ports.clock import Clock

T = TypeVar("T")


class Owner(Protocol):
    """The worker, as far as enqueueing within a transaction goes."""

    clock: Clock

    async def enqueue(self, jobs: Sequence[Job], into: Intake) -> list[Handle[Any] | None]: ...


class Within:
    """The verbs of a worker on one connection. The blocking ones run in the caller's thread: it has the connection."""

    def __init__(self, owner: Owner, transaction: Transaction) -> None:
        self._owner, self._transaction = owner, transaction

    def perform(self, job: Job) -> Handle[Any] | None:
        return self._at_once(self.aperform(job))

    async def aperform(self, job: Job) -> Handle[Any] | None:
        return (await self._owner.enqueue([job], self._transaction))[0]

    def perform_in(self, job: Job, delay: Delay) -> Handle[Any] | None:
        return self._at_once(self.aperform_in(job, delay))

    async def aperform_in(self, job: Job, delay: Delay) -> Handle[Any] | None:
        return await self.aperform(enqueueing.run_in(job, delay, self._owner.clock.now()))

    def perform_at(self, job: Job, when: datetime) -> Handle[Any] | None:
        return self._at_once(self.aperform_at(job, when))

    async def aperform_at(self, job: Job, when: datetime) -> Handle[Any] | None:
        return await self.aperform(enqueueing.run_at(job, when, self._owner.clock.now()))

    def perform_many(self, jobs: Sequence[Job]) -> list[Handle[Any] | None]:
        return self._at_once(self.aperform_many(jobs))

    async def aperform_many(self, jobs: Sequence[Job]) -> list[Handle[Any] | None]:
        return await self._owner.enqueue(jobs, self._transaction)

    def _at_once(self, enqueueing: Coroutine[Any, Any, T]) -> T:
        """The answer of a coroutine that waits for no loop."""
        if not self._transaction.blocks:
            enqueueing.close()
            raise InvalidArguments("the connection is one for async code: await aperform instead; nothing was enqueued")
        try:
            enqueueing.send(None)
        except StopIteration as end:
            answer: T = end.value
            return answer
        raise RuntimeError("a connection that blocks waited for an event loop")
