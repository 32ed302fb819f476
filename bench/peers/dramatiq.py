"""dramatiq on Redis: threads, and an event loop beside them for coroutines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.middleware.asyncio import AsyncIO

from bench.peer import URL, Peer, program
from bench.tally import done, stamp

broker = RedisBroker(url=URL)
broker.add_middleware(AsyncIO())
dramatiq.set_broker(broker)


async def in_loop() -> None:
    done()


JOBS = {
    "async": dramatiq.actor(in_loop, actor_name="async"),
    "plain": dramatiq.actor(done, actor_name="plain"),
    "stamp": dramatiq.actor(stamp, actor_name="stamp"),
}


class Dramatiq(Peer):
    packages = ("dramatiq", "redis", "hiredis")
    kinds: ClassVar = {"plain": 5000, "async": 4000}
    best = 25
    promise = (
        "Acknowledges after the handler ran; the jobs of a killed worker come back when it has been silent for 60 s."
    )
    setup = (
        "Fetches 200 messages ahead (`dramatiq_queue_prefetch`) instead of two for each thread, which drained half as "
        "fast. The `AsyncIO` middleware, which coroutines need."
    )

    def send(self, job: str, *args: Any) -> None:
        JOBS[job].send(*args)

    def worker(self, slots: int, processes: int) -> Sequence[str]:
        run = [program("dramatiq"), f"--processes={processes}", f"--threads={slots}", "bench.peers.dramatiq"]
        return ["/usr/bin/env", "dramatiq_queue_prefetch=200", *run]


PEER = Dramatiq()
