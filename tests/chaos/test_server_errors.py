"""A server that answers with errors, or with nothing that makes sense: told in a typed error, few words, soon over."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
import redis

from chaos.kept_server import KeptServer, kept
from chaos.proxy import ALWAYS, ANY, Fault, Proxy
from chaos.scale import FULL, timeout
from chaos.scene import AT_ONCE, CONNECTIONS, NAMESPACE, RECOVERED, Scene, said, told, working
from worksong.domain.errors import BackendRefused, BackendUnavailable, ConfigError, WorksongError

LASTS = 3.0 if FULL else 0.3
"""Seconds that a trouble lasts; a wrong key of no great importance less."""
BALLAST = 20_000
"""Keys that a server has to load."""

Trouble = Callable[[KeptServer, Proxy], AbstractContextManager[None]]


@contextmanager
def out_of_memory(server: KeptServer, proxy: Proxy) -> Iterator[None]:
    server.call("CONFIG", "SET", "maxmemory", 1)
    yield
    server.call("CONFIG", "SET", "maxmemory", 0)


@contextmanager
def read_only(server: KeptServer, proxy: Proxy) -> Iterator[None]:
    server.call("REPLICAOF", "127.0.0.1", 1)
    yield
    server.call("REPLICAOF", "NO", "ONE")


@contextmanager
def loading(server: KeptServer, proxy: Proxy) -> Iterator[None]:
    server.call("EVAL", "for n = 1, ARGV[1] do redis.call('SET', 'ballast:' .. n, n) end", 0, BALLAST)
    server.kill()
    # Every 1024 commands the server hears its clients, and tells them that it loads.
    server.start("--key-load-delay", str(int((LASTS if FULL else 5.0) * 1e6 / BALLAST)), loaded=False)
    yield
    server.wait()


@contextmanager
def no_login(server: KeptServer, proxy: Proxy) -> Iterator[None]:
    with redis.Redis(port=server.port) as admin:
        admin.config_set("requirepass", "secret")
        proxy.cut_all()
        yield
        admin.config_set("requirepass", "")


@contextmanager
def busy(server: KeptServer, proxy: Proxy) -> Iterator[None]:
    server.call("CONFIG", "SET", "busy-reply-threshold", 100)
    endless = threading.Thread(target=_run_for_ever, args=(server,))
    endless.start()
    yield
    server.call("SCRIPT", "KILL")
    endless.join()


def _run_for_ever(server: KeptServer) -> None:
    with contextlib.suppress(redis.ResponseError):  # killed
        server.call("EVAL", "while true do end", 0)


@contextmanager
def again_and_again(act: Callable[[], object]) -> Iterator[None]:
    over = threading.Event()

    def go_on() -> None:
        while not over.wait(0.1):
            act()

    thread = threading.Thread(target=go_on)
    thread.start()
    yield
    over.set()
    thread.join()


def scripts_flushed(server: KeptServer, proxy: Proxy) -> AbstractContextManager[None]:
    return again_and_again(lambda: server.call("SCRIPT", "FLUSH"))


def clients_killed(server: KeptServer, proxy: Proxy) -> AbstractContextManager[None]:
    return again_and_again(lambda: server.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"))


@contextmanager
def garbage(server: KeptServer, proxy: Proxy) -> Iterator[None]:
    proxy.on(ANY, Fault.GARBAGE, times=ALWAYS)
    yield
    proxy.heal()


def wrong_key(name: str) -> Trouble:
    """Somebody else's value under one of our keys, until it is moved away; what was there comes back."""

    @contextmanager
    def trouble(server: KeptServer, proxy: Proxy) -> Iterator[None]:
        key, aside = f"{NAMESPACE}:{name}", f"aside:{name}"
        foreign = ("SET", key, "x") if server.call("TYPE", key) == b"set" else ("SADD", key, "x")
        steal = "redis.pcall('RENAME', KEYS[1], KEYS[2]) redis.call(unpack(ARGV))"
        server.call("EVAL", steal, 2, key, aside, *foreign)
        yield
        give_back = "redis.call('DEL', KEYS[1]) redis.pcall('RENAME', KEYS[2], KEYS[1])"
        server.call("EVAL", give_back, 2, key, aside)

    return trouble


class Stage(NamedTuple):
    """Where the trouble is."""

    server: KeptServer
    proxy: Proxy
    scene: Scene


class Row(NamedTuple):
    """A trouble and what it may do."""

    trouble: Trouble
    errors: tuple[type[WorksongError], ...] = ()
    """What who enqueues meanwhile may get, and nothing else."""
    told: str = ""
    """What some error says."""
    stops: bool = False
    """The worker can do nothing meanwhile, and has to say so."""
    others_run: bool = False
    """Jobs of another type run meanwhile."""


REFUSED = (BackendRefused,)
AWAY = (BackendUnavailable,)
TABLE = {
    "out of memory": Row(out_of_memory, AWAY, "OOM", stops=True),
    "read only": Row(read_only, AWAY, "READONLY", stops=True),
    "loading": Row(loading, AWAY, "LOADING", stops=True),
    "no login": Row(no_login, (*AWAY, ConfigError), "NOAUTH", stops=True),
    "busy": Row(busy, AWAY, "BUSY", stops=True),
    "scripts flushed": Row(scripts_flushed),
    "clients killed": Row(clients_killed, AWAY),
    "garbage": Row(garbage, AWAY, "no Redis answer", stops=True),
    "wrong key known_jobs": Row(wrong_key("known_jobs"), REFUSED, "known_jobs holds a string where a set belongs"),
    "wrong key scheduled": Row(wrong_key("scheduled"), REFUSED, "scheduled holds a set where a zset belongs"),
    "wrong key retry": Row(wrong_key("retry")),
    "wrong key dead": Row(wrong_key("dead"), stops=True),
    "wrong key worker_pools": Row(wrong_key("worker_pools"), stops=True),
    "wrong key worksong:fence": Row(wrong_key("worksong:fence")),
    "wrong key worksong:cancelled": Row(wrong_key("worksong:cancelled")),
    "wrong key worksong:recovered": Row(wrong_key("worksong:recovered")),
    "wrong key worksong:pools": Row(wrong_key("worksong:pools")),
    "wrong key worksong:reaper": Row(wrong_key("worksong:reaper")),
    "wrong key jobs:a": Row(wrong_key("jobs:a"), REFUSED, "jobs:a holds a set where a list belongs", others_run=True),
    "wrong key jobs:a:lock": Row(wrong_key("jobs:a:lock"), others_run=True),
    "wrong key jobs:a:lock_info": Row(wrong_key("jobs:a:lock_info"), others_run=True),
    "wrong key jobs:a:max_concurrency": Row(wrong_key("jobs:a:max_concurrency"), others_run=True),
}


_KEYS = [name for name in TABLE if name.startswith("wrong key")]
GROUPS = [[name] for name in TABLE] if FULL else [[name for name in TABLE if name not in _KEYS], _KEYS]
"""What one worker goes through; at full scale each has a server and a worker of its own."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[KeptServer]:
    with kept(tmp_path) as server:
        yield server


@pytest.mark.timeout(timeout(400))
@pytest.mark.parametrize("names", GROUPS, ids=["; ".join(names) if FULL else names[0] for names in GROUPS])
async def test_all_goes_on_when_it_is_over(
    names: list[str], server: KeptServer, caplog: pytest.LogCaptureFixture, certify: Callable[..., None]
) -> None:
    caplog.set_level(logging.INFO, "worksong")
    with Proxy(server.port) as proxy:
        async with working(f"{proxy.url}?timeout={1 if FULL else 5}") as scene:
            for name in names:
                figures = await _trouble(name, Stage(server, proxy, scene), caplog)
                certify(f"C8 {name}", **figures)


async def _trouble(name: str, stage: Stage, caplog: pytest.LogCaptureFixture) -> dict[str, float]:
    """Go through it; answers the figures."""
    server, proxy, scene = stage
    # Given a worker at work
    row = TABLE[name]
    await scene.begin_anew()
    caplog.clear()
    connects, began = len(proxy.connects), time.monotonic()
    # When there is trouble for a while, and then no more
    async with during(row.trouble(server, proxy)):
        await asyncio.sleep(LASTS)
        async with asyncio.timeout(RECOVERED):
            if row.others_run:
                await scene.one_runs("b")
            if row.stops:
                await told(caplog.records)
            if row.told:
                await scene.met(row.told)
    recovered = await scene.recovered()
    lasted, lines = time.monotonic() - began, said(caplog.records)

    # Then who enqueued meanwhile got what the table says
    assert [error for error in scene.errors if not isinstance(error, row.errors)] == [], name
    # no job ran twice, and the connections were few
    assert not scene.doubled
    assert len(proxy.connects) - connects <= 2 * CONNECTIONS * (lasted + 1)
    # and the log says enough and not too much
    wrong = told_too_much_or_too_little(lines, lasted, row)
    assert not wrong, f"{name}: {wrong}"
    return {"lost": 0, "doubled": 0, "errors": len(scene.errors), "lines": len(lines), "recovered": recovered}


def told_too_much_or_too_little(lines: list[str], lasted: float, row: Row) -> str:
    if len(lines) > lasted + AT_ONCE:
        return f"{len(lines)} lines in {lasted:.1f} s: {lines[:10]}"
    if row.stops and not lines:
        return "the worker stands still, and does not say why"
    return ""


@asynccontextmanager
async def during(trouble: AbstractContextManager[None]) -> AsyncIterator[None]:
    """A trouble that is made and mended beside the event loop."""
    await asyncio.to_thread(trouble.__enter__)
    try:
        yield
    finally:
        await asyncio.to_thread(trouble.__exit__, None, None, None)
