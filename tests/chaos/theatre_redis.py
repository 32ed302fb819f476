"""The theatre on Redis: a server of the test's own, and order in a gocraft/work namespace."""

from __future__ import annotations

import asyncio
import contextlib
import re
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import redis

import servers
from chaos.kept_server import SYNC
from chaos.theatre import NAMESPACE
from patience import PATIENCE
from worksong.wire.gocraft_keys import Keys

SLOW = 5000
"""Microseconds that a script may take."""


class RedisTheatre:
    """A redis-server that keeps what it acknowledged in an append-only file, flushed every second."""

    name = "`redis://`, AOF everysec"
    connections_at_most = 1

    def __init__(self, directory: Path) -> None:
        self._program = servers.find("redis-server")
        self._directory, self._port = directory, servers.free_port()
        self._process: asyncio.subprocess.Process | None = None
        self._killed = 0.0
        self.url = f"redis://127.0.0.1:{self._port}/0?namespace={NAMESPACE}"
        self.version = ""
        self.outages: list[tuple[float, float]] = []

    @classmethod
    @asynccontextmanager
    async def open(cls, directory: Path) -> AsyncIterator[RedisTheatre]:
        theatre = cls(directory)
        try:
            await theatre.restart()
            yield theatre
        finally:
            await theatre.kill()

    async def restart(self) -> None:
        settings = ("--port", str(self._port), "--bind", "127.0.0.1", "--dir", str(self._directory), "--save", "")
        log = self._directory / "redis.log"
        with log.open("ab") as output:
            self._process = await asyncio.create_subprocess_exec(
                *(self._program, *settings, "--appendonly", "yes", "--appendfsync", SYNC),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        await self._answer()
        if self._killed:
            self.outages.append((self._killed, time.monotonic()))

    async def kill(self) -> None:
        if self._process and self._process.returncode is None:
            self._killed = time.monotonic()
            self._process.kill()
            await self._process.wait()

    def freeze(self) -> None:
        assert self._process
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        if self._process and self._process.returncode is None:
            self._process.send_signal(signal.SIGCONT)

    async def disorder(self) -> list[str]:
        with redis.Redis(port=self._port, decode_responses=True) as client:
            return [*_wrong_locks(client), *_keys_of_nobody(client)]

    async def connections(self) -> int:
        with redis.Redis(port=self._port) as client:
            return len(client.client_list()) - 1

    async def blocked(self) -> bool:
        return False

    async def measure(self) -> None:
        with redis.Redis(port=self._port) as client:
            client.config_set("slowlog-log-slower-than", SLOW)
            client.config_set("slowlog-max-len", 10_000)
            client.config_resetstat()

    async def measured(self) -> Mapping[str, int]:
        with redis.Redis(port=self._port) as client:
            scripts = client.info("latencystats").get("latency_percentiles_usec_evalsha", {})
            slow = [entry for entry in client.slowlog_get(10_000) if entry["command"].startswith(b"EVALSHA")]
        return {
            "script_p99_us": round(scripts["p99"]),
            "scripts_over_5_ms": len(slow),
            "slowest_script_us": max((entry["duration"] for entry in slow), default=0),
        }

    async def _answer(self) -> None:
        deadline = time.monotonic() + PATIENCE
        while True:
            assert self._process
            assert self._process.returncode is None, (self._directory / "redis.log").read_text()
            with contextlib.suppress(redis.ConnectionError, redis.BusyLoadingError), redis.Redis(port=self._port) as it:
                self.version = f"redis {it.info('server')['redis_version']}"
                return
            assert time.monotonic() < deadline, f"redis-server did not answer within {PATIENCE:.0f} s"
            await asyncio.sleep(0.02)


# order in a gocraft/work namespace: reliability is proved on the keys, not by asking the code that wrote them


def _wrong_locks(client: redis.Redis) -> list[str]:
    """lock = what is in progress, lock_info[pool] = what is in progress in that pool."""
    keys, wrong = Keys(NAMESPACE), []
    running: dict[str, Counter[str]] = {}
    for name in client.smembers(keys.known_jobs):
        running[name] = Counter()
        for key in client.scan_iter(f"{keys.jobs(name)}:*:inprogress", count=1000):
            pool = key.removeprefix(f"{keys.jobs(name)}:").removesuffix(":inprogress")
            running[name][pool] = client.llen(key)
    for name, pools in sorted(running.items()):
        lock, info = int(client.get(keys.lock(name)) or 0), client.hgetall(keys.lock_info(name))
        if lock != pools.total():
            wrong.append(f"the lock of {name} is {lock}, in progress are {pools.total()}")
        counted = Counter({pool: int(count) for pool, count in info.items()})
        if +counted != +pools or -counted:
            wrong.append(f"lock_info of {name} is {dict(counted)}, in progress are {dict(pools)}")
    return wrong


def _keys_of_nobody(client: redis.Redis) -> list[str]:
    """Keys that should be gone when no job is left: all but those of pools that live, settings and counters."""
    keys = Keys(NAMESPACE)
    pools = client.smembers(keys.worker_pools)
    workers = {worker for pool in pools for worker in (client.hget(keys.pool(pool), "worker_ids") or "").split(",")}
    allowed = {keys.known_jobs, keys.dead, keys.worker_pools, keys.last_periodic}
    allowed |= {keys.pool(pool) for pool in pools} | {keys.worker(worker) for worker in workers}
    lasting = re.compile(rf"{re.escape(keys.jobs_prefix)}.*:(lock|lock_info|max_concurrency)|{keys.own_prefix}.*")
    found = set(client.scan_iter(f"{keys.prefix}*", count=1000)) - allowed
    return [f"key of nobody: {key}" for key in sorted(found) if not lasting.fullmatch(key)]
