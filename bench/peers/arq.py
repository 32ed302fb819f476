"""arq: coroutines only."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, ClassVar

import uvloop
from arq import ArqRedis, create_pool, func
from arq.connections import RedisSettings

from bench.peer import SLOTS, URL, Peer, program
from bench.tally import done, stamp

asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
REDIS = RedisSettings.from_dsn(URL)


async def in_loop(context: dict[str, Any]) -> None:
    done()


async def note(context: dict[str, Any], sent: int) -> None:
    stamp(sent)


class WorkerSettings:
    functions = (func(in_loop, name="async"), func(note, name="stamp"))
    redis_settings = REDIS
    max_jobs = SLOTS
    poll_delay = 0.01
    keep_result = 0
    log_results = False


class Arq(Peer):
    packages = ("arq", "redis", "hiredis", "uvloop")
    kinds: ClassVar = {"async": 2000}
    best = 10
    own_processes = False
    promise = (
        "Takes a job out of the queue after it ran; a killed worker's jobs run again when their timeout, 5 minutes, "
        "is over."
    )
    setup = (
        "No results. Looks at the queue every 10 ms instead of 500, which would be the pick-up time and a brake in "
        "draining. uvloop. Best: 10 at once, the default."
    )
    _pool: ArqRedis

    async def open(self) -> None:
        self._pool = await create_pool(REDIS)

    async def send(self, job: str, *args: Any) -> None:
        await self._pool.enqueue_job(job, *args)

    def worker(self, slots: int, processes: int) -> Sequence[str]:
        return [program("arq"), "bench.peers.arq.WorkerSettings"]


PEER = Arq()
