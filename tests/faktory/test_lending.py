"""What becomes of lent jobs: reservations by a clock that is turned, failures by the server's rules, lost answers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import pytest

from faktory.faults import Fault
from faktory.real import Real
from faktory.standin import Standin
from faktory.store import Stored
from gotool import BUILT
from patience import PATIENCE
from worksong import BackendRefused, BackendUnavailable, EnqueueOutcomeUnknown, InvalidArguments
from worksong.adapters.faktory import FaktoryBackend
from worksong.adapters.faktory.client import IN_ONE_GO
from worksong.domain.job import Delivery, Job
from worksong.domain.lifecycle import State
from worksong.domain.outcome import Buried, Discarded, Done, Failure, Outcome, Released, Retried, Settlement, Snoozed
from worksong.domain.turns import Share
from worksong.ports.backend import Allowance, Beat, Want
from worksong.testing.contract.steps import T, a_job, beat, fetch, join, lend, lent_ids, push, settle, some_jobs

pytestmark = pytest.mark.timeout(BUILT + 400)  # the first one waits for the server to be built
Server = Standin | Real


@pytest.fixture
async def backend(server: Server) -> AsyncIterator[FaktoryBackend]:
    """Its reservations and beats go by the clock that tests turn."""
    backend = FaktoryBackend(server.url, namespace="", clock=lambda: server.store.now)
    yield backend
    await backend.close()


async def insist(backend: FaktoryBackend, delivery: Delivery, outcome: Outcome) -> bool:
    """Settle as the engine does: again and again, while the server is away."""
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                return await settle(backend, delivery, outcome)
            except BackendUnavailable:
                await asyncio.sleep(0.02)


def wait_of(job: Stored) -> float:
    """Seconds from a first failure to the next try."""
    failure = job["failure"]
    tried, again = (datetime.fromisoformat(failure[name]) for name in ("failed_at", "next_at"))
    return (again - tried).total_seconds()


def queued(server: Server, name: str = "default") -> list[Stored]:
    return list(server.store.queues.get(name, ()))


# reservations


async def test_a_killed_workers_job_comes_again_when_its_reservation_has_run_out(
    backend: FaktoryBackend, server: Server
) -> None:
    # Given a job lent to somebody who never says anything more
    _, delivery = await lend(backend)
    server.turn(1700)
    assert not server.store.sets["retries"]
    # When its reservation has run out and the server's back-off is over
    server.turn(200)
    ((_, waiting),) = server.store.sets["retries"]
    assert waiting["failure"]["errtype"] == "ReservationExpired"
    server.turn(60)
    # Then it is lent again, with one failure more
    (again,) = await fetch(backend, await join(backend))
    assert (again.job.id, again.job.attempt) == (delivery.job.id, 2)
    assert again.job.error == "ReservationExpired: Faktory job reservation expired"
    assert again.fence > delivery.fence


@pytest.mark.parametrize(
    "outcome",
    [Done(1), Retried(T + 60, "boom"), Retried(T, "boom", usual=True), Snoozed(T), Buried("boom"), Released()],
    ids=repr,
)
async def test_a_late_ending_touches_nothing_of_the_next_run(
    backend: FaktoryBackend, server: Server, outcome: Outcome
) -> None:
    # Given a run that outlasted its reservation, and the job lent to somebody else
    _, late = await lend(backend)
    server.turn(1801)
    server.turn(60)
    pool = await join(backend)
    (new,) = await fetch(backend, pool)
    before = dict(server.store.working)
    # When the first run ends after all
    assert not await settle(backend, late, outcome)
    # Then the other one still holds it
    assert server.store.working == before
    assert await settle(backend, new)
    assert not server.store.working


async def test_an_ending_just_behind_its_reservation_is_still_told(backend: FaktoryBackend, server: Server) -> None:
    """Nobody else can have the job yet: the server puts it off for 15 seconds at least."""
    _, delivery = await lend(backend)
    server.do(lambda: setattr(server.store, "now", T + 1805))  # its reaper has not looked yet
    assert await settle(backend, delivery)
    assert not server.store.working


async def test_the_worker_hears_that_a_reservation_has_run_out(backend: FaktoryBackend, server: Server) -> None:
    pool, delivery = await lend(backend)
    assert (await beat(backend, pool, delivery)).lost == ()
    server.turn_to(T + 1800)
    assert (await beat(backend, pool, delivery)).lost == (delivery,)


async def test_the_reservation_follows_the_timeout_of_the_job_type(backend: FaktoryBackend, server: Server) -> None:
    allowances = {"long": Allowance(timeout=7200.0), "endless": Allowance(timeout=1e6), "short": Allowance(timeout=1.0)}
    backend.advise(allowances.get)
    await push(backend, *(a_job(name) for name in (*allowances, "other")))
    assert [job.get("reserve_for") for job in queued(server)] == [7260, 86400, 61, None]


@pytest.mark.parametrize(
    ("allowance", "retry"),
    [
        (Allowance(max_fails=4), 3),
        (Allowance(max_fails=1), -1),
        (Allowance(max_fails=1, skip_dead=True), 0),
        (None, 25),
    ],
    ids=repr,
)
async def test_the_server_counts_the_failures_that_the_job_type_allows(
    backend: FaktoryBackend, server: Server, allowance: Allowance | None, retry: int
) -> None:
    backend.advise(lambda _: allowance)
    await push(backend, a_job())
    assert [job["retry"] for job in queued(server)] == [retry]


async def test_how_often_one_type_is_tried_is_no_matter_of_another(backend: FaktoryBackend, server: Server) -> None:
    """What PUSH says of one job, the server takes for the default of all jobs that say nothing."""
    backend.advise(lambda name: Allowance(max_fails=1, skip_dead=True) if name == "once" else None)
    await push(backend, a_job("once"))
    await push(backend, a_job())
    server.do(lambda: server.store.push({"jid": "of-somebody", "jobtype": "send", "args": []}))
    assert [job["retry"] for job in queued(server)] == [0, 25, 25]


# failures


async def test_an_ordinary_failure_is_the_servers_to_try_again(backend: FaktoryBackend, server: Server) -> None:
    _, delivery = await lend(backend)
    assert await settle(backend, delivery, Retried(T + 1, "ValueError: boom", usual=True))
    ((_, job),) = server.store.sets["retries"]
    assert wait_of(job) >= 15
    assert (job["failure"]["errtype"], job["failure"]["message"]) == ("ValueError", "boom")
    server.turn(60)
    (again,) = await fetch(backend, await join(backend))
    assert (again.job.attempt, again.job.error) == (2, "ValueError: boom")


async def test_a_job_that_failed_for_good_is_dead_whatever_its_retries(backend: FaktoryBackend, server: Server) -> None:
    _, delivery = await lend(backend)
    assert await settle(backend, delivery, Buried("E: boom", Failure("E", "boom", "line one\nline two")))
    ((_, job),) = server.store.sets["dead"]
    assert job["failure"]["backtrace"] == ["line two", "line one"]
    assert (await backend.counts())[State.RETRY] == 0


async def test_a_job_of_an_unknown_type_fails_and_its_neighbours_run(
    backend: FaktoryBackend, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    known = a_job("send")
    await push(backend, a_job("strange"), known, a_job("strange"))
    assert await lent_ids(backend, await join(backend, "send")) == [known.id]
    await backend.close()
    failures = [job["failure"]["errtype"] for _, job in server.store.sets["retries"]]
    assert failures == ["UnknownHandler"] * 2
    assert caplog.text.count("no handler here knows") == 1


async def test_a_failure_of_a_job_that_is_gone_is_told_once_and_never_again(
    backend: FaktoryBackend, server: Server
) -> None:
    _, delivery = await lend(backend)
    server.do(server.store.release)
    assert not await settle(backend, delivery, Retried(T, "boom", usual=True))
    assert server.seen["FAIL"] == 1


async def test_poison_is_dead_with_its_reason_and_its_bytes_and_the_neighbours_run(
    backend: FaktoryBackend, server: Server
) -> None:
    deep: Any = 1
    for _ in range(90):
        deep = [deep]
    poison = {"jid": "poisonous", "jobtype": "send", "args": [deep], "queue": "default", "retry": 25}
    server.do(lambda: server.store.push(poison))
    job = a_job()
    await push(backend, job)
    assert await lent_ids(backend, await join(backend)) == [job.id]
    ((_, dead),) = server.store.sets["dead"]
    assert (dead["jid"], dead["args"], dead["failure"]["errtype"]) == ("poisonous", [deep], "Poison")
    assert "too_deep" in dead["failure"]["message"]


# enqueued anew


@pytest.mark.parametrize("outcome", [Retried(T + 60, "boom"), Snoozed(T + 60), Released()], ids=repr)
async def test_what_is_enqueued_anew_has_a_jid_of_its_own_and_the_id_it_had(
    backend: FaktoryBackend, server: Server, outcome: Outcome
) -> None:
    _, delivery = await lend(backend)
    assert await settle(backend, delivery, outcome)
    assert not server.store.working
    server.turn_to(T + 60)
    (copy,) = queued(server)
    assert copy["jid"] != delivery.job.id
    (again,) = await fetch(backend, await join(backend))
    assert (again.job.id, again.job.args) == (delivery.job.id, delivery.job.args)


async def test_a_snooze_whose_answer_was_lost_is_there_once(backend: FaktoryBackend, server: Server) -> None:
    # Given a snooze that was carried out, and whose answer was lost
    _, delivery = await lend(backend)
    server.fail("PUSHB", Fault.LOST)
    with pytest.raises(BackendUnavailable):
        await settle(backend, delivery, Snoozed(T + 60))
    # When it is tried again, as the settler does
    assert await insist(backend, delivery, Snoozed(T + 60))
    # Then it is on the schedule once, and the old one is over
    assert len(server.store.sets["scheduled"]) == 1
    assert not server.store.working


async def test_a_copy_is_made_once_though_the_acknowledgement_is_lost(backend: FaktoryBackend, server: Server) -> None:
    _, delivery = await lend(backend)
    server.fail("ACK", Fault.CUT)
    with pytest.raises(BackendUnavailable):
        await settle(backend, delivery, Released())
    assert await insist(backend, delivery, Released())
    assert len(queued(server)) == 1
    assert not server.store.working


@pytest.mark.parametrize("fault", [Fault.LOST, Fault.CUT])
@pytest.mark.parametrize("outcome", [Done(), Discarded("no"), Retried(T, "boom", usual=True)], ids=repr)
async def test_an_ending_whose_answer_was_lost_may_be_told_again(
    backend: FaktoryBackend, server: Server, outcome: Outcome, fault: Fault
) -> None:
    _, delivery = await lend(backend)
    server.fail("FAIL" if isinstance(outcome, Retried) else "ACK", fault)
    with pytest.raises(BackendUnavailable):
        await settle(backend, delivery, outcome)
    assert await insist(backend, delivery, outcome)
    assert not server.store.working
    assert len(server.store.sets["retries"]) == isinstance(outcome, Retried)


async def test_one_lost_answer_in_a_batch_holds_up_few_other_endings(backend: FaktoryBackend, server: Server) -> None:
    """Those that were sent in the same go."""
    await push(backend, *some_jobs(3 * IN_ONE_GO))
    batch = [Settlement(delivery, Done()) for delivery in await fetch(backend, await join(backend), 3 * IN_ONE_GO)]
    server.fail("ACK", Fault.CUT)
    with pytest.raises(BackendUnavailable):
        await backend.settle(batch, T)
    left = len(server.store.working)
    assert 1 <= left <= IN_ONE_GO
    assert sum(await backend.settle(batch, T)) == left
    assert not server.store.working


async def test_a_batch_may_end_in_many_ways(backend: FaktoryBackend, server: Server) -> None:
    await push(backend, *some_jobs(20))
    lent = await fetch(backend, await join(backend), 20)
    outcomes: list[Outcome] = [Done(), Discarded("no"), Snoozed(T + 60), Retried(T, "boom", usual=True), Buried("boom")]
    batch = [Settlement(delivery, outcomes[number % 5]) for number, delivery in enumerate(lent)]
    assert await backend.settle(batch, T) == [True] * 20
    assert await backend.settle(batch, T) == [False] * 20
    assert not server.store.working
    assert {name: len(jobs) for name, jobs in server.store.sets.items()} == {"scheduled": 4, "retries": 4, "dead": 4}


# jobs in


async def test_a_push_whose_answer_was_lost_is_of_unknown_outcome(backend: FaktoryBackend, server: Server) -> None:
    job = a_job()
    server.fail("PUSHB", Fault.LOST)
    with pytest.raises(EnqueueOutcomeUnknown) as lost:
        await push(backend, job)
    assert lost.value.job_id == job.id
    assert [queued["jid"] for queued in server.store.queues["default"]] == [job.id]


async def test_what_the_server_refuses_is_named_and_the_others_are_there(
    backend: FaktoryBackend, standin: Standin, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, bad = a_job(), a_job("bad")
    take_in = standin.store.push

    def picky(job: Stored) -> None:
        take_in(job if job["jobtype"] != "bad" else {**job, "jid": ""})

    monkeypatch.setattr(standin.store, "push", picky)
    with pytest.raises(BackendRefused, match="jobs must have a reasonable jid"):
        await push(backend, bad)
    with pytest.raises(BackendRefused, match="1 of 2 jobs were refused, the others are enqueued"):
        await push(backend, good, bad)
    assert [job["jid"] for job in queued(standin)] == [good.id]


async def test_pushes_of_many_callers_at_once_are_all_taken_in_each_in_its_order(backend: FaktoryBackend) -> None:
    pushes = [some_jobs(1 + number % 3) for number in range(60)]
    answers = await asyncio.gather(*(push(backend, *jobs) for jobs in pushes))
    assert answers == [[True] * len(jobs) for jobs in pushes]
    lent = await lent_ids(backend, await join(backend), 1000)
    for jobs in pushes:
        ids = [job.id for job in jobs]
        assert [job_id for job_id in lent if job_id in ids] == ids
    assert len(lent) == sum(map(len, pushes))


async def test_a_server_without_pushb_takes_jobs_one_by_one(
    backend: FaktoryBackend, standin: Standin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("faktory.standin._Line.on_pushb", None)
    assert await push(backend, *some_jobs(3)) == [True] * 3
    assert await push(backend, *some_jobs(3)) == [True] * 3
    assert (standin.seen["PUSHB"], standin.seen["PUSH"]) == (1, 6)


async def test_firings_of_periodic_jobs_are_on_the_schedule_once_whoever_puts_them_there(
    backend: FaktoryBackend, server: Server
) -> None:
    firing = a_job(id=f"periodic:send:0 * * * * *:{int(T) + 60}", run_at=T + 60)
    other = backend.sibling()
    for _ in range(2):
        assert await backend.push([firing], T, once=True) == [True]
        assert await other.push([firing], T, once=True) == [True]
    await other.close()
    assert len(server.store.sets["scheduled"]) == 1


async def test_a_namespace_stands_before_every_queue(server: Server) -> None:
    backend = FaktoryBackend(f"{server.url}&namespace=shop", namespace="")
    other = FaktoryBackend(server.url, namespace="")
    job = a_job(queue="low")
    await push(backend, job)
    await push(other, a_job())
    assert sorted(server.store.queues) == ["default", "shop.low"]
    assert [queue.name for queue in await backend.queues(T)] == ["low"]
    (delivery,) = await fetch(backend, await join(backend), 9)
    assert (delivery.job.id, delivery.job.queue) == (job.id, "low")
    await settle(backend, delivery, Snoozed(T + 60))
    await backend.erase()
    assert not server.store.sets["scheduled"]
    assert list(server.store.queues) == ["default"]
    for one in (backend, other):
        await one.close()


# what comes when nobody waits any more


async def test_what_an_abandoned_fetch_brings_goes_to_the_next_one(backend: FaktoryBackend, standin: Standin) -> None:
    # Given a fetch that is given up while it waits at the server
    standin.fetch_wait = 30.0
    pool, job = await join(backend), a_job()
    waiting = asyncio.create_task(fetch(backend, pool, wait=60.0))
    await standin.asked("FETCH")
    waiting.cancel()
    await asyncio.wait([waiting])
    # When a job comes, then the next fetch has it
    await push(backend, job)
    assert await lent_ids(backend, pool) == [job.id]
    assert standin.seen["FETCH"] == 1


async def test_what_comes_at_the_very_end_goes_back(backend: FaktoryBackend, standin: Standin) -> None:
    standin.fetch_wait = 30.0
    pool, job = await join(backend), a_job()
    waiting = asyncio.create_task(fetch(backend, pool, wait=60.0))
    await standin.asked("FETCH")
    waiting.cancel()
    await asyncio.wait([waiting])
    closing = asyncio.create_task(backend.close())
    other = FaktoryBackend(standin.url, namespace="")  # what is unanswered when a client closes, fails
    await push(other, job)
    async with asyncio.timeout(PATIENCE):
        await closing
    await other.close()
    (back,) = queued(standin)
    assert json.loads(json.dumps(back["custom"]))["worksong"]["as"] == job.id
    assert not standin.store.working


async def test_no_more_is_asked_for_than_there_are_free_slots(backend: FaktoryBackend, server: Server) -> None:
    await push(backend, *some_jobs(100))
    pool = await join(backend)
    want = Want(pool.id, 3, 30.0, (Share("send", 100),))
    held = 0
    while held < 3:
        held += len(await backend.fetch(Want(pool.id, 3 - held, 30.0, want.handlers), T))
    await backend.close()
    assert len(server.store.working) == held == 3


async def test_a_loop_that_is_blocked_loses_nothing_to_its_own_beats(backend: FaktoryBackend, server: Server) -> None:
    pool, delivery = await lend(backend)
    for _ in range(5):  # the same fetch has not been read all the time
        await backend.beat(Beat(pool, fetch=7), T)
    assert server.store.working
    for _ in range(3):
        await backend.beat(Beat(pool), T)
    assert not server.store.working
    assert await lent_ids(backend, pool) == [delivery.job.id]


# an operator's hand


async def test_dead_and_retry_jobs_are_found_by_their_first_id(backend: FaktoryBackend, server: Server) -> None:
    # Given a job that was enqueued anew, and then died
    _, delivery = await lend(backend)
    await settle(backend, delivery, Snoozed(T + 60))
    server.turn_to(T + 60)
    (again,) = await fetch(backend, await join(backend))
    await settle(backend, again, Buried("boom"))
    # When it is revived by the id that its handle knows, then it waits again and has one try more
    assert await backend.requeue(State.DEAD, ["somebody-else"], T) == 0
    assert await backend.requeue(State.DEAD, [delivery.job.id], T) == 1
    (last,) = await fetch(backend, await join(backend))
    assert (last.job.id, last.job.attempt) == (delivery.job.id, 2)
    await settle(backend, last, Retried(T, "again", usual=True))
    assert await backend.delete(State.RETRY, None) == 1


async def test_running_and_waiting_jobs_are_not_for_mutate(backend: FaktoryBackend) -> None:
    with pytest.raises(InvalidArguments, match="scheduled, retry and dead jobs only"):
        await backend.requeue(State.QUEUED, None, T)


async def test_queues_tell_how_long_their_oldest_job_waits(backend: FaktoryBackend, standin: Standin) -> None:
    await push(backend, a_job(queue="low"), a_job(queue="low"))
    standin.turn_to(T + 90)
    ((name, count, latency),) = [(one.name, one.count, one.latency) for one in await backend.queues(T + 90)]
    assert (name, count) == ("low", 2)
    assert latency == pytest.approx(90.0, abs=1.0)
    counts = await backend.counts()
    assert (counts[State.QUEUED], counts[State.DEAD]) == (2, 0)


async def test_a_queue_that_tells_no_latency_holds_up_no_other(backend: FaktoryBackend, server: Server) -> None:
    # Given a queue whose oldest job was never dated: an operator took it from the schedule
    await push(backend, a_job(queue="low"))
    await push(backend, a_job(queue="odd", run_at=T + 60))
    assert await backend.requeue(State.SCHEDULED, None, T) == 1
    server.turn_to(T + 5)
    # When the queues are asked, then the others tell
    waited = {queue.name: queue.latency for queue in await backend.queues(T + 5)}
    assert waited["low"] > 0
    assert waited["odd"] == 0


async def test_orders_reach_ids_of_any_letters(backend: FaktoryBackend, server: Server) -> None:
    # Given jobs whose ids Go and JSON write differently, and one that only speaks of them
    odd = [a_job(id=job_id) for job_id in ("a<b>&c-12", "größe-1234", 'quote"back\\slash')]
    other = a_job(args={"id": odd[0].id, "as": odd[0].id})
    await push(backend, *odd, other)
    pool = await join(backend)
    lent = {delivery.job.id: delivery for delivery in await fetch(backend, pool, 9)}
    # When each fails for good, then none is tried again
    for job in odd:
        assert await settle(backend, lent[job.id], Buried("boom"))
    assert await settle(backend, lent[other.id], Retried(T, "boom", usual=True))
    assert {dead["jid"] for _, dead in server.store.sets["dead"]} == {job.id for job in odd}
    # And each is found again by its id
    assert await backend.delete(State.DEAD, [job.id for job in odd]) == 3
    assert [retry["jid"] for _, retry in server.store.sets["retries"]] == [other.id]


@pytest.mark.parametrize("queue", ["a b", "ä", "a/b"])
async def test_a_queue_that_would_lose_its_scheduled_jobs_is_refused(
    backend: FaktoryBackend, server: Server, queue: str
) -> None:
    with pytest.raises(InvalidArguments, match="Faktory takes no queue"):
        await push(backend, Job("send", id="12345678", queue=queue, run_at=T + 60))
    assert not server.store.sets["scheduled"]
