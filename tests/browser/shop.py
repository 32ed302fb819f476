"""A shop with jobs in every state, for pictures and for walks through its console."""

from __future__ import annotations

import asyncio
import logging
import math
import random
import time
from collections.abc import Sequence

from worksong import Worker
from worksong.domain.capability import Capability
from worksong.domain.firing import firing_id
from worksong.domain.job import Delivery, Job, new_id
from worksong.domain.outcome import Buried, Done, Failure, Outcome, Retried, Settlement
from worksong.domain.record import JobRecord, PipelineRecord
from worksong.domain.result import Result
from worksong.domain.tally import Tally
from worksong.domain.turns import Share
from worksong.engine import timetable
from worksong.engine.attempts import Attempts
from worksong.engine.board import Board
from worksong.engine.current import CURRENT
from worksong.engine.firings import Firings
from worksong.engine.releases import announce
from worksong.engine.scribe import Scribe
from worksong.engine.vitals import Vitals, tell
from worksong.ports.backend import Backend, Beat, Pool, Running, Want
from worksong.ports.clock import SystemClock
from worksong.ports.context import Context
from worksong.service.journal import Journal, Order

T = 1_000_000.0
DIED = 1_800.0
"""Seconds since the first dead job died."""
DECLINED = """Traceback (most recent call last):
  File "/srv/shop/jobs.py", line 88, in charge_card
    bank.charge(order, cents)
  File "/srv/shop/bank.py", line 31, in charge
    raise CardDeclined(f"order {order} was declined: {reason}")
shop.bank.CardDeclined: order %d was declined: insufficient funds"""
WAITING = (
    ("payments", "charge_card", 7, 4),
    ("images", "resize_image", 1284, 840),
    ("mail", "send_newsletter", 312, 200),
    ("default", "index_product", 48, 35),
    ("reports", "build_report", 2, 610),
)
"""Queue, job type, how many wait, and for how many seconds the oldest of them."""
SERVED = ("build_report", "charge_card", "index_product", "resize_image", "send_newsletter", "send_receipt")


async def seeded(url: str = "memory://", name: str = "shop") -> tuple[Worker, asyncio.Task[None]]:
    """The worker, and what keeps its pools alive; several in one store need several names."""
    worker, chance, now = _application(url, name), random.Random(4), time.time()
    backend = worker.backend()
    await _fail(backend, chance, now)
    await _remember(backend, chance, now)
    await _tell(backend, now)
    await _pipelines(worker, now)
    beats = [await _running(backend, *crew, now) for crew in (("web-1", 4711, 5), ("web-2", 902, 3))]
    for queue, handler, count, oldest in WAITING:
        ages = [oldest * (1 - n / count) for n in range(count)]
        await backend.push([_job(handler, _arguments(handler, n), queue, now - ages[n]) for n in range(count)], now)
    later = [_job("remind_cart", {"user_id": 400 + n}, "mail", now) for n in range(14)]
    for job in later:
        due = Job("remind_cart", job.args, "mail", id=job.id, enqueued_at=now, run_at=now + chance.uniform(60, 86400))
        await backend.push([due], now)
    await backend.pause("reports" if Capability.QUEUES in backend.capabilities else "build_report")
    await _fire(worker, now)
    return worker, asyncio.ensure_future(_beating(backend, beats))


def _arguments(handler: str, number: int) -> dict[str, object]:
    match handler:
        case "resize_image":
            return {"path": f"products/{4000 + number}/front.jpg", "width": 1280}
        case "charge_card":
            return {"order": 8200 + number, "cents": 1900 + 350 * number, "card": "4111111111111111"}
        case "send_newsletter":
            return {"user_id": 70_000 + number, "issue": "2026-11", "locale": ("en", "de", "fr")[number % 3]}
        case _:
            return {"id": 500 + number}


def _application(url: str, name: str) -> Worker:
    worker = Worker(url, name=name, records="memory://")
    worker.register("charge_card", lambda args: None, redact=("card",), max_fails=4)
    for handler, spec, zone in (
        ("nightly_report", "0 3 * * *", "Europe/Berlin"),
        ("sync_stock", "@every 5m", None),
        ("remind_invoices", "0 9 * * mon-fri", "Europe/Berlin"),
    ):
        worker.register(handler, lambda: None)
        worker.periodic(spec, handler, tz=zone)
    return worker


async def _remember(backend: Backend, chance: random.Random, now: float) -> None:
    """What jobs did in the last 30 days, more of it by day than by night, and with one bad hour."""
    kinds = {"charge_card": (8, 0.3, 0.04), "resize_image": (40, 1.2, 0.01), "send_receipt": (15, 0.08, 0.005)}
    queues = {"charge_card": "payments", "resize_image": "images", "send_receipt": "mail"}
    apart = Capability.QUEUES in backend.capabilities
    ages = [*range(0, 7200, 60), *range(7200, 90_000, 600), *range(90_000, 30 * 86_400, 3600)]
    for age in ages:
        slot = 1 if age < 7200 else 10 if age < 90_000 else 60
        day = 1.2 - math.cos((now - age) / 86_400 * 2 * math.pi)
        trouble = 12 if 1500 < age < 2100 else 1
        tallies: dict[str, Tally] = {}
        for name, (pace, typical, failing) in kinds.items():
            board = Board()
            for _ in range(min(400, int(slot * pace * day * chance.uniform(0.7, 1.3)))):
                failed = chance.random() < failing * trouble
                job = Job(name, queue=queues[name], enqueued_at=T - chance.expovariate(4))
                run = Running(Delivery(job, None, 0), 0, T)
                outcome = Retried(0, "no") if failed and chance.random() < 0.8 else Buried("no") if failed else Done()
                board.note(run, outcome, T + typical * chance.lognormvariate(0, 0.7) * (3 if trouble > 1 else 1))
            tallies |= board.by_handler() | (board.by_queue() if apart else {})
        await backend.note(tallies, now - age)


async def _fire(worker: Worker, now: float) -> None:
    """How periodic jobs went last, and that one of them stands still."""
    entries, firings = worker.registry.periodic, Firings(worker.registry.periodic)
    for entry, age, late, outcome in zip(
        entries, (40_000, 120, 90_000), (0.4, 0.06, 31.0), (Done(), Done(), Buried("no")), strict=True
    ):
        due = int(now - age)
        job = Job(entry.handler, id=firing_id(entry.handler, entry.schedule.spec, due))
        firings.note(Running(Delivery(job, None, 0), 0, due + late), outcome, due + late + 2)
    await firings.write(worker.backend(), now)
    await timetable.pause(worker.backend(), entries[2], now - 7200)


async def _fail(backend: Backend, chance: random.Random, now: float) -> None:
    for n in range(23):
        args = {"order": 7000 + n, "cents": 4900, "card": "4111111111111111"}
        at = now - (DIED if n == 0 else chance.uniform(600, 90_000))
        job = Job("charge_card", args, "payments", id=f"dead-{n}", enqueued_at=at - 3, attempt=4)
        await _end(backend, job, Buried(DECLINED % (7000 + n)), at)
    for n in range(4):
        at = now - chance.uniform(600, 50_000)
        path = {"path": f"images/2026/{n}.heic", "width": 1280}
        await _end(backend, _job("resize_image", path, "images", at), Buried("OSError: no decoder for 'heic'"), at)
    for n in range(9):
        outcome = Retried(now + chance.uniform(30, 900), "TimeoutError: no answer from smtp.example:25 within 10 s")
        await _end(
            backend, _job("send_receipt", {"order": 8100 + n}, "mail", now), outcome, now - chance.uniform(9, 600)
        )


async def _tell(backend: Backend, now: float) -> None:
    """What became of the tries of a dead job, what was ordered, and which releases were started."""
    for age, release in ((90_000, "2.3.9"), (2_300, "2.4.0"), (1_400, "2.4.1")):
        await announce(backend, release, now - age)
    scribe = Scribe()
    attempts = Attempts(scribe)
    for number in range(1, 5):
        began = now - DIED - (4 - number) * 400
        context = Context()
        run = Running(Delivery(Job("charge_card", id="dead-0", attempt=number), None, 0), 0, began - 0.8)
        context.begin(run, time.time)
        token = CURRENT.set(context)
        for text in ("charging 4900 cents", f"the bank says no, try {number}"):
            scribe.handle(logging.LogRecord("shop.bank", logging.INFO, "", 0, text, (), None))
        CURRENT.reset(token)
        error = DECLINED % 7000
        attempts.note(run, Buried(error) if number == 4 else Retried(0.0, error), began)
    await attempts.write(backend, now)
    journal = Journal(lambda: backend, SystemClock())
    for age, who, status, told, done in (
        (86_000, "eve", 200, "queued 12 dead jobs", 12),
        (7_200, "carl", 403, "", 0),
        (3_000, "admin", 303, "purged imports: 1,204 jobs dropped", 1_204),
        (40, "eve", 303, "paused reports", 1),
    ):
        did = "POST /api/v1/jobs" if status == 200 else "POST /act/queue"
        order = Order(at=now - age, who=who, address="10.0.0.7", did=did, status=status, told=told, done=done)
        await journal.keep(order)


async def _pipelines(worker: Worker, now: float) -> None:
    """One that is through, one on its way, one that has failed, one that waits."""
    assert worker.ledgers is not None
    ledger = worker.ledgers.here()
    for number, (name, through, lost) in enumerate(
        (("import", 4, 0), ("nightly export", 2, 0), ("mail", 1, 1), ("summer sale", 0, 0))
    ):
        ids = [f"{name}-{step}" for step in range(4)]
        tasks = ("read_file", "index_product", "resize_image", "send_receipt")
        behind = [*ids[1:], ""]
        at = now - 4000 + 900 * number
        jobs = [
            JobRecord(id=job_id, task=task, pipeline_id=f"pipe-{number}", next_id=then, created_at=at)
            for job_id, task, then in zip(ids, tasks, behind, strict=True)
        ]
        widths = (1, 2, 1) if name == "nightly export" else ()
        told = {"name": name, "description": "All products of the shop", "created_at": at}
        whole = PipelineRecord(id=f"pipe-{number}", job_ids=tuple(ids), widths=widths, **told)
        await ledger.open_pipeline(whole, jobs)
        for step in range(through):
            await ledger.begin(ids[step])
            await ledger.put([Result(ids[step], at + 60 * step + 20)])
        if lost:
            await ledger.begin(ids[through])
            failure = Failure("LookupError", "there is no template 'summer'")
            await ledger.put([Result(ids[through], at + 300, failure=failure)])


async def _end(backend: Backend, job: Job, outcome: Outcome, at: float) -> None:
    pool = Pool(id="seed", handlers=(job.handler,), worker_ids=("seed",))
    await backend.enlist(pool, at)
    await backend.push([job], at)
    lent = await _lent(backend, pool, job.handler, 1, at)
    await backend.settle([Settlement(delivery, outcome) for delivery in lent], at)
    await backend.leave(pool, at)


async def _running(backend: Backend, host: str, pid: int, busy: int, now: float) -> Beat:
    """A pool that is busy with some jobs, each a little further than the next."""
    workers = tuple(new_id() for _ in range(8))
    pool = Pool(
        id=new_id(),
        handlers=SERVED,
        limits={"resize_image": 6},
        concurrency=8,
        worker_ids=workers,
        host=host,
        pid=pid,
        started_at=now - 200_000,
    )
    await backend.enlist(pool, now)
    begun = [("resize_image", "images", new_id()) for _ in range(busy - 2)] + [("send_newsletter", "mail", new_id())]
    begun += [("charge_card", "payments", "run-0" if host == "web-1" else new_id())]
    lent: list[Delivery] = []
    for slot, (handler, queue, job_id) in enumerate(begun):
        at = now - 3 - 11 * slot
        await backend.push([_job(handler, _arguments(handler, slot), queue, at, job_id)], at)
        lent += await _lent(backend, pool, handler, 1, at)
    running = tuple(
        Running(job, slot, now - 3 - 11 * slot, checkin=f"{100 + 70 * slot}/600", checkin_at=now - 2)
        for slot, job in enumerate(lent)
    )
    return Beat(pool, running, tuple(lent))


async def _lent(backend: Backend, pool: Pool, handler: str, count: int, at: float) -> list[Delivery]:
    return list(await backend.fetch(Want(pool.id, count, 0.0, (Share(handler, count),)), at))


async def _beating(backend: Backend, beats: Sequence[Beat]) -> None:
    while True:
        for beat in beats:
            await backend.beat(beat, time.time())
            await tell(backend, beat.pool.id, Vitals(time.time(), 87 << 20, 0.002))
        await asyncio.sleep(1)


def _job(handler: str, args: dict[str, object], queue: str, at: float, job_id: str = "") -> Job:
    return Job(handler, args, queue, id=job_id or new_id(), enqueued_at=at)
