"""Connections of drivers, lent by the application: statements in, rows out, whatever it had set on them."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from worksong.adapters.sql.turns import awaited_turn, blocking_turn

Cursor = Callable[[Any], Any]
"""Makes a cursor whose rows are tuples on a connection; an async one is entered as a context."""


class Line(Protocol):
    """A connection to a server."""

    @property
    def blocks(self) -> bool:
        """Whether it blocks the thread, and waits for no event loop."""
        ...

    @property
    def failures(self) -> tuple[type[BaseException], ...]:
        """What the driver raises."""
        ...

    def closed(self) -> bool:
        """Whether it can be used no more."""
        ...

    def turn(self) -> AbstractAsyncContextManager[None]:
        """Nobody else runs a program on it meanwhile."""
        ...

    async def execute(self, sql: str, given: Any = None, *, answers: bool = False) -> Any:
        """The rows found, or how many were touched."""
        ...


class _DriverLine:
    """What drivers with the verbs of DB-API 2.0 have in common."""

    def __init__(self, connection: Any, cursor: Cursor, closed: Callable[[Any], object]) -> None:
        self._connection, self._cursor, self._closed = connection, cursor, closed
        self.failures = (connection.Error, OSError)

    def closed(self) -> bool:
        return bool(self._closed(self._connection))


class BlockingLine(_DriverLine):
    """A driver that follows DB-API 2.0."""

    blocks = True

    @contextlib.asynccontextmanager
    async def turn(self) -> AsyncGenerator[None]:
        with blocking_turn(self._connection):
            yield

    async def execute(self, sql: str, given: Any = None, *, answers: bool = False) -> Any:
        with contextlib.closing(self._cursor(self._connection)) as cursor:
            cursor.execute(sql, given)
            return cursor.fetchall() if answers else cursor.rowcount


class AwaitedLine(_DriverLine):
    """A driver with the verbs of DB-API 2.0 as coroutines."""

    blocks = False

    @contextlib.asynccontextmanager
    async def turn(self) -> AsyncGenerator[None]:
        async with awaited_turn(self._connection):
            yield

    async def execute(self, sql: str, given: Any = None, *, answers: bool = False) -> Any:
        async with self._cursor(self._connection) as cursor:
            await cursor.execute(sql, given)
            return await cursor.fetchall() if answers else cursor.rowcount


class AsyncpgLine:
    """asyncpg's own verbs."""

    blocks = False

    def __init__(self, connection: Any) -> None:
        import asyncpg  # pyright: ignore[reportMissingTypeStubs]

        self._connection = connection
        self.failures = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)

    def closed(self) -> bool:
        try:
            return bool(self._connection.is_closed())
        except self.failures:  # it went back to its pool
            return True

    @contextlib.asynccontextmanager
    async def turn(self) -> AsyncGenerator[None]:
        async with awaited_turn(self._connection):
            yield

    async def execute(self, sql: str, given: Sequence[Any] | None = None, *, answers: bool = False) -> Any:
        if answers:
            return [tuple(row) for row in await self._connection.fetch(sql, *given or ())]
        told: str = await self._connection.execute(sql, *given or ())
        count = told.rpartition(" ")[2]
        return int(count) if count.isdecimal() else 0
