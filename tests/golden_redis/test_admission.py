"""What a server says of itself, as the doctor and a starting worker hear it: real servers, each with one fault."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import redis

import servers
from patience import until
from worksong import Worker
from worksong.adapters.gocraft import GocraftBackend
from worksong.domain.errors import ConfigError
from worksong.domain.finding import Severity

pytestmark = pytest.mark.usefixtures("redis_server")


@contextmanager
def client(url: str) -> Iterator[Any]:
    with redis.Redis.from_url(url) as made:
        yield made


def wait_for_a_failed_snapshot(redis_client: Any) -> None:
    until(lambda: redis_client.info("persistence")["rdb_last_bgsave_status"] != "ok", within=servers.PATIENCE)


async def ailing(url: str) -> dict[str, Severity]:
    backend = GocraftBackend(url, namespace="work")
    try:
        findings = await backend.examine(time.time())
    finally:
        await backend.close()
    by_version = "redis.version.lua"  # that of the machine
    return {f.id: f.severity for f in findings if f.severity is not Severity.OK and f.id != by_version}


async def admitted(url: str) -> list[str]:
    backend = GocraftBackend(url, namespace="work")
    try:
        return [finding.id for finding in await backend.admit()]
    finally:
        await backend.close()


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ((), {"redis.persistence.off": Severity.ERROR}),
        (("--save", "3600 1"), {"redis.persistence.snapshots": Severity.WARNING}),
        (("--appendonly", "yes"), {}),
        (("--appendonly", "yes", "--appendfsync", "no"), {"redis.persistence.fsync": Severity.WARNING}),
    ],
)
async def test_persistence_is_judged_by_the_doctor_and_at_the_start(
    options: tuple[str, ...], found: dict[str, Severity]
) -> None:
    with servers.redis(*options) as server:
        assert await ailing(server.url) == found
        assert await admitted(server.url) == list(found)


@pytest.mark.parametrize(
    ("options", "found"),
    [
        (("--maxmemory-policy", "allkeys-lru"), {"redis.memory.eviction": Severity.ERROR}),
        (("--timeout", "20"), {"redis.clients.timeout": Severity.INFO}),
        (("--client-output-buffer-limit", "normal 1mb 0 0"), {"redis.clients.buffer": Severity.WARNING}),
        (("--replicaof", "127.0.0.1 1"), {"redis.role.replica": Severity.ERROR}),
        (("--maxmemory", "1200000"), {"redis.memory.full": Severity.WARNING}),
    ],
)
async def test_settings_that_cost_jobs_are_found(options: tuple[str, ...], found: dict[str, Severity]) -> None:
    with servers.redis("--appendonly", "yes", *options) as server:
        if "--maxmemory" in options:
            with client(server.url) as redis_client:
                used = int(redis_client.info("memory")["used_memory"])
                redis_client.config_set("maxmemory", int(used / 0.87))
        assert await ailing(server.url) == found


async def test_a_snapshot_that_could_not_be_written_is_found() -> None:
    with servers.redis("--appendonly", "yes") as server, client(server.url) as redis_client:
        redis_client.set("x", 1)
        (server.directory / "dump.rdb").mkdir()  # a file cannot be renamed over a directory
        redis_client.bgsave()
        wait_for_a_failed_snapshot(redis_client)
        assert await ailing(server.url) == {"redis.persistence.snapshot_failed": Severity.ERROR}


async def test_nearly_all_connections_taken_are_found() -> None:
    with servers.redis("--appendonly", "yes", "--maxclients", "8") as server:
        others = [redis.Redis.from_url(server.url) for _ in range(6)]
        for other in others:
            other.ping()
        try:
            assert await ailing(server.url) == {"redis.clients.many": Severity.WARNING}
        finally:
            for other in others:
                other.close()


async def test_what_an_acl_forbids_is_said_and_nothing_fails() -> None:
    with servers.redis() as server, client(server.url) as redis_client:
        redis_client.execute_command(*["ACL", "SETUSER", "half", "on", ">pw", "~*", "+@all", "-config"])
        redis_client.execute_command(*["ACL", "SETUSER", "none", "on", ">pw", "~*", "+@all", "-config", "-info"])
        half, none = (server.url.replace("//", f"//{name}:pw@") for name in ("half", "none"))

        assert await ailing(half) == {
            "redis.unchecked": Severity.INFO,
            "redis.persistence.snapshots": Severity.WARNING,
        }
        assert await admitted(half) == ["redis.persistence.snapshots"]
        assert await ailing(none) == {"redis.unchecked": Severity.INFO}
        assert await admitted(none) == []


async def test_a_user_who_may_do_almost_nothing_hears_what_could_not_be_checked() -> None:
    with servers.redis() as server, client(server.url) as redis_client:
        redis_client.execute_command("ACL", "SETUSER", "poor", "on", ">pw", "~*", "-@all", "+@connection")
        found = await ailing(server.url.replace("//", "//poor:pw@"))

    assert found == {"redis.unchecked": Severity.INFO}


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-ttl"])
async def test_a_worker_does_not_start_where_jobs_may_be_dropped_unless_the_url_allows_it(policy: str) -> None:
    with servers.redis("--appendonly", "yes", "--maxmemory-policy", policy) as server:
        worker = Worker(server.url)
        with pytest.raises(ConfigError, match=rf"maxmemory-policy is {policy}.*eviction=allowed"):
            await worker.astart()
        await worker.astop()
        async with Worker(f"{server.url}?eviction=allowed"):
            pass


async def test_a_worker_warns_where_nothing_is_kept_on_disk(redis_url: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "worksong"):
        async with Worker(redis_url, name="warned"):
            pass

    (record,) = caplog.records
    assert "keeps nothing on disk" in record.getMessage()
    assert "CONFIG SET appendonly yes" in record.getMessage()


async def test_the_start_check_asks_four_things_in_one_write() -> None:
    with servers.redis() as server, client(server.url) as redis_client:
        backend = GocraftBackend(server.url, namespace="work")
        await backend.trace("warm")
        before = redis_client.info("stats")
        await backend.admit()
        after = redis_client.info("stats")
        await backend.close()

    asked = after["total_commands_processed"] - before["total_commands_processed"]
    read = after["total_reads_processed"] - before["total_reads_processed"]
    assert asked == 4 + 1  # and the INFO that counts
    assert read == 1 + 1


def test_the_option_takes_two_words() -> None:
    with pytest.raises(ConfigError, match="refused or allowed"):
        GocraftBackend("redis://h?eviction=yes", namespace="work")
