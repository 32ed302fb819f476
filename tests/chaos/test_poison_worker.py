"""E1, E3, E4: poison in every place under a worker, documents beyond all size, and arguments that cannot be carried."""

from __future__ import annotations

import json
import math
import runpy
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import redis

from chaos.certificates import Certify
from chaos.fleet import Fleet, Member
from chaos.scale import FULL, timeout
from chaos.theatre import NAMESPACE, Theatre, backend, on
from patience import auntil
from worksong import Job, Worker
from worksong.adapters import connect
from worksong.domain.errors import InvalidArguments, PayloadTooLarge
from worksong.domain.lifecycle import State
from worksong.domain.poison import Reason
from worksong.ports.backend import Backend, Window
from worksong.wire import gocraft, gojson
from worksong.wire.gocraft_keys import Keys

CORPUS: list[tuple[str, bytes, Reason | None]] = runpy.run_path(str(Path(__file__).parent.parent / "corpus.py"))[
    "CORPUS"
]
LARGEST = 2 << 20 if FULL else 20_000
POISON = [(str(reason), raw) for _, raw, reason in CORPUS if reason and len(raw) <= LARGEST]
BEHIND = 100
"""Good jobs that wait behind the poison."""
SOON = 1.0 if FULL else 60.0
"""Seconds until the first of them starts."""
WHERE = "documents of `redis://`"
MB = 1_000_000
LARGE = 100 * MB if FULL else 10 * MB
"""Bytes of the document that somebody put into a queue."""
NOTICED = 2.5
"""Times its size by which the worker may grow."""

pytestmark = pytest.mark.timeout(timeout(200))


class Well:
    """A worker of one job type, and the server below it."""

    def __init__(self, url: str) -> None:
        self.url, self.keys = url, Keys(f"e1-{uuid.uuid4().hex}")
        self.client = redis.Redis.from_url(url)
        self.worker = Worker(f"{url}?namespace={self.namespace}", concurrency=10)
        self.started: dict[str, float] = {}
        self.worker.register("a", self._run)

    @property
    def namespace(self) -> str:
        return self.keys.prefix.removesuffix(":")

    async def _run(self, job: Job) -> None:
        self.started.setdefault(job.id, time.monotonic())

    async def all_started(self, ids: set[str]) -> None:
        await auntil(lambda: ids <= set(self.started), "the start of all good jobs")

    def left(self) -> int:
        """What waits anywhere to be run."""
        client, keys = self.client, self.keys
        return int(client.llen(keys.jobs("a")) + client.zcard(keys.retry) + client.zcard(keys.scheduled))

    def drop(self) -> None:
        for key in self.client.scan_iter(f"{self.keys.prefix}*", count=1000):
            self.client.delete(key)
        self.client.close()


@pytest.fixture
async def well(redis_url: str) -> AsyncIterator[Well]:
    well = Well(redis_url)
    try:
        async with well.worker:
            yield well
    finally:
        well.drop()


async def test_e1_poison_in_every_place_is_buried_and_the_jobs_behind_it_run(well: Well, certify: Certify) -> None:
    # Given a worker at work, and all poison at once in its queue, its schedule and its retries, good jobs behind it
    good = {
        f"good-{number}": json.dumps({"name": "a", "id": f"good-{number}", "t": 1, "args": None})
        for number in range(BEHIND)
    }
    with well.client.pipeline(transaction=True) as poisoned:
        poisoned.lpush(well.keys.jobs("a"), *[raw for _, raw in POISON], *good.values())
        for key in (well.keys.scheduled, well.keys.retry):
            poisoned.zadd(key, {raw: 1 for _, raw in POISON})
        poisoned.execute()
    began = time.monotonic()

    # When the worker has gone through it
    await well.all_started(set(good))
    await auntil(lambda: well.left() == 0, "the end of all that waited")
    behind = min(well.started.values()) - began
    assert behind <= SOON

    # Then it still works, and each poison is among the dead, for the right reason and with its bytes
    handle = await well.worker.aperform(Job("a"))
    assert handle
    await well.all_started({handle.id})
    store = connect(well.url, namespace=well.namespace)
    try:
        found = await buried(store)
    finally:
        await store.close()
    assert found == Counter(POISON * 3)
    certify(
        "E1",
        backend=WHERE,
        kinds=len(POISON),
        places=3,
        buried_with_their_bytes=found.total(),
        crashes=0,
        good_jobs_behind=BEHIND,
        first_of_them_started_after=behind,
    )


async def buried(store: Backend) -> Counter[tuple[str, bytes]]:
    """(reason, original bytes) of all poison among the dead."""
    found: Counter[tuple[str, bytes]] = Counter()
    while page := list(await store.jobs(State.DEAD, Window(limit=100, offset=found.total()))):
        for view in page:
            whole = view if view.raw else await store.job(view.id)
            assert whole
            found[whole.reason, whole.raw] += 1
    return found


@on("redis")
async def test_e3_a_document_beyond_all_size_is_refused_or_buried_unread(
    theatre: Theatre, fleet: Fleet, certify: Certify
) -> None:
    # Given a worker at work
    (member,) = await fleet.start()
    async with backend(theatre) as store:
        # When somebody enqueues more than a document may hold, then it is refused before it is sent
        with pytest.raises(PayloadTooLarge):
            await store.push([Job("noop", {"data": "x" * gocraft.LIMIT}, id="large")], time.time())
        # and when somebody else has put far more into a queue
        before = memory(member)
        keys = Keys(NAMESPACE)
        with redis.Redis.from_url(theatre.url.partition("?")[0], socket_timeout=60) as client:
            client.setrange("text", LARGE - 1, "x")
            client.eval("redis.call('LPUSH', KEYS[1], redis.call('GET', KEYS[2]))", 2, keys.jobs("work"), "text")
            client.delete("text")

        # Then it is dead as too large, the worker is alive and has read next to nothing of it
        async def dead() -> list[str]:
            return [view.reason for view in await store.jobs(State.DEAD, Window())]

        assert await auntil(dead, "its burial") == [Reason.TOO_LARGE]
    assert member.alive
    grown = memory(member) - before
    assert grown <= NOTICED * LARGE
    certify(
        "E3",
        backend=WHERE,
        found_in_a_queue=f"{LARGE // MB} MB",
        reason="too_large",
        worker_grew=f"{grown / MB:.1f} MB",
    )


def memory(member: Member) -> int:
    """The most bytes that the process has had in memory so far."""
    status = Path(f"/proc/{member.pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


REFUSED: dict[str, Any] = {
    "not a number": math.nan,
    "infinite": -math.inf,
    "beyond what Lua and Go read": gojson.MAX_INT + 1,
    "as far below": -gojson.MAX_INT - 1,
    "half of a surrogate pair": "\ud800",
    "too deep": nested(gojson.MAX_DEPTH),
    "too many keys": {str(number): 0 for number in range(gojson.MAX_KEYS + 1)},
    "a key that is no text": {1: 2},
    "bytes": b"x",
    "a set": {1},
}
CARRIED: dict[str, Any] = {
    "a NUL": "a\0b",
    "the largest number": gojson.MAX_INT,
    "deep enough": nested(gojson.MAX_DEPTH - 2),
    "a pair of surrogates": "\U0001f600",
    "nothing": None,
}


async def test_e4_what_cannot_be_carried_is_refused_when_it_is_enqueued(well: Well, certify: Certify) -> None:
    # When what JSON, Lua or Go cannot carry is enqueued, then it is refused, and the error says where it is
    for what, value in REFUSED.items():
        with pytest.raises(InvalidArguments, match="args"):
            await well.worker.aperform(Job("a", {"value": value}))
            pytest.fail(f"{what} was taken in")
    # and nothing of it is stored; and what is just within the limits comes through
    handles = await well.worker.aperform_many([Job("a", {"value": value}) for value in CARRIED.values()])
    await well.all_started({handle.id for handle in handles if handle})
    assert len(well.started) == len(CARRIED)
    certify("E4", backend=WHERE, refused=len(REFUSED), stored=0, carried_at_the_limits=len(CARRIED))
