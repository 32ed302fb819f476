"""Connections and sessions of SQLAlchemy 2: the driver's connection in them, once their transaction has begun."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any, TypeVar

from worksong.adapters.sql.steps import Operation
from worksong.adapters.sql.store import Joined, NotSent
from worksong.domain.errors import InvalidArguments, WorksongError

T = TypeVar("T")
Join = Callable[[object], Joined]


class JoinedSqlalchemy:
    """A `Connection`, a `Session` or a `scoped_session`."""

    blocks = True

    def __init__(self, connection: Any, join: Join) -> None:
        self._connection, self._join = connection, join

    async def run(self, operation: Operation[T]) -> T:
        try:
            core = self._core()
            joined = self._join(core.connection.driver_connection)
        except _errors().SQLAlchemyError as failure:
            raise _meant(failure) from failure
        if not joined.blocks:
            raise InvalidArguments(
                "the connection is the blocking face of an async one, as in run_sync: await aperform on the "
                "AsyncConnection or AsyncSession itself; nothing was enqueued"
            )
        try:
            return await joined.run(operation)
        except WorksongError as failure:
            if joined.closed():  # or it would be rolled back, which fails, and go back to its pool
                core.invalidate(failure)
            raise

    def _core(self) -> Any:
        """The `Connection`, in a transaction."""
        core = self._connection
        if not _is_core(core):
            core = core.connection()
        if not core.in_transaction():
            if not hasattr(core, "commit"):
                raise InvalidArguments(
                    "the connection has no transaction open, and before version 2 SQLAlchemy begins none by itself: "
                    "enqueue within `with connection.begin():`; nothing was enqueued"
                )
            core.begin()  # or its commit would do nothing
        return core

    def closed(self) -> bool:
        return bool(self._connection.closed) if _is_core(self._connection) else False

    def on_commit(self, call: Callable[[], None]) -> None:
        """SQLAlchemy tells before the commit only."""


class JoinedAsyncSqlalchemy:
    """An `AsyncConnection`, an `AsyncSession` or an `async_scoped_session`."""

    blocks = False

    def __init__(self, connection: Any, join: Join) -> None:
        self._connection, self._join = connection, join

    async def run(self, operation: Operation[T]) -> T:
        try:
            core = await self._core()
            joined = self._join(await self._driver(core))
        except _errors().SQLAlchemyError as failure:
            raise _meant(failure) from failure
        try:
            return await joined.run(operation)
        except WorksongError as failure:
            if joined.closed():
                await core.invalidate(failure)
            raise

    async def _core(self) -> Any:
        """The `AsyncConnection`, in a transaction."""
        core = self._connection
        if not _is_core(core):
            core = await core.connection()
        if not core.in_transaction():
            await core.begin()
        return core

    async def _driver(self, core: Any) -> object:
        driver = (await core.get_raw_connection()).driver_connection
        begun = getattr(driver, "is_in_transaction", None)
        if begun and not begun():  # with asyncpg, it begins with the first statement that goes through SQLAlchemy
            await core.exec_driver_sql("SELECT 1")
        return driver

    def closed(self) -> bool:
        return bool(self._connection.closed) if _is_core(self._connection) else False

    def on_commit(self, call: Callable[[], None]) -> None:
        """SQLAlchemy tells before the commit only."""


def _is_core(connection: Any) -> bool:
    """A session is asked for its connection, which belongs to the transaction of the session."""
    return hasattr(connection, "exec_driver_sql")


def _meant(failure: Exception) -> WorksongError:
    """What SQLAlchemy says when there is no connection, or none that can be used."""
    said = str(failure).partition("\n")[0]
    if isinstance(failure, _errors().DBAPIError):
        return NotSent(f"SQLAlchemy has no connection: {said}; nothing was carried out")
    return InvalidArguments(f"the connection cannot be enqueued on: {said}; nothing was enqueued")


def _errors() -> Any:
    return import_module("sqlalchemy.exc")
