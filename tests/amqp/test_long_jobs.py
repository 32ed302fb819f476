"""Jobs that run longer than the server leaves a delivery with anybody: they get a fresh one in time, and run once."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from amqp.server import connected
from amqp.stage import LIMIT, PATIENT, awaited
from patience import auntil
from worksong.adapters.amqp import AmqpBackend
from worksong.adapters.amqp.address import Address
from worksong.adapters.amqp.channel import Watch
from worksong.adapters.amqp.core import Core
from worksong.adapters.amqp.held import Held
from worksong.adapters.amqp.names import Names
from worksong.adapters.amqp.publisher import Outgoing, Unconfirmed
from worksong.domain.errors import BackendFull
from worksong.domain.job import Delivery, new_id
from worksong.domain.lifecycle import State
from worksong.domain.outcome import Buried, Discarded, Done, Outcome, Released, Retried, Settlement, Snoozed
from worksong.domain.turns import Share
from worksong.ports.backend import Beat, Orders, Pool, Want
from worksong.testing.contract.steps import T, a_job, beat, die, fetch, join, lend, push, settle, some_jobs

pytestmark = pytest.mark.timeout(LIMIT)
LATER = 15 * 86_400.0


class Patient(AmqpBackend):
    """A copy that is slow to come is waited for."""

    hold_for = 120_000

    def _names(self, address: Address) -> Names:
        return Names(address.namespace, quorum=address.quorum, hold_for=self.hold_for)


class Hasty(Patient):
    """A copy that its worker does not hold goes back after a second, so that no test has to wait for long."""

    hold_for = 1000


@pytest.fixture(params=["classic", "quorum"])
def url(request: pytest.FixtureRequest, rabbitmq_url: str) -> str:
    return f"{rabbitmq_url}?namespace={new_id()}&queue_type={request.param}&{PATIENT}"


@pytest.fixture
async def backend(url: str) -> AsyncIterator[Patient]:
    backend = Patient(url)
    try:
        yield backend
    finally:
        await backend.close()


@pytest.fixture
async def hasty(url: str) -> AsyncIterator[Hasty]:
    backend = Hasty(url)
    try:
        yield backend
    finally:
        await backend.close()


async def held(backend: Patient, delivery: Delivery) -> Held:
    """What the process has of the job just now."""

    async def look(core: Core) -> Held:
        return core.lendings._lent[delivery.fence].held

    return await backend._do(look)


async def grow_old(backend: Patient, pool: Pool) -> None:
    """All that the pool has came long ago."""

    async def turn(core: Core) -> None:
        lendings = core.lendings
        lendings._holds._rests_until = 0.0
        for fence, lent in lendings._lent.items():
            if lent.pool == pool.id:
                lendings._lent[fence] = lent._replace(held=lent.held._replace(since=-math.inf))
        for waiting in lendings.members[pool.id].tap._buffer.values():
            for place, one in enumerate(waiting):
                waiting[place] = one._replace(since=-math.inf)

    await backend._do(turn)


async def exchanged(backend: Patient, pool: Pool, *deliveries: Delivery) -> Held:
    """The fresh delivery of jobs whose last ones have grown old; of several the oldest."""

    async def tried() -> Held:
        await grow_old(backend, pool)
        assert (await beat(backend, pool, *deliveries)).lost == ()
        await errands_done(backend)
        return min([await held(backend, one) for one in deliveries], key=lambda found: found.since)

    return await auntil(tried, "a fresh delivery", met=lambda now: now.since > -math.inf)


async def errands_done(backend: Patient) -> None:
    async def wait(core: Core) -> None:
        if core.lendings._errands:
            await asyncio.wait(core.lendings._errands)

    await backend._do(wait)


async def places(backend: Patient, *holds: str) -> dict[str, int]:
    """How many messages are where, when the server has back all that its worker had not ended."""

    def look() -> dict[str, int]:
        url, names = f"amqp://guest:guest@{host}:{port}/", backend._queues
        found = {
            "wait": names.queue("send"),
            "dead": names.dead("send"),
            "later": names.delay("send", names.rung(LATER)),
        }
        found |= {hold: hold for hold in holds}
        with connected(url) as channel:
            return {place: count for place, queue in found.items() if (count := _count(channel, queue))}

    host, port = backend._address.nodes[0]
    return await asyncio.to_thread(look)


def _count(channel: Any, queue: str) -> int:
    look = channel.connection.channel()
    try:
        declared = look.queue_declare(queue, passive=True)
    except Exception as missing:
        assert "404" in str(missing), missing
        return 0
    look.close()
    return int(declared.method.message_count)


async def test_a_job_that_runs_for_long_gets_a_fresh_delivery_again_and_again(backend: Patient) -> None:
    # Given a job that runs, with what others wrote beside it
    pool, running = await lend(backend, a_job(meta={"trace": "abc"}, attempt=3, error="boom", failed_at=T - 9))
    first = await held(backend, running)
    # When its delivery has grown old twice
    second = await exchanged(backend, pool, running)
    third = await exchanged(backend, pool, running)
    # Then each time there is another one, from a queue of the channel's own, and the job is the same
    assert len({one.delivered.tag for one in (first, second, third)}) == 3
    assert not first.hold
    assert second.hold == third.hold
    # And nobody else can have it, and its ending is its ending
    await errands_done(backend)
    assert await places(backend, third.hold) == {}
    assert await settle(backend, running)
    await backend.leave(pool, T)
    assert await places(backend, third.hold) == {}


@pytest.mark.parametrize(
    ("outcome", "place"),
    [
        (Done(), {}),
        (Discarded("no"), {}),
        (Retried(T + LATER, "no"), {"later": 1}),
        (Snoozed(T + LATER), {"later": 1}),
        (Buried("no more"), {"dead": 1}),
        (Released(), {"wait": 1}),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_every_ending_of_a_long_job_is_one_place(
    backend: Patient, outcome: Outcome, place: dict[str, int]
) -> None:
    # Given a job that has run for long
    pool, running = await lend(backend)
    hold = (await exchanged(backend, pool, running)).hold
    # When it ends, also while it is exchanged once more
    await grow_old(backend, pool)

    async def end(core: Core) -> list[bool]:
        core.lendings.freshen(pool.id, T)
        return await core.lendings.settle([Settlement(running, outcome)], T)

    assert await backend._do(end) == [True]
    await errands_done(backend)
    # Then it is in one place, and no copy of it is left anywhere
    await backend.leave(pool, T)
    await auntil(lambda: places(backend, hold), "its place", met=lambda found: found == place)


async def test_the_long_job_of_a_worker_that_died_runs_again(hasty: Hasty) -> None:
    # Given a job that has run for long, and failed before
    pool, running = await lend(hasty, a_job(attempt=2, error="boom", failed_at=T - 9))
    await exchanged(hasty, pool, running)
    # When its worker is no more
    await die(hasty, pool)
    # Then it is lent to another one, as it was
    other, again = await join(hasty), list[Delivery]()
    while not again:
        again = await fetch(hasty, other, wait=1.0)
    assert (again[0].job.id, again[0].job.args) == (running.job.id, running.job.args)
    assert (again[0].job.attempt, again[0].job.error, again[0].job.failed_at) == (2, "boom", T - 9)
    # And what the dead one says of it does not count
    assert not await settle(hasty, running)
    assert await settle(hasty, again[0])


async def test_a_long_job_that_its_worker_lost_track_of_goes_back(backend: Patient) -> None:
    # Given a job that has run for long
    pool, running = await lend(backend)
    await exchanged(backend, pool, running)
    # When two beats know nothing of it
    for _ in range(2):
        await beat(backend, pool)

    # Then it waits in its queue
    async def back() -> bool:
        return (await backend.counts())[State.QUEUED] == 1

    await awaited(back, "the job's return")
    assert not await settle(backend, running)


async def test_what_waits_here_for_a_slot_for_too_long_goes_back(backend: Patient) -> None:
    # Given a pool with four slots that has four jobs, one of which runs
    pool = Pool(id=new_id(), handlers=("send",), concurrency=4, started_at=T)
    await backend.enlist(pool, T)
    jobs = some_jobs(4)
    await push(backend, *jobs)
    (first,) = await fetch(backend, pool, 1, wait=60.0)
    ran = [first.job.id]
    # When the others have waited for long
    await grow_old(backend, pool)
    await beat(backend, pool, first)
    await errands_done(backend)
    # Then they went back and came again, and each of them runs once
    assert await settle(backend, first)
    while len(ran) < len(jobs):
        for delivery in await fetch(backend, pool, 4, wait=1.0):
            assert await settle(backend, delivery)
            ran.append(delivery.job.id)
    assert sorted(ran) == sorted(job.id for job in jobs)
    await backend.leave(pool, T)
    assert await places(backend) == {}


async def test_where_no_copy_can_be_made_the_old_delivery_stays(
    backend: Patient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    # Given a job that runs, and a server that takes nothing in
    pool, running = await lend(backend)
    first = await held(backend, running)

    async def full(*_: object) -> None:
        raise BackendFull("no memory")

    with monkeypatch.context() as patched:
        await backend._do(lambda core: _patch(core, patched, full))
        # When its delivery has grown old
        await grow_old(backend, pool)
        await beat(backend, pool, running)
        await errands_done(backend)
    # Then the log says what keeps it from a fresh one, and the old one is the one that counts
    assert "got no fresh delivery" in caplog.text
    assert "no memory; next try in 90.0 s" in caplog.text
    assert (await held(backend, running)).delivered.tag == first.delivered.tag
    # And it is not tried again at every beat
    await beat(backend, pool, running)
    await errands_done(backend)
    assert (await held(backend, running)).delivered.tag == first.delivered.tag
    assert await settle(backend, running)


async def _patch(core: Core, patched: pytest.MonkeyPatch, publish: object) -> None:
    patched.setattr(core.publisher, "publish", publish)


async def test_a_deleted_hold_is_made_anew(hasty: Hasty) -> None:
    # Given a job that has run for long
    pool, running = await lend(hasty)
    first = await exchanged(hasty, pool, running)

    # When somebody deletes the queue that holds it
    def delete() -> None:
        host, port = hasty._address.nodes[0]
        with connected(f"amqp://guest:guest@{host}:{port}/") as channel:
            channel.queue_delete(first.hold)

    await asyncio.to_thread(delete)

    # Then the next beats see to another one
    async def moved() -> bool:
        await beat(hasty, pool, running)
        return (await held(hasty, running)).hold not in ("", first.hold)

    await awaited(moved, "another hold")
    # And the job is the server's again when its worker is no more
    await die(hasty, pool)
    await auntil(lambda: places(hasty), "the job's return", met=lambda found: "wait" in found)


async def test_a_long_job_that_cannot_be_published_goes_back_all_the_same(
    backend: Patient, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a job that has run for long, and a server that takes nothing in
    pool, running = await lend(backend)
    one = await exchanged(backend, pool, running)

    async def full(*_: object) -> None:
        raise BackendFull("no memory")

    with monkeypatch.context() as patched:
        await backend._do(lambda core: _patch(core, patched, full))
        # When two beats know nothing of it
        for _ in range(2):
            await beat(backend, pool)
        await errands_done(backend)

    # Then it waits in its queue, and is not dropped as a copy that nobody waits for
    await auntil(lambda: places(backend, one.hold), "its return", met=lambda found: found == {"wait": 1})
    await backend.leave(pool, T)
    assert await places(backend, one.hold) == {"wait": 1}


async def test_what_a_hold_delivers_again_by_itself_is_not_dropped(backend: Patient) -> None:
    # Given a job that has run for long
    pool, running = await lend(backend)
    one = await exchanged(backend, pool, running)

    # When the server takes its delivery back and sends it again, as when a queue moves to another node
    async def recover(_: Core) -> None:
        one.channel.requeue(one.delivered.tag)

    await backend._do(recover)
    # Then it waits in its queue, since nobody else may hold it
    await auntil(lambda: places(backend, one.hold), "its return", met=lambda found: found == {"wait": 1})


async def test_a_copy_that_was_given_up_is_dropped(backend: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a job that runs
    pool, running = await lend(backend)
    first = await exchanged(backend, pool, running)

    async def unsure(core: Core) -> None:
        publish, written = core.publisher.publish, list[Outgoing]()

        async def late(messages: Sequence[Outgoing]) -> None:
            written.extend(messages)
            raise Unconfirmed("no confirmation came")

        with monkeypatch.context() as patched:
            patched.setattr(core.publisher, "publish", late)
            core.lendings.freshen(pool.id, T)
            await asyncio.wait(core.lendings._errands)
        assert len(written) == 1
        await publish(written)

    # When its copy comes after it was given up
    await grow_old(backend, pool)
    await backend._do(unsure)
    # Then the old delivery is what counts, and no other one is left
    now = await held(backend, running)
    assert now.delivered.tag == first.delivered.tag

    async def at_rest(core: Core) -> list[int]:
        return list(core.lendings.members[pool.id].tap._unended)

    await auntil(lambda: backend._do(at_rest), "the copy's end", met=lambda tags: tags == [now.delivered.tag])
    await auntil(lambda: _seen(backend, now), "the copy", met=lambda tag: tag > now.delivered.tag)
    assert await settle(backend, running)
    await backend.leave(pool, T)
    assert await places(backend, now.hold) == {}


async def _seen(backend: Patient, held: Held) -> int:
    """The tag of the latest delivery that came."""

    async def look(_: Core) -> int:
        return held.channel._latest

    return await backend._do(look)


@pytest.mark.parametrize("when", ["before", "after"])
async def test_the_ending_of_long_jobs_spares_one_that_is_on_its_way(backend: Patient, when: str) -> None:
    # Given four jobs that have run for long, and another one that waits
    pool = Pool(id=new_id(), handlers=("send",), concurrency=8, started_at=T)
    await backend.enlist(pool, T)
    jobs = some_jobs(5)
    await push(backend, *jobs[:4])
    long = list[Delivery]()
    while len(long) < 4:
        long += await fetch(backend, pool, 4 - len(long))
    await exchanged(backend, pool, *long)
    await push(backend, jobs[4])
    await grow_old(backend, pool)

    # When it is delivered, then the four are exchanged and end, and its fetch hears of it before that or after
    async def scene(core: Core) -> list[Delivery]:
        channel = await core.lendings.members[pool.id].tap.ready()
        slow = Slow(channel._link)
        channel._link = slow
        fetching = asyncio.ensure_future(core.lendings.fetch(Want(pool.id, 1, 0.0, (Share("send", 1),)), T))
        await slow.came.wait()
        core.lendings.freshen(pool.id, T)
        while core.lendings._errands:
            await asyncio.wait(core.lendings._errands)
        if when == "before":
            slow.told.set()
            await fetching
        assert all(await core.lendings.settle([Settlement(one, Done()) for one in long], T))
        slow.told.set()
        return await fetching

    (short,) = await backend._do(scene)
    assert short.job.id == jobs[4].id
    # And its worker dies
    await die(backend, pool)
    # Then that one is the server's again
    await auntil(lambda: places(backend), "the job's return", met=lambda found: found == {"wait": 1})


class Slow:
    """A link over which answers come, and are read later."""

    def __init__(self, link: Watch) -> None:
        self._link = link
        self.came, self.told = asyncio.Event(), asyncio.Event()

    async def in_time(self, answer: asyncio.Future[Any]) -> Any:
        found = await self._link.in_time(answer)
        self.came.set()
        await self.told.wait()
        return found


async def test_a_pool_that_is_struck_off_during_its_beat_hears_so(
    backend: Patient, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a pool with a job
    pool, running = await lend(backend)

    async def struck_off(core: Core) -> Orders:
        async def reaped() -> None:
            await core.lendings.dismiss(pool.id)

        # When it is taken for dead while its beat waits for the server
        with monkeypatch.context() as patched:
            patched.setattr(core.roster, "open", reaped)
            return await core.beat(Beat(pool, held=(running,)), T)

    # Then the beat says so
    orders = await backend._do(struck_off)
    assert (orders.evicted, orders.lost) == (True, (running,))
