"""C2 on RabbitMQ: twelve faults of the network, met by every kind of call; none hangs or lies, and nothing is lost."""

from __future__ import annotations

import asyncio
import math
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

import servers
from amqp.server import connected
from chaos.certificates import Certify
from chaos.meeting import Met, repeated
from chaos.proxy import Fault
from chaos.proxy_amqp import AmqpProxy
from chaos.scale import FULL
from chaos.test_network_faults import LINE
from chaos.theatre_rabbitmq import delete, in_hands
from chaos.trial import CARRIED_OUT, TIMEOUT, Operation, stood
from patience import auntil
from worksong.adapters.amqp import AmqpBackend
from worksong.adapters.amqp.core import Core
from worksong.domain.errors import BackendUnavailable, EnqueueOutcomeUnknown
from worksong.domain.job import Delivery, Job, new_id
from worksong.domain.outcome import Done, Outcome, Retried, Settlement
from worksong.domain.turns import Share
from worksong.ports.backend import Beat, Pool, Want
from worksong.testing.contract.steps import T, a_job

LATER = 15 * 86_400.0
"""Seconds: no delay queue that is used for it comes to its end while a test runs."""
pytestmark = pytest.mark.timeout(900)
Places = Counter[tuple[str, str]]


class Stage:
    """One namespace: `us` works through the proxy, and the server itself is asked where everything is."""

    def __init__(self, us: AmqpBackend, server: servers.Broker, namespace: str, chance: random.Random) -> None:
        self.us, self._server, self._namespace, self.chance = us, server, namespace, chance
        self.pool = Pool(id=new_id(), handlers=("a",), started_at=T, concurrency=5)
        self.jobs: list[Job] = []
        self.lent: list[Delivery] = []

    def new_jobs(self, **fields: object) -> list[Job]:
        self.jobs = [a_job("a", **fields) for _ in range(self.chance.randint(1, 4))]
        return self.jobs

    async def lend(self, *, wait: float = 0.0) -> list[Delivery]:
        """Up to five that wait."""
        return await self.us.fetch(Want(self.pool.id, 5, wait, (Share("a", 5),)), T)

    async def in_hands(self) -> int:
        """How many jobs the server counts as lent."""
        return await asyncio.to_thread(in_hands, self._server, self._namespace)

    async def places(self) -> Places:
        """Queue and id of every message that nobody holds."""
        return await asyncio.to_thread(self._places)

    def _places(self) -> Places:
        found: Places = Counter()
        with connected(self._server.url) as channel:
            for queue in ("a", f"a.delay.{25 << 25}", "a.dead"):
                look = channel.connection.channel()
                try:
                    look.queue_declare(f"{self._namespace}.{queue}", passive=True)
                except Exception as missing:
                    assert "404" in str(missing), missing
                    continue
                while True:
                    method, properties, _ = look.basic_get(f"{self._namespace}.{queue}")
                    if method is None:
                        break
                    found[queue.partition(".")[2][:5] or "wait", properties.message_id] += 1
                look.close()
        return found

    def all_in(self, place: str) -> Places:
        return Counter((place, job.id) for job in self.jobs)


# enqueueing is never repeated by itself: its caller is told what is known


async def some_jobs(stage: Stage) -> None:
    stage.new_jobs()
    await stage.us.push([a_job("a")], T)  # its queue is there, and the channel is open
    await stage.us.enlist(stage.pool, T)
    await stage.us._do(_errands_done)
    await lent(stage, 1, end=True)
    assert await stage.lend() == []  # answered, and so is what was said before it


async def _errands_done(core: Core) -> None:
    """What is published beside the jobs is not to meet the fault."""
    if core._errands:
        await asyncio.wait(core._errands)


async def jobs_for_later(stage: Stage) -> None:
    await some_jobs(stage)
    stage.new_jobs(run_at=T + LATER)


async def enqueue(stage: Stage) -> None:
    await stage.us.push(stage.jobs, T)


def each_is_there_once_or_not_at_all(place: str) -> Callable[[Stage, Met, Fault], Awaitable[None]]:
    async def then(stage: Stage, met: Met, fault: Fault) -> None:
        there = await stage.places()
        if met.error is None:
            assert there == stage.all_in(place)
        elif isinstance(met.error, EnqueueOutcomeUnknown):
            assert met.error.job_ids == tuple(job.id for job in stage.jobs)
            assert there <= stage.all_in(place)
        else:
            assert there == Counter(), f"said not to be enqueued, and it was: {met.error!r}"
        if fault in CARRIED_OUT:
            assert isinstance(met.error, EnqueueOutcomeUnknown)

    return then


# what is lent and not ended goes back when the connection is gone


async def waiting_jobs(stage: Stage) -> None:
    await some_jobs(stage)
    await stage.us.push(stage.jobs, T)


async def fetch(stage: Stage) -> None:
    stage.lent = await stage.lend()


async def fetch_and_wait(stage: Stage) -> None:
    stage.lent = await stage.lend(wait=TIMEOUT / 2)
    if not stage.lent:  # as by a server that says nothing: it is asked something else
        await stage.us.pools()


async def each_is_lent_once_more(stage: Stage, met: Met, fault: Fault) -> None:
    mine = await kept(stage, stage.lent)
    left = {job.id for job in stage.jobs} - {one.job.id for one in mine}
    assert {one.job.id for one in await lent(stage, len(left), end=True)} == left
    assert await stage.places() == Counter()


async def lent_jobs(stage: Stage) -> None:
    await waiting_jobs(stage)
    stage.lent = await lent(stage, len(stage.jobs))


async def end(stage: Stage) -> None:
    """An acknowledgement has no answer: what is asked after it on the same channel has one."""
    await stage.us.settle([Settlement(one, Done()) for one in stage.lent], T)
    await stage.lend()


async def each_is_gone_or_waits_again(stage: Stage, met: Met, fault: Fault) -> None:
    await settled_down(stage)
    assert await stage.places() <= stage.all_in("wait")
    if fault in LINE or fault in CARRIED_OUT:
        assert await stage.places() == Counter()


def settle(outcome: Outcome) -> Callable[[Stage], Awaitable[None]]:
    async def act(stage: Stage) -> None:
        await stage.us.settle([Settlement(one, outcome) for one in stage.lent], T)

    return act


async def none_is_lost_and_a_copy_is_told(stage: Stage, met: Met, fault: Fault) -> None:
    if met.error:
        await repeated(settle(Retried(T + LATER, "no")), stage)
    await settled_down(stage)
    there = await stage.places()
    copies = Counter(job for _, job in there.elements())
    assert set(copies) == {job.id for job in stage.jobs}
    most = 2 if fault in CARRIED_OUT or fault is Fault.CUT_BEFORE else 1
    assert max(copies.values()) <= most, there


async def exchange(stage: Stage) -> None:
    """All that is lent has run for long."""

    async def grow_old(core: Core) -> None:
        for fence, lent in core.lendings._lent.items():
            core.lendings._lent[fence] = lent._replace(held=lent.held._replace(since=-math.inf))

    async def exchanged(core: Core) -> None:
        if core.lendings._errands:
            await asyncio.wait(core.lendings._errands)

    await stage.us._do(grow_old)
    await stage.us.beat(Beat(stage.pool, held=tuple(stage.lent)), T)
    await stage.us._do(exchanged)


async def each_waits_again_and_was_doubled_at_most(stage: Stage, met: Met, fault: Fault) -> None:
    """What a hold has falls back into its queue."""
    await settled_down(stage)
    there = await auntil(stage.places, "all that were lent", met=lambda there: set(there) >= set(stage.all_in("wait")))
    assert max(there.values()) <= 2, there


OPERATIONS: dict[str, Operation[Stage]] = {
    "enqueue": Operation("basic.publish", some_jobs, enqueue, each_is_there_once_or_not_at_all("wait")),
    "enqueue later": Operation("basic.publish", jobs_for_later, enqueue, each_is_there_once_or_not_at_all("delay")),
    "fetch": Operation("basic.get", waiting_jobs, fetch, each_is_lent_once_more),
    "consume": Operation("basic.consume", waiting_jobs, fetch_and_wait, each_is_lent_once_more),
    "ack": Operation("basic.ack", lent_jobs, end, each_is_gone_or_waits_again),
    "retry": Operation("basic.publish", lent_jobs, settle(Retried(T + LATER, "no")), none_is_lost_and_a_copy_is_told),
    "exchange": Operation("basic.publish", lent_jobs, exchange, each_waits_again_and_was_doubled_at_most),
}
IN_THE_SMALL = {"retry": Fault.CUT_AFTER}


@pytest.mark.parametrize("name", OPERATIONS if FULL else IN_THE_SMALL)
async def test_every_fault_leaves_it_done_once_or_told(
    name: str, rabbitmq_server: servers.Broker, certify: Certify
) -> None:
    figures = await stood(
        name,
        OPERATIONS[name],
        list(Fault) if FULL else [IN_THE_SMALL[name]],
        staged=lambda seed: staged(rabbitmq_server, seed),
        healthy=lambda stage: stage.us.promote(T, 1),
    )
    certify(
        f"C2 {name}",
        backend="`amqp://`, network and server",
        versions=f"RabbitMQ {rabbitmq_server.ask('rabbit_misc:version()')}",
        **figures,
        **({} if name == "exchange" else {"second_copies_unsaid": 0}),  # of that one the log tells, and the guide
    )


@asynccontextmanager
async def staged(server: servers.Broker, seed: int) -> AsyncIterator[tuple[Stage, AmqpProxy]]:
    """A namespace of its own, gone afterwards."""
    namespace = f"chaos_{new_id()}"
    with AmqpProxy(server.port, seed=seed) as proxy:
        us = AmqpBackend(f"amqp://guest:guest@127.0.0.1:{proxy.port}/?namespace={namespace}&timeout={TIMEOUT}")
        us._queues.hold_for = 2000  # milliseconds until what a hold has left falls back
        try:
            yield Stage(us, server, namespace, random.Random(seed)), proxy
        finally:
            proxy.heal()
            try:
                await us.close()
            finally:
                await asyncio.to_thread(delete, server, namespace)


async def lent(stage: Stage, count: int, *, end: bool = False) -> list[Delivery]:
    """Fetch until so many came, as an engine does; `end`: and end each of them."""
    found: list[Delivery] = []

    async def enough() -> bool:
        try:
            new = await stage.lend() if len(found) < count else []
        except BackendUnavailable:
            return False
        found.extend(await kept(stage, new) if end else new)
        return len(found) >= count

    await auntil(enough, lambda _: f"{count} jobs; {len(found)} came")
    return found


async def kept(stage: Stage, lent: list[Delivery]) -> list[Delivery]:
    """End them; answers those that were still ours."""
    held: list[bool] = []

    async def end(stage: Stage) -> None:
        held[:] = await stage.us.settle([Settlement(one, Done()) for one in lent], T)

    await repeated(end, stage)
    return [one for one, mine in zip(lent, held, strict=True) if mine]


async def settled_down(stage: Stage) -> None:
    """The pool leaves, and the server has back whatever was not ended."""
    await repeated(lambda stage: stage.us.leave(stage.pool, T), stage)
    await auntil(stage.in_hands, met=lambda count: count == 0)
