"""`faktory://`: the ports over one Faktory server; each part of the work has a module of its own."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence

from worksong.adapters.base import BaseBackend, precede
from worksong.adapters.faktory.address import Address, parse
from worksong.adapters.faktory.broker import Broker
from worksong.adapters.faktory.client import Client
from worksong.adapters.faktory.doctor import Physician
from worksong.adapters.faktory.fetcher import Fetcher
from worksong.adapters.faktory.ledger import Ledger
from worksong.adapters.faktory.operator import Operator
from worksong.adapters.faktory.pulse import Pulse
from worksong.domain.capability import Capability
from worksong.domain.errors import Unsupported
from worksong.domain.finding import Finding
from worksong.domain.job import Delivery, Job
from worksong.domain.lifecycle import State
from worksong.domain.outcome import Settlement
from worksong.ports.backend import Allowance, Beat, Orders, Pool, QueueView, Want


class FaktoryBackend(BaseBackend):
    """The server moves what is due, times reservations and retries, and tells nobody which jobs it has."""

    capabilities = frozenset(
        {
            Capability.SHARED,
            Capability.DURABLE,
            Capability.LEASE,
            Capability.DELAY,
            Capability.QUEUES,
            Capability.PAUSE,
            Capability.POSITIONAL,
            Capability.REVIVE,
            Capability.PURGE,
        }
    )

    def __init__(self, url: str, *, namespace: str, clock: Callable[[], float] = time.monotonic) -> None:
        """Only the URL's own `?namespace=` stands before the names of queues: other workers have none.

        `clock`: seconds that never go back, by which reservations and beats are measured.
        """
        self._use(parse(url, os.environ), Ledger(clock), lambda _: None)

    def _use(self, address: Address, ledger: Ledger, allowance: Callable[[str], Allowance | None]) -> None:
        self._address, self._ledger, self._allowance = address, ledger, allowance
        self.name = address.shown
        self._reopen()

    def _reopen(self) -> None:
        client = self._client = Client(self._address)
        self._broker = Broker(client, self._ledger, self._allowance)
        self._fetcher = Fetcher(client, self._ledger, reject=self._broker.reject, unknown=self._broker.refuse)
        self._pulse = Pulse(client, self._ledger)
        self._operator, self._physician = Operator(client), Physician(client)

    def advise(self, allowance: Callable[[str], Allowance | None]) -> None:
        self._use(self._address, self._ledger, allowance)

    def sibling(self) -> FaktoryBackend:
        other = type(self).__new__(type(self))
        other._use(self._address, self._ledger, self._allowance)
        return other

    async def close(self) -> None:
        """A FETCH under way comes to its end, and what it brings goes back."""
        client, broker, fetcher = self._client, self._broker, self._fetcher
        self._reopen()
        try:
            await broker.hand_back(await fetcher.close())
            await broker.refused()
        finally:
            await client.close()

    async def erase(self) -> None:
        if not self._address.namespace:
            raise Unsupported(
                "drop everything of one application",
                self.name,
                "name a namespace in the URL, as in ?namespace=myapp; or purge queue by queue",
            )
        await self._operator.erase()

    # Broker

    async def push(self, jobs: Sequence[Job], now: float, *, once: bool = False) -> list[bool]:
        for job in jobs:
            self.check(job)
        return await self._broker.push(jobs, now, once=once)

    async def fetch(self, want: Want, now: float) -> list[Delivery]:
        return await self._fetcher.fetch(want)

    async def settle(self, batch: Sequence[Settlement], now: float) -> list[bool]:
        held = [one for one in batch if self._ledger.holds(one.delivery.receipt)]
        await precede(self, held, now)  # what follows an ending that is repeated may be there twice: ids are not known
        return await self._broker.settle(batch, now)

    # Upkeep

    async def enlist(self, pool: Pool, now: float) -> None:
        await self._pulse.enlist(pool)

    async def beat(self, beat: Beat, now: float) -> Orders:
        orders = await self._pulse.beat(beat)
        if not self._pulse.unread(beat):
            held = {delivery.fence for delivery in beat.held}
            await self._broker.hand_back(self._ledger.unheld(beat.pool.id, held))
        return orders

    async def leave(self, pool: Pool, now: float) -> int:
        back = await self._broker.hand_back(self._ledger.of(pool.id))
        self._ledger.forget(pool.id)
        self._client.identify(None)
        return back

    # Inspector

    async def queues(self, now: float) -> list[QueueView]:
        return await self._operator.queues()

    async def counts(self) -> dict[State, int]:
        return await self._operator.counts()

    # Admin

    async def requeue(self, state: State, job_ids: Sequence[str] | None, now: float) -> int:
        return await self._operator.mutate("requeue", state, job_ids)

    async def delete(self, state: State, job_ids: Sequence[str] | None) -> int:
        return await self._operator.mutate("discard", state, job_ids)

    async def pause(self, name: str) -> None:
        await self._operator.pause(name)

    async def resume(self, name: str) -> None:
        await self._operator.resume(name)

    async def purge(self, name: str) -> int:
        return await self._operator.purge(name)

    # Doctor

    async def admit(self) -> list[Finding]:
        return await self._physician.admit()

    async def examine(self, now: float) -> list[Finding]:
        return await self._physician.examine(now)
