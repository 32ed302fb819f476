"""Results in Redis: a string each, and a mailbox through which a waiting process is told of them."""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Generator, Sequence
from typing import cast

from worksong.adapters.redis.address import Address, parse
from worksong.adapters.redis.client import Arg, Redis, Script
from worksong.domain.errors import WorksongError
from worksong.domain.job import new_id
from worksong.domain.result import Result
from worksong.wire import result as wire
from worksong.wire.own_keys import OwnKeys

PUT, WAIT = Script.named("result_put"), Script.named("result_wait")

LOOK = 5.0
"""Seconds after which one who waits looks again: a message in the mailbox can be lost with its connection."""
WORD_KEPT = round(4 * LOOK)
"""Seconds that word of a result waits for who asked for it."""
LISTEN = 1.0
"""Seconds for which reading the mailbox may block."""


class RedisResults:
    """Belongs to the event loop of its first call; `sibling` makes one for another loop."""

    def __init__(self, url: str, *, namespace: str) -> None:
        """The URL's own `?namespace=` goes before `namespace`; `?result_ttl=` says how many seconds to keep them."""
        address = parse(url)
        self._use(address, namespace if address.namespace is None else address.namespace)

    def _use(self, address: Address, namespace: str) -> None:
        self.name = address.shown
        self._address, self._namespace, self._keys = address, namespace, OwnKeys(namespace)
        self._reopen()

    def _reopen(self) -> None:
        self._redis = Redis(self._address)
        self._mailbox = _Mailbox(self._redis.sibling(), self._keys.mailbox(new_id()))

    def sibling(self) -> RedisResults:
        other = RedisResults.__new__(RedisResults)
        other._use(self._address, self._namespace)
        return other

    async def close(self) -> None:
        redis, mailbox = self._redis, self._mailbox
        self._reopen()
        await mailbox.close()
        await redis.close()

    async def put(self, results: Sequence[Result]) -> None:
        keys: list[Arg] = []
        args: list[Arg] = [max(1, round(self._address.result_ttl)), WORD_KEPT]
        for result in results:
            keys += (self._keys.result(result.job_id), self._keys.waiting(result.job_id))
            args += (result.job_id, wire.encode(result))
        if keys:
            await self._redis.script(PUT, keys, args)

    async def result(self, job_id: str) -> Result | None:
        return _read(job_id, cast("bytes | None", await self._redis.call("GET", self._keys.result(job_id))))

    async def wait_result(self, job_id: str, seconds: float) -> Result | None:
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        keys = (self._keys.result(job_id), self._keys.waiting(job_id))
        with self._mailbox.expecting(job_id) as told:
            while True:
                told.clear()
                document = await self._redis.script(WAIT, keys, (self._mailbox.key, WORD_KEPT))
                left = end - loop.time()
                if document is not None or left <= 0:
                    return _read(job_id, document)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(min(LOOK, left)):
                        await told.wait()


class _Mailbox:
    """Where the ids of the results arrive that this process waits for; read only while it does."""

    def __init__(self, redis: Redis, key: str) -> None:
        self.key = key
        self._redis = redis
        self._expected: defaultdict[str, list[asyncio.Event]] = defaultdict(list)
        self._reading: asyncio.Task[None] | None = None

    @contextlib.contextmanager
    def expecting(self, job_id: str) -> Generator[asyncio.Event]:
        """An event that is set when word of this job comes."""
        told = asyncio.Event()
        self._expected[job_id].append(told)
        if self._reading is None or self._reading.done():
            self._reading = asyncio.get_running_loop().create_task(self._read())
        try:
            yield told
        finally:
            self._expected[job_id].remove(told)
            if not self._expected[job_id]:
                del self._expected[job_id]

    async def close(self) -> None:
        if self._reading:
            self._reading.cancel()
            await asyncio.wait([self._reading])
        await self._redis.close()

    async def _read(self) -> None:
        patience = min(LISTEN, self._redis.address.timeout / 2)
        while self._expected:
            try:
                word = await self._redis.call("BLPOP", self.key, patience)
            except WorksongError:  # the client tells of it, and who waits looks by itself
                await asyncio.sleep(LISTEN)
                continue
            for told in self._expected.get(word[1].decode(), ()) if word else ():
                told.set()


def _read(job_id: str, document: bytes | None) -> Result | None:
    return None if document is None else wire.decode(job_id, document)
