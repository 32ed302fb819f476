"""`redis://` on a Redis Cluster, through a namespace whose hash tag puts all its keys into one slot."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from redis.cluster import RedisCluster

from worksong.adapters.gocraft import GocraftBackend
from worksong.domain.errors import ConfigError
from worksong.domain.job import Job, new_id
from worksong.ports.backend import Backend
from worksong.testing.contract import BackendContract


class TestGocraftCluster(BackendContract):
    @pytest.fixture
    async def backend(self, cluster_url: str) -> AsyncIterator[GocraftBackend]:
        self.url, self.namespace = cluster_url, f"{{{new_id()}}}"
        backend = GocraftBackend(cluster_url, namespace=self.namespace)
        yield backend
        await backend.close()

    def unreachable(self) -> Backend:
        return GocraftBackend("redis://127.0.0.1:1/0", namespace=self.namespace)

    async def plant(self, backend: Backend, handler: str, raw: bytes) -> None:
        with RedisCluster.from_url(self.url) as store:
            store.sadd(f"{self.namespace}:known_jobs", handler)
            store.lpush(f"{self.namespace}:jobs:{handler}", raw)


async def test_a_namespace_without_a_hash_tag_is_refused_on_a_cluster_with_the_mend(cluster_url: str) -> None:
    backend = GocraftBackend(cluster_url, namespace="untagged")
    try:
        with pytest.raises(ConfigError, match=r"\?namespace=\{myapp\}"):
            await backend.push([Job("send", id=new_id(), enqueued_at=1.0)], 1.0)
    finally:
        await backend.close()
