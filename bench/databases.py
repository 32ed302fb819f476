"""The databases of the bench: servers of its own that write to disk as they do by default, and a file of SQLite."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncmy
import asyncpg
from tests import servers

from bench.processes import cpu_seconds, family
from bench.server import Used

PATIENCE = 60_000
"""Milliseconds that connections of those who ended may take to go."""


class Postgres:
    """One database of a running server; kept databases are templates of later ones."""

    one_core = False

    def __init__(self, server: servers.Database, database: str = "bench") -> None:
        self._server, self._database, self._kept = server, database, 0
        self.url = server.url.rpartition("/")[0] + "/" + database

    def version(self) -> str:
        return f"PostgreSQL {str(self._ask('SHOW server_version')[-1]).split()[0]}"

    def empty(self) -> None:
        self.put_back("template1")

    def keep(self) -> str:
        self._kept += 1
        name = f"{self._database}_{self._kept}"
        self.tidy()
        self._copy(self._database, name)
        return name

    def put_back(self, kept: str) -> None:
        self._copy(kept, self._database)

    def used(self) -> Used:
        """Transactions."""
        count = "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = '" + self._database + "'"
        return Used(float(self._ask(count)[-1]), sum(map(cpu_seconds, family([self._server.pid]))))

    def pin(self, core: int | None) -> None:
        """Left to the system: a server is many processes."""

    def double(self, columns: str, mark: int) -> None:
        """Every job once more, under its id with this mark."""
        self._ask(
            f"INSERT INTO worksong_job (id, {columns}) SELECT id || '.{mark}', {columns} FROM worksong_job", within=True
        )

    def tidy(self) -> None:
        """What autovacuum would do some time."""
        self._ask("VACUUM (ANALYZE)", within=True)

    def _copy(self, source: str, target: str) -> None:
        leave = f"SELECT count(pg_terminate_backend(pid, {PATIENCE})) FROM pg_stat_activity WHERE datname = '{source}'"
        drop, create = f"DROP DATABASE IF EXISTS {target} WITH (FORCE)", f"CREATE DATABASE {target} TEMPLATE {source}"
        self._ask(leave, drop, create)

    def _ask(self, *orders: str, within: bool = False) -> list[Any]:
        """The first value that each finds; `within` the database itself."""

        async def answer() -> list[Any]:
            connection = await asyncpg.connect(self.url if within else self._server.url)
            try:
                return [await connection.fetchval(order) for order in orders]
            finally:
                await connection.close()

        return asyncio.run(answer())


class Mariadb:
    """One database of a running server; what is kept is a database of its own, table by table."""

    one_core = False

    def __init__(self, server: servers.Database, database: str = "bench") -> None:
        self._server, self._database, self._kept = server, database, 0
        self.url = server.url.rpartition("/")[0] + "/" + database

    def version(self) -> str:
        [[version]] = self._ask("SELECT VERSION()")
        return f"MariaDB {str(version).partition('-')[0]}"

    def empty(self) -> None:
        self._renew(self._database)

    def keep(self) -> str:
        self._kept += 1
        name = f"{self._database}_{self._kept}"
        self._copy(self._database, name)
        return name

    def put_back(self, kept: str) -> None:
        self._copy(kept, self._database)

    def used(self) -> Used:
        """Statements."""
        [[_, count]] = self._ask("SHOW GLOBAL STATUS LIKE 'Questions'")
        return Used(float(count), cpu_seconds(self._server.pid))

    def pin(self, core: int | None) -> None:
        """Left to the system, as that of PostgreSQL is."""

    def double(self, columns: str, mark: int) -> None:
        """Every job once more, under its id with this mark."""
        table = f"{self._database}.worksong_job"
        self._ask(f"INSERT INTO {table} (id, {columns}) SELECT CONCAT(id, '.{mark}'), {columns} FROM {table}")

    def tidy(self) -> None:
        self._ask(f"ANALYZE TABLE {self._database}.worksong_job")

    def _renew(self, database: str) -> None:
        self._ask(f"DROP DATABASE IF EXISTS {database}", f"CREATE DATABASE {database}")

    def _copy(self, source: str, target: str) -> None:
        self._renew(target)
        for (table,) in self._ask(f"SHOW TABLES IN {source}"):
            there, here = f"{source}.{table}", f"{target}.{table}"
            self._ask(f"CREATE TABLE {here} LIKE {there}", f"INSERT INTO {here} SELECT * FROM {there}")

    def _ask(self, *orders: str) -> Sequence[Sequence[Any]]:
        """The rows that the last one finds."""
        at = urlsplit(self._server.url)

        async def answer() -> Sequence[Sequence[Any]]:
            connection = await asyncmy.connect(host=at.hostname, port=at.port, user=at.username, autocommit=True)
            try:
                async with connection.cursor() as cursor:
                    for order in orders:
                        await cursor.execute(order)
                    return list(await cursor.fetchall() or ())
            finally:
                await connection.ensure_closed()

        return asyncio.run(answer())


class Sqlite:
    """A file; what is kept are its bytes."""

    one_core = False

    def __init__(self, file: Path) -> None:
        self._file, self.url = file, f"sqlite:///{file}"

    def version(self) -> str:
        return f"SQLite {sqlite3.sqlite_version}"

    def empty(self) -> None:
        for path in self._file.parent.glob(f"{self._file.name}*"):
            path.unlink()

    def keep(self) -> bytes:
        self.tidy()
        return self._file.read_bytes()

    def put_back(self, kept: bytes) -> None:
        """On the disk before anybody is measured who waits for the disk."""
        self.empty()
        with self._file.open("wb") as file:
            file.write(kept)
            file.flush()
            os.fsync(file.fileno())

    def used(self) -> Used:
        return Used(None, None)

    def pin(self, core: int | None) -> None:
        """There is no server."""

    def double(self, columns: str, mark: int) -> None:
        """Every job once more, under its id with this mark."""
        self._ask(f"INSERT INTO worksong_job (id, {columns}) SELECT id || '.{mark}', {columns} FROM worksong_job")

    def tidy(self) -> None:
        self._ask("PRAGMA wal_checkpoint(TRUNCATE)")

    def _ask(self, order: str) -> None:
        with contextlib.closing(sqlite3.connect(self._file)) as connection, connection:
            connection.execute("PRAGMA cache_size=-200000")
            connection.execute(order)
