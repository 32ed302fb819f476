"""Connections to the file that are lent to handlers: one at a time, since there is one writer at a time."""

from __future__ import annotations

import asyncio
import contextlib
import re
import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, NoReturn, Self, TypeVar, cast

from worksong.adapters.sql.address import Address
from worksong.adapters.sql.sqlite_file import NAP, begin, patience, tune
from worksong.adapters.sql.sqlite_programs import carry_out, meant
from worksong.adapters.sql.steps import Operation
from worksong.adapters.sql.store import EndedEarly, never_alone

LONG = 0.02
"""Seconds of writing after which others are given a turn before the next handler."""

T = TypeVar("T")

_ENDS = re.compile(r"\s*(begin|commit|end|rollback)\b(?!\s+(transaction\s+)?to\b)", re.IGNORECASE)


class LentCursor(sqlite3.Cursor):
    """Runs nothing outside of the transaction that it was lent for."""

    @property
    def _lent(self) -> LentConnection:
        return cast("LentConnection", self.connection)

    def execute(self, sql: str, parameters: Any = (), /) -> Self:
        with self._lent.within(sql):
            return super().execute(sql, parameters)

    def executemany(self, sql: str, parameters: Any, /) -> Self:
        with self._lent.within(sql):
            return super().executemany(sql, parameters)

    def executescript(self, sql: str, /) -> NoReturn:
        self._lent.executescript(sql)


class LentConnection(sqlite3.Connection):
    """Ends with the job and in no other way; `with` is a savepoint."""

    shown = ""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._guard = threading.RLock()
        self._over = False

    @contextlib.contextmanager
    def within(self, sql: str) -> Any:
        """Hold off the end of the transaction while a statement runs; none runs after that."""
        if found := _ENDS.match(sql):
            raise never_alone(found[1].lower(), self.shown)
        with self._guard:
            if self._over or not self.in_transaction:
                raise EndedEarly
            yield

    def end(self) -> None:
        """Nothing more is run here for the handler; what it runs now is awaited."""
        self._over = True
        with self._guard:
            self.row_factory, self.text_factory = None, str

    def cursor(self, factory: Any = None) -> Any:
        if factory is not None:
            raise never_alone("use a cursor of its own kind", self.shown)
        return super().cursor(LentCursor)

    def execute(self, sql: str, parameters: Any = (), /) -> Any:
        return self.cursor().execute(sql, parameters)

    def executemany(self, sql: str, parameters: Any, /) -> Any:
        return self.cursor().executemany(sql, parameters)

    def executescript(self, sql: str, /) -> NoReturn:
        raise never_alone("run a script, which commits,", self.shown)

    def commit(self) -> NoReturn:
        raise never_alone("commit", self.shown)

    def rollback(self) -> NoReturn:
        raise never_alone("roll back", self.shown)

    def close(self) -> NoReturn:
        raise never_alone("close the connection", self.shown)

    def __enter__(self) -> Self:
        self.execute("SAVEPOINT handler")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Literal[False]:
        if kind is not None:
            self.execute("ROLLBACK TO handler")
        self.execute("RELEASE handler")
        return False

    def __del__(self) -> None:
        with contextlib.suppress(sqlite3.Error):
            super().close()


class SqliteLending:
    """Belongs to one store and its event loop: handlers take turns, and a thread does what may have to wait."""

    def __init__(self, address: Address, file: Path) -> None:
        self._address, self._file = address, file
        self._turn = asyncio.Lock()
        self._thread: ThreadPoolExecutor | None = None
        self._breathe_until = 0.0

    async def lend(self) -> SqliteLent:
        """A connection that may write: the file's lock is taken, and nobody else writes until it is given back."""
        await self._turn.acquire()
        opening = self.do(self._open)
        try:
            connection = await asyncio.shield(opening)
        except asyncio.CancelledError:
            opening.add_done_callback(self._give_up)
            raise
        except BaseException:
            self.give_back()
            raise
        return SqliteLent(connection, self, self._address.shown, self._file)

    def _give_up(self, opening: asyncio.Future[LentConnection]) -> None:
        """Nobody waits for it any more."""
        if not opening.cancelled() and not opening.exception():
            connection = opening.result()
            self.do(lambda: _roll_back(connection))
        self.give_back()

    def _open(self) -> LentConnection:
        time.sleep(max(0.0, self._breathe_until - time.monotonic()))
        try:
            connection = sqlite3.connect(
                self._file, isolation_level=None, check_same_thread=False, factory=LentConnection
            )
            connection.shown = self._address.shown
            inner = sqlite3.Connection.cursor(connection, sqlite3.Cursor)
            tune(inner, self._address)
            begin(inner, patience(self._address))
        except Exception as failure:
            raise meant(failure, self._address.shown, self._file) from failure
        return connection

    def do(self, act: Callable[[], T]) -> asyncio.Future[T]:
        """In the thread, one after the other."""
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, "worksong-sqlite-lent")
        return asyncio.get_running_loop().run_in_executor(self._thread, act)

    def give_back(self, since: float = float("inf")) -> None:
        """The next handler may write; after a long one, others before that."""
        now = time.monotonic()
        self._breathe_until = now + 2 * NAP if now - since > LONG else 0.0
        self._turn.release()

    async def close(self) -> None:
        thread, self._thread = self._thread, None
        if thread:
            await asyncio.to_thread(thread.shutdown)


class SqliteLent:
    """One connection, used for one job."""

    def __init__(self, connection: LentConnection, lending: SqliteLending, shown: str, file: Path) -> None:
        self.connection = connection
        self._lending, self._shown, self._file = lending, shown, file
        self._since = time.monotonic()
        self._ended = False

    async def commit(self, operation: Operation[T]) -> T:
        self._ended = True
        return await self._last(lambda: self._commit(operation))

    async def undo(self) -> None:
        if not self._ended:
            self._ended = True
            await self._last(lambda: _roll_back(self.connection))

    async def _last(self, act: Callable[[], T]) -> T:
        """Whoever is cancelled stops waiting, and it is done all the same."""
        doing = self._lending.do(act)
        doing.add_done_callback(lambda _: self._lending.give_back(self._since))
        return await asyncio.shield(doing)

    def _commit(self, operation: Operation[T]) -> T:
        try:
            self.connection.end()
            if not self.connection.in_transaction:
                raise EndedEarly
            inner = sqlite3.Connection.cursor(self.connection, sqlite3.Cursor)
            answer = carry_out(inner, operation)
            inner.execute("COMMIT")
        except BaseException as failure:
            _roll_back(self.connection)
            raise (meant(failure, self._shown, self._file) if isinstance(failure, Exception) else failure) from failure
        return answer


def _roll_back(connection: LentConnection) -> None:
    """Whatever a handler in a thread, that would not stop, does there: its statement is cut short, and was the last."""
    connection.interrupt()
    connection.end()
    with contextlib.suppress(sqlite3.Error):
        sqlite3.Connection.rollback(connection)
