"""worksong itself: on gocraft/work's format, or on a database."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle
from typing import Any, ClassVar, NamedTuple

from bench.peer import SCHEME, SLOTS, URL, Peer, program
from bench.tally import done, stamp
from worksong import Job, Worker
from worksong.adapters import connect
from worksong.adapters.sql.backend import SqlBackend

worker = Worker(URL, name="bench", concurrency=SLOTS)


async def in_loop() -> None:
    done()


async def note(sent: int) -> None:
    stamp(sent)


def types(kind: str) -> list[str]:
    """The job types of a kind: ten on Redis, as in the program around gocraft/work, and so a queue for each."""
    return [f"{kind}_{number}" for number in range(10)] if SCHEME == "redis" and kind != "stamp" else [kind]


for kind, function in {"async": in_loop, "plain": done, "stamp": note}.items():
    for name in types(kind):
        worker.register(name, function)

TURNS = {kind: cycle(types(kind)) for kind in ("async", "plain", "stamp")}
"""Kind -> its types, one after the other without end."""


class On(NamedTuple):
    """What differs from one server to the other."""

    packages: tuple[str, ...]
    kinds: dict[str, int]
    leaves: str
    """What a job leaves when it is done."""
    again: str = "after 8 to 15 s"
    """When a killed worker's jobs run again."""


SERVERS = {
    "redis": On(("redis", "hiredis"), {"async": 80_000, "plain": 30_000}, "Redis"),
    "resque+redis": On(("redis", "hiredis"), {"async": 30_000, "plain": 20_000}, "Redis"),
    "postgresql": On(("asyncpg",), {"async": 15_000, "plain": 12_000}, "its table"),
    "mariadb": On(("asyncmy",), {"async": 9000, "plain": 7000}, "its table"),
    "amqp": On(("pika",), {"plain": 9000, "async": 10_000}, "its queue"),
    "sqlite": On((), {"plain": 15_000, "async": 18_000}, "the file"),
    "faktory": On((), {"async": 8000, "plain": 7000}, "the server", "when their reservations are over"),
}
HERE = SERVERS[SCHEME]


class Worksong(Peer):
    packages = ("worksong", *HERE.packages, "uvloop")
    kinds: ClassVar = HERE.kinds
    best = 100
    bests: ClassVar = {"plain": 200}
    promise = (
        f"A job leaves {HERE.leaves} only with its ending, in one atomic step after the handler ran; "
        f"a killed worker's jobs run again {HERE.again}."
    )
    setup = "Nothing. uvloop, as `worksong run` uses where it is installed."

    async def prepare(self) -> None:
        backend = connect(URL, namespace=worker.name)
        if isinstance(backend, SqlBackend):
            await backend.migrate()
        await backend.close()

    async def send(self, job: str, *args: Any) -> None:
        await worker.aperform(Job(next(TURNS[job]), {"sent": args[0]} if args else {}))

    async def send_many(self, job: str, number: int) -> None:
        await worker.aperform_many([Job(next(TURNS[job])) for _ in range(number)])

    async def work_here(self) -> None:
        await worker.astart()

    def worker(self, slots: int, processes: int) -> Sequence[str]:
        run = [program("worksong"), "run", "bench.peers.worksong:worker", f"--concurrency={slots}"]
        return [*run, f"--processes={processes}"]


PEER = Worksong()
