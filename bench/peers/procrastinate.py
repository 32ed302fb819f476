"""procrastinate, on PostgreSQL only."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, ClassVar

import uvloop
from procrastinate import App, PsycopgConnector

from bench.peer import URL, Peer, program
from bench.tally import done, stamp

asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
app = App(connector=PsycopgConnector(conninfo=URL))


@app.task(name="async")
async def in_loop() -> None:
    done()


@app.task(name="plain")
def in_thread() -> None:
    done()


@app.task(name="stamp")
async def note(sent: int) -> None:
    stamp(sent)


JOBS = {"async": in_loop, "plain": in_thread, "stamp": note}


class Procrastinate(Peer):
    packages = ("procrastinate", "psycopg", "uvloop")
    kinds: ClassVar = {"async": 500, "plain": 500}
    best = 25
    own_processes = False
    promise = (
        "Keeps a job in its table, also when it is done; those of a killed worker stay `doing` until a task that the "
        "application adds looks for stalled ones."
    )
    setup = "Logs warnings only. uvloop. In bulk: `batch_defer_async`. Best: 25 at once; 10 and 100 drained no faster."

    async def prepare(self) -> None:
        async with app.open_async():
            await app.schema_manager.apply_schema_async()

    async def open(self) -> None:
        await app.open_async()

    async def send(self, job: str, *args: Any) -> None:
        await JOBS[job].defer_async(**({"sent": args[0]} if args else {}))

    async def send_many(self, job: str, number: int) -> None:
        await JOBS[job].batch_defer_async(*({} for _ in range(number)))

    def worker(self, slots: int, processes: int) -> Sequence[str]:
        run = [program("procrastinate"), "--app=bench.peers.procrastinate.app", "--log-level=warning"]
        return [*run, "worker", f"--concurrency={slots}"]


PEER = Procrastinate()
