"""Connections of a database server that are lent to handlers, and come back clean or not at all."""

from __future__ import annotations

import asyncio
import contextlib
from abc import ABC, abstractmethod
from typing import Generic, TypeVar

from worksong.adapters.sql.failures import Verdict
from worksong.adapters.sql.servers import ServerStore
from worksong.adapters.sql.steps import Operation
from worksong.adapters.sql.store import EndedEarly, MaybeDone
from worksong.domain.errors import WorksongError

C = TypeVar("C")
T = TypeVar("T")

PATIENCE = 2.0
"""Seconds for a rollback; then the connection is closed, which the server takes for one."""


class ServerLent(ABC, Generic[C]):
    """One connection, in a transaction that ends once."""

    def __init__(self, store: ServerStore[C], connection: C) -> None:
        self.connection = connection
        self._store = store
        self._ended = False

    # what a dialect gives

    @abstractmethod
    async def is_whole(self) -> bool:
        """Whether the transaction is the one that was begun."""

    async def leash(self) -> None:
        """From here on the job's row is locked: let the server end what stands still, where it can."""

    @abstractmethod
    async def end(self) -> None:
        """Commit."""

    @abstractmethod
    async def back_out(self) -> None:
        """Roll back."""

    @abstractmethod
    async def give_back(self) -> None:
        """For others to use, or close it; whoever still has it can use it no more."""

    @abstractmethod
    def hang_up(self) -> None:
        """Close it at once, whatever it is doing."""

    # its end

    async def commit(self, operation: Operation[T]) -> T:
        self._ended = True
        return await self._store.see_through(self._commit(operation))

    async def undo(self) -> None:
        if not self._ended:
            self._ended = True
            await self._store.see_through(self._let_go())

    async def _commit(self, operation: Operation[T]) -> T:
        committing = False
        try:
            if not await self.is_whole():
                raise EndedEarly
            await self.leash()
            answer = await self._store.carry_out(self.connection, operation)
            committing = True
            await self.end()
        except BaseException as failure:
            await self._let_go()
            if isinstance(failure, WorksongError) or not isinstance(failure, Exception):
                raise
            raise self._meant(failure, committing=committing) from failure
        await self._part()
        return answer

    def _meant(self, failure: Exception, *, committing: bool) -> WorksongError:
        if committing and self._store.meaning(failure) is Verdict.AWAY:
            return MaybeDone(f"the connection to {self._store.address.shown} broke at the commit ({failure})")
        return self._store.meant(failure)

    async def _let_go(self) -> None:
        """A connection that is still in use, or broken, is closed."""
        try:
            async with asyncio.timeout(PATIENCE):
                await self.back_out()
        except Exception:
            self.hang_up()
        await self._part()

    async def _part(self) -> None:
        try:
            await self.give_back()
        except Exception:
            with contextlib.suppress(Exception):
                self.hang_up()
