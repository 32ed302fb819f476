"""Jobs enqueued on the application's own connection to the file: its commit is theirs."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any, TypeVar

from worksong.adapters.sql.sqlite_programs import carry_out, meant
from worksong.adapters.sql.steps import Operation
from worksong.adapters.sql.turns import blocking_turn
from worksong.domain.errors import ConfigError, InvalidArguments, WorksongError

T = TypeVar("T")


class JoinedSqlite:
    """One `sqlite3.Connection`, used in the thread of the caller."""

    blocks = True

    def __init__(self, connection: sqlite3.Connection, shown: str, file: Path) -> None:
        self._connection, self._shown, self._file = connection, shown, file

    async def run(self, operation: Operation[T]) -> T:
        with blocking_turn(self._connection):
            return self.carry_out(operation)

    def carry_out(self, operation: Operation[T]) -> T:
        """All or nothing, within the transaction of the connection; never waits for anything but the file."""
        try:
            self._check()
            with _plain(self._connection), _savepoint(self._connection):
                return carry_out(self._connection, operation)
        except sqlite3.OperationalError as failure:
            if "no such table" in str(failure):
                raise ConfigError(
                    f"there are no worksong tables in {self._shown} yet: run `worksong migrate`, or start a worker"
                ) from failure
            raise meant(failure, self._shown, self._file) from failure
        except sqlite3.ProgrammingError as failure:  # it is closed, or belongs to another thread
            raise InvalidArguments(f"the connection cannot be used: {failure}; nothing was enqueued") from failure
        except sqlite3.Error as failure:
            raise meant(failure, self._shown, self._file) from failure

    def closed(self) -> bool:
        """Nobody cuts a connection to a file."""
        return False

    def on_commit(self, call: Callable[[], None]) -> None:
        """A connection does not tell when it commits."""

    def _check(self) -> None:
        """Begin a transaction as `sqlite3` would; refuse a connection that would commit by itself."""
        connection = self._connection
        with _plain(connection):
            files = {name: path for _, name, path in connection.execute("PRAGMA database_list")}
        if not files["main"] or Path(files["main"]).resolve() != self._file:
            raise InvalidArguments(
                f"the connection is one to {files['main'] or 'a database in memory'}, the jobs are in {self._file}: "
                "nothing was enqueued"
            )
        if connection.in_transaction:
            return
        if connection.isolation_level is None or getattr(connection, "autocommit", -1) is True:
            raise InvalidArguments(
                "the connection has no transaction open and would commit by itself: execute BEGIN first, "
                "or enqueue without a connection"
            )
        connection.execute("BEGIN")


class JoinedAiosqlite:
    """One `aiosqlite.Connection`, whose own thread carries out the whole program at once."""

    blocks = False

    def __init__(self, connection: Any, shown: str, file: Path) -> None:
        self._connection, self._shown, self._file = connection, shown, file

    async def run(self, operation: Operation[T]) -> T:
        """A caller who is cancelled stops waiting: the program is carried out all the same, or not at all."""
        try:
            joined = JoinedSqlite(self._connection._conn, self._shown, self._file)
            answer: T = await self._connection._execute(joined.carry_out, operation)
        except ValueError as failure:
            if isinstance(failure, WorksongError):
                raise
            raise InvalidArguments(
                "the connection is closed: enqueue on one that is open; nothing was enqueued"
            ) from failure
        return answer

    def closed(self) -> bool:
        """Nobody cuts a connection to a file."""
        return False

    def on_commit(self, call: Callable[[], None]) -> None:
        """A connection does not tell when it commits."""


@contextlib.contextmanager
def _plain(connection: sqlite3.Connection) -> Generator[None]:
    """Rows are tuples, whatever the application has them made into."""
    before = connection.row_factory, connection.text_factory
    connection.row_factory, connection.text_factory = None, str
    try:
        yield
    finally:
        connection.row_factory, connection.text_factory = before


@contextlib.contextmanager
def _savepoint(connection: sqlite3.Connection) -> Generator[None]:
    """What fails leaves nothing behind, and the transaction as it was."""
    connection.execute("SAVEPOINT worksong")
    try:
        yield
    except BaseException:
        if connection.in_transaction:  # a full disk undoes the whole of it
            connection.execute("ROLLBACK TO worksong")
            connection.execute("RELEASE worksong")
        raise
    connection.execute("RELEASE worksong")
