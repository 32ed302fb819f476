"""An engine on a backend that notes every ending: what the tests of the engine stand on."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from typing import Any

import pytest
from msgspec.structs import replace

from patience import PATIENCE, auntil
from worksong import Context, Job, Worker
from worksong.adapters.memory import MemoryBackend
from worksong.domain.job import new_id
from worksong.domain.lifecycle import State
from worksong.domain.outcome import Buried, Discarded, Outcome, Settlement
from worksong.engine.engine import Engine
from worksong.middleware import limited
from worksong.ports.backend import Backend, Beat, Orders
from worksong.ports.clock import Clock, SystemClock
from worksong.ports.handler import Middleware
from worksong.registry import JobSpec, Options, Registry
from worksong.signature import Signature


class Ledger(MemoryBackend):
    """A backend that notes each ending that it has carried out, and says so to who waits for it."""

    def __init__(self) -> None:
        super().__init__()
        self.endings: defaultdict[str, list[Outcome]] = defaultdict(list)
        self.refused: list[Settlement] = []
        self.batches: list[int] = []
        self.orders: Orders | None = None
        """What the next beat answers, if not the truth."""
        self._ended = asyncio.Event()

    async def settle(self, batch: Sequence[Settlement], now: float) -> list[bool]:
        held = await super().settle(batch, now)
        self.batches.append(len(batch))
        for settlement, was_held in zip(batch, held, strict=True):
            if was_held:
                self.endings[settlement.delivery.job.id].append(settlement.outcome)
            else:
                self.refused.append(settlement)
        self._ended.set()
        return held

    async def beat(self, beat: Beat, now: float) -> Orders:
        orders, self.orders = self.orders, None
        return orders or await super().beat(beat, now)

    async def ending(self, job_id: str, *, times: int = 1) -> Outcome:
        """How the job ended for the `times`-th time, without the trace of what it raised."""
        async with asyncio.timeout(PATIENCE):
            while len(self.endings[job_id]) < times:
                await self._ended.wait()
                self._ended.clear()
        outcome = self.endings[job_id][times - 1]
        return replace(outcome, failure=None) if isinstance(outcome, (Buried, Discarded)) else outcome


class Bench:
    """An engine on a ledger, and what a test does with it."""

    def __init__(self, *, backend: Backend | None = None, clock: Clock | None = None, concurrency: int = 4) -> None:
        self.ledger = Ledger()
        self.backend = backend or self.ledger
        self.clock = clock or SystemClock()
        self.registry = Registry()
        self.pools: list[str] = []
        self.context: type[Context] = Context
        self._concurrency = concurrency

    def add(self, name: str, function: Callable[..., Any], **options: Any) -> None:
        self.registry.add(JobSpec(name, function, Options(**options), Signature(function, self.context, {})))

    @contextlib.asynccontextmanager
    async def running(self, *, burst: bool = False, grace: float = 0.0) -> AsyncIterator[Engine]:
        self.engine = Engine(
            self.backend,
            self.registry,
            clock=self.clock,
            concurrency=self._concurrency,
            context=self.context,
            middleware=_limits,
            on_pool=self.pools.append,
        )
        await self.engine.start(burst=burst)
        try:
            yield self.engine
        finally:
            await self.engine.stop(grace)

    async def push(self, name: str, args: Any = None, **fields: Any) -> str:
        job = Job(name, args, id=new_id(), **fields)
        assert await self.ledger.push([job], self.clock.now()) == [True]
        return job.id

    async def run(self, name: str, args: Any = None) -> Outcome:
        """How a new job ends."""
        return await self.ledger.ending(await self.push(name, args))

    async def state(self, job_id: str) -> State | None:
        view = await self.ledger.job(job_id)
        return view.state if view else None


def _limits(spec: JobSpec) -> list[Middleware]:
    return [limited(spec.options.timeout)] if spec.options.timeout is not None else []


def on(backend: Backend, monkeypatch: pytest.MonkeyPatch, **options: Any) -> Worker:
    """A worker on this backend, in whichever loop it is used."""
    monkeypatch.setattr("worksong.stores.connect", lambda url, *, namespace: backend.sibling())
    monkeypatch.setattr(Ledger, "sibling", lambda self: self)
    return Worker(**options)


class Hasty(SystemClock):
    """A clock that notes how long one wanted to sleep, and does not let them."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await asyncio.sleep(0)


async def until(true: Callable[[], object]) -> None:
    """Let everybody else have their turns until it is."""
    await auntil(true, pause=0)


def throw(failure: BaseException) -> Callable[[], None]:
    def crash() -> None:
        raise failure

    return crash


def as_coroutine(crash: Callable[[], Any]) -> Callable[[], Coroutine[Any, Any, Any]]:
    async def at_once() -> Any:
        return crash()

    return at_once


def after_waiting(crash: Callable[[], Any]) -> Callable[[], Coroutine[Any, Any, Any]]:
    async def later() -> Any:
        await asyncio.sleep(0)
        return crash()

    return later


def shown(value: object) -> str:
    """A value in the name of a test, the same in every process."""
    name = getattr(value, "__name__", None)
    return name if isinstance(name, str) else re.sub(r" at 0x[0-9a-f]+", "", ascii(value))[:50]
