"""dramatiq on Redis or RabbitMQ: threads, and an event loop beside them for coroutines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

import dramatiq
from dramatiq.brokers.rabbitmq import RabbitmqBroker
from dramatiq.brokers.redis import RedisBroker
from dramatiq.middleware.asyncio import AsyncIO

from bench.peer import SCHEME, URL, Peer, program
from bench.tally import done, stamp

broker = RabbitmqBroker(url=URL, confirm_delivery=True) if SCHEME == "amqp" else RedisBroker(url=URL)
broker.add_middleware(AsyncIO())
dramatiq.set_broker(broker)


async def in_loop() -> None:
    done()


JOBS = {
    "async": dramatiq.actor(in_loop, actor_name="async"),
    "plain": dramatiq.actor(done, actor_name="plain"),
    "stamp": dramatiq.actor(stamp, actor_name="stamp"),
}


class On(NamedTuple):
    """What differs from one server to the other."""

    packages: tuple[str, ...]
    kinds: dict[str, int]
    comes_back: str
    """When the jobs of a killed worker do."""
    confirms: str = ""


SERVERS = {
    "redis": On(("redis", "hiredis"), {"plain": 5000, "async": 4000}, "when it has been silent for 60 s"),
    "amqp": On(("pika",), {"plain": 5000, "async": 4000}, "at once", "Publisher confirms (`confirm_delivery`). "),
}
HERE = SERVERS[SCHEME]


class Dramatiq(Peer):
    packages = ("dramatiq", *HERE.packages)
    kinds: ClassVar = HERE.kinds
    best = 25
    promise = f"Acknowledges after the handler ran; the jobs of a killed worker come back {HERE.comes_back}."
    setup = (
        f"{HERE.confirms}Fetches 200 messages ahead (`dramatiq_queue_prefetch`) instead of two for each thread, which "
        "drained half as fast on Redis. The `AsyncIO` middleware, which coroutines need."
    )

    def send(self, job: str, *args: Any) -> None:
        JOBS[job].send(*args)

    def worker(self, slots: int, processes: int) -> Sequence[str]:
        run = [program("dramatiq"), f"--processes={processes}", f"--threads={slots}", "bench.peers.dramatiq"]
        return ["/usr/bin/env", "dramatiq_queue_prefetch=200", *run]


PEER = Dramatiq()
