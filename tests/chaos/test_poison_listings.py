"""E5: every listing of the command line comes out whole, soon and harmless, whatever lies in the store."""

from __future__ import annotations

import asyncio
import itertools
import json
import runpy
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from chaos.certificates import Certify
from chaos.scale import FULL, timeout
from faces.console import dashboard
from faces.stage import Cli
from worksong.adapters import connect
from worksong.domain.job import new_id
from worksong.domain.turns import Share
from worksong.ports.backend import Backend, Pool, Want
from worksong.wire.gocraft_keys import Keys

LARGEST = 2 << 20 if FULL else 20_000
CORPUS: list[bytes] = [
    raw
    for _, raw, _ in runpy.run_path(str(Path(__file__).parent.parent / "corpus.py"))["CORPUS"]
    if len(raw) <= LARGEST
]
PAGE = 20
PLAIN = ("status", "queues", "pools", "busy")
PAGED = {"scheduled": "scheduled", "retries": "retry", "dead": "dead"}
"""Command -> the set that it lists."""
SCORES = (0, 1.5, 1_700_000_000, 1e18, 1e300, "-inf", "+inf")
SOON = 1.0 if FULL else 60.0
"""Seconds that a listing may take."""
NAMES = (b"", b"\xff\xfe", b"a\0b", b"*", b"{}", b"a\nb", b"\x1b[2J", "\u202e\U0001f600".encode(), b"n" * 10_240)
HASH = {
    "heartbeat_at": ("soon", "9" * 5000, "9" * 400, "9" * 18, "-1", b"\xff"),
    "started_at": ("", "1e3", "9" * 400),
    "job_names": (b"\xff,a", ",".join(f"n{n}" for n in range(10_000))),
    "concurrency": ("many", "9" * 300),
    "worker_ids": (b"\xff,,w\x1b[2J",),
    "host": (b"\xff\x1b]0;title\x07", "\u202ehost\n"),
    "pid": ("-", "9" * 300),
}
SEEN = {
    "job_name": (b"\xff", "a\x1b[2J"),
    "job_id": ("<script>", "\n"),
    "started_at": ("9" * 400, "x", "9" * 18),
    "args": (b"\xff", "{", '{"a":"\\u001b[2J"}', "[" * 1000),
    "checkin": ("\x1b[2J\u202e", b"\xff"),
    "checkin_at": ("9" * 400,),
}

pytestmark = pytest.mark.timeout(timeout(120))


class Dump:
    """A namespace full of poison, in every place that is listed."""

    def __init__(self, url: str) -> None:
        self.namespace = f"e5-{uuid.uuid4().hex}"
        self.keys = Keys(self.namespace)
        self.url = f"{url}?namespace={self.namespace}"
        self.client = redis.Redis.from_url(url)

    def fill(self) -> None:
        client, keys = self.client, self.keys
        client.sadd(keys.known_jobs, "a", *NAMES)
        client.rpush(keys.jobs("a"), *CORPUS)
        for name in NAMES:
            client.rpush(keys.jobs("").encode() + name, *CORPUS[:3])
        for key in (keys.scheduled, keys.retry, keys.dead):
            for raw, score in zip(CORPUS, itertools.cycle(SCORES)):
                client.zadd(key, {raw: score})
        self._pools()
        client.set(keys.lock("a"), "x")
        client.set(keys.max_concurrency("a"), "9" * 400)
        client.set(keys.paused("a"), b"\xff")

    def _pools(self) -> None:
        client, keys = self.client, self.keys
        for number in range(6):
            pool, worker = f"pool-{number}", f"worker-{number}"
            client.sadd(keys.worker_pools, pool)
            client.hset(keys.pool(pool), mapping={name: texts[number % len(texts)] for name, texts in HASH.items()})
            client.hset(keys.pool(pool), "worker_ids", worker if number else HASH["worker_ids"][0])
            client.hset(keys.worker(worker), mapping={name: texts[number % len(texts)] for name, texts in SEEN.items()})
            client.rpush(keys.inprogress("a", pool), *(CORPUS if FULL or not number else CORPUS[:3]))
        client.sadd(keys.worker_pools, b"\xff", "no hash", "a:b", "*")
        client.set(keys.pool("no hash"), "x")

    async def use(self) -> None:
        """Let a worker touch all of it: whatever is poison goes to the dead."""
        opened = connect(self.url, namespace="")
        try:
            await self._use(opened)
        finally:
            await opened.close()

    async def _use(self, store: Backend) -> None:
        pool = Pool(id=new_id(), handlers=("a",), worker_ids=("w",), started_at=1.0)
        await store.enlist(pool, 1e9)
        self.client.delete(self.keys.lock("a"), self.keys.max_concurrency("a"), self.keys.paused("a"))
        for _ in range(len(CORPUS)):
            await store.fetch(Want(pool.id, 100, 0.0, (Share("a", 100),)), 1e9)
            if not self.client.llen(self.keys.jobs("a")):
                break
        while await store.promote(2e9, 1000):
            pass
        await store.reap(2e9, 0.0, dead=[f"pool-{number}" for number in range(6)])

    def drop(self) -> None:
        for key in self.client.scan_iter(f"{self.keys.prefix}*", count=1000):
            self.client.delete(key)
        self.client.close()


@pytest.fixture
def dump(redis_url: str) -> Iterator[Dump]:
    dump = Dump(redis_url)
    dump.fill()
    yield dump
    dump.drop()


def test_e5_every_listing_comes_out_with_poison_everywhere(dump: Dump, certify: Certify) -> None:
    # Given poison in every place
    cli, took = Cli(dump.url), dict[str, float]()
    # When all listings are printed; then each page is whole
    listed = _look(cli, dump, took)
    # And when a worker has touched everything, once more
    asyncio.run(dump.use())
    dead = dump.client.zcard(dump.keys.dead)
    assert dead > len(CORPUS)
    listed += _look(cli, dump, took)
    slowest = max(took, key=took.__getitem__)
    assert took[slowest] <= SOON, f"{slowest} took {took[slowest]:.1f} s"
    certify(
        "E5",
        backend="documents of `redis://`",
        listings=listed,
        jobs_among_the_dead=dead,
        slowest=took[slowest],
    )


async def test_e5_the_dashboard_comes_up_with_poison_everywhere(dump: Dump) -> None:
    opened = connect(dump.url, namespace="")
    try:
        async with dashboard(opened) as console:
            assert console.screen
            for key in "123456":
                assert await console.press(key)
    finally:
        await opened.close()


def _look(cli: Cli, dump: Dump, took: dict[str, float]) -> int:
    """Print every listing, for people and for programs, each page; answers how many."""
    pages: list[tuple[str, ...]] = [(name,) for name in PLAIN]
    for name, place in PAGED.items():
        total = dump.client.zcard(dump.keys.prefix + place)
        last = -(-total // PAGE)
        pages += [(name, "--page", str(page)) for page in range(1, last + 2) if FULL or page in (1, last)]
    for words in pages:
        _print(cli, words, took)
        found = json.loads(_print(cli, (*words, "--json"), took))
        if words[0] in PAGED:
            total = dump.client.zcard(dump.keys.prefix + PAGED[words[0]])
            assert found["total"] == total
            assert len(found["jobs"]) == max(0, min(PAGE, total - PAGE * (found["page"] - 1)))
    return 2 * len(pages)


def _print(cli: Cli, words: tuple[str, ...], took: dict[str, float]) -> str:
    begun = time.process_time()
    result = cli(*words)
    took[" ".join(words)] = time.process_time() - begun
    assert result.exit_code == 0, f"{words}: {result.output[-2000:]}"
    assert all(char.isprintable() or char == "\n" for char in result.output), words
    return result.stdout
