"""Where a system sits while it is measured: a program of the system's own interpreter, one order each.

python -m bench.seat NAME describe                   -> what `bench.peer.Peer` says of it, and versions, as JSON
python -m bench.seat NAME enqueue HOW KIND NUMBER    -> jobs per second, as JSON; HOW: one, concurrent, bulk
python -m bench.seat NAME feed NUMBER PER_SECOND     stamped jobs, evenly
python -m bench.seat NAME work SLOTS PROCESSES       becomes the worker
python -m bench.seat NAME prepare                    makes its tables
python -m bench.seat NAME both NUMBER PER_SECOND     is the worker, and sends stamped jobs as well
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import json
import os
import sys
import time
from importlib.metadata import version
from typing import Any, TypeVar

from bench.peer import Opens, Peer, Prepares, SendsMany, WorksHere

A = TypeVar("A")

CALLERS = 200
"""Coroutines that enqueue at the same time."""
BATCH = 1000
"""Jobs of one bulk call."""


def main() -> None:
    """Carry out the order of the command line."""
    name, order, *rest = sys.argv[1:]
    if order == "work":
        os.environ["BENCH_SLOTS"] = rest[0]
    peer: Peer = importlib.import_module(f"bench.peers.{name}").PEER
    match order:
        case "describe":
            print(json.dumps(describe(peer)))
        case "enqueue":
            print(json.dumps(asyncio.run(enqueue(peer, rest[0], rest[1], int(rest[2])))))
        case "feed":
            asyncio.run(feed(peer, int(rest[0]), float(rest[1])))
        case "prepare":
            if isinstance(peer, Prepares):
                asyncio.run(peer.prepare())
        case "both":
            asyncio.run(both(peer, int(rest[0]), float(rest[1])))
        case "work":
            command = list(peer.worker(int(rest[0]), int(rest[1])))
            os.execv(command[0], command)
        case _:
            raise SystemExit(f"no such order: {order}")


def describe(peer: Peer) -> dict[str, Any]:
    """As `bench.system.Description` reads it."""
    ways = ["one"]
    if inspect.iscoroutinefunction(peer.send):
        ways.append("concurrent")
    if isinstance(peer, SendsMany):
        ways.append("bulk")
    return {
        "versions": {package: version(package) for package in peer.packages},
        "kinds": peer.kinds,
        "best": peer.best,
        "bests": peer.bests,
        "one_at_a_time": peer.one_at_a_time,
        "own_processes": peer.own_processes,
        "promise": peer.promise,
        "setup": peer.setup,
        "ways": ways,
        "works_here": isinstance(peer, WorksHere),
    }


async def enqueue(peer: Peer, how: str, kind: str, number: int) -> float:
    """Jobs per second of enqueueing so many; the first one, which connects, is not timed."""
    await _opened(peer)
    if how == "bulk":
        able = _able(peer, SendsMany)
        await _sent(able.send_many(kind, 1))
        begun = time.perf_counter()
        for first in range(1, number, BATCH):
            await _sent(able.send_many(kind, min(BATCH, number - first)))
    else:
        await _sent(peer.send(kind))
        begun, left = time.perf_counter(), number - 1
        callers = CALLERS if how == "concurrent" else 1
        await asyncio.gather(*(_one_by_one(peer, kind, len(range(first, left, callers))) for first in range(callers)))
    return (number - 1) / (time.perf_counter() - begun)


def _able(peer: Peer, ability: type[A]) -> A:
    """The system as one that can do it; `describe` tells which can."""
    if not isinstance(peer, ability):
        raise SystemExit(f"{type(peer).__name__} is asked for what it cannot do: {ability.__name__}")
    return peer


async def _opened(peer: Peer) -> None:
    if isinstance(peer, Opens):
        await peer.open()


async def _one_by_one(peer: Peer, kind: str, number: int) -> None:
    for _ in range(number):
        await _sent(peer.send(kind))


async def feed(peer: Peer, number: int, per_second: float) -> None:
    """Send stamped jobs at an even rate; late ones are not made up for, so that they stay apart."""
    await _opened(peer)
    for _ in range(number):
        due = time.monotonic() + 1 / per_second
        await _sent(peer.send("stamp", time.monotonic_ns()))
        await asyncio.sleep(max(0.0, due - time.monotonic()))


async def both(peer: Peer, number: int, per_second: float) -> None:
    """A worker that is fed by its own process; until it is ended."""
    await _able(peer, WorksHere).work_here()
    await feed(peer, number, per_second)
    await asyncio.Event().wait()


async def _sent(answer: Any) -> None:
    if inspect.isawaitable(answer):
        await answer


if __name__ == "__main__":
    main()
