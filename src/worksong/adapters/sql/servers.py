"""Programs over the connections of a database server: transactions, retries, broken connections."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Collection, Coroutine, Sequence
from functools import partial
from typing import Any, Generic, Self, TypeVar

from msgspec.structs import replace

from worksong.adapters.sql import migrate
from worksong.adapters.sql.address import Address
from worksong.adapters.sql.doctor.chart import Specialist
from worksong.adapters.sql.failures import Verdict
from worksong.adapters.sql.lines import Line
from worksong.adapters.sql.migrate import Migration
from worksong.adapters.sql.passage import Passage, Way
from worksong.adapters.sql.steps import Operation, Row, Step, carry_out
from worksong.adapters.sql.store import RETRIES, Joined, Lent, MaybeDone, NoRoom, NotSent, Refused, Say
from worksong.domain.errors import BackendUnavailable, ConfigError, Unsupported, WorksongError
from worksong.ports import chance

C = TypeVar("C")
T = TypeVar("T")

MOST = 4
"""Connections of one backend."""
CONNECT_TIMEOUT = 5.0
FAREWELL = 0.8
"""Seconds without an answer after which what is under way is given up, once the store is closed."""
LEASH = 8
"""Seconds that a transaction may stand still until the server ends it: a frozen worker keeps its rows from nobody."""

log = logging.getLogger("worksong")


class ServerStore(ABC, Generic[C]):
    """Belongs to one event loop; a cancelled caller never leaves a connection in the middle of something."""

    own_clock = True
    one_step = copies = False
    dialect = ""
    specialist: Specialist
    undoes_tables = False
    """Whether a transaction that is rolled back undoes tables and columns as well."""

    def __init__(self, address: Address, namespace: str) -> None:
        self.address, self.namespace = address, namespace
        self.place = address.shown
        self._idle: list[C] = []
        self._room = asyncio.Semaphore(MOST)
        self._under_way: dict[asyncio.Task[Any], float] = {}
        """And since when, by the loop's clock."""
        self._checked = False
        self._away = False

    # what a dialect gives

    @abstractmethod
    def sibling(self) -> Self:
        """The same database, for another loop."""

    @abstractmethod
    async def dial(self) -> C:
        """A new connection."""

    @abstractmethod
    async def begin(self, connection: C, *, write: bool, lasting: bool = True) -> None: ...

    @abstractmethod
    async def commit(self, connection: C) -> None: ...

    @abstractmethod
    async def rollback(self, connection: C) -> None: ...

    def opening(self, *, write: bool) -> str:
        """What begins a transaction, where that is sent together with its first statement, and COMMIT with its last."""
        return ""

    @abstractmethod
    async def execute(self, connection: C, step: Step, before: str = "", after: str = "") -> Any:
        """Rows found, or how many were touched; `before` and `after` are sent with it, where there is an `opening`."""

    @abstractmethod
    async def rows(self, connection: C, sql: str) -> list[Row]:
        """Run a statement without parameters; what it finds."""

    async def plain(self, connection: C, sql: str) -> list[Any]:
        """The first column of what a statement without parameters finds."""
        return [row[0] for row in await self.rows(connection, sql)]

    @abstractmethod
    def locked(self, connection: C) -> contextlib.AbstractAsyncContextManager[None]:
        """Nobody else migrates meanwhile."""

    @abstractmethod
    def prepare(self, sql: str, connection: C) -> str:
        """A statement of a migration as this server takes it."""

    async def build(self, connection: C, ahead: Sequence[str]) -> None:
        """Carry out what no transaction may hold, however long it takes, but for what is there; some have no such."""

    @abstractmethod
    def meaning(self, failure: BaseException) -> Verdict: ...

    @abstractmethod
    def mend(self, failure: BaseException) -> str:
        """What to do about it; empty where that goes without saying."""

    @abstractmethod
    def absent(self, failure: BaseException) -> bool:
        """Whether it says that there is no such table."""

    @abstractmethod
    def hang_up(self, connection: C) -> None:
        """Close at once, whatever it is doing."""

    # programs

    async def run(self, operation: Operation[T], *, write: bool = True, lasting: bool = True, alone: bool = False) -> T:
        return await self.see_through(self._insist(operation, Way(write, lasting, alone)))

    async def see_through(self, work: Coroutine[Any, Any, T]) -> T:
        """In a task of its own: who is cancelled stops waiting, and the transaction ends all the same."""
        loop = asyncio.get_running_loop()
        task = loop.create_task(work)
        self._under_way[task] = loop.time()
        task.add_done_callback(self._ended)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            caller = asyncio.current_task()
            if task.cancelled() and caller and not caller.cancelling():
                raise MaybeDone(f"{self.address.shown} was closed while the operation was under way") from None
            raise

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._under_way.pop(task, None)
        if not task.cancelled():
            task.exception()  # its caller may be gone, and nobody else reads it

    async def calm(self) -> None:
        if self._under_way:
            await asyncio.wait(self._under_way)

    async def _insist(self, operation: Operation[T], way: Way) -> T:
        last: BaseException | None = None
        for tried in range(RETRIES):
            try:
                async with self._connection() as connection:
                    return await self._transact(connection, operation, way)
            except _Again as again:
                last = again.__cause__
            await asyncio.sleep(chance.uniform(0, 0.002 * 2**tried))
        raise NotSent(f"{self.address.shown}: others were in the way {RETRIES} times ({last}); nothing was carried out")

    async def _transact(self, connection: C, operation: Operation[T], way: Way) -> T:
        passage = Passage(self, connection, way)
        try:
            await passage.begin()
            answer = await carry_out(operation, passage.execute)
            await passage.end()
        except BaseException as failure:
            await self._undo(connection, failure, begun=passage.begun, maybe=passage.committing and way.write)
            raise
        return answer

    async def carry_out(self, connection: C, operation: Operation[T]) -> T:
        """Run a program in the transaction that is open."""
        return await carry_out(operation, partial(self.execute, connection))

    async def _undo(self, connection: C, failure: BaseException, *, begun: bool, maybe: bool) -> None:
        """Raise what the failure means; the connection is clean afterwards, or gone.

        One that was idle may have died long ago: nothing is lost by trying another one.
        """
        if isinstance(failure, WorksongError):
            await self._clean(connection)
            return
        verdict = self.meaning(failure) if isinstance(failure, Exception) else Verdict.AWAY
        if verdict is Verdict.AWAY:
            self._drop_all(connection)
            if not isinstance(failure, Exception):
                return
            if not begun:
                raise _Again from failure
            kind = MaybeDone if maybe else NotSent
            raise kind(f"the connection to {self.address.shown} broke ({self._said(failure)})") from failure
        await self._clean(connection)
        if verdict is Verdict.AGAIN:
            raise _Again from failure
        raise self.meant(failure) from failure

    def meant(self, failure: BaseException) -> WorksongError:
        """The error to raise for one of a driver after which nothing was carried out."""
        verdict = self.meaning(failure)
        if verdict is Verdict.FULL:
            return NoRoom(f"{self.address.shown}: {self._said(failure)}")
        if verdict in (Verdict.AGAIN, Verdict.AWAY):
            return NotSent(f"{self.address.shown}: {self._said(failure)}; nothing was carried out")
        kind = ConfigError if verdict is Verdict.CONFIG else Refused
        return kind(f"{self.address.shown} refused: {self._said(failure)}")

    def _said(self, failure: BaseException) -> str:
        """The server's words, and the next step."""
        said, mend = str(failure) or type(failure).__name__, self.mend(failure)
        return f"{said}: {mend}" if mend else said

    async def _clean(self, connection: C) -> None:
        try:
            await self.rollback(connection)
        except Exception:
            self._drop_all(connection)

    @abstractmethod
    def join(self, lent: Line) -> Joined: ...

    async def lend(self, *, blocks: bool) -> Lent:
        if blocks:
            raise Unsupported("lend a thread a connection", self.address.shown, "make the handler async def")
        return await self.borrowed()

    @abstractmethod
    async def borrowed(self) -> Lent:
        """A connection for a handler that runs in this loop, in a transaction."""

    # connections

    @contextlib.asynccontextmanager
    async def _connection(self) -> AsyncGenerator[C]:
        async with self._room:
            connection = self._rested() or await self._dial()
            try:
                yield connection
            except BaseException:
                if not self.closed(connection):
                    self._idle.append(connection)
                raise
            self._idle.append(connection)

    def _rested(self) -> C | None:
        """An idle connection that the server has not closed meanwhile, as far as is known."""
        while self._idle:
            connection = self._idle.pop()
            if not self.closed(connection):
                return connection
        return None

    @abstractmethod
    def closed(self, connection: C) -> bool:
        """Whether it can be used no more."""

    async def _dial(self) -> C:
        connection = await self._connect()
        try:
            if not self._checked:
                await self._check(connection)
                self._checked = True
        except BaseException as failure:
            self.hang_up(connection)
            if isinstance(failure, WorksongError) or not isinstance(failure, Exception):
                raise
            raise self.meant(failure) from failure
        return connection

    async def _connect(self) -> C:
        """A connection to the database as it is, with tables or without."""
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                connection = await self.dial()
        except WorksongError:
            raise
        except Exception as failure:
            raise self.unreached(failure) from failure
        if self._away:
            self._away = False
            log.info("%s is back", self.address.shown)
        return connection

    def unreached(self, failure: Exception) -> WorksongError:
        """The error to raise for one of a driver that could not connect."""
        if self.meaning(failure) is Verdict.CONFIG:
            return ConfigError(f"{self.address.shown} refused the login: {self._said(failure)}")
        self._tell_away(failure)
        return NotSent(f"{self.address.shown} cannot be reached: {self._said(failure)}")

    def _tell_away(self, failure: BaseException) -> None:
        """Once for each outage."""
        if not self._away:
            self._away = True
            log.warning("%s cannot be reached: %s; trying again when asked", self.address.shown, self._said(failure))

    def _drop_all(self, connection: C) -> None:
        """This one is broken, and the idle ones are as old."""
        for one in (connection, *self._idle):
            self.hang_up(one)
        self._idle.clear()

    # tables

    async def _check(self, connection: C) -> None:
        version = await self._version(connection)
        if not migrate.missing(self.dialect, version, self.address.shown):
            return
        if self.address.choice("migrate", ("refuse", "auto")) == "refuse":
            raise migrate.unmigrated(self.address.shown, self.address.scheme, version)
        await self._migrate(connection, unasked=True)

    async def migrate(self) -> tuple[int, int]:
        async with self._room:
            connection = await self._connect()
            try:
                return await self._migrate(connection)
            except WorksongError:
                raise
            except Exception as failure:
                if self.meaning(failure) is Verdict.AWAY:
                    raise BackendUnavailable(f"{self.address.shown} broke off: {self._said(failure)}") from failure
                raise Refused(f"{self.address.shown} refused the migration: {self._said(failure)}") from failure
            finally:
                self.hang_up(connection)

    async def _migrate(self, connection: C, *, unasked: bool = False) -> tuple[int, int]:
        """`unasked`: in passing, by somebody who wants to work."""
        async with self.locked(connection):
            before = await self._version(connection)
            steps = migrate.missing(self.dialect, before, self.address.shown)
            if unasked:
                migrate.refuse_to_build(steps, self.address.shown, self.address.scheme, before)
            for step in steps:
                await self._go(step if before else step.at_once, connection)
        return before, max(before, migrate.newest(self.dialect))

    async def _go(self, step: Migration, connection: C) -> None:
        """Anew when workers at work were in the way, where that undid all of it but what was built beside them."""
        for pause in (*(0.02 * 2**tried for tried in range(RETRIES)), None):
            try:
                await self.build(connection, step.ahead)
                await self.begin(connection, write=True)
                for sql in (migrate.CREATE, *step.together):
                    await self.plain(connection, self.prepare(sql, connection))
                await self.commit(connection)
                return
            except BaseException as failure:
                await self.rollback(connection)
                again = isinstance(failure, Exception) and self.meaning(failure) is Verdict.AGAIN
                if pause is None or not again or not self.undoes_tables:
                    raise
            await asyncio.sleep(chance.uniform(0, pause))

    async def _version(self, connection: C) -> int:
        """0: no tables."""
        try:
            found = await self.plain(connection, migrate.ASK)
        except Exception as failure:
            if self.absent(failure):
                return 0
            raise
        return found[0] or 0

    # the doctor

    async def facts(self) -> dict[str, Sequence[Row]]:
        """A server tells everything itself."""
        return {}

    @contextlib.asynccontextmanager
    async def bedside(self, *, patience: str = "") -> AsyncGenerator[Say]:
        store = self.sibling()
        if patience:
            store.address = replace(self.address, options={**self.address.options, "timeout": patience})
        connection = await store._connect()

        async def say(sql: str) -> list[Row]:
            try:
                return await store.rows(connection, sql)
            except Exception as failure:
                if store.closed(connection):
                    raise store.meant(failure) from failure
                raise Refused(f"{self.address.shown} refused: {store._said(failure)}") from failure

        try:
            yield say
        finally:
            store.hang_up(connection)

    # the end

    async def close(self) -> None:
        """A server that does not answer is waited for no longer; nobody knows what became of what was under way."""
        await self.leave_off(self._under_way)
        for connection in self._idle:
            self.hang_up(connection)
        self._idle.clear()

    async def leave_off(self, tasks: Collection[asyncio.Task[Any]]) -> None:
        """Let these come to their end, or end them."""
        if tasks:
            now = asyncio.get_running_loop().time()
            patience = max(FAREWELL - (now - self._under_way.get(task, now)) for task in tasks)
            _, late = await asyncio.wait(tasks, timeout=max(0.0, patience))
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late)


class _Again(Exception):
    """The transaction is undone and may be tried anew."""
