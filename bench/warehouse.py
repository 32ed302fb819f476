"""A store as it is after busy weeks: a hundred thousand jobs in all states, workers that run, and what jobs did."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import islice

from worksong.domain.job import Delivery, Job, new_id
from worksong.domain.outcome import Buried, Done, Outcome, Retried, Settlement
from worksong.domain.tally import Tally
from worksong.domain.turns import Share
from worksong.engine.board import Board
from worksong.ports.backend import Backend, Beat, Pool, Running, Want
from worksong.ports.clock import Clock

QUEUED, SCHEDULED, RETRY, DEAD = 0.6, 0.2, 0.1, 0.1
"""Which part of the jobs is in which state."""
HANDLERS = tuple(
    f"handle_{name}" for name in ("order", "image", "mail", "report", "index", "payment", "export", "hook")
)
QUEUES = tuple(f"queue-{number:02}" for number in range(20))
LOAD = 1_000
"""Jobs that are enqueued or settled in one step."""
POOLS, SLOTS = 8, 10
DAY = 86_400.0
FIRST = "first"
"""The id of a job that is dead."""
ERROR = """Traceback (most recent call last):
  File "/srv/shop/jobs.py", line 88, in charge_card
    bank.charge(order, cents)
  File "/srv/shop/bank.py", line 31, in charge
    raise CardDeclined(f"order {order} was declined: {reason}")
shop.bank.CardDeclined: order %d was declined: insufficient funds, code %s"""


async def fill(backend: Backend, jobs: int, clock: Clock) -> None:
    """So many jobs, and the history of 30 days."""
    now = clock.now()
    await _end(backend, [_job(number, FIRST if not number else "") for number in range(int(jobs * DEAD))], None, now)
    await _end(backend, [_job(number) for number in range(int(jobs * RETRY))], now + DAY, now)
    for load in _loads([_job(number) for number in range(int(jobs * QUEUED))]):
        await backend.push(load, now)
    for load in _loads([_job(number, run_at=now + DAY + number) for number in range(int(jobs * SCHEDULED))]):
        await backend.push(load, now)
    for age in (*range(0, 7200, 60), *range(7200, 90_000, 600), *range(90_000, 30 * 86_400, 3600)):
        await backend.note(_done(age), now - age)


async def work(backend: Backend, clock: Clock) -> list[Beat]:
    """Have some pools begin to run what waits; what they say while they do."""
    return [await _busy(backend, number, clock.now()) for number in range(POOLS)]


async def _busy(backend: Backend, number: int, now: float) -> Beat:
    pool = Pool(
        id=f"pool-{number}",
        handlers=HANDLERS,
        concurrency=SLOTS,
        worker_ids=tuple(f"{number}-{slot}" for slot in range(SLOTS)),
        host=f"web-{number}",
        pid=4711 + number,
        started_at=now - DAY,
    )
    await backend.enlist(pool, now)
    shares = tuple(Share(handler, 1) for handler in HANDLERS)
    lent = await backend.fetch(Want(pool.id, SLOTS, 0.0, shares, QUEUES), now)
    running = tuple(Running(job, slot, now, checkin=f"{slot}/{SLOTS}", checkin_at=now) for slot, job in enumerate(lent))
    return Beat(pool, running, tuple(lent))


def _job(number: int, job_id: str = "", *, run_at: float = 0.0) -> Job:
    args = {"order": number, "user": {"id": number % 977, "locale": "en"}, "note": "as it is written by a shop" * 2}
    handler, queue = HANDLERS[number % len(HANDLERS)], QUEUES[number % len(QUEUES)]
    return Job(handler, args, queue, id=job_id or new_id(), run_at=run_at)


def _loads(jobs: Sequence[Job]) -> Iterator[list[Job]]:
    left = iter(jobs)
    while load := list(islice(left, LOAD)):
        yield load


async def _end(backend: Backend, jobs: Sequence[Job], again_at: float | None, now: float) -> None:
    """Have them fail, and be tried again at a time; None: have them die."""
    pool = Pool(id="failing", handlers=HANDLERS, concurrency=LOAD, worker_ids=("failing",))
    await backend.enlist(pool, now)
    for load in _loads(jobs):
        await backend.push(load, now)
        lent = await backend.fetch(Want(pool.id, LOAD, 0.0, tuple(Share(name, LOAD) for name in HANDLERS), QUEUES), now)
        await backend.settle(
            [Settlement(delivery, _failure(place, again_at)) for place, delivery in enumerate(lent)], now
        )
    await backend.leave(pool, now)


def _failure(number: int, again_at: float | None) -> Outcome:
    error = ERROR % (number, "ABC"[number % 3])
    return Buried(error) if again_at is None else Retried(again_at + number, error)


def _done(age: int) -> dict[str, Tally]:
    """What was done at about that time: more of it by day than by night."""
    board, runs = Board(), 2 + round(2 * (1 + math.sin(age / DAY * math.tau)))
    for place, handler in enumerate(HANDLERS):
        for number in range(runs):
            run = Running(Delivery(Job(handler, queue=QUEUES[place], enqueued_at=DAY - place), None, 0), 0, DAY)
            board.note(run, Done() if number else Buried("no"), DAY + 0.1 * (number + 1) * (place + 1))
    return board.by_handler() | board.by_queue()
