"""huey on Redis: threads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from huey import RedisHuey

from bench.peer import URL, Peer, program
from bench.tally import done, stamp

huey = RedisHuey("bench", url=URL, results=False)
JOBS = {"plain": huey.task(name="plain")(done), "stamp": huey.task(name="stamp")(stamp)}


class Huey(Peer):
    packages = ("huey", "redis", "hiredis")
    kinds: ClassVar = {"plain": 5000}
    best = 4
    own_processes = False
    promise = "Takes a job out of Redis before it runs: what a killed worker held is lost."
    setup = (
        "No results. Threads, the default kind of worker. Best: 4 threads; of the numbers tried, 2 to 25, none drained "
        "faster."
    )

    def send(self, job: str, *args: Any) -> None:
        JOBS[job](*args)

    def worker(self, slots: int, processes: int) -> Sequence[str]:
        return [
            program("huey_consumer"),
            "bench.peers.huey.huey",
            f"--workers={slots}",
            "--worker-type=thread",
            "--quiet",
        ]


PEER = Huey()
