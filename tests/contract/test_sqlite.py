"""`sqlite:///` against the contract."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest

from sql.notes import Notes, WritesNotes
from worksong.adapters.sql.backend import SqlBackend
from worksong.adapters.sql.sqlite import sqlite_backend
from worksong.ports.backend import Backend
from worksong.testing.contract import BackendContract


class TestSqlite(WritesNotes, BackendContract):
    @pytest.fixture
    async def backend(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[SqlBackend]:
        monkeypatch.chdir(tmp_path)
        backend = sqlite_backend("sqlite:///jobs.db?synchronous=NORMAL", namespace="contract")
        self.notes = await Notes("sqlite:///jobs.db").make()
        yield backend
        await backend.close()

    @asynccontextmanager
    async def transaction(self, backend: Backend) -> AsyncIterator[sqlite3.Connection]:
        with closing(sqlite3.connect("jobs.db")) as connection, connection:
            yield connection
