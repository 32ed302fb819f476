"""`resque+redis://`, in Resque's format, against the contract."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import redis

from worksong.adapters.resque import ResqueBackend
from worksong.domain.job import new_id
from worksong.ports.backend import Backend
from worksong.testing.contract import BackendContract


class TestResque(BackendContract):
    @pytest.fixture
    async def backend(self, redis_url: str) -> AsyncIterator[ResqueBackend]:
        self.url, self.namespace = redis_url, new_id()
        backend = ResqueBackend(f"resque+{redis_url}?namespace={self.namespace}")
        yield backend
        await backend.close()

    def unreachable(self) -> Backend:
        return ResqueBackend(f"resque+redis://127.0.0.1:1/0?namespace={self.namespace}")

    async def plant(self, backend: Backend, handler: str, raw: bytes) -> None:
        with redis.Redis.from_url(self.url) as store:
            store.sadd(f"{self.namespace}:queues", "default")
            store.rpush(f"{self.namespace}:queue:default", raw)
