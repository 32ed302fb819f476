"""A shop that sells and enqueues in one transaction, over the connection of any driver or framework."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from typing import Any, TypeAlias

import aiomysql
import aiosqlite
import asyncmy
import psycopg
import psycopg2
import pymysql
import pytest
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from sql.lenders import AsyncDriver, Asyncpg, AsyncSqlalchemy, Django, Driver, Sqlalchemy, file_of, mysql_of
from sql.stage import opened
from worksong import Worker
from worksong.domain.job import new_id
from worksong.domain.lifecycle import State
from worksong.ports.backend import Window

MYSQL = "WORKSONG_MYSQL" in os.environ
"""Whether what is called MariaDB is MySQL."""


class Lent:
    """An application with a connection, whichever kind it is."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.blocks: bool = app.blocks
        self._thread = ThreadPoolExecutor(1)

    @property
    def connection(self) -> Any:
        return self.app.connection

    async def call(self, verb: Callable[..., Any], *given: Any, **named: Any) -> Any:
        """In the application's thread, or in this loop."""
        if self.blocks:
            return await asyncio.get_running_loop().run_in_executor(self._thread, partial(verb, *given, **named))
        return await verb(*given, **named)

    async def enqueue(self, job_type: Any, number: int, **options: Any) -> Any:
        """`perform`, or `await aperform`."""
        one = job_type.with_options(connection=self.connection, **options)
        return await self.call(one.perform if self.blocks else one.aperform, number)

    async def execute(self, sql: str) -> Sequence[Any]:
        return await self.call(self.app.execute, sql)

    async def close(self) -> None:
        try:
            with contextlib.suppress(pymysql.Error):  # it is closed already
                await self.call(self.app.close)
        finally:
            self._thread.shutdown()


@contextlib.asynccontextmanager
async def lending(app: Any, url: str) -> AsyncIterator[Lent]:
    """An application that has opened its connection."""
    lent = Lent(app)
    try:
        await lent.call(app.open, url)
        yield lent
    finally:
        await lent.close()


def _scoped(engine: Any) -> Any:
    return scoped_session(sessionmaker(engine))


class Shop:
    """A worker with one job type, and who lends it a connection."""

    def __init__(self, database: str, url: str, lent: Lent) -> None:
        self.database, self.url, self.lent, self.name = database, url, lent, new_id()
        self.worker, self.send = mailer(url, self.name)

    async def waiting(self) -> list[int]:
        """The numbers of all jobs that everybody sees."""
        return [args["number"] for args in await self.arguments()]

    async def arguments(self) -> list[Any]:
        """Those of all jobs that everybody sees."""
        backend = opened(self.url, self.name)
        found = await backend.jobs(State.QUEUED, Window(limit=100))
        await backend.close()
        return [view.job.args for view in found.jobs]

    async def sales(self) -> int:
        """How many rows of the application's table are there, of those that this test wrote."""
        found = await self.lent.execute(f"SELECT count(*) FROM sale WHERE shop = '{self.name}'")
        return int(found[0][0])

    async def sell(self) -> None:
        await self.lent.execute(f"INSERT INTO sale VALUES ('{self.name}')")


def mailer(url: str, name: str) -> tuple[Worker, Any]:
    """A worker, and a job type of it."""
    worker = Worker(url, name=name)

    @worker.job()
    def send(number: int) -> int:
        return number

    return worker, send


@cache
def open_shop(database: str, url: str) -> None:
    """The application's table."""
    app = APPS[database][{"sqlite": "sqlite3", "postgres": "psycopg", "mariadb": "pymysql"}[database]]()
    app.open(url)
    app.execute("CREATE TABLE sale (shop VARCHAR(100))")
    app.commit()
    app.close()


def places(apps: Apps) -> list[Any]:
    """Parameters for the fixture `place`."""
    return [
        pytest.param((database, make), id=f"{database}-{name}")
        for database, makes in apps.items()
        for name, make in makes.items()
    ]


Apps: TypeAlias = dict[str, dict[str, Callable[[], Any]]]
"""Database -> name -> makes an application."""

APPS: Apps = {
    "sqlite": {
        "sqlite3": lambda: Driver(lambda url: sqlite3.connect(file_of(url))),
        "aiosqlite": lambda: AsyncDriver(lambda url: aiosqlite.connect(file_of(url))),
        "connection": lambda: Sqlalchemy("sqlite"),
        "session": lambda: Sqlalchemy("sqlite", Session),
        "async connection": lambda: AsyncSqlalchemy("sqlite+aiosqlite"),
        "async session": lambda: AsyncSqlalchemy("sqlite+aiosqlite", AsyncSession),
        "django": Django,
    },
    "postgres": {
        "asyncpg": Asyncpg,
        "psycopg": lambda: Driver(psycopg.connect),
        "async psycopg": lambda: AsyncDriver(psycopg.AsyncConnection.connect),
        "psycopg2": lambda: Driver(psycopg2.connect),
        "connection": lambda: Sqlalchemy("postgresql+psycopg"),
        "session over psycopg2": lambda: Sqlalchemy("postgresql+psycopg2", Session),
        "async connection": lambda: AsyncSqlalchemy("postgresql+asyncpg"),
        "async session": lambda: AsyncSqlalchemy("postgresql+asyncpg", AsyncSession),
        "async session over psycopg": lambda: AsyncSqlalchemy("postgresql+psycopg", AsyncSession),
        "django": Django,
    },
    "mariadb": {
        "pymysql": lambda: Driver(lambda url: pymysql.connect(**mysql_of(url))),
        "asyncmy": lambda: AsyncDriver(lambda url: asyncmy.connect(**mysql_of(url))),
        "aiomysql": lambda: AsyncDriver(lambda url: aiomysql.connect(**aiomysql_of(url))),
        "connection": lambda: Sqlalchemy("mysql+pymysql"),
        # SQLAlchemy insists that the one is not called the other.
        "scoped session": lambda: Sqlalchemy("mysql+pymysql" if MYSQL else "mariadb+pymysql", _scoped),
        "async connection": lambda: AsyncSqlalchemy("mysql+asyncmy"),
        "async session over aiomysql": lambda: AsyncSqlalchemy("mysql+aiomysql", AsyncSession),
        "django": Django,
    },
}


def aiomysql_of(url: str) -> dict[str, Any]:
    given = mysql_of(url)
    return {"db": given.pop("database"), **given}
