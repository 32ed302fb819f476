"""Applications that lend their connection: every driver and framework, with the same few verbs."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any
from urllib.parse import urlsplit

import aiosqlite
import asyncpg
import django
import psycopg
import pymysql
import sqlalchemy
from django.conf import settings
from sqlalchemy.ext.asyncio import create_async_engine


def file_of(url: str) -> str:
    return url.removeprefix("sqlite:///")


def mysql_of(url: str) -> dict[str, Any]:
    """How PyMySQL and its relatives are told where the server is."""
    parts = urlsplit(url)
    return {"host": parts.hostname, "port": parts.port, "user": parts.username, "database": parts.path[1:]}


class Driver:
    """A connection of DB-API 2.0."""

    blocks = True

    def __init__(self, connect: Callable[[str], Any]) -> None:
        self._connect = connect

    def open(self, url: str) -> Any:
        self.connection = self._connect(url)
        return self.connection

    def execute(self, sql: str) -> Sequence[Any]:
        with contextlib.closing(self.connection.cursor()) as cursor:
            cursor.execute(sql)
            return cursor.fetchall() if cursor.description else ()

    def commit(self) -> None:
        self.connection.commit()

    def rollback(self) -> None:
        self.connection.rollback()

    def savepoint(self) -> Any:
        self.execute("SAVEPOINT point")
        return "point"

    def back_to(self, point: Any) -> None:
        self.execute(f"ROLLBACK TO SAVEPOINT {point}")

    def commit_by_itself(self) -> None:
        """No transaction unless one is asked for."""
        if isinstance(self.connection, sqlite3.Connection):
            self.connection.isolation_level = None
        elif isinstance(self.connection, pymysql.Connection):
            self.connection.autocommit(True)
        else:
            self.connection.autocommit = True

    def close(self) -> None:
        self.connection.close()


class AsyncDriver:
    """A connection with the same verbs as coroutines."""

    blocks = False

    def __init__(self, connect: Callable[[str], Any]) -> None:
        self._connect = connect

    async def open(self, url: str) -> Any:
        self.connection = await self._connect(url)
        return self.connection

    async def execute(self, sql: str) -> Sequence[Any]:
        cursor = self.connection.cursor()
        if asyncio.iscoroutine(cursor):
            cursor = await cursor
        async with cursor:
            await cursor.execute(sql)
            return await cursor.fetchall() if cursor.description else ()

    async def commit(self) -> None:
        await self.connection.commit()

    async def rollback(self) -> None:
        await self.connection.rollback()

    async def savepoint(self) -> Any:
        await self.execute("SAVEPOINT point")
        return "point"

    async def back_to(self, point: Any) -> None:
        await self.execute(f"ROLLBACK TO SAVEPOINT {point}")

    async def commit_by_itself(self) -> None:
        if isinstance(self.connection, aiosqlite.Connection):
            await self.connection._execute(setattr, self.connection._conn, "isolation_level", None)
        elif isinstance(self.connection, psycopg.AsyncConnection):
            await self.connection.set_autocommit(True)
        else:
            await self.connection.autocommit(True)

    async def close(self) -> None:
        closing = self.connection.close()
        if asyncio.iscoroutine(closing):
            await closing


class Asyncpg:
    """asyncpg, which has no transaction unless one is asked for."""

    blocks = False

    async def open(self, url: str) -> Any:
        self.connection = await asyncpg.connect(url)
        await self._begin()
        return self.connection

    async def _begin(self) -> None:
        self.transaction = self.connection.transaction()
        await self.transaction.start()

    async def execute(self, sql: str) -> Sequence[Any]:
        return await self.connection.fetch(sql)

    async def commit(self) -> None:
        await self.transaction.commit()
        await self._begin()

    async def rollback(self) -> None:
        await self.transaction.rollback()
        await self._begin()

    async def savepoint(self) -> Any:
        point = self.connection.transaction()
        await point.start()
        return point

    async def back_to(self, point: Any) -> None:
        await point.rollback()

    async def commit_by_itself(self) -> None:
        await self.transaction.rollback()

    async def close(self) -> None:
        await self.connection.close()


class Sqlalchemy:
    """A `Connection`, or what `make` makes of an engine."""

    blocks = True

    def __init__(self, scheme: str, make: Callable[[Any], Any] = sqlalchemy.Engine.connect) -> None:
        self._scheme, self._make = scheme, make

    def open(self, url: str) -> Any:
        self._engine = sqlalchemy.create_engine(_with_scheme(self._scheme, url))
        self.connection = self._make(self._engine)
        return self.connection

    def execute(self, sql: str) -> Sequence[Any]:
        found = self.connection.execute(sqlalchemy.text(sql))
        return found.all() if found.returns_rows else ()

    def commit(self) -> None:
        self.connection.commit()

    def rollback(self) -> None:
        self.connection.rollback()

    def savepoint(self) -> Any:
        return self.connection.begin_nested()

    def back_to(self, point: Any) -> None:
        point.rollback()

    def commit_by_itself(self) -> None:
        self._engine.update_execution_options(isolation_level="AUTOCOMMIT")
        self.connection.close()
        self.connection = self._make(self._engine)

    def close(self) -> None:
        self.connection.close()
        self._engine.dispose()


class AsyncSqlalchemy:
    """An `AsyncConnection`, or an `AsyncSession`."""

    blocks = False

    def __init__(self, scheme: str, make: Callable[[Any], Any] | None = None) -> None:
        self._scheme, self._make = scheme, make

    async def open(self, url: str) -> Any:
        self._engine = create_async_engine(_with_scheme(self._scheme, url))
        await self._reopen()
        return self.connection

    async def _reopen(self) -> None:
        self.connection = self._make(self._engine) if self._make else await self._engine.connect()

    async def execute(self, sql: str) -> Sequence[Any]:
        found = await self.connection.execute(sqlalchemy.text(sql))
        return found.all() if found.returns_rows else ()

    async def commit(self) -> None:
        await self.connection.commit()

    async def rollback(self) -> None:
        await self.connection.rollback()

    async def savepoint(self) -> Any:
        return await self.connection.begin_nested()

    async def back_to(self, point: Any) -> None:
        await point.rollback()

    async def commit_by_itself(self) -> None:
        self._engine.update_execution_options(isolation_level="AUTOCOMMIT")
        await self.connection.close()
        await self._reopen()

    async def close(self) -> None:
        await self.connection.close()
        await self._engine.dispose()


def _with_scheme(scheme: str, url: str) -> str:
    return f"{scheme}://{url.partition('://')[2]}"


class Django:
    """A connection of Django within `atomic`."""

    blocks = True

    def open(self, url: str) -> Any:
        self._alias = django_alias(url)
        from django.db import connections

        self.connection = connections[self._alias]
        self._begin()
        return self.connection

    def _begin(self) -> None:
        from django.db import transaction

        self._atomic = transaction.atomic(using=self._alias)
        self._atomic.__enter__()

    def execute(self, sql: str) -> Sequence[Any]:
        with self.connection.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetchall() if cursor.description else ()

    def commit(self) -> None:
        self._atomic.__exit__(None, None, None)
        self._begin()

    def rollback(self) -> None:
        self._atomic.__exit__(ZeroDivisionError, ZeroDivisionError(), None)
        self._begin()

    def savepoint(self) -> Any:
        from django.db import transaction

        return transaction.savepoint(using=self._alias)

    def back_to(self, point: Any) -> None:
        from django.db import transaction

        transaction.savepoint_rollback(point, using=self._alias)

    def commit_by_itself(self) -> None:
        self._atomic.__exit__(None, None, None)

    def close(self) -> None:
        if self.connection.in_atomic_block:
            self._atomic.__exit__(ZeroDivisionError, ZeroDivisionError(), None)
        self.connection.close()
        del _connections()[self._alias]


def django_alias(url: str) -> str:
    """A database of Django's by this name."""
    _set_up_django()
    parts = urlsplit(url)
    engine = {"sqlite": "sqlite3", "mariadb": "mysql"}.get(parts.scheme, parts.scheme)
    there = {"HOST": parts.hostname or "", "PORT": str(parts.port or ""), "USER": parts.username or ""}
    name = file_of(url) if engine == "sqlite3" else parts.path[1:]
    handler = _connections()
    alias = f"{engine}-{name}-{parts.port}"
    one = {"ENGINE": f"django.db.backends.{engine}", "NAME": name, **there}
    handler.settings[alias] = handler.configure_settings({"default": {}, alias: one})[alias]
    return alias


def _connections() -> Any:
    from django.db import connections

    return connections


@cache
def _set_up_django() -> None:
    """Django takes PyMySQL for the driver that it asks for."""
    pymysql.version_info = (2, 2, 7, "final", 0)
    pymysql.install_as_MySQLdb()
    settings.configure(DATABASES={}, USE_TZ=True)
    django.setup()
