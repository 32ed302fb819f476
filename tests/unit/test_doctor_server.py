"""What a Redis server's own words say of it: pure checks, fed with vitals."""

from __future__ import annotations

from typing import Any

import pytest

from worksong.adapters.redis.doctor import server
from worksong.adapters.redis.doctor.vitals import Vitals
from worksong.domain.finding import Severity

HEALTHY_INFO = {
    "redis_version": "8.2.2",
    "role": "master",
    "aof_enabled": "1",
    "aof_last_write_status": "ok",
    "aof_last_bgrewrite_status": "ok",
    "rdb_last_bgsave_status": "ok",
    "maxmemory": "0",
    "maxmemory_policy": "noeviction",
    "used_memory": "1000000",
    "connected_clients": "10",
    "maxclients": "10000",
}
HEALTHY_CONFIG = {
    "save": "3600 1 300 100 60 10000",
    "appendfsync": "everysec",
    "timeout": "0",
    "maxclients": "10000",
    "client-output-buffer-limit": "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60",
}


def vitals(info: dict[str, str] | None = None, config: dict[str, str] | None = None, **more: Any) -> Vitals:
    """A healthy server but for these."""
    return Vitals(info=HEALTHY_INFO | (info or {}), config=HEALTHY_CONFIG | (config or {}), **more)


def ailing(v: Vitals) -> dict[str, Severity]:
    return {finding.id: finding.severity for finding in server.examine(v) if finding.severity is not Severity.OK}


def test_a_healthy_server_passes_every_check() -> None:
    findings = server.examine(vitals())

    assert {finding.severity for finding in findings} == {Severity.OK}
    assert [finding.id for finding in findings] == [check.id for check in server.CHECKS]


OFF = {"aof_enabled": "0"}


@pytest.mark.parametrize(
    ("info", "config", "found"),
    [
        (OFF, {"save": ""}, {"redis.persistence.off": Severity.ERROR}),
        (OFF, {}, {"redis.persistence.snapshots": Severity.WARNING}),
        ({}, {"appendfsync": "no"}, {"redis.persistence.fsync": Severity.WARNING}),
        ({}, {"appendfsync": "always"}, {}),
        ({"aof_last_write_status": "err"}, {}, {"redis.persistence.aof_failed": Severity.ERROR}),
        ({"aof_last_bgrewrite_status": "err"}, {}, {"redis.persistence.aof_rewrite_failed": Severity.WARNING}),
        ({"rdb_last_bgsave_status": "err"}, {}, {"redis.persistence.snapshot_failed": Severity.ERROR}),
        ({"maxmemory_policy": "allkeys-lru"}, {}, {"redis.memory.eviction": Severity.ERROR}),
        ({"maxmemory_policy": "volatile-ttl"}, {}, {"redis.memory.eviction": Severity.ERROR}),
        ({"maxmemory": "1250001"}, {}, {}),
        ({"maxmemory": "1250000"}, {}, {"redis.memory.full": Severity.WARNING}),
        ({"maxmemory": "1000000"}, {}, {"redis.memory.full": Severity.ERROR}),
        ({"role": "slave", "master_host": "h", "master_port": "1"}, {}, {"redis.role.replica": Severity.ERROR}),
        ({"connected_clients": "8000"}, {}, {"redis.clients.many": Severity.WARNING}),
        ({"connected_clients": "7999"}, {}, {}),
        ({}, {"timeout": "30"}, {"redis.clients.timeout": Severity.INFO}),
        ({}, {"timeout": "300"}, {}),
        (
            {},
            {"client-output-buffer-limit": "normal 1048576 0 0 slave 0 0 0"},
            {"redis.clients.buffer": Severity.WARNING},
        ),
    ],
)
def test_what_is_wrong_is_found_and_nothing_else(
    info: dict[str, str], config: dict[str, str], found: dict[str, Severity]
) -> None:
    assert ailing(vitals(info, config)) == found


@pytest.mark.parametrize(
    ("info", "old"),
    [
        ({"redis_version": "6.0.16"}, True),
        ({"redis_version": "6.2.19"}, True),
        ({"redis_version": "6.2.20"}, False),
        ({"redis_version": "7.0.15"}, True),
        ({"redis_version": "7.2.10"}, True),
        ({"redis_version": "7.2.11"}, False),
        ({"redis_version": "7.4.6"}, False),
        ({"redis_version": "8.0.3"}, True),
        ({"redis_version": "8.2.1"}, True),
        ({"redis_version": "8.4.0"}, False),
        ({"redis_version": "10.0.0"}, False),
        ({"server_name": "valkey", "redis_version": "7.2.4", "valkey_version": "8.1.5"}, True),
        ({"server_name": "valkey", "redis_version": "7.2.4", "valkey_version": "8.1.6"}, False),
        ({"server_name": "valkey", "redis_version": "7.2.4", "valkey_version": "9.1.1"}, False),
        ({"server_name": "another", "another_version": "1.2.3"}, False),
        ({"redis_version": "unknown"}, False),
    ],
)
def test_versions_with_known_holes_are_found(info: dict[str, str], old: bool) -> None:
    assert ("redis.version.lua" in ailing(vitals(info))) == old


def test_eviction_that_the_url_allows_is_a_warning() -> None:
    found = ailing(vitals({"maxmemory_policy": "allkeys-lru"}, eviction_allowed=True))

    assert found == {"redis.memory.eviction": Severity.WARNING}


@pytest.mark.parametrize(("offset", "found"), [(1.9, False), (-1.9, False), (2.1, True), (-2.1, True)])
def test_clocks_that_differ_are_found(offset: float, found: bool) -> None:
    assert ("redis.clock" in ailing(vitals(offset=offset))) == found


@pytest.mark.parametrize(("latency", "found"), [(0.0004, False), (0.05, False), (0.051, True)])
def test_a_slow_server_is_found(latency: float, found: bool) -> None:
    assert ("redis.latency" in ailing(vitals(latency=latency))) == found


def test_a_server_that_tells_no_settings_is_checked_as_far_as_it_tells() -> None:
    silent = Vitals(info=HEALTHY_INFO, config=None, refused=("CONFIG: NOPERM",))

    assert ailing(silent) == {"redis.unchecked": Severity.INFO}
    assert ailing(Vitals(info=HEALTHY_INFO | OFF, config=None)) == {"redis.persistence.snapshots": Severity.WARNING}


def test_a_server_that_tells_nothing_passes_no_check_that_rests_on_it() -> None:
    findings = server.examine(Vitals(refused=("INFO: NOPERM", "CONFIG: NOPERM")))

    assert [finding.id for finding in findings if finding.severity is not Severity.OK] == ["redis.unchecked"] * 2
    assert [finding.id for finding in findings if finding.severity is Severity.OK] == [
        "redis.clock.host",
        "redis.latency.round_trip",
    ]
