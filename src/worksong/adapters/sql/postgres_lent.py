"""Connections of PostgreSQL for handlers: a pool that cleans what comes back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import asyncpg  # pyright: ignore[reportMissingTypeStubs]

from worksong.adapters.sql.server_lent import PATIENCE, ServerLent
from worksong.adapters.sql.servers import CONNECT_TIMEOUT, LEASH, ServerStore
from worksong.adapters.sql.store import LENT

_asyncpg = cast("Any", asyncpg)  # its parameters have no types


def _noting(verb: str) -> Callable[..., Any]:
    """The verb of a connection, which then tells that values may come in another form."""

    async def told(connection: Any, *args: Any, **options: Any) -> None:
        connection.recoded = True
        await getattr(_asyncpg.Connection, verb)(connection, *args, **options)

    return told


_CODECS = ("set_type_codec", "set_builtin_type_codec")
_Connection: Any = type(
    "Connection", (_asyncpg.Connection,), {"recoded": False, **{verb: _noting(verb) for verb in _CODECS}}
)


class PostgresLending:
    """Belongs to one store; connects when first asked."""

    def __init__(self, store: ServerStore[Any], login: Callable[[], dict[str, Any]]) -> None:
        self._store, self._login = store, login
        self._pool: Any = None

    async def lend(self) -> LentPostgres:
        """A connection in a transaction, as the application would have made it: none of the store's own settings."""
        try:
            if self._pool is None:
                size = {"min_size": 0, "max_size": LENT}
                kind = {"connection_class": _Connection, "timeout": CONNECT_TIMEOUT}
                self._pool = _asyncpg.create_pool(**size, **kind, **self._login())
                await self._pool  # connects to nothing yet
            connection = await self._pool.acquire()
        except Exception as failure:
            raise self._store.unreached(failure) from failure
        transaction = connection.transaction(isolation="read_committed")
        lent = LentPostgres(self._store, connection, self._pool, transaction)
        try:
            await transaction.start()
        except BaseException as failure:
            lent.hang_up()
            await lent.give_back()
            if not isinstance(failure, Exception):
                raise
            raise self._store.meant(failure) from failure
        return lent

    def close(self) -> None:
        """Close what was given back, and what was not."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.terminate()


class LentPostgres(ServerLent[Any]):
    """One of the pool, behind a proxy that ends with the loan."""

    def __init__(self, store: ServerStore[Any], connection: Any, pool: Any, transaction: Any) -> None:
        super().__init__(store, connection)
        self._pool, self._transaction = pool, transaction

    async def is_whole(self) -> bool:
        return self.connection.is_closed() or bool(self.connection.is_in_transaction())

    async def leash(self) -> None:
        await self.connection.execute(f"SET LOCAL idle_in_transaction_session_timeout = '{LEASH}s'")

    async def end(self) -> None:
        await self._transaction.commit()

    async def back_out(self) -> None:
        if self.connection.is_in_transaction():
            await self._transaction.rollback()

    async def give_back(self) -> None:
        """The pool resets the session, but not how its driver reads and writes values."""
        if self.connection.recoded:
            self.hang_up()
        await self._pool.release(self.connection, timeout=PATIENCE)

    def hang_up(self) -> None:
        self.connection.terminate()
