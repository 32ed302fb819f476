"""Stores full of jobs of all kinds, and what an onlooker finds in them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from worksong.adapters import connect
from worksong.domain.capability import Capability
from worksong.domain.job import Job, new_id
from worksong.domain.lifecycle import State
from worksong.domain.outcome import Buried, Outcome, Retried, Settlement
from worksong.domain.parcel import MOVABLE, in_whole_seconds, mark, packed
from worksong.domain.turns import Share
from worksong.move import Move, Side
from worksong.ports.backend import Backend, Pool, Want, Window
from worksong.testing import FakeClock

T = 1_700_000_000.25
EVERYTHING = Window(limit=10_000)


def side(url: str, namespace: str = "") -> Side:
    """The store at this URL, in a namespace of its own unless one is given."""
    namespace = namespace or new_id()
    return Side(connect(url, namespace=namespace), namespace)


def a_move(source: Side, target: Side, **how: Any) -> Move:
    """A move at the time at which all of this happens."""
    return Move(source, target, clock=FakeClock(T), **how)


async def fill(backend: Backend) -> None:
    """Jobs in all states, with everything that a job can have."""
    await backend.push([a_job("send", {"n": n}, enqueued_at=T + n / 4) for n in range(9)], T)
    await backend.push([a_job("send", None), a_job("call", {"ü": [1, 2.5, None, {"x": "😀"}]}, queue="low")], T)
    await backend.push([a_job("call", {"later": n}, run_at=T + 100 + n / 3) for n in range(4)], T)
    await backend.push([a_job("call", {"u": mode}, unique=mode) for mode in ("until_start", "until_done")], T)
    await backend.push([a_job("call", {"u": "later"}, unique="until_done", run_at=T + 500)], T)
    await backend.push([a_job("call", {"once": 1}, id=f"once-{new_id()}")], T, once=True)
    await backend.push([a_job("send", {"meta": 1}, meta={"trace": ["a", {"b": 2}]})], T)
    await end(backend, Retried(T + 60.5, "boom\nböse"), *[a_job("fail", {"n": n}) for n in range(3)])
    await end(backend, Buried("too often"), *[a_job("die", {"n": n}) for n in range(3)])


def a_job(handler: str, args: Any = None, **fields: Any) -> Job:
    given: dict[str, Any] = {"id": new_id(), "enqueued_at": T, **fields}
    return Job(handler, args, **given)


async def end(backend: Backend, outcome: Outcome, *jobs: Job) -> None:
    """Let these jobs run, and end like this."""
    await backend.push(jobs, T)
    pool = await enlist(backend, jobs[0].handler)
    lent = await backend.fetch(Want(pool.id, len(jobs), 0.0, (Share(jobs[0].handler, 99),)), T)
    assert await backend.settle([Settlement(delivery, outcome) for delivery in lent], T) == [True] * len(jobs)
    await backend.leave(pool, T)


async def enlist(backend: Backend, *handlers: str) -> Pool:
    """A pool that works on these types."""
    pool = Pool(id=new_id(), handlers=handlers)
    await backend.enlist(pool, T)
    return pool


async def run_out(backend: Backend, *handlers: str) -> list[str]:
    """Lend whatever waits; ids in their order, type by type."""
    found: list[str] = []
    pool = await enlist(backend, *handlers)
    for handler in handlers:
        while lent := await backend.fetch(Want(pool.id, 3, 0.0, (Share(handler, 99),)), T):
            found += [delivery.job.id for delivery in lent]
    return found


async def seen(backend: Backend, *, whole: bool) -> Counter[bytes]:
    """What an onlooker finds: a mark of every job that is not running; `whole`: as in whole seconds."""
    marks: Counter[bytes] = Counter()
    for state in MOVABLE:
        for view in await backend.jobs(state, EVERYTHING):
            parcel = packed(view.job, state, view.at, None)
            marks[mark(in_whole_seconds(parcel) if whole else parcel)] += 1
    return marks


async def ids_in(backend: Backend, *states: State) -> list[str]:
    """Ids of all jobs in these states."""
    return [view.id for state in states for view in await backend.jobs(state, EVERYTHING)]


def rounded(*sides: Side) -> bool:
    """Whether one of them has whole seconds only."""
    return any(Capability.SUBSECOND not in one.backend.capabilities for one in sides)


def total(counts: dict[State, int], states: Sequence[State] = MOVABLE) -> int:
    return sum(counts[state] for state in states)
