"""huey, on Redis or in a file of SQLite: threads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from huey import RedisHuey, SqliteHuey

from bench.peer import SCHEME, URL, Peer, program
from bench.tally import done, stamp

SQLITE = SCHEME == "sqlite"
huey = (
    SqliteHuey("bench", filename=URL.removeprefix("sqlite:///"))
    if SQLITE
    else RedisHuey("bench", url=URL, results=False)
)
JOBS = {"plain": huey.task(name="plain")(done), "stamp": huey.task(name="stamp")(stamp)}


class Huey(Peer):
    packages = ("huey",) if SQLITE else ("huey", "redis", "hiredis")
    kinds: ClassVar = {"plain": 1000 if SQLITE else 5000}
    best = 1 if SQLITE else 4
    own_processes = False
    promise = "Takes a job out of its store before it runs: what a killed worker held is lost."
    setup = (
        "Nothing: a write-ahead log, and as `synchronous` is not set, SQLite's own default, FULL. Best: 1 thread, the "
        "default."
        if SQLITE
        else "No results. Threads, the default kind of worker. Best: 4 threads; of the numbers tried, 2 to 25, none "
        "drained faster."
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
