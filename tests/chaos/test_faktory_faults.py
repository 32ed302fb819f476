"""C2 on Faktory: twelve faults of the network, met by every kind of call; none hangs or lies, and nothing is lost."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from chaos.certificates import Certify
from chaos.meeting import Met, repeated
from chaos.proxy import Fault
from chaos.proxy_faktory import FaktoryProxy
from chaos.scale import FULL
from chaos.theatre_faktory import FaktoryTheatre
from chaos.trial import CARRIED_OUT, TIMEOUT, Operation, stood
from gotool import BUILT
from patience import PATIENCE
from worksong.adapters.faktory import FaktoryBackend
from worksong.domain.errors import EnqueueOutcomeUnknown
from worksong.domain.job import Delivery, Job, new_id
from worksong.domain.outcome import Done, Outcome, Retried, Settlement, Snoozed
from worksong.domain.turns import Share
from worksong.ports.backend import Beat, Pool, Want
from worksong.testing.contract.steps import a_job

BEATS = 60.0
"""Seconds after which a pool has surely to beat again."""
LATER = 86_400.0
pytestmark = pytest.mark.timeout(BUILT + 900)


class Stage:
    """One server: `us` works through the proxy, and what the server keeps is looked at past it."""

    def __init__(self, us: Callable[[Callable[[], float]], FaktoryBackend], theatre: FaktoryTheatre, seed: int) -> None:
        self.us, self.theatre, self.chance = us(lambda: time.monotonic() + self._ahead), theatre, random.Random(seed)
        self.pool = Pool(id=new_id(), handlers=("a",), started_at=time.time(), concurrency=5)
        self.jobs: list[Job] = []
        self.lent: list[Delivery] = []
        self._ahead = 0.0

    async def lend(self) -> list[Delivery]:
        """Up to five; a FETCH that is not answered goes on behind it."""
        want = Want(self.pool.id, 5, 0.2, (Share("a", 5),), None)
        return await self.us.fetch(want, time.time())

    async def settle(self, outcome: Outcome, lent: list[Delivery]) -> list[bool]:
        return await self.us.settle([Settlement(one, outcome) for one in lent], time.time())

    async def beat(self) -> None:
        """When it is time for one."""
        self._ahead += BEATS
        orders = await self.us.beat(Beat(self.pool, held=tuple(self.lent)), time.time())
        assert not orders.lost

    def all_in(self, place: str) -> Counter[tuple[str, str]]:
        return Counter((place, job.id) for job in self.jobs)

    @property
    def places(self) -> Counter[tuple[str, str]]:
        """Where every copy of every job is."""
        return self.theatre.places({job.id for job in self.jobs})


async def some_jobs(stage: Stage) -> None:
    await stage.us.counts()  # connected
    stage.jobs = [a_job("a", enqueued_at=time.time()) for _ in range(stage.chance.randint(1, 5))]


async def enqueue(stage: Stage) -> None:
    await stage.us.push(stage.jobs, time.time())


async def they_are_there_once_or_not_at_all_and_who_enqueued_knows(stage: Stage, met: Met, fault: Fault) -> None:
    there = stage.places
    if met.error is None:
        assert there == stage.all_in("queue")
    elif isinstance(met.error, EnqueueOutcomeUnknown):
        assert set(met.error.job_ids) <= {job.id for job in stage.jobs}
        assert there <= stage.all_in("queue")
    else:
        assert there == Counter(), f"said not to be enqueued, and it was: {met.error!r}"
    if fault in CARRIED_OUT:
        assert isinstance(met.error, EnqueueOutcomeUnknown)
        assert there == stage.all_in("queue")


async def waiting_jobs(stage: Stage) -> None:
    await some_jobs(stage)
    await enqueue(stage)
    await stage.us.enlist(stage.pool, time.time())


async def fetch(stage: Stage) -> None:
    stage.lent = await stage.lend()


async def each_comes_back_until_it_is_done(stage: Stage, met: Met, fault: Fault) -> None:
    async with asyncio.timeout(PATIENCE):
        while stage.places:
            await repeated(end(Done), stage)
            await repeated(fetch, stage)
            if not stage.lent:
                stage.theatre.expire()  # what was lent to nobody


async def lent_jobs(stage: Stage) -> None:
    await waiting_jobs(stage)
    async with asyncio.timeout(PATIENCE):
        while len(stage.lent) < len(stage.jobs):
            stage.lent += await stage.lend()


def end(outcome: Callable[[], Outcome]) -> Callable[[Stage], Awaitable[None]]:
    async def act(stage: Stage) -> None:
        await stage.settle(outcome(), stage.lent)

    return act


def each_is(place: str, outcome: Callable[[], Outcome], *, copies: int = 1) -> Callable[..., Awaitable[None]]:
    async def then(stage: Stage, met: Met, fault: Fault) -> None:
        if met.error:
            await repeated(end(outcome), stage)
        there = stage.places
        if not place:
            assert there == Counter()
            return
        assert set(there) == set(stage.all_in(place))
        assert max(there.values()) <= copies

    return then


async def beat(stage: Stage) -> None:
    await stage.beat()


async def it_lives_and_holds_what_it_held(stage: Stage, met: Met, fault: Fault) -> None:
    await repeated(beat, stage)
    assert stage.places == stage.all_in("working")


def failed() -> Outcome:
    return Retried(time.time() + 20.0, "no", usual=True)


def put_off() -> Outcome:
    return Snoozed(time.time() + LATER)


OPERATIONS: dict[str, Operation[Stage]] = {
    "enqueue": Operation("PUSHB", some_jobs, enqueue, they_are_there_once_or_not_at_all_and_who_enqueued_knows),
    "fetch": Operation("FETCH", waiting_jobs, fetch, each_comes_back_until_it_is_done),
    "ack": Operation("ACK", lent_jobs, end(Done), each_is("", Done)),
    "retry": Operation("FAIL", lent_jobs, end(failed), each_is("retries", failed)),
    "snooze": Operation("PUSHB", lent_jobs, end(put_off), each_is("scheduled", put_off)),
    "heartbeat": Operation("BEAT", lent_jobs, beat, it_lives_and_holds_what_it_held),
}
IN_THE_SMALL = {"enqueue": Fault.CUT_AFTER}


@pytest.mark.parametrize("name", OPERATIONS if FULL else IN_THE_SMALL)
async def test_every_fault_leaves_it_done_once_or_told(name: str, faktory_program: Path, certify: Certify) -> None:
    async with FaktoryTheatre.open(faktory_program) as theatre:
        figures = await stood(
            name,
            OPERATIONS[name],
            list(Fault) if FULL else [IN_THE_SMALL[name]],
            staged=lambda seed: staged(theatre, seed),
            healthy=lambda stage: stage.us.counts(),
        )
    certify(
        f"C2 {name}",
        backend="`faktory://`, network and server",
        versions=FaktoryTheatre.version,
        **figures,
        second_copies=0,
    )


@asynccontextmanager
async def staged(theatre: FaktoryTheatre, seed: int) -> AsyncIterator[tuple[Stage, FaktoryProxy]]:
    """A namespace of its own."""
    with FaktoryProxy(theatre.server.port, seed=seed) as proxy:
        url = f"faktory://127.0.0.1:{proxy.port}?timeout={TIMEOUT}&namespace=chaos_{new_id()}"
        stage = Stage(lambda clock: FaktoryBackend(url, namespace="", clock=clock), theatre, seed)
        try:
            yield stage, proxy
        finally:
            proxy.heal()
            proxy.cut_all()  # a FETCH that nobody answers would be waited for
            await repeated(lambda stage: stage.us.close(), stage)
