"""The stores of records against their contract."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from worksong.adapters.memory import MemoryRecords
from worksong.adapters.redis.records import RedisRecords
from worksong.adapters.sql.mysql import mysql_records
from worksong.adapters.sql.postgres import postgres_records
from worksong.adapters.sql.records import SqlRecords
from worksong.adapters.sql.sqlite import sqlite_records
from worksong.domain.job import new_id
from worksong.testing.contract import RecordStoreContract


class TestMemoryRecords(RecordStoreContract):
    @pytest.fixture
    async def store(self) -> AsyncIterator[MemoryRecords]:
        store = MemoryRecords()
        yield store
        await store.close()


class TestRedisRecords(RecordStoreContract):
    @pytest.fixture
    async def store(self, redis_url: str) -> AsyncIterator[RedisRecords]:
        self.url = redis_url
        store = RedisRecords(redis_url, namespace=new_id())
        yield store
        await store.close()

    def neighbour(self) -> RedisRecords:
        return RedisRecords(self.url, namespace=new_id())

    def unreachable(self) -> RedisRecords:
        return RedisRecords("redis://127.0.0.1:1/0", namespace="away")


class TestRedisClusterRecords(RecordStoreContract):
    @pytest.fixture
    async def store(self, cluster_url: str) -> AsyncIterator[RedisRecords]:
        self.url = cluster_url
        store = RedisRecords(cluster_url, namespace=f"{{{new_id()}}}")
        yield store
        await store.close()

    def neighbour(self) -> RedisRecords:
        return RedisRecords(self.url, namespace=f"{{{new_id()}}}")


class TestSqliteRecords(RecordStoreContract):
    @pytest.fixture
    async def store(self, tmp_path: Path) -> AsyncIterator[SqlRecords]:
        self.url = f"sqlite:///{tmp_path}/records.db?synchronous=NORMAL"
        store = sqlite_records(self.url, namespace="contract")
        yield store
        await store.close()

    def neighbour(self) -> SqlRecords:
        return sqlite_records(self.url, namespace="neighbour")


class TestPostgresRecords(RecordStoreContract):
    @pytest.fixture
    async def store(self, postgres_url: str) -> AsyncIterator[SqlRecords]:
        self.url = postgres_url
        store = postgres_records(postgres_url, namespace=new_id())
        yield store
        await store.close()

    def neighbour(self) -> SqlRecords:
        return postgres_records(self.url, namespace=new_id())

    def unreachable(self) -> SqlRecords:
        return postgres_records("postgresql://nobody@127.0.0.1:1/nothing", namespace="")


class TestMariadbRecords(RecordStoreContract):
    @pytest.fixture
    async def store(self, mariadb_url: str) -> AsyncIterator[SqlRecords]:
        self.url = mariadb_url
        store = mysql_records(mariadb_url, namespace=new_id())
        yield store
        await store.close()

    def neighbour(self) -> SqlRecords:
        return mysql_records(self.url, namespace=new_id())

    def unreachable(self) -> SqlRecords:
        return mysql_records("mariadb://nobody@127.0.0.1:1/nothing", namespace="")
