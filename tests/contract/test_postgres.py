"""`postgresql://` against the contract."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg
import pytest

from sql.notes import Notes, WritesNotes
from worksong.adapters.sql.backend import SqlBackend
from worksong.adapters.sql.postgres import postgres_backend
from worksong.domain.job import new_id
from worksong.ports.backend import Backend
from worksong.testing.contract import BackendContract


class TestPostgres(WritesNotes, BackendContract):
    @pytest.fixture
    async def backend(self, postgres_url: str) -> AsyncIterator[SqlBackend]:
        backend = postgres_backend(postgres_url, namespace=new_id())
        self.notes = await Notes(postgres_url).make()
        yield backend
        await backend.close()

    @pytest.fixture(autouse=True)
    def know_the_server(self, postgres_url: str) -> None:
        self.url = postgres_url

    @asynccontextmanager
    async def transaction(self, backend: Backend) -> AsyncIterator[psycopg.AsyncConnection]:
        async with await psycopg.AsyncConnection.connect(self.url) as connection:
            yield connection

    def unreachable(self) -> Backend:
        return postgres_backend("postgresql://nobody@127.0.0.1:1/nothing", namespace="")
