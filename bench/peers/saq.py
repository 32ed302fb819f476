"""saq, on Redis or PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, ClassVar

import uvloop
from saq import Job, Queue

from bench.peer import SCHEME, SLOTS, URL, Peer, program
from bench.tally import done, stamp

asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
queue = Queue.from_url(URL)


async def in_loop(context: dict[str, Any]) -> None:
    done()


def in_thread(context: dict[str, Any]) -> None:
    done()


async def note(context: dict[str, Any], *, sent: int) -> None:
    stamp(sent)


settings = {
    "queue": queue,
    "functions": [("async", in_loop), ("plain", in_thread), ("stamp", note)],
    "concurrency": SLOTS,
}


class Saq(Peer):
    packages = ("saq", "psycopg", "uvloop") if SCHEME == "postgresql" else ("saq", "redis", "hiredis", "uvloop")
    kinds: ClassVar = {"async": 500, "plain": 500} if SCHEME == "postgresql" else {"async": 2500, "plain": 2500}
    best = 10
    promise = (
        "Keeps a job in its store until it ran; a sweep, once a minute, finds those of a killed worker that are over "
        "their timeout of 10 s, and runs them again if `retries` is more than 1, the default."
    )
    setup = "Results are not kept (ttl -1). uvloop. Best: 10 at once, the default."

    async def prepare(self) -> None:
        """On PostgreSQL the tables; on Redis there is nothing to make."""
        await queue.connect()
        await queue.disconnect()

    async def open(self) -> None:
        await queue.connect()

    async def send(self, job: str, *args: Any) -> None:
        await queue.enqueue(Job(job, kwargs={"sent": args[0]} if args else {}, ttl=-1))

    def worker(self, slots: int, processes: int) -> Sequence[str]:
        return [program("saq"), "bench.peers.saq.settings", f"--workers={processes}"]


PEER = Saq()
