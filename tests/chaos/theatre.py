"""Where the chaos takes place: a server that can be killed, frozen and started again, and what must hold in it.

Another backend joins in with a class like `RedisTheatre` and a line in THEATRES.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Protocol

import redis

import servers
from worksong.adapters import connect
from worksong.domain.lifecycle import State
from worksong.ports.backend import Backend, Window
from worksong.wire.gocraft_keys import Keys

NAMESPACE = "chaos"
PATIENCE = 30.0
"""Seconds that a server may take to start or to end."""


class Theatre(Protocol):
    """One store under test."""

    name: str
    """As certificates call it."""
    version: str
    url: str
    pid: int
    """The server's; 0: there is no server, and it cannot be killed."""
    outages: list[tuple[float, float]]
    """(from, until), monotonic seconds, when the server was away."""

    async def kill(self) -> None:
        """End the server as a power cut of its process would: SIGKILL."""
        ...

    async def restart(self) -> None:
        """Start it again on what it had stored; when this returns it answers."""
        ...

    def freeze(self) -> None:
        """SIGSTOP: it accepts connections and answers nothing."""
        ...

    def thaw(self) -> None:
        """SIGCONT, if it is there."""
        ...

    def disorder(self) -> list[str]:
        """What is inconsistent when nothing is left to do: locks without jobs, keys of nobody. Empty: nothing."""
        ...


Open = Callable[[Path], AbstractAsyncContextManager[Theatre]]


@asynccontextmanager
async def backend(theatre: Theatre) -> AsyncIterator[Backend]:
    """The store, as an operator looks at it."""
    opened = connect(theatre.url, namespace=NAMESPACE)
    try:
        yield opened
    finally:
        await opened.close()


async def stored(theatre: Theatre, *states: State) -> set[str]:
    """The ids of all jobs in these states."""
    found: set[str] = set()
    async with backend(theatre) as store:
        for state in states:
            page = await store.jobs(state, Window(limit=1000))
            while page.jobs:
                found |= {view.id for view in page}
                page = await store.jobs(state, Window(limit=1000, offset=len(found)))
    return found


async def quiet(theatre: Theatre, within: float, *, but: str = "\0") -> float:
    """Wait until nothing is left to do and all is in order; answers after how many seconds.

    `but`: what a disorder may contain, and is none.
    """
    begun = time.monotonic()
    async with backend(theatre) as store:
        while True:
            left = {state: count for state, count in (await store.counts()).items() if count and state != State.DEAD}
            wrong = [] if left else [what for what in theatre.disorder() if but not in what]
            if not left and not wrong:
                return time.monotonic() - begun
            assert time.monotonic() - begun < within, f"not quiet after {within:.0f} s: {left or wrong}"
            await asyncio.sleep(0.05)


class RedisTheatre:
    """A redis-server that keeps what it acknowledged in an append-only file, flushed every second."""

    name = "`redis://`, AOF everysec"

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

    @property
    def pid(self) -> int:
        assert self._process
        return self._process.pid

    async def restart(self) -> None:
        settings = ("--port", str(self._port), "--bind", "127.0.0.1", "--dir", str(self._directory), "--save", "")
        log = self._directory / "redis.log"
        with log.open("ab") as output:
            self._process = await asyncio.create_subprocess_exec(
                *(self._program, *settings, "--appendonly", "yes", "--appendfsync", "everysec"),
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

    def disorder(self) -> list[str]:
        with redis.Redis(port=self._port, decode_responses=True) as client:
            return [*_wrong_locks(client), *_keys_of_nobody(client)]

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


THEATRES: Mapping[str, Open] = {"redis": RedisTheatre.open}
"""How each is opened in a directory of its own."""


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
