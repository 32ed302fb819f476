"""Queues and records in one place, against the contract of a step that changes both."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from worksong.adapters import connect, connect_records
from worksong.domain.job import new_id
from worksong.ports.backend import Backend
from worksong.ports.records import RecordStore
from worksong.testing.contract import OnePlaceContract


class OneUrl(OnePlaceContract):
    """Both at the fixture `url`, in one namespace."""

    away = ""
    """The URL of a server that does not answer; empty: there is none."""

    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        raise NotImplementedError

    @pytest.fixture
    def namespace(self) -> str:
        return new_id()

    @pytest.fixture
    async def backend(self, url: str, namespace: str) -> AsyncIterator[Backend]:
        backend = connect(url, namespace=namespace)
        yield backend
        await backend.close()

    @pytest.fixture
    async def store(self, url: str, namespace: str) -> AsyncIterator[RecordStore]:
        store = connect_records(url, namespace=namespace)
        yield store
        await store.close()

    def elsewhere(self) -> RecordStore:
        return connect_records(self.away or "memory://", namespace="")

    def unreachable(self) -> tuple[Backend, RecordStore] | None:
        if not self.away:
            return None
        return connect(self.away, namespace="away"), connect_records(self.away, namespace="away")


class TestMemory(OneUrl):
    @pytest.fixture
    def url(self) -> str:
        return "memory://"

    def elsewhere(self) -> RecordStore:
        return connect_records("sqlite:///elsewhere.db", namespace="")


class TestSqlite(OneUrl):
    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        return f"sqlite:///{tmp_path}/both.db?synchronous=NORMAL"


class TestPostgres(OneUrl):
    away = "postgresql://nobody@127.0.0.1:1/nothing"

    @pytest.fixture
    def url(self, postgres_url: str) -> str:
        return postgres_url


class TestMariadb(OneUrl):
    away = "mariadb://nobody@127.0.0.1:1/nothing"

    @pytest.fixture
    def url(self, mariadb_url: str) -> str:
        return mariadb_url


class TestRedis(OneUrl):
    away = "redis://127.0.0.1:1/0"

    @pytest.fixture
    def url(self, redis_url: str) -> str:
        return redis_url


class TestRedisCluster(OneUrl):
    away = "redis://127.0.0.1:1/0"

    @pytest.fixture
    def url(self, cluster_url: str) -> str:
        return cluster_url

    @pytest.fixture
    def namespace(self) -> str:
        return f"{{{new_id()}}}"


@pytest.mark.parametrize(
    ("queue", "records"),
    [
        ("sqlite:///a.db", "sqlite:///b.db"),
        ("sqlite:///a.db", "sqlite:///a.db?synchronous=NORMAL"),
        ("sqlite:///a.db", "memory://"),
        ("memory://", "sqlite:///a.db"),
        ("postgresql://me@db/jobs", "postgresql://me@db/others"),
        ("postgresql://me@db/jobs", "postgresql://me@db2/jobs"),
        ("postgresql://me@db/jobs", "postgresql://you@db/jobs"),
        ("postgresql://me@db/jobs", "postgresql://me@db/jobs?host=/run"),
        ("postgresql://me@db/jobs", "mysql://me@db/jobs"),
        ("mysql://me@db/jobs", "mysql://me@db/jobs?unix_socket=/run/a.sock"),
        ("redis://h/0", "redis://h/1"),
        ("redis://h/0", "redis://h2/0"),
        ("redis://h/0?namespace=a", "redis://h/0?namespace=b"),
        ("resque+redis://h/0", "redis://h/0"),
    ],
)
def test_two_places_are_not_one(queue: str, records: str) -> None:
    backend, store = connect(queue, namespace="n"), connect_records(records, namespace="n")
    assert backend.beside(store) is None


@pytest.mark.parametrize(
    ("queue", "records"),
    [
        ("memory://", "memory://"),
        ("sqlite:///a.db", "sqlite:///./a.db?result_ttl=off"),
        ("postgresql://me:secret@db/jobs", "postgresql://me:secret@db:5432/jobs?timeout=5"),
        ("mariadb://me@db/jobs?namespace=a", "mysql://me@db/jobs?namespace=b"),
        ("redis://:secret@h", "redis://:secret@h:6379/0?timeout=9"),
    ],
)
def test_one_place_is_known_by_whatever_url(queue: str, records: str) -> None:
    backend, store = connect(queue, namespace="n"), connect_records(records, namespace="n")
    assert backend.beside(store) is not None
