"""The theatre on database servers: one process for all scenes, which outlives its deaths; a database for each scene."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar

import asyncmy
import asyncpg

import servers
from chaos import tables
from patience import PATIENCE
from worksong.adapters.sql.servers import MOST
from worksong.domain.job import new_id


class Process:
    """A database server that can be killed, frozen and started again."""

    def __init__(self, server: servers.Database) -> None:
        self.server = server
        self._pid = server.pid
        self._again: subprocess.Popen[bytes] | None = None
        self._alive = True

    def kill(self) -> None:
        """All of its processes at once: none of them notices that another one is gone."""
        if not self._alive:
            return
        os.kill(self._pid, signal.SIGSTOP)  # it starts no more of them
        everybody = [self._pid, *self._children()]
        _signal(everybody, signal.SIGKILL)
        if self._again:
            self._again.wait()
        else:
            os.waitpid(self._pid, 0)
        self._alive = False
        until = time.monotonic() + PATIENCE
        while any(Path(f"/proc/{pid}").exists() for pid in everybody):
            assert time.monotonic() < until, "the processes of the server do not end"
            time.sleep(0.005)

    def start(self) -> None:
        """Unless it runs."""
        if self._alive:
            return
        with (self.server.directory / "server.log").open("ab") as output:
            self._again = subprocess.Popen(
                self.server.command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, user=self.server.user
            )
        self._pid, self._alive = self._again.pid, True

    def freeze(self) -> None:
        if self._alive:
            _signal([self._pid, *self._children()], signal.SIGSTOP)

    def thaw(self) -> None:
        if self._alive:
            _signal([*self._children(), self._pid], signal.SIGCONT)

    @property
    def said(self) -> str:
        return (self.server.directory / "server.log").read_text(errors="replace")[-2000:]

    def _children(self) -> list[int]:
        found: list[int] = []
        for status in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):  # it has just ended
                if int(status.read_text().rpartition(")")[2].split()[1]) == self._pid:
                    found.append(int(status.parent.name))
        return found


def _signal(pids: list[int], number: int) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


class ServerTheatre(ABC):
    """A database of the test's own, on a server that other tests use after it."""

    name: ClassVar[str]
    connections_at_most = MOST
    connections_sql: ClassVar[str]
    drop_sql: ClassVar[str]

    def __init__(self, process: Process) -> None:
        self._process = process
        self._database = f"chaos_{new_id()}"
        self._killed = 0.0
        self.url = f"{process.server.url.rpartition('/')[0]}/{self._database}"
        self.version = ""
        self.outages: list[tuple[float, float]] = []

    @classmethod
    @asynccontextmanager
    async def open(cls, process: Process) -> AsyncIterator[ServerTheatre]:
        theatre = cls(process)
        await theatre._revive()
        theatre.version = await theatre._version()
        await theatre.ask(f"CREATE DATABASE {theatre._database}", of_server=True)
        await tables.make(theatre.url)
        try:
            yield theatre
        finally:
            await theatre._revive()
            await theatre.ask(theatre.drop_sql.format(database=theatre._database), of_server=True)

    async def _revive(self) -> None:
        """A scene that failed may have left it dead or frozen."""
        self.thaw()
        await self.restart()

    async def kill(self) -> None:
        self._killed = self._killed or time.monotonic()
        await asyncio.to_thread(self._process.kill)

    async def restart(self) -> None:
        await asyncio.to_thread(self._process.start)
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                await self.ask("SELECT 1", of_server=True)
                break
            except Exception as not_yet:
                assert time.monotonic() < deadline, (
                    f"no answer within {PATIENCE:.0f} s: {not_yet}; {self._process.said}"
                )
            await asyncio.sleep(0.02)
        if self._killed:
            self.outages.append((self._killed, time.monotonic()))
            self._killed = 0.0

    def freeze(self) -> None:
        self._process.freeze()

    def thaw(self) -> None:
        self._process.thaw()

    async def disorder(self) -> list[str]:
        found = [(what, (await self.ask(sql))[0]) for what, sql in tables.WRONG.items()]
        return [f"{count} jobs {what}" for what, count in found if count]

    async def connections(self) -> int:
        found: int = (await self.ask(self.connections_sql.format(database=self._database)))[0]
        return found

    async def blocked(self) -> bool:
        return False

    async def measure(self) -> None:
        return None

    async def measured(self) -> Mapping[str, int]:
        return {}

    @abstractmethod
    async def ask(self, sql: str, *, of_server: bool = False) -> list[Any]:
        """The first column of what a statement finds, on a connection of its own; `of_server`: whatever database."""

    @abstractmethod
    async def _version(self) -> str: ...


class PostgresTheatre(ServerTheatre):
    """PostgreSQL as it is installed: every commit is on the disk before it is acknowledged."""

    name = "`postgresql://`"
    connections_sql = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = '{database}' AND pid <> pg_backend_pid() "
        "AND backend_type = 'client backend'"
    )
    drop_sql = "DROP DATABASE {database} WITH (FORCE)"

    async def ask(self, sql: str, *, of_server: bool = False) -> list[Any]:
        connection = await asyncpg.connect(self._process.server.url if of_server else self.url, timeout=PATIENCE)
        try:
            return [row[0] for row in await connection.fetch(sql, timeout=PATIENCE)]
        finally:
            await connection.close(timeout=PATIENCE)

    async def _version(self) -> str:
        return f"PostgreSQL {(await self.ask('SHOW server_version', of_server=True))[0].split()[0]}"


class MariadbTheatre(ServerTheatre):
    """MariaDB as it is installed: every commit is on the disk before it is acknowledged."""

    name = "`mariadb://`"
    connections_sql = (
        "SELECT count(*) FROM information_schema.processlist WHERE db = '{database}' AND id <> CONNECTION_ID()"
    )
    drop_sql = "DROP DATABASE {database}"

    async def ask(self, sql: str, *, of_server: bool = False) -> list[Any]:
        server = self._process.server
        database = server.url.rpartition("/")[2] if of_server else self._database
        connection = await asyncmy.connect(
            host="127.0.0.1", port=server.port, user="root", db=database, autocommit=True
        )
        try:
            async with connection.cursor() as cursor:
                await cursor.execute(sql)
                return [row[0] for row in await cursor.fetchall() or ()]
        finally:
            connection.close()

    async def _version(self) -> str:
        return f"MariaDB {(await self.ask('SELECT version()', of_server=True))[0].partition('-')[0]}"
