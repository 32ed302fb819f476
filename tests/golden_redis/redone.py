"""What was recorded with the real gocraft/work, done again with worksong: one doing for each kind of recording."""

from __future__ import annotations

import json
import math
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import pytest
from msgspec.structs import replace

from golden_redis.stored import Case, Stored
from worksong.adapters.gocraft import GocraftBackend
from worksong.adapters.gocraft.space import Receipt
from worksong.domain import cron, retry
from worksong.domain.errors import InvalidArguments
from worksong.domain.job import Delivery, Job
from worksong.domain.lifecycle import State
from worksong.domain.outcome import Buried, Done, Outcome, Settlement
from worksong.domain.turns import Share
from worksong.domain.verdict import Policy, of_failure
from worksong.engine.timetable import schedule_ahead
from worksong.ports.backend import Beat, Pool, Running, Want, Window
from worksong.registry import Periodic
from worksong.wire import gocraft

POOL = "aaaaaaaaaaaaaaaaaaaaaaaa"
WORKERS = ("bbbbbbbbbbbbbbbbbbbbbbb0", "bbbbbbbbbbbbbbbbbbbbbbb1")
FIRST, SECOND = "d0c0ffee0000000000000001", "d0c0ffee0000000000000002"
WEEK = 604_800


class World:
    """One recording, done again on a database that holds what it began with."""

    def __init__(self, case: Case, backend: GocraftBackend, stored: Stored) -> None:
        self.case, self.backend, self.stored = case, backend, stored
        self.now = float(case.clock)

    async def push(self, handler: str, args: Any, job_id: str, **fields: Any) -> bool:
        """Enqueue one job at the recording's time."""
        job = Job(handler, args, id=job_id, **{"enqueued_at": self.now, **fields})
        (new,) = await self.backend.push([job], self.now)
        return new

    async def fetch(self, *names: str, pool: str = POOL, limit: int = 1) -> list[Delivery]:
        """Lend to the pool of the recording."""
        want = Want(pool, limit, 0.0, tuple(Share(name, 1 << 30) for name in names))
        return await self.backend.fetch(want, self.now)

    async def settle(self, delivery: Delivery, outcome: Outcome | None = None) -> bool:
        """End one job."""
        (held,) = await self.backend.settle([Settlement(delivery, outcome or Done())], self.now)
        return held

    async def beat(self, pool: Pool, *running: Running) -> None:
        """One beat of a pool whose slots run these."""
        orders = await self.backend.beat(Beat(pool, running, tuple(one.delivery for one in running)), self.now)
        assert not orders.evicted


Doing: TypeAlias = Callable[[World], Awaitable[None]]


def doing(name: str) -> Doing | None:
    """How to do this recording again; None when it cannot be."""
    family = max((start for start in FAMILIES if name.startswith(start)), key=len, default=None)
    return FAMILIES[family] if family else None


# in


async def enqueue(world: World) -> None:
    given = world.case.inputs
    run_at = world.now + given["seconds"] if "seconds" in given else 0.0
    job = world.case.result["job"]
    assert await world.push(given["job_name"], given["args"], job["id"], run_at=run_at)


async def enqueue_go_types(world: World) -> None:
    # What Go makes text or numbers of, Python programs pass as such.
    args = {"b": "aGn/", "d": 3_000_000_000, "f32": 0.1, "t": "2023-11-14T22:13:20.005Z"}
    assert await world.push("send_email", args, FIRST)


async def enqueue_twice(world: World) -> None:
    assert await world.push("j", {"i": 1}, FIRST)
    assert await world.push("j", {"i": 2}, SECOND)


async def enqueue_what_cannot_be_carried(world: World) -> None:
    for value in (object(), math.nan, math.inf, [math.nan]):
        with pytest.raises(InvalidArguments):
            await world.push("j", {"v": value}, FIRST)


async def enqueue_refused(world: World) -> None:
    given = world.case.inputs["args"]
    args = {"s": "a\udcff\udcfeb\udcc3"} if isinstance(given, str) else given
    for unique in (None, True):
        with pytest.raises(InvalidArguments):
            await world.push("j", args, FIRST, unique=unique)


async def enqueue_unique(world: World) -> None:
    given, twice = world.case.inputs, bool(world.case.before)
    seconds = _last(given.get("seconds"))
    if world.case.name == "unique_by_key_dup_updates":
        world.now += 5
    new = await world.push(
        given["job_name"],
        _last(given["args"]),
        SECOND if twice else FIRST,
        run_at=world.now + seconds if seconds else 0.0,
        unique=True,
        unique_by=given.get("key_map"),
    )
    assert new is not twice


async def enqueue_unique_over_a_key(world: World) -> None:
    assert not await world.push("clear_cache", {"my_key": "586"}, SECOND, unique=True)


def _last(value: Any) -> Any:
    return value[-1] if isinstance(value, list) else value


# lent, run and settled


async def fetch(world: World) -> None:
    names = {"fetch_no_job_types": (), "fetch_two_types_second_has_job": ("alpha", "beta")}
    found = await world.fetch(*names.get(world.case.name, ("alpha",)))
    job = world.case.result["job"]
    seen = [(one.job.id, one.job.handler, one.job.args, one.job.fails) for one in found]
    assert seen == ([(job["id"], job["name"], job["args"], job["fails"])] if job else [])


async def fetch_what_go_cannot_read(world: World) -> None:
    found = await world.fetch("alpha")
    assert [one.job.id for one in found] == (["x1"] if world.case.name == "fetch_t_float" else [])


async def process(world: World) -> None:
    pool = Pool(id=POOL, handlers=("alpha",), worker_ids=WORKERS[:1])
    await world.backend.enlist(replace(pool, handlers=()), world.now)
    (delivery,) = await world.fetch("alpha")
    if delivery.job.handler == "alpha":
        await world.beat(pool, Running(delivery, 0, max(world.now, delivery.job.enqueued_at)))
    assert await world.settle(delivery, _outcome(world.case, delivery.job))


def _outcome(case: Case, job: Job) -> Outcome:
    """How the recorded run ended, as the engine would have it."""
    if case.name == "process_skip_dead":
        return of_failure(job, RuntimeError(), Policy(retry.fixed(0), max_fails=1, skip_dead=True), case.clock)
    if case.name == "process_stray":
        return Buried("stray job: no handler")
    for key in ("work:retry", "work:dead"):
        if key in case.after:
            ((document, at),) = [(json.loads(one["member"]), int(one["score"])) for one in case.after[key]["value"]]
            most = 1 if case.name == "process_max_fails_1" else 4
            outcome = of_failure(job, RuntimeError(), Policy(retry.fixed(at - case.clock), max_fails=most), case.clock)
            return replace(outcome, error=document.get("err", ""))
    return Done()


# moved


async def promote(world: World) -> None:
    names = tuple(world.case.inputs["known_job_names"])
    await world.backend.enlist(Pool(id=POOL, handlers=names), world.now)
    due = len(world.stored.entries(world.case.inputs["zset"])) if world.case.name != "requeue_not_due" else 0
    assert await world.backend.promote(world.now, 100) == due


# an operator's hand


async def list_queues(world: World) -> None:
    found = await world.backend.queues(world.now)
    told = [{"job_name": queue.name, "count": queue.count, "latency": queue.latency} for queue in found]
    assert told == world.case.result["queues"]


async def requeue_one(world: World) -> None:
    job_id = "nope" if world.case.result == "nothing retried" and "wrong" in world.case.name else "d1"
    moved = await world.backend.requeue(State.DEAD, [job_id], world.now)
    assert moved == (0 if world.case.result == "nothing retried" else 1)


async def requeue_all(world: World) -> None:
    await world.backend.requeue(State.DEAD, None, world.now)


async def delete(world: World) -> None:
    state, job_id = {
        "client_delete_dead_job": (State.DEAD, "d1"),
        "client_delete_dead_job_missing": (State.DEAD, "nope"),
        "client_delete_all_dead": (State.DEAD, None),
        "client_delete_retry_job": (State.RETRY, "r1"),
    }.get(world.case.name, (State.SCHEDULED, FIRST))
    dropped = await world.backend.delete(state, None if job_id is None else [job_id])
    assert dropped == (0 if world.case.result == "nothing deleted" else 1)


async def list_pages(world: World) -> None:
    for page in world.case.result:
        window = Window(20, 20 * max(0, page["page"] - 1))
        found = await world.backend.jobs(State.SCHEDULED, window)
        told = [f"{view.id}@{view.at:.0f}" for view in found]
        assert (found.total, told) == (page["count"], page["ids"])


async def list_a_fractional_score(world: World) -> None:
    (view,) = await world.backend.jobs(State.SCHEDULED, Window())
    assert (view.id, view.at) == ("s1", 1_700_000_000.5)


async def list_workers(world: World) -> None:
    (pool,) = world.case.result["heartbeats"]
    (found,) = await world.backend.pools()
    assert (found.id, found.heartbeat_at, found.started_at) == (pool["worker_pool_id"], 1_700_000_000, 1_699_999_940)
    assert (list(found.handlers), list(found.worker_ids)) == (pool["job_names"], pool["worker_ids"])
    assert (found.concurrency, found.host, found.pid) == (pool["concurrency"], pool["host"], pool["pid"])
    (worker,) = [one for one in world.case.result["observations"] if one["is_busy"]]
    (busy,) = await world.backend.busy()
    assert (busy.worker_id, busy.handler, busy.job_id) == (worker["worker_id"], worker["job_name"], worker["job_id"])
    assert (busy.args, busy.checkin, busy.checkin_at) == (worker["args_json"], worker["checkin"], 1_700_000_001)


# pools


async def enlist(world: World) -> None:
    given = world.case.inputs
    names = tuple(given.get("job_names", given.get("max_concurrency", ())))
    limits = {name: limit for name, limit in given.get("max_concurrency", {}).items() if limit}
    pool = Pool(
        id=POOL,
        handlers=names,
        limits=limits,
        concurrency=given.get("concurrency", 1),
        worker_ids=WORKERS[: given.get("concurrency", 1)],
        host="host1",
        pid=4242,
        started_at=1_699_999_940,
    )
    await world.backend.enlist(pool, world.now)


async def leave(world: World) -> None:
    assert await world.backend.leave(Pool(id=POOL, handlers=("alpha",)), world.now) == 0


async def observe(world: World) -> None:
    """Beats of a pool with one worker, one for each event of the recording."""
    pool = Pool(id=POOL, handlers=(), worker_ids=WORKERS[:1])
    await world.backend.enlist(pool, world.now)
    for args, job_id, checkin, checkin_at in OBSERVED.get(world.case.name, [({"i": 1}, "x1", "", 0)]):
        delivery = Delivery(Job("alpha", args, id=job_id), Receipt(POOL, "alpha", b""), int(job_id[1:]))
        await world.beat(pool, Running(delivery, 0, world.now, checkin, checkin_at))
    if world.case.name == "observation_done":
        await world.beat(pool)


OBSERVED: dict[str, list[tuple[Any, str, str, int]]] = {
    "observation_started": [({"a": 1, "b": "<é>", "big": 2**53}, "x1", "", 0)],
    "observation_no_args": [({}, "x1", "", 0)],
    "observation_checkin": [({"i": 1}, "x1", "", 0), ({"i": 1}, "x1", "sup <50%>", 1_700_000_003)],
    "observation_stale_checkin": [
        ({"i": 1}, "x1", "", 0),
        ({"i": 1}, "x1", "half way", 1_700_000_000),
        ({"i": 2}, "x2", "", 0),
    ],
}
"""Recording -> for each event: arguments and id of the job, check-in and its time."""


async def run_live(world: World) -> None:
    pool = _live_pool(world)
    await world.backend.enlist(replace(pool, limits={"alpha": 1}), world.now)
    (delivery,) = await world.fetch("alpha", "beta", pool=pool.id, limit=2)
    await world.beat(pool, Running(delivery, 0, pool.started_at, "step 1", pool.started_at))


async def drain_live(world: World) -> None:
    pool = _live_pool(world)
    (raw,) = world.stored.entries(f"work:jobs:alpha:{pool.id}:inprogress")
    delivery = Delivery(gocraft.decode(raw), Receipt(pool.id, "alpha", raw), 1)
    await world.beat(pool, Running(delivery, 0, pool.started_at))
    assert await world.settle(delivery)
    (second,) = await world.fetch("alpha", "beta", pool=pool.id)
    assert await world.settle(second)
    await world.beat(pool)
    assert await world.backend.leave(pool, world.now) == 0


def _live_pool(world: World) -> Pool:
    """The pool of the recordings with a real clock."""
    state = world.case.after if "work:worker_pools" in world.case.after else world.case.before
    (pool_id,) = state["work:worker_pools"]["value"]
    fields = state[f"work:worker_pools:{pool_id}"]["value"]
    return Pool(
        id=pool_id,
        handlers=("alpha", "beta"),
        concurrency=2,
        worker_ids=tuple(fields["worker_ids"].split(",")),
        host=fields["host"],
        pid=int(fields["pid"]),
        started_at=float(fields["started_at"]),
    )


# pools that died


async def reap(world: World) -> None:
    await world.backend.reap(world.now, 100.0)
    await world.backend.reap(world.now, 100.0 + (9 if world.case.name == "reap_live_pool" else 15))


async def reap_a_list_of_nobody(world: World) -> None:
    for monotonic in (100.0, 160.0):
        await world.backend.reap(world.now, monotonic)


async def reap_then_finish(world: World) -> None:
    (raw,) = world.stored.entries(f"work:jobs:alpha:{POOL}:inprogress")
    delivery = Delivery(gocraft.decode(raw), Receipt(POOL, "alpha", raw), 1)
    await reap(world)
    assert not await world.settle(delivery)


# periodic jobs


async def schedule(world: World) -> None:
    specs = world.case.inputs["jobs"]
    recorded = world.case.after.get("work:last_periodic_enqueue", {}).get("value", "0")
    world.now = max(world.now, float(recorded))
    await schedule_ahead(world.backend, _entries(specs), world.now)


async def schedule_after_the_move(world: World) -> None:
    """The whole story, since the recording begins where worksong would have noted more."""
    entries = _entries(world.case.inputs["jobs"])
    for key in world.case.before:
        world.stored.call("DEL", key)
    await schedule_ahead(world.backend, entries, world.now)
    assert await world.backend.promote(world.now + 40, 100) == 1
    await schedule_ahead(world.backend, entries, world.now + 39)


def _entries(jobs: list[list[str]]) -> list[Periodic]:
    return [Periodic(cron.parse(spec), name, None, "default") for spec, name in jobs]


FAMILIES: dict[str, Doing] = {
    "enqueue_": enqueue,
    "enqueue_float32_bytes_time": enqueue_go_types,
    "enqueue_twice_same_enqueuer": enqueue_twice,
    "enqueue_unserializable": enqueue_what_cannot_be_carried,
    "enqueue_invalid_utf8": enqueue_refused,
    "enqueue_ints": enqueue_refused,
    "unique_": enqueue_unique,
    "unique_bigint": enqueue_refused,
    "unique_plain_dup_overwrites_by_key": enqueue_unique_over_a_key,
    "fetch_": fetch,
    "fetch_poison_json": fetch_what_go_cannot_read,
    "fetch_args_array": fetch_what_go_cannot_read,
    "fetch_t_float": fetch_what_go_cannot_read,
    "process_": process,
    "requeue_": promote,
    "client_queues": list_queues,
    "client_retry_dead_job": requeue_one,
    "client_retry_all_dead": requeue_all,
    "client_delete_": delete,
    "client_pages": list_pages,
    "client_page_fractional_score": list_a_fractional_score,
    "client_worker_observations": list_workers,
    "heartbeat": enlist,
    "heartbeat_removed_on_stop": leave,
    "pool_start_writes": enlist,
    "observation_": observe,
    "live_pool_running": run_live,
    "live_pool_drained_stopped": drain_live,
    "reap_": reap,
    "reap_not_in_set": reap_a_list_of_nobody,
    "reap_live_but_late_pool_then_finish": reap_then_finish,
    "periodic_": schedule,
    "periodic_readded_after_move": schedule_after_the_move,
}
"""How the names of recordings begin -> how to do them again; the longest beginning counts."""
