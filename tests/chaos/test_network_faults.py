"""Twelve faults of the network, met by every kind of call: none hangs, none lies, and nothing is lost or doubled."""

from __future__ import annotations

import asyncio
import random
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from typing import NamedTuple

import pytest

import servers
from chaos.meeting import Met, meeting, repeated
from chaos.proxy import ON_CONNECTING, Fault, Proxy, our_scripts
from chaos.scale import FULL
from worksong.adapters import connect, connect_records
from worksong.adapters.gocraft import space as gocraft
from worksong.adapters.redis.backend import RedisBackend
from worksong.adapters.redis.client import Script
from worksong.adapters.resque import space as resque
from worksong.domain.errors import EnqueueOutcomeUnknown
from worksong.domain.job import Delivery, Job, new_id
from worksong.domain.lifecycle import State
from worksong.domain.outcome import Done, Outcome, Retried, Settlement
from worksong.domain.turns import Share
from worksong.ports.backend import Beat, Pool, Want, Window
from worksong.ports.records import RecordStore
from worksong.testing.contract.one_place import intake, records_of
from worksong.testing.contract.record_steps import new

TIMEOUT = 2.0 if FULL else 1.0
"""Seconds, of the address: what any command may take."""
SLACK = 0.1 * TIMEOUT if FULL else 60.0
"""Seconds beyond: 10 % by the promise; a loaded machine is given more."""
SEEDS = range(5 if FULL else 1)
LINE = frozenset({Fault.LATENCY, Fault.SLOW, Fault.SLICED})
"""Faults that a patient client does not even notice."""
T = 1_700_000_000.0
STORED = [state for state in State if state is not State.GONE]
BEATS = 5.0
"""Seconds between the beats of a gocraft/work pool."""

NAMES = our_scripts()
Places = Counter[tuple[State, str]]


class Stage:
    """One namespace, seen through the proxy by `us`, and as it is by `them`."""

    def __init__(
        self, us: RedisBackend, them: RedisBackend, records: tuple[RecordStore, RecordStore], chance: random.Random
    ) -> None:
        """`records`: of the same namespace, seen in both ways."""
        self.us, self.them, self.records, self.chance = us, them, records, chance
        self.jobs: list[Job] = []
        self.pool = Pool(id=new_id(), handlers=("a",), started_at=T)
        self.lent: list[Delivery] = []
        self.now = T

    def new_jobs(self, most: int = 5, **fields: object) -> list[Job]:
        self.jobs = [_job(n, **fields) for n in range(self.chance.randint(1, most))]
        return self.jobs

    async def lend(self, backend: RedisBackend) -> list[Delivery]:
        """Everything that waits."""
        return await backend.fetch(Want(self.pool.id, 100, 0.0, (Share("a", 100),)), self.now)

    async def places(self) -> Places:
        """Where every copy of every job is."""
        found: Places = Counter()
        for state in STORED:
            found.update((state, view.id) for view in await self.them.jobs(state, Window(limit=1000)))
        return found

    def all_in(self, state: State) -> Places:
        return Counter((state, job.id) for job in self.jobs)


class Format(NamedTuple):
    """One of those that are kept on Redis."""

    scheme: str
    scripts: Mapping[str, Script]
    """By what they are called in gocraft/work's format."""
    lacks: Collection[str] = ()
    """The kinds of calls that it refuses."""

    @property
    def name(self) -> str:
        """As certificates call it."""
        return f"`{self.scheme}://`, network and server"


FORMATS = {
    "gocraft": Format(
        "redis",
        {
            "push": gocraft.PUSH,
            "push_guarded": gocraft.PUSH_GUARDED,
            "fetch": gocraft.FETCH,
            "settle": gocraft.SETTLE,
            "move": gocraft.MOVE,
            "beat": gocraft.BEAT,
            "strike": gocraft.STRIKE,
            "record_push": gocraft.RECORD_PUSH,
        },
    ),
    "resque": Format(
        "resque+redis",
        {
            "push": resque.PUSH,
            "push_guarded": resque.PUSH,
            "fetch": resque.FETCH,
            "settle": resque.SETTLE,
            "move": resque.MOVE,
            "beat": resque.BEAT,
            "strike": resque.STRIKE,
        },
        lacks={"enqueue unique", "create"},
    ),
}


class Operation(NamedTuple):
    """A kind of call: what stands before it, the call, and what must be true when it is over and all is healed."""

    command: str
    """The script that is struck."""
    given: Callable[[Stage], Awaitable[None]]
    act: Callable[[Stage], Awaitable[None]]
    then: Callable[[Stage, Met, Fault], Awaitable[None]]


def _job(number: int, **fields: object) -> Job:
    return Job("a", {"n": number}, id=new_id(), enqueued_at=T, **fields)  # type: ignore[arg-type]


async def nothing(stage: Stage) -> None:
    """The namespace is empty."""


# enqueueing is never repeated by itself: its caller is told what is known


async def some_jobs(stage: Stage) -> None:
    stage.new_jobs()


async def enqueue(stage: Stage) -> None:
    await stage.us.push(stage.jobs, T)


async def they_are_there_once_or_not_at_all_and_who_enqueued_knows(stage: Stage, met: Met, fault: Fault) -> None:
    there = await stage.places()
    if met.error is None:
        assert there == stage.all_in(State.QUEUED)
    elif isinstance(met.error, EnqueueOutcomeUnknown):
        assert met.error.job_ids == tuple(job.id for job in stage.jobs)
        assert there in (stage.all_in(State.QUEUED), Counter())
    else:
        assert there == Counter(), f"said not to be enqueued, and it was: {met.error!r}"
    if fault in (Fault.CUT_AFTER, Fault.HALF_CLOSED, Fault.GARBAGE, Fault.STALLED):
        assert isinstance(met.error, EnqueueOutcomeUnknown)
        assert there == stage.all_in(State.QUEUED)


async def a_unique_job(stage: Stage) -> None:
    stage.new_jobs(most=1, unique="until_start")


async def one_of_its_kind_is_there_and_a_second_is_refused(stage: Stage, met: Met, fault: Fault) -> None:
    await they_are_there_once_or_not_at_all_and_who_enqueued_knows(stage, met, fault)
    there = await stage.places()
    (new,) = await stage.us.push([_job(0, unique="until_start")], T)
    assert new == (not there)
    assert (await stage.places()).total() == 1


async def enqueue_once(stage: Stage) -> None:
    await stage.us.push(stage.jobs, T, once=True)


async def repeated_it_is_there_once(stage: Stage, met: Met, fault: Fault) -> None:
    if isinstance(met.error, EnqueueOutcomeUnknown):
        assert set(met.error.job_ids) <= {job.id for job in stage.jobs}
    await repeated(enqueue_once, stage)
    assert await stage.places() == stage.all_in(State.QUEUED)


async def create(stage: Stage) -> None:
    """With a record of each."""
    changes = new(*records_of(stage.jobs))
    await intake(stage.us, stage.records[0], changes).push(stage.jobs, T, once=True)


async def they_are_there_with_their_records_or_not_at_all(stage: Stage, met: Met, fault: Fault) -> None:
    await they_are_there_once_or_not_at_all_and_who_enqueued_knows(stage, met, fault)
    there = bool(await stage.places())
    kept = await stage.records[1].read([record.ref for record in records_of(stage.jobs)])
    assert [record is not None for record in kept] == [there] * len(kept)


# fetching: what was lent in an answer that got lost is found by the pool's own beats


async def waiting_jobs(stage: Stage) -> None:
    await stage.them.push(stage.new_jobs(), T)
    await stage.us.enlist(stage.pool, T)


async def fetch(stage: Stage) -> None:
    stage.lent = await stage.lend(stage.us)


async def each_is_lent_to_somebody_who_knows(stage: Stage, met: Met, fault: Fault) -> None:
    held = stage.lent
    while len(held) < len(stage.jobs):
        await repeated(beat, stage)
        assert stage.now <= T + 2 * BEATS + 5.0, "two heartbeats and five seconds are over"
        held += await stage.lend(stage.us)
    assert Counter(delivery.job.id for delivery in held) == Counter(job.id for job in stage.jobs)
    assert await stage.us.settle([Settlement(delivery, Done()) for delivery in held], stage.now) == [True] * len(held)
    assert await stage.places() == Counter()


# endings are repeated until the server has answered, and happen once


async def lent_jobs(stage: Stage) -> None:
    await waiting_jobs(stage)
    stage.lent = await stage.lend(stage.us)


def settle(outcome: Outcome) -> Callable[[Stage], Awaitable[None]]:
    async def act(stage: Stage) -> None:
        await stage.us.settle([Settlement(delivery, outcome) for delivery in stage.lent], T)

    return act


def settled(outcome: Outcome, *, leaves: State | None) -> Callable[[Stage, Met, Fault], Awaitable[None]]:
    async def then(stage: Stage, met: Met, fault: Fault) -> None:
        if met.error:
            await repeated(settle(outcome), stage)
        assert await stage.places() == (stage.all_in(leaves) if leaves else Counter())
        assert await stage.lend(stage.us) == []
        assert [queue.running for queue in await stage.them.queues(T)] == [0]

    return then


# upkeep comes again by itself


async def beat(stage: Stage) -> None:
    stage.now += BEATS
    orders = await stage.us.beat(Beat(stage.pool, held=tuple(stage.lent)), stage.now)
    assert not orders.evicted
    assert orders.lost == ()


async def it_lives_and_holds_what_it_held(stage: Stage, met: Met, fault: Fault) -> None:
    for _ in range(3):
        await repeated(beat, stage)
    assert [pool.id for pool in await stage.them.pools()] == [stage.pool.id]
    assert await stage.places() == stage.all_in(State.RUNNING)


async def due_jobs(stage: Stage) -> None:
    await stage.us.enlist(stage.pool, T)
    await stage.them.push(stage.new_jobs(run_at=T + 1), T)


async def promote(stage: Stage) -> None:
    await stage.us.promote(T + 2, 100)


async def each_is_queued_once(stage: Stage, met: Met, fault: Fault) -> None:
    if met.error:
        await repeated(promote, stage)
    assert await stage.places() == stage.all_in(State.QUEUED)


async def a_dead_pool(stage: Stage) -> None:
    await stage.them.push(stage.new_jobs(), T)
    await stage.them.enlist(stage.pool, T)
    stage.lent = await stage.lend(stage.them)


async def reap(stage: Stage) -> None:
    await stage.us.reap(T, 0.0, dead=[stage.pool.id])


async def each_is_queued_once_and_the_pool_is_gone(stage: Stage, met: Met, fault: Fault) -> None:
    if met.error:
        await repeated(reap, stage)
    assert await stage.places() == stage.all_in(State.QUEUED)
    assert await stage.them.pools() == []
    assert [queue.running for queue in await stage.them.queues(T)] == [0]


OPERATIONS = {
    "enqueue": Operation("push", some_jobs, enqueue, they_are_there_once_or_not_at_all_and_who_enqueued_knows),
    "enqueue unique": Operation(
        "push_guarded", a_unique_job, enqueue, one_of_its_kind_is_there_and_a_second_is_refused
    ),
    "enqueue once": Operation("push_guarded", some_jobs, enqueue_once, repeated_it_is_there_once),
    "fetch": Operation("fetch", waiting_jobs, fetch, each_is_lent_to_somebody_who_knows),
    "ack": Operation("settle", lent_jobs, settle(Done()), settled(Done(), leaves=None)),
    "retry": Operation(
        "settle", lent_jobs, settle(Retried(T + 9, "no")), settled(Retried(T + 9, "no"), leaves=State.RETRY)
    ),
    "heartbeat": Operation("beat", lent_jobs, beat, it_lives_and_holds_what_it_held),
    "promote": Operation("move", due_jobs, promote, each_is_queued_once),
    "reap": Operation("settle", a_dead_pool, reap, each_is_queued_once_and_the_pool_is_gone),
    "create": Operation("record_push", some_jobs, create, they_are_there_with_their_records_or_not_at_all),
}


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("format_", "name"),
    [
        pytest.param(format_, name, id=f"{key}-{name}")
        for key, format_ in FORMATS.items()
        for name in OPERATIONS
        if name not in format_.lacks and (FULL or key == "gocraft")
    ],
)
async def test_every_fault_leaves_it_done_once_or_told(
    format_: Format, name: str, redis_server: servers.Redis, certify: Callable[..., None]
) -> None:
    operation, slowest, slowest_heal = OPERATIONS[name], 0.0, 0.0
    faults = list(Fault) if FULL else list(Fault)[list(OPERATIONS).index(name) % 3 :: 3]
    for fault in faults:
        for seed in SEEDS:
            async with staged(redis_server, format_, seed) as (stage, proxy):
                # Given what the call needs, and a fault that waits for it
                await operation.given(stage)
                proxy.strike(f"EVALSHA:{NAMES[format_.scripts[operation.command].sha1]}", fault)
                if fault in ON_CONNECTING:
                    slowest = max(slowest, await until_one_is_refused(stage, proxy))
                # When it is made
                met = await meeting(operation.act, stage)
                # Then it has not hung, and after the fault is healed
                about = f"{name}, {fault.name}, seed {seed}: {met}"
                print(about)
                assert proxy.struck.total() or proxy.refused, about
                assert max(met.seconds, slowest) <= TIMEOUT + SLACK, about
                if fault in LINE:
                    assert not FULL or met.error is None, about
                else:
                    assert met.error is not None, about
                proxy.heal()
                healed = await repeated(lambda stage: stage.us.counts(), stage)
                # it is done once, or its caller knows
                await operation.then(stage, met, fault)
                slowest, slowest_heal = max(slowest, met.seconds), max(slowest_heal, healed)
    certify(
        f"C2 {name}",
        faults=len(faults),
        seeds=len(SEEDS),
        lost=0,
        second_copies=0,
        backend=format_.name,
        longest_call=slowest,
        command_timeout=TIMEOUT,
        longest_until_healthy=slowest_heal,
    )


@asynccontextmanager
async def staged(server: servers.Redis, format_: Format, seed: int) -> AsyncIterator[tuple[Stage, Proxy]]:
    """A namespace of its own, with the scripts known and both connected."""
    namespace = f"chaos-{uuid.uuid4().hex}"
    with Proxy(server.port, seed=seed) as proxy:
        us, them = (
            _opened(format_, port, f"namespace={namespace}{more}")
            for port, more in ((proxy.port, f"&timeout={TIMEOUT}"), (server.port, ""))
        )
        ours, theirs = (
            connect_records(f"redis://127.0.0.1:{port}/0", namespace=namespace) for port in (proxy.port, server.port)
        )
        try:
            for script in format_.scripts.values():
                await them._space.call("SCRIPT", "LOAD", script.text)
            await us.counts()
            yield Stage(us, them, (ours, theirs), random.Random(seed)), proxy
        finally:
            proxy.heal()
            await us.close()
            await them.erase()
            await them.close()
            await ours.close()
            await theirs.close()


def _opened(format_: Format, port: int, options: str) -> RedisBackend:
    backend = connect(f"{format_.scheme}://127.0.0.1:{port}/0?{options}", namespace="")
    assert isinstance(backend, RedisBackend)
    return backend


async def until_one_is_refused(stage: Stage, proxy: Proxy) -> float:
    """Call until somebody tried to connect in vain; how long the longest call took."""
    longest = 0.0
    while not proxy.refused:
        longest = max(longest, (await meeting(lambda stage: stage.us.counts(), stage)).seconds)
        await asyncio.sleep(0.01)
    return longest
