"""Connections of MySQL for handlers: one for each loan, since no pool could clean it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, NoReturn, cast

from asyncmy import errors
from asyncmy.connection import Connection

from worksong.adapters.sql.server_lent import ServerLent
from worksong.adapters.sql.servers import CONNECT_TIMEOUT, LEASH, ServerStore
from worksong.adapters.sql.store import LENT, never_alone

NO_SAVEPOINT = 1305


class LentConnection(Connection):
    """Commits with the job and in no other way."""

    lent_by = ""
    """Where it leads, once it is the handler's."""

    async def begin(self) -> None:
        self._refuse("begin a transaction")

    async def commit(self) -> None:
        if self.lent_by:
            self._refuse("commit")
        await super().commit()  # the driver does so when it connects

    async def rollback(self) -> None:
        self._refuse("roll back")

    async def autocommit(self, value: bool) -> None:
        if self.lent_by:
            self._refuse("change autocommit")
        await cast("Any", super()).autocommit(value)

    def _refuse(self, what: str) -> NoReturn:
        raise never_alone(what, self.lent_by)


class MysqlLending:
    """Belongs to one store."""

    def __init__(
        self, store: ServerStore[Any], login: Callable[[], dict[str, Any]], prepare: Callable[[Any], Awaitable[None]]
    ) -> None:
        """`prepare` gives a connection the settings that the store relies on."""
        self._store, self._login, self._prepare = store, login, prepare
        self._room = asyncio.Semaphore(LENT)

    async def lend(self) -> LentMysql:
        await self._room.acquire()
        options: dict[str, Any] = {**self._login(), "autocommit": False}
        connection = cast("Any", LentConnection)(**options)
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                await connection.connect()
                await self._prepare(connection)
                await connection.query("START TRANSACTION")
                await connection.query("SAVEPOINT worksong_begin")
        except BaseException as failure:
            connection.close()
            self._room.release()
            if not isinstance(failure, Exception):
                raise
            raise self._store.unreached(failure) from failure
        connection.lent_by = self._store.address.shown
        return LentMysql(self._store, connection, self._room)


class LentMysql(ServerLent[Any]):
    """Used once: its settings, locks and temporary tables end with it."""

    def __init__(self, store: ServerStore[Any], connection: Any, room: asyncio.Semaphore) -> None:
        super().__init__(store, connection)
        self._room = room

    async def is_whole(self) -> bool:
        """A deadlock undoes all of it, a change of tables commits it: what is written afterwards is in another one."""
        try:
            await self.connection.query("RELEASE SAVEPOINT worksong_begin")
        except errors.OperationalError as failure:
            if failure.args[0] != NO_SAVEPOINT:
                raise
            return False
        return True

    async def leash(self) -> None:
        if "MariaDB" in self.connection.get_server_info():  # MySQL has no such setting
            await self.connection.query(f"SET SESSION idle_transaction_timeout = {LEASH}")

    async def end(self) -> None:
        await self.connection.query("COMMIT")

    async def back_out(self) -> None:
        await self.connection.query("ROLLBACK")

    async def give_back(self) -> None:
        self._room.release()
        self.connection.close()

    def hang_up(self) -> None:
        self.connection.close()
