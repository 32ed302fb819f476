"""A table of the application beside the jobs: what handlers write, and what came of it."""

from __future__ import annotations

import contextlib
import sqlite3
from collections import Counter
from typing import Any, cast
from urllib.parse import urlsplit

import asyncmy
import asyncpg  # pyright: ignore[reportMissingTypeStubs]

from worksong.domain.job import new_id

TABLE = """
    CREATE TABLE IF NOT EXISTS note (
        page VARCHAR(40) NOT NULL CHECK (length(page) <= 40), text VARCHAR(40) NOT NULL
    )
"""
ALL = "SELECT text FROM note WHERE page = '{}'"


async def write(connection: Any, page: str, text: object = "") -> None:
    """A row, by whichever driver the connection is of."""
    if isinstance(connection, sqlite3.Connection):
        connection.execute("INSERT INTO note VALUES (?, ?)", (page, str(text)))
    elif hasattr(connection, "fetchrow"):
        await connection.execute("INSERT INTO note VALUES ($1, $2)", page, str(text))
    else:
        async with connection.cursor() as cursor:
            await cursor.execute("INSERT INTO note VALUES (%s, %s)", (page, str(text)))


class Notes:
    """A page of them, of one test alone."""

    def __init__(self, url: str) -> None:
        self.url, self.page = url, new_id()

    async def make(self) -> Notes:
        """The table, if it is not there."""
        await self.ask(TABLE)
        return self

    async def write(self, connection: Any, text: object = "") -> None:
        await write(connection, self.page, text)

    async def found(self) -> Counter[str]:
        """What is committed: text -> how often."""
        return Counter(row[0] for row in await self.ask(ALL.format(self.page)))

    async def ask(self, sql: str) -> list[Any]:
        """Run a statement on a connection of the application's own."""
        scheme, place = urlsplit(self.url).scheme, self.url.partition("?")[0]
        if scheme == "sqlite":
            with contextlib.closing(sqlite3.connect(place.removeprefix("sqlite:///"), timeout=60.0)) as connection:
                found = connection.execute(sql).fetchall()
                connection.commit()
                return found
        if scheme == "postgresql":
            connection = await cast("Any", asyncpg).connect(place)
            try:
                return [tuple(row) for row in await connection.fetch(sql)]
            finally:
                await connection.close()
        parts = urlsplit(place)
        connection = await cast("Any", asyncmy).connect(
            host=parts.hostname, port=parts.port, user=parts.username, database=parts.path[1:], autocommit=True
        )
        try:
            async with connection.cursor() as cursor:
                await cursor.execute(sql)
                return list(await cursor.fetchall() or ())
        finally:
            connection.close()


class WritesNotes:
    """How a handler changes something, for the contract suite."""

    notes: Notes

    async def change(self, connection: Any) -> None:
        await self.notes.write(connection)

    async def fail(self, connection: Any) -> None:
        await write(connection, "x" * 41 + "\0")

    async def changes(self) -> int:
        return (await self.notes.found()).total()
