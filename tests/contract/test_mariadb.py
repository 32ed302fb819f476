"""`mariadb://` against the contract."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from sql.notes import Notes, WritesNotes
from worksong.adapters.sql.backend import SqlBackend
from worksong.adapters.sql.mysql import mysql_backend
from worksong.domain.job import new_id
from worksong.ports.backend import Backend
from worksong.testing.contract import BackendContract


class TestMariadb(WritesNotes, BackendContract):
    @pytest.fixture
    async def backend(self, mariadb_url: str) -> AsyncIterator[SqlBackend]:
        backend = mysql_backend(mariadb_url, namespace=new_id())
        self.notes = await Notes(mariadb_url).make()
        yield backend
        await backend.close()

    @pytest.fixture(autouse=True)
    def know_the_server(self, mariadb_url: str) -> None:
        self.url = mariadb_url

    @asynccontextmanager
    async def transaction(self, backend: Backend) -> AsyncIterator[AsyncConnection]:
        engine = create_async_engine(f"mysql+asyncmy:{self.url.partition(':')[2]}")
        try:
            async with engine.begin() as connection:
                yield connection
        finally:
            await engine.dispose()

    def unreachable(self) -> Backend:
        return mysql_backend("mariadb://nobody@127.0.0.1:1/nothing", namespace="")
