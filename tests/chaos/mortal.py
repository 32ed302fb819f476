"""A process that dies in the middle of an operation on its stores: before it, or after it and before the answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from worksong.domain.errors import BackendUnavailable
from worksong.domain.job import Delivery, Job
from worksong.domain.outcome import Settlement
from worksong.ports.backend import Backend, Beside, Intake, Pool, Want
from worksong.ports.records import Change, Record, RecordStore, Ref

T = TypeVar("T")


class Life:
    """Ends with the operation of this number, counted from 1; 0: never."""

    def __init__(self, dies_at: int = 0, *, after: bool = False) -> None:
        """`after`: it has been carried out by then."""
        self._dies_at, self._after = dies_at, after
        self.steps = 0
        self.dead = asyncio.Event()
        self._buried = asyncio.Event()

    def bury(self) -> None:
        """What still waits for an answer gets an error; nothing reaches the stores any more."""
        self.dead.set()
        self._buried.set()

    async def do(self, act: Callable[[], Awaitable[T]]) -> T:
        """Carry it out, or die of it: whoever waits then waits until the burial."""
        if self.dead.is_set():
            return await self._never()
        self.steps += 1
        last = self.steps == self._dies_at
        if last and not self._after:
            return await self._never()
        answer = await act()
        return await self._never() if last else answer

    async def _never(self) -> Any:
        self.dead.set()
        await self._buried.wait()
        raise BackendUnavailable("this process is dead")


class MortalBackend:
    """A backend as a process uses it that may die; its beats go on, since nobody waits for those to fail."""

    def __init__(self, inner: Backend, life: Life, *, apart: bool = False) -> None:
        """`apart`: as if the records were kept elsewhere."""
        self._inner, self._life, self._apart = inner, life, apart

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def beside(self, records: MortalRecords) -> Beside | None:
        """A push together with records is one operation."""
        beside = None if self._apart else self._inner.beside(records.inner)
        return None if beside is None else lambda changes: _MortalIntake(beside(changes), self._life)

    async def push(self, jobs: Sequence[Job], now: float, *, once: bool = False) -> list[bool]:
        return await self._life.do(lambda: self._inner.push(jobs, now, once=once))

    async def fetch(self, want: Want, now: float) -> list[Delivery]:
        return await self._life.do(lambda: self._inner.fetch(want, now))

    async def settle(self, batch: Sequence[Settlement], now: float) -> list[bool]:
        return await self._life.do(lambda: self._inner.settle(batch, now))

    async def leave(self, pool: Pool, now: float) -> int:
        if self._life.dead.is_set():
            raise BackendUnavailable("the dead do not take their leave")
        return await self._inner.leave(pool, now)


class _MortalIntake:
    def __init__(self, inner: Intake, life: Life) -> None:
        self._inner, self._life = inner, life

    async def push(self, jobs: Sequence[Job], now: float, *, once: bool = False) -> list[bool]:
        return await self._life.do(lambda: self._inner.push(jobs, now, once=once))


class MortalRecords:
    """The same of a store of records."""

    def __init__(self, inner: RecordStore, life: Life) -> None:
        self.inner, self._life = inner, life

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def sibling(self) -> MortalRecords:
        return self

    async def close(self) -> None:
        """It is another one's."""

    async def write(self, changes: Sequence[Change]) -> bool:
        return await self._life.do(lambda: self.inner.write(changes))

    async def read(self, refs: Sequence[Ref]) -> list[Record | None]:
        return await self._life.do(lambda: self.inner.read(refs))
