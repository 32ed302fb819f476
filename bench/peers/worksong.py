"""worksong itself, on gocraft/work's format."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from bench.peer import SLOTS, URL, Peer, program
from bench.tally import done, stamp
from worksong import Job, Worker

worker = Worker(URL, name="bench", concurrency=SLOTS)


async def in_loop() -> None:
    done()


async def note(sent: int) -> None:
    stamp(sent)


worker.register("async", in_loop)
worker.register("plain", done)
worker.register("stamp", note)


class Worksong(Peer):
    packages = ("worksong", "redis", "hiredis", "uvloop")
    kinds: ClassVar = {"async": 80_000, "plain": 30_000}
    best = 100
    promise = (
        "A job leaves Redis only with its ending, in one atomic step after the handler ran; "
        "a killed worker's jobs run again after 8 to 15 s."
    )
    setup = "Nothing. uvloop, as `worksong run` uses where it is installed."

    async def send(self, job: str, *args: Any) -> None:
        await worker.aperform(Job(job, {"sent": args[0]} if args else {}))

    async def send_many(self, job: str, number: int) -> None:
        await worker.aperform_many([Job(job) for _ in range(number)])

    def worker(self, slots: int, processes: int) -> Sequence[str]:
        run = [program("worksong"), "run", "bench.peers.worksong:worker", f"--concurrency={slots}"]
        return [*run, f"--processes={processes}"]


PEER = Worksong()
