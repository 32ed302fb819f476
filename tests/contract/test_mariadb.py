"""`mariadb://` against the contract."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

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

    def unreachable(self) -> Backend:
        return mysql_backend("mariadb://nobody@127.0.0.1:1/nothing", namespace="")
