"""`mysql://` and `mariadb://`: batches as tables made in place, SKIP LOCKED, and looking again and again."""

from __future__ import annotations

import contextlib
import re
import ssl
from collections.abc import AsyncGenerator
from typing import Any, cast

import asyncmy

from worksong.adapters.bells import Bells
from worksong.adapters.sql import migrate, mysql_failures
from worksong.adapters.sql.address import Address, server
from worksong.adapters.sql.backend import SqlBackend
from worksong.adapters.sql.doctor.mysql import MYSQL
from worksong.adapters.sql.failures import Verdict
from worksong.adapters.sql.lines import Line
from worksong.adapters.sql.mysql_joined import JoinedMysql
from worksong.adapters.sql.mysql_lent import MysqlLending
from worksong.adapters.sql.mysql_programs import DIALECT, texts
from worksong.adapters.sql.records import SqlRecords
from worksong.adapters.sql.results import SqlResults, apart
from worksong.adapters.sql.servers import LEASH, ServerStore
from worksong.adapters.sql.steps import Row, Step
from worksong.adapters.sql.store import Joined, Lent
from worksong.domain.errors import ConfigError

PORT = 3306
FIRST_NAP, LONGEST_NAP = 0.005, 0.1
"""Seconds between two looks when there is nothing."""
OPTIONS = ("ssl", "ssl_ca", "unix_socket")
OLDEST = {"MariaDB": (10, 6), "MySQL": (8, 0)}
STRICT = "STRICT_ALL_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION"
"""Those about dates and divisions belong to it: MySQL warns of each connection that leaves them out."""

_connect = cast("Any", asyncmy).connect  # its parameters have no types


def mysql_backend(url: str, *, namespace: str) -> SqlBackend:
    """The backend of a database; connects when first used."""
    store = _store(url, namespace)
    return SqlBackend(store, store.namespace)


def mysql_results(url: str, *, namespace: str) -> SqlResults:
    """A store of results in a database; connects when first used."""
    store = _store(url, namespace)
    return apart(store, store.namespace)


def mysql_records(url: str, *, namespace: str) -> SqlRecords:
    """A store of records in a database; connects when first used."""
    store = _store(url, namespace)
    return SqlRecords(store, store.namespace)


def _store(url: str, namespace: str) -> MysqlStore:
    address = server(url, PORT, OPTIONS)
    address.choice("migrate", ("refuse", "auto"))
    _tls(address)
    return MysqlStore(address, address.namespace(namespace))


class MysqlStore(ServerStore[Any]):
    """Transactions on a few connections."""

    dialect = DIALECT
    specialist = MYSQL

    def __init__(self, address: Address, namespace: str) -> None:
        super().__init__(address, namespace)
        self._texts = texts()
        self._collation = ""
        self._lending = MysqlLending(self, self._login, self._prepare)

    def sibling(self) -> MysqlStore:
        return MysqlStore(self.address, self.namespace)

    async def dial(self) -> Any:
        connection = await _connect(**self._login())
        try:
            await self._prepare(connection)
            if "MariaDB" in connection.get_server_info():  # MySQL has no such setting
                await self.plain(connection, f"SET SESSION idle_transaction_timeout = {LEASH}")
        except BaseException:
            connection.close()
            raise
        return connection

    def _login(self) -> dict[str, Any]:
        a = self.address
        return {
            "host": a.host,
            "port": a.port,
            "user": a.user or None,
            "password": a.password,
            "database": a.database,
            "unix_socket": a.options.get("unix_socket"),
            "charset": "utf8mb4",
            "autocommit": True,
            "binary_prefix": True,
            "read_timeout": a.seconds("timeout", 30.0),
            "ssl": _tls(a),
        }

    async def borrowed(self) -> Lent:
        return await self._lending.lend()

    async def _prepare(self, connection: Any) -> None:
        if not self._collation:
            self._collation = _collation(connection.get_server_info(), self.address.shown)
        await self.plain(connection, f"SET NAMES utf8mb4 COLLATE {self._collation}")
        # A value that a column cannot hold is an error, and what others committed is seen.
        await self.plain(
            connection,
            f"SET SESSION sql_mode = '{STRICT}', SESSION innodb_lock_wait_timeout = 10",
        )
        await self.plain(connection, "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")

    def opening(self, *, write: bool) -> str:
        return "START TRANSACTION" if write else "START TRANSACTION READ ONLY"

    async def begin(self, connection: Any, *, write: bool, lasting: bool = True) -> None:
        """Whether commits wait for the disk is a setting of the whole server here."""
        await connection.query(self.opening(write=write))

    async def commit(self, connection: Any) -> None:
        await connection.query("COMMIT")

    async def rollback(self, connection: Any) -> None:
        await connection.query("ROLLBACK")

    async def execute(self, connection: Any, step: Step, before: str = "", after: str = "") -> Any:
        """Several statements in one message: those behind one that fails are not carried out."""
        text = self._texts[step.name]
        sql, given = text.given(step)
        async with connection.cursor() as cursor:
            await cursor.execute("; ".join(filter(None, (before, sql, after))), given)
            if before:
                await cursor.nextset()
            answer = list(await cursor.fetchall()) if text.answers else max(0, cursor.rowcount)
            if after:
                await cursor.nextset()
            return answer

    async def rows(self, connection: Any, sql: str) -> list[Row]:
        async with connection.cursor() as cursor:
            await cursor.execute(sql)
            return list(await cursor.fetchall() or ())

    @contextlib.asynccontextmanager
    async def locked(self, connection: Any) -> AsyncGenerator[None]:
        if (await self.plain(connection, "SELECT GET_LOCK('worksong_migrate', 60)")) != [1]:
            raise migrate.under_way(self.address.shown)
        try:
            yield
        finally:
            await self.plain(connection, "SELECT RELEASE_LOCK('worksong_migrate')")

    def prepare(self, sql: str, connection: Any) -> str:
        return sql.replace("{collation}", self._collation)

    def meaning(self, failure: BaseException) -> Verdict:
        return mysql_failures.meaning(failure)

    def mend(self, failure: BaseException) -> str:
        return mysql_failures.mend(failure)

    def absent(self, failure: BaseException) -> bool:
        return mysql_failures.absent(failure)

    def join(self, lent: Line) -> Joined:
        return JoinedMysql(lent, self)

    def hang_up(self, connection: Any) -> None:
        connection.close()

    def closed(self, connection: Any) -> bool:
        return not connection.connected

    async def hear(self, bells: Bells, seconds: float, rings: int, idle: int) -> bool:
        """The server cannot tell: in this process by the bell, otherwise by looking again."""
        await bells.hear(min(seconds, LONGEST_NAP, FIRST_NAP * 2 ** min(idle, 10)), rings)
        return True

    async def tell(self) -> None:
        """There is no way to."""


def _tls(address: Address) -> ssl.SSLContext | None:
    """Trusts the authority of `ssl_ca`, a path; or else those that this machine trusts. None: nobody asked for TLS."""
    authority = address.options.get("ssl_ca")
    if address.choice("ssl", ("off", "on")) == "off":
        if authority:
            raise ConfigError(f"{address.shown}: ssl_ca says whom to trust, and TLS is off: add ssl=on")
        return None
    try:
        return ssl.create_default_context(cafile=authority)
    except OSError as failure:
        raise ConfigError(
            f"{address.shown}: ssl_ca={authority} is no file of certificates in PEM: {failure}"
        ) from failure


def _collation(version: str, shown: str) -> str:
    """Texts compared byte by byte, trailing spaces included; every server has its own name for that."""
    kind = "MariaDB" if "MariaDB" in version else "MySQL"
    numbers = re.findall(r"(\d+)\.(\d+)", version.replace("5.5.5-", ""))
    if not numbers or tuple(map(int, numbers[0])) < OLDEST[kind]:
        oldest = ".".join(map(str, OLDEST[kind]))
        raise ConfigError(f"{shown} is {kind} {version}: {oldest} or newer is needed, for SKIP LOCKED")
    return "utf8mb4_nopad_bin" if kind == "MariaDB" else "utf8mb4_0900_bin"
