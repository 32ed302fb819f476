"""The theatre on SQLite: a file of the test's own, and nobody behind it."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, closing
from pathlib import Path

from chaos import tables
from chaos.theatre import NoServer


class SqliteTheatre(NoServer):
    """A file in the default setting: WAL, synchronous FULL."""

    name = "`sqlite://`, synchronous FULL"
    connections_at_most = 1
    version = f"SQLite {sqlite3.sqlite_version}"

    def __init__(self, directory: Path) -> None:
        self._file = directory / "jobs.db"
        self.url = f"sqlite:///{self._file}"
        self.outages: list[tuple[float, float]] = []

    @classmethod
    @asynccontextmanager
    async def open(cls, directory: Path) -> AsyncIterator[SqliteTheatre]:
        theatre = cls(directory)
        await tables.make(theatre.url)
        yield theatre

    async def disorder(self) -> list[str]:
        with closing(sqlite3.connect(self._file, timeout=60)) as connection:
            found = [(what, connection.execute(sql).fetchone()[0]) for what, sql in tables.WRONG.items()]
        return [f"{count} jobs {what}" for what, count in found if count]

    async def connections(self) -> int:
        """Of this process: how often it has the file open."""
        return _open_here(self._file.resolve())

    async def blocked(self) -> bool:
        with closing(sqlite3.connect(self._file, timeout=0, isolation_level=None)) as connection:
            try:
                connection.execute("BEGIN IMMEDIATE")
                connection.execute("ROLLBACK")
            except sqlite3.OperationalError:
                return True
            return False

    async def measure(self) -> None:
        """The file cannot tell."""

    async def measured(self) -> Mapping[str, int]:
        return {}


def _open_here(file: Path) -> int:
    found = 0
    for descriptor in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # the one that lists
            found += descriptor.readlink() == file
    return found
