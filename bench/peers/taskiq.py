"""taskiq on a Redis stream."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from taskiq_redis import RedisStreamBroker

from bench.peer import URL, Peer, program
from bench.tally import done, stamp

broker = RedisStreamBroker(URL)


async def in_loop() -> None:
    done()


def in_thread() -> None:
    done()


async def note(sent: int) -> None:
    stamp(sent)


JOBS = {
    name: broker.task(task_name=name)(job) for name, job in (("async", in_loop), ("plain", in_thread), ("stamp", note))
}


class Taskiq(Peer):
    packages = ("taskiq", "taskiq-redis", "redis", "hiredis", "uvloop")
    kinds: ClassVar = {"async": 4000, "plain": 2000}
    best = 25
    promise = (
        "Acknowledges after the handler ran (XACK); the jobs of a killed worker are claimed by others after 10 minutes."
    )
    setup = (
        "`RedisStreamBroker`, which acknowledges; its broker on lists does not. No result backend; uvloop; as many "
        "threads for plain functions as jobs at once. Best: 25 at once; 100, the default, drained no faster."
    )

    async def open(self) -> None:
        await broker.startup()

    async def send(self, job: str, *args: Any) -> None:
        await JOBS[job].kiq(*args)

    def worker(self, slots: int, processes: int) -> Sequence[str]:
        limits = [f"--max-async-tasks={slots}", f"--max-threadpool-threads={slots}", f"--workers={processes}"]
        return [program("taskiq"), "worker", "bench.peers.taskiq:broker", *limits, "--log-level=WARNING"]


PEER = Taskiq()
