"""`sqlite:///file.db`: one thread per backend, whole operations in groups, one commit for each group."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple, TypeVar

from msgspec.structs import replace

from worksong.adapters.bells import Bells
from worksong.adapters.sql import migrate, sqlite_bedside
from worksong.adapters.sql.address import Address, file
from worksong.adapters.sql.backend import SqlBackend
from worksong.adapters.sql.doctor.sqlite import SQLITE
from worksong.adapters.sql.filesystem import network_filesystem
from worksong.adapters.sql.records import SqlRecords
from worksong.adapters.sql.results import SqlResults, apart
from worksong.adapters.sql.sqlite_file import SYNCHRONOUS, begin, patience, tune
from worksong.adapters.sql.sqlite_joined import JoinedAiosqlite, JoinedSqlite
from worksong.adapters.sql.sqlite_lent import SqliteLending
from worksong.adapters.sql.sqlite_programs import DIALECT, carry_out, meant
from worksong.adapters.sql.steps import Operation, Program, Row, Step
from worksong.adapters.sql.store import Joined, Lent, Say
from worksong.domain.errors import ConfigError

OLDEST = (3, 33, 0)
GROUP = 256
"""Operations that may share a commit."""
FIRST_NAP, LONGEST_NAP = 0.01, 0.08
"""Seconds between two looks whether another process changed the file."""

T = TypeVar("T")


def sqlite_backend(url: str, *, namespace: str) -> SqlBackend:
    """The backend of a file; made when first used."""
    store, name = _store(url, namespace)
    return SqlBackend(store, name)


def sqlite_results(url: str, *, namespace: str) -> SqlResults:
    """A store of results in a file; made when first used."""
    store, name = _store(url, namespace)
    return apart(store, name)


def sqlite_records(url: str, *, namespace: str) -> SqlRecords:
    """A store of records in a file; made when first used."""
    return SqlRecords(*_store(url, namespace))


def _store(url: str, namespace: str) -> tuple[SqliteStore, str]:
    address = file(url, ("network", "synchronous"))
    address.choice("synchronous", SYNCHRONOUS)
    address.choice("migrate", ("auto", "refuse"))
    return SqliteStore(address), address.namespace(namespace)


class _Order(NamedTuple):
    """An operation on its way to the thread, and who waits for it."""

    operation: Operation[Any]
    write: bool
    lasting: bool
    loop: asyncio.AbstractEventLoop
    answer: asyncio.Future[Any]


class SqliteStore:
    """Hands operations to its thread, which has the only connection."""

    own_clock = False
    dialect = DIALECT
    specialist = SQLITE
    one_step = copies = False

    def __init__(self, address: Address) -> None:
        self.address = address
        self.place = str(Path(address.database).resolve())
        self._orders: SimpleQueue[_Order | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._lending: SqliteLending | None = None

    def sibling(self) -> SqliteStore:
        other = SqliteStore(self.address)
        other.place = self.place
        return other

    async def run(self, operation: Operation[T], *, write: bool = True, lasting: bool = True, alone: bool = False) -> T:
        if self._thread is None:
            self._orders = SimpleQueue()
            worker = Worker(self.address, self.place, self._orders)
            self._thread = threading.Thread(target=worker.work, name="worksong-sqlite", daemon=True)
            self._thread.start()
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[T] = loop.create_future()
        self._orders.put(_Order(operation, write, lasting, loop, answer))
        return await answer

    async def lend(self, *, blocks: bool) -> Lent:
        if self._lending is None:
            self._lending = SqliteLending(self.address, Path(self.place))
        return await self._lending.lend()

    async def calm(self) -> None:
        """The thread carries out everything in order."""

    async def hear(self, bells: Bells, seconds: float, rings: int, idle: int) -> bool:
        """In this process by the bell, in others by the version of the file."""
        until, nap = time.monotonic() + seconds, FIRST_NAP
        version = await self.run(_data_version, write=False)
        while (left := until - time.monotonic()) > 0:
            if await bells.hear(min(nap, left), rings):
                return True
            if await self.run(_data_version, write=False) != version:
                return True
            nap = min(LONGEST_NAP, nap * 2)
        return False

    async def tell(self) -> None:
        """The file itself tells: its version changed."""

    def join(self, lent: Any) -> Joined:
        kind = JoinedSqlite if isinstance(lent, sqlite3.Connection) else JoinedAiosqlite
        return kind(lent, self.address.shown, Path(self.place))

    async def facts(self) -> Mapping[str, Sequence[Row]] | None:
        return await asyncio.to_thread(sqlite_bedside.seen, Path(self.place))

    def bedside(self, *, patience: str = "") -> contextlib.AbstractAsyncContextManager[Say]:
        """It waits for other programs as long as the URL says, however long a statement takes."""
        return sqlite_bedside.bedside(Path(self.place), self.address.shown, self.address.seconds("timeout", 10.0))

    async def migrate(self) -> tuple[int, int]:
        """Tables are made when the file is opened by one that may make them."""
        before = await asyncio.to_thread(_version_of, Path(self.place))
        maker = SqliteStore(replace(self.address, options={**self.address.options, "migrate": "auto"}))
        try:
            await maker.run(_data_version, write=False)
        finally:
            await maker.close()
        return before, max(before, migrate.newest(DIALECT))

    async def close(self) -> None:
        lending, self._lending = self._lending, None
        if lending:
            await lending.close()
        thread, self._thread = self._thread, None
        if thread:
            self._orders.put(None)
            await asyncio.to_thread(thread.join)


def _data_version() -> Program[int]:
    version: int = (yield Step("data_version", {}))[0][0]
    return version


class Worker:
    """What the thread does."""

    def __init__(self, address: Address, place: str, orders: SimpleQueue[_Order | None]) -> None:
        self._address, self._file, self._orders = address, Path(place), orders
        self._connection: sqlite3.Connection | None = None
        self._synchronous = address.choice("synchronous", ("FULL", "NORMAL", "EXTRA"))
        self._waits = ""
        """What the connection is set to."""

    def work(self) -> None:
        """Carry out what is ordered until there is no more."""
        while (order := self._orders.get()) is not None:
            group = [order]
            with contextlib.suppress(Empty):
                while len(group) < GROUP:
                    more = self._orders.get_nowait()
                    if more is None:
                        self._orders.put(None)
                        break
                    group.append(more)
            _deliver(self._carry_out(group))
        if self._connection:
            self._connection.close()

    def _carry_out(self, group: Sequence[_Order]) -> list[tuple[_Order, Any, Exception | None]]:
        """All in one transaction, each undone by itself if it fails; (order, answer, failure)."""
        try:
            connection = self._open()
            lasting = any(order.write and order.lasting for order in group)
            with self._transaction(connection, write=any(order.write for order in group), lasting=lasting):
                if len(group) == 1:
                    return [(group[0], carry_out(connection, group[0].operation), None)]
                return [self._shielded(connection, order) for order in group]
        except Exception as failure:
            why = meant(failure, self._address.shown, self._file)
            return [(order, None, why) for order in group]

    @contextlib.contextmanager
    def _transaction(self, connection: sqlite3.Connection, *, write: bool, lasting: bool = True) -> Any:
        if write:
            self._wait_for_the_disk(connection, always=lasting)
            begin(connection, patience(self._address))
        else:
            connection.execute("BEGIN")
        try:
            yield
            connection.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
            raise

    def _wait_for_the_disk(self, connection: sqlite3.Connection, *, always: bool) -> None:
        """A later commit that does takes with it what an earlier one did not bring to the disk."""
        wanted = self._synchronous if always else "normal"
        if wanted != self._waits:
            connection.execute(f"PRAGMA synchronous={wanted}")
            self._waits = wanted

    def _shielded(self, connection: sqlite3.Connection, order: _Order) -> tuple[_Order, Any, Exception | None]:
        connection.execute("SAVEPOINT one")
        try:
            answer = carry_out(connection, order.operation)
        except Exception as failure:
            if not connection.in_transaction:  # a full disk undoes the whole of it
                raise
            connection.execute("ROLLBACK TO one")
            connection.execute("RELEASE one")
            return order, None, meant(failure, self._address.shown, self._file)
        connection.execute("RELEASE one")
        return order, answer, None

    # the file

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            if sqlite3.sqlite_version_info < OLDEST:
                raise ConfigError(f"SQLite {sqlite3.sqlite_version} is too old: 3.33 is needed")
            _refuse_network(self._address, self._file)
            connection = sqlite3.connect(
                self._file,
                timeout=patience(self._address),
                isolation_level=None,
                cached_statements=256,
            )
            try:
                self._prepare(connection)
            except BaseException:
                connection.close()
                raise
            self._connection = connection
        return self._connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        connection.execute("PRAGMA journal_mode=WAL")
        self._waits = ""
        tune(connection, self._address)
        connection.execute("PRAGMA cache_size=-16000")
        connection.execute("PRAGMA temp_store=MEMORY")
        if not migrate.missing(DIALECT, _version(connection), self._address.shown):
            return
        if self._address.choice("migrate", ("auto", "refuse")) == "refuse":
            raise migrate.unmigrated(self._address.shown, self._address.scheme, _version(connection))
        with self._transaction(connection, write=True):
            connection.execute(migrate.CREATE)
            for step in migrate.missing(DIALECT, _version(connection), self._address.shown):
                for statement in step.statements:
                    connection.execute(statement)


def _deliver(answers: Sequence[tuple[_Order, Any, Exception | None]]) -> None:
    """One call into each loop, however many wait there."""
    loops: dict[asyncio.AbstractEventLoop, list[Callable[[], None]]] = {}
    for order, answer, failure in answers:
        loops.setdefault(order.loop, []).append(partial(_set, order.answer, answer, failure))
    for loop, calls in loops.items():
        with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile: nobody waits there
            loop.call_soon_threadsafe(_call_all, calls)


def _call_all(calls: Sequence[Callable[[], None]]) -> None:
    for call in calls:
        call()


def _set(future: asyncio.Future[Any], answer: Any, failure: Exception | None) -> None:
    if future.done():
        return
    if failure is not None:
        future.set_exception(failure)
    else:
        future.set_result(answer)


def _version(connection: sqlite3.Connection) -> int:
    there = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?"
    if connection.execute(there, (migrate.VERSION_TABLE,)).fetchone() is None:
        return 0
    return connection.execute(migrate.ASK).fetchone()[0] or 0


def _version_of(path: Path) -> int:
    if not path.exists():
        return 0
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return _version(connection)


def _refuse_network(address: Address, place: Path) -> None:
    kind = network_filesystem(place)
    if kind and address.choice("network", ("refuse", "allow")) == "refuse":
        raise ConfigError(
            f"{address.shown} is on a network file system ({kind}), where SQLite's locks do not hold between machines "
            "and jobs can be lost: use a local disk, or a database server; ?network=allow if only one machine uses it"
        )
