"""Programs in a transaction of the application, on its own connection to a database server."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from worksong.adapters.sql.failures import Verdict
from worksong.adapters.sql.lines import Line
from worksong.adapters.sql.servers import ServerStore
from worksong.adapters.sql.steps import Operation, Step, carry_out
from worksong.adapters.sql.store import NoRoom, NotSent, Refused
from worksong.domain.errors import ConfigError, InvalidArguments, WorksongError

L = TypeVar("L", bound=Line)
T = TypeVar("T")


class JoinedServer(ABC, Generic[L]):
    """What fails leaves nothing behind, and the transaction as it was: each program runs within a savepoint."""

    def __init__(self, line: L, store: ServerStore[Any]) -> None:
        self.line, self.store = line, store
        self.blocks = line.blocks
        self._lost = False

    # what a dialect gives

    @abstractmethod
    async def save(self) -> None:
        """Set the savepoint `worksong`; raises a driver's error where no transaction is open."""

    @abstractmethod
    async def execute(self, step: Step) -> Any:
        """Rows found, or how many were touched."""

    @abstractmethod
    def unusable(self, failure: BaseException) -> str:
        """Why nothing can be written in the connection's transaction, if that is to blame; else empty."""

    async def tell(self) -> None:
        """Let workers hear of it with the commit, where the server can."""

    # programs

    async def run(self, operation: Operation[T]) -> T:
        if self.closed():
            raise InvalidArguments("the connection is closed: enqueue on one that is open; nothing was enqueued")
        async with self.line.turn():
            await self._save()
            try:
                return await self._within(operation)
            except UnicodeEncodeError as failure:
                raise InvalidArguments(
                    f"the connection's character set, {failure.encoding}, cannot carry "
                    f"{failure.object[failure.start]!r}, which is in the name, the queue or the id of a job: "
                    "connect with UTF-8; nothing was enqueued"
                ) from failure
            except self.line.failures as failure:
                raise self._meant(failure) from failure

    async def _save(self) -> None:
        try:
            await self.save()
        except self.line.failures as failure:
            raise self._meant(failure) from failure

    async def _within(self, operation: Operation[T]) -> T:
        try:
            answer = await carry_out(operation, self.execute)
            await self.tell()
        except BaseException:
            with contextlib.suppress(Exception):  # the transaction may be gone, and the connection: then all is
                await self.line.execute("ROLLBACK TO SAVEPOINT worksong")
                await self.line.execute("RELEASE SAVEPOINT worksong")
            raise
        await self.line.execute("RELEASE SAVEPOINT worksong")
        return answer

    def _meant(self, failure: BaseException) -> WorksongError:
        if why := self.unusable(failure):
            return InvalidArguments(f"{why}; nothing was enqueued")
        where, said = self.store.address.shown, str(failure).partition("\n")[0]
        match self.store.meaning(failure):
            case Verdict.AGAIN:
                return NotSent(
                    f"{where}: others were in the way ({said}): roll the transaction back, and begin it anew"
                )
            case Verdict.CONFIG:
                tables = "the connection must see the tables that `worksong migrate` makes there"
                return ConfigError(f"{where} refused: {said}; {tables}")
            case Verdict.AWAY:
                self._lost = True
                return NotSent(f"the connection to {where} broke ({said}): begin anew on another; nothing was enqueued")
            case Verdict.FULL:
                return NoRoom(f"{where}: {said}; nothing was enqueued")
            case Verdict.REFUSED:
                return Refused(f"{where} refused: {said}")

    def closed(self) -> bool:
        """Drivers notice late that they were cut off."""
        return self._lost or self.line.closed()

    def on_commit(self, call: Callable[[], None]) -> None:
        """A connection does not tell when it commits."""
