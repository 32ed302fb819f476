"""Backends over databases, for the tests of this directory."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from worksong.adapters import connect
from worksong.adapters.sql import migrate
from worksong.adapters.sql.backend import SqlBackend
from worksong.adapters.sql.migrate import Migration
from worksong.domain.finding import Finding, Severity
from worksong.domain.job import new_id

TABLES = ("job", "pool", "limit", "paused", "once", "result", "history", "course", "record", "told")
BEGIN = "CREATE TABLE worksong_later (number INTEGER NOT NULL PRIMARY KEY)"
INDEX = "CREATE INDEX worksong_job_later ON worksong_job (later)"


def opened(url: str, namespace: str = "") -> SqlBackend:
    """A backend for the URL, in a namespace of its own unless one is given."""
    backend = connect(url, namespace=namespace or new_id())
    assert isinstance(backend, SqlBackend)
    return backend


async def told(backend: SqlBackend, *sql: str) -> list[Any]:
    """What the server answers to statements on a connection of their own."""
    store: Any = backend._store
    connection = await store.dial()
    try:
        return [await store.plain(connection, one) for one in sql][-1]
    finally:
        store.hang_up(connection)


@contextmanager
def fresh(url: str) -> Iterator[str]:
    """An empty database on the same server."""
    name = f"fresh_{new_id()}"
    asyncio.run(ordered(url, f"CREATE DATABASE {name}"))
    yield f"{url.rpartition('/')[0]}/{name}"
    asyncio.run(ordered(url, f"DROP DATABASE {name}" + (" WITH (FORCE)" if url.startswith("postgres") else "")))


async def ordered(url: str, *sql: str) -> None:
    """Statements on a connection of their own."""
    backend = opened(url)
    await told(backend, *sql)


async def ailing(backend: SqlBackend) -> dict[str, Finding]:
    """What the doctor finds, but for the checks that were passed and what nobody here can mend."""
    found = await backend.examine(time.time())
    wrong = [finding for finding in found if finding.severity is not Severity.OK and finding.id not in OF_THIS_HOST]
    return {finding.id: finding for finding in wrong}


OF_THIS_HOST = ("sqlite.version", "sqlite.shared", "sqlite.disk", "jobs.unserved")
"""Findings that depend on where the tests run, and one that depends on nobody's work."""


async def make_tables(url: str) -> tuple[int, int]:
    """(version before, version now)."""
    backend = opened(url)
    versions = await backend.migrate()
    await backend.close()
    return versions


@contextmanager
def the_next_version() -> Iterator[None]:
    """Within, this program is the next one: each table has a column more, and there is a table and an index more.

    The tables of this one it can work with, and this one with its.
    """
    known = migrate.migrations
    columns = [f"ALTER TABLE worksong_{table} ADD COLUMN later INTEGER NOT NULL DEFAULT 7" for table in TABLES]

    def and_one_more(dialect: str) -> tuple[Migration, ...]:
        number = known(dialect)[-1].number + 1
        return (*known(dialect), Migration(number, (BEGIN, *columns, INDEX, migrate.NOTE.format(number=number))))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(migrate, "migrations", and_one_more)
        yield
