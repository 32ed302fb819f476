"""The stores of results against their contract."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from worksong.adapters.memory import MemoryRecords, MemoryResults
from worksong.adapters.redis.records import RedisRecords
from worksong.adapters.redis.results import RedisResults
from worksong.adapters.sql.mysql import mysql_results
from worksong.adapters.sql.postgres import postgres_results
from worksong.adapters.sql.results import SqlResults
from worksong.adapters.sql.sqlite import sqlite_records, sqlite_results
from worksong.domain.job import new_id
from worksong.ledger import Ledger
from worksong.ports.clock import SystemClock
from worksong.testing.contract import ResultStoreContract


class TestMemoryResults(ResultStoreContract):
    @pytest.fixture
    async def store(self) -> AsyncIterator[MemoryResults]:
        store = MemoryResults()
        yield store
        await store.close()


class TestRedisResults(ResultStoreContract):
    @pytest.fixture
    async def store(self, redis_url: str) -> AsyncIterator[RedisResults]:
        store = RedisResults(redis_url, namespace=new_id())
        yield store
        await store.close()

    def unreachable(self) -> RedisResults:
        return RedisResults("redis://127.0.0.1:1/0", namespace="away")


class TestSqliteResults(ResultStoreContract):
    @pytest.fixture
    async def store(self, tmp_path: Path) -> AsyncIterator[SqlResults]:
        store = sqlite_results(f"sqlite:///{tmp_path}/results.db?synchronous=NORMAL", namespace="contract")
        yield store
        await store.close()


class TestPostgresResults(ResultStoreContract):
    @pytest.fixture
    async def store(self, postgres_url: str) -> AsyncIterator[SqlResults]:
        store = postgres_results(postgres_url, namespace=new_id())
        yield store
        await store.close()

    def unreachable(self) -> SqlResults:
        return postgres_results("postgresql://nobody@127.0.0.1:1/nothing", namespace="")


class TestMariadbResults(ResultStoreContract):
    @pytest.fixture
    async def store(self, mariadb_url: str) -> AsyncIterator[SqlResults]:
        store = mysql_results(mariadb_url, namespace=new_id())
        yield store
        await store.close()

    def unreachable(self) -> SqlResults:
        return mysql_results("mariadb://nobody@127.0.0.1:1/nothing", namespace="")


class TestLedgerInMemory(ResultStoreContract):
    @pytest.fixture
    async def store(self) -> AsyncIterator[Ledger]:
        store = Ledger(MemoryRecords(), SystemClock())
        yield store
        await store.close()


class TestLedgerInRedis(ResultStoreContract):
    @pytest.fixture
    async def store(self, redis_url: str) -> AsyncIterator[Ledger]:
        store = Ledger(RedisRecords(redis_url, namespace=new_id()), SystemClock())
        yield store
        await store.close()

    def unreachable(self) -> Ledger:
        return Ledger(RedisRecords("redis://127.0.0.1:1/0", namespace="away"), SystemClock())


class TestLedgerInSqlite(ResultStoreContract):
    @pytest.fixture
    async def store(self, tmp_path: Path) -> AsyncIterator[Ledger]:
        records = sqlite_records(f"sqlite:///{tmp_path}/records.db?synchronous=NORMAL", namespace="contract")
        store = Ledger(records, SystemClock())
        yield store
        await store.close()
