"""From every store to every other one."""

from __future__ import annotations

from itertools import permutations

import pytest

from move.stage import EVERYTHING, T, a_job, a_move, fill, ids_in, rounded, run_out, seen, total
from worksong.domain.capability import Capability
from worksong.domain.cron import parse
from worksong.domain.job import Job
from worksong.domain.lifecycle import State
from worksong.domain.parcel import MOVABLE
from worksong.engine.pauses import stopped
from worksong.engine.timetable import pause, resume, schedule_ahead
from worksong.move import Side
from worksong.registry import Periodic
from worksong.testing.flaky import FlakyBackend

KINDS = ("redis", "sqlite", "postgres", "mariadb")
PAIRS = tuple(permutations(KINDS, 2))
HANDLERS = ("send", "call")


@pytest.mark.parametrize(("here", "there"), PAIRS)
async def test_everything_arrives_as_it_was(source: Side, target: Side) -> None:
    # Given a store full of jobs of all kinds
    await fill(source.backend)
    whole = rounded(source, target)
    before = await seen(source.backend, whole=whole)
    counts = await source.backend.counts()
    once = next(view.job for view in await source.backend.jobs(State.QUEUED, EVERYTHING) if view.id.startswith("once-"))

    # When it is moved, in small loads
    report = await a_move(source, target, most=4).run()

    # Then nothing is left, and everything is there
    assert await seen(target.backend, whole=whole) == before
    assert total(await source.backend.counts()) == 0
    assert report.moved == {state: counts[state] for state in MOVABLE}
    assert (report.staying, report.known, report.short) == ({}, 0, 0)
    assert report.checksums[0] == report.checksums[1] != "0" * 32

    # And locks and known ids went with it
    locked = [a_job("call", {"u": mode}, unique=mode) for mode in ("until_start", "until_done")]
    assert await target.backend.push(locked, T) == [False, False]
    assert await source.backend.push(locked, T) == [True, True]
    again = Job("call", id=once.id, enqueued_at=T)
    assert await target.backend.push([again], T, once=True) == [False]
    assert await source.backend.push([again], T, once=True) == [False]


@pytest.mark.parametrize(("here", "there"), PAIRS)
async def test_jobs_keep_their_order(source: Side, target: Side) -> None:
    jobs = [a_job(HANDLERS[n % 2], {"n": n}, enqueued_at=T + n / 100) for n in range(20)]
    await source.backend.push(jobs, T)

    await a_move(source, target, most=3).run()

    by_type = [job.id for handler in HANDLERS for job in jobs if job.handler == handler]
    assert await run_out(target.backend, *HANDLERS) == by_type


@pytest.mark.parametrize(("here", "there"), [("sqlite", kind) for kind in KINDS])
async def test_there_and_back_again(source: Side, target: Side) -> None:
    await fill(source.backend)
    before = await seen(source.backend, whole=True)

    await a_move(source, target).run()
    await a_move(target, source).run()

    assert await seen(source.backend, whole=True) == before


@pytest.mark.parametrize(("here", "there"), [("sqlite", "sqlite")])
async def test_paused_queues_are_paused_there(source: Side, target: Side) -> None:
    await source.backend.push([a_job("send", {"n": 1}, queue="low"), (other := a_job("send", {"n": 2}))], T)
    await source.backend.pause("low")

    await a_move(source, target).run()

    assert await run_out(target.backend, "send") == [other.id]


@pytest.mark.parametrize(("here", "there"), [("redis", "sqlite"), ("sqlite", "redis")])
async def test_schedules_stand_as_they_stood_and_fire_once(source: Side, target: Side) -> None:
    # Given a schedule that was resumed and has firings ahead, one that is paused, and one that the target knows better
    resumed, _, other = entries = [Periodic(parse("@every 60s"), name, None, "default") for name in ("a", "b", "c")]
    for entry in entries:
        await pause(source.backend, entry, T)
    await resume(source.backend, resumed, T)
    for order in (pause, resume, pause):
        await order(target.backend, other, T)
    ahead = await ids_in(source.backend, State.SCHEDULED)
    assert ahead

    # When all is moved, and workers of the target put firings on the schedule
    await a_move(source, target).run()
    await schedule_ahead(target.backend, entries, T)

    # Then there is none twice, and none of a schedule that is paused
    assert sorted(await ids_in(target.backend, State.SCHEDULED)) == sorted(ahead)
    assert [(one.handler, one.orders) for one in await stopped(target.backend)] == [("b", 1), ("c", 3)]
    assert [one.handler for one in await stopped(source.backend)] == ["b", "c"]


class Forgetful(FlakyBackend):
    """Has no place for a pause of a schedule."""

    @property
    def capabilities(self) -> frozenset[Capability]:
        return super().capabilities - {Capability.NOTES}


@pytest.mark.parametrize(("here", "there"), [("sqlite", "sqlite")])
async def test_pauses_that_cannot_be_moved_are_told_of_before(source: Side, target: Side) -> None:
    move = a_move(source, target._replace(backend=Forgetful(target.backend)))
    assert (await move.survey()).caveats == ()
    await pause(source.backend, Periodic(parse("@every 60s"), "send", None, "default"), T)
    (caveat,) = (await move.survey()).caveats
    assert "pauses of periodic jobs cannot be moved there: send (@every 60s)" in caveat
    await move.run()


@pytest.mark.parametrize(("here", "there"), [("postgres", "postgres")])
async def test_two_namespaces_of_one_server_are_two_stores(source: Side, target: Side) -> None:
    await fill(source.backend)
    before = await seen(source.backend, whole=False)
    await a_move(source, target).run()
    assert await seen(target.backend, whole=False) == before


@pytest.mark.parametrize(("here", "there"), [("sqlite", "sqlite")])
async def test_only_the_states_asked_for_are_moved(source: Side, target: Side) -> None:
    await fill(source.backend)
    counts = await source.backend.counts()
    report = await a_move(source, target, states=[State.DEAD]).run()
    assert report.moved == {State.DEAD: 3}
    assert (await target.backend.counts())[State.DEAD] == 3
    assert await source.backend.counts() == counts | {State.DEAD: 0}


@pytest.mark.parametrize(("here", "there"), [("sqlite", "redis")])
async def test_what_the_target_cannot_hold_stays_and_is_named(source: Side, target: Side) -> None:
    # Given jobs with arguments by position, and one that is unique by a key of its own
    lists = [a_job("send", [n]) for n in range(3)]
    keyed = a_job("send", {"n": 1}, unique="until_done", unique_by={"key": 1})
    good = a_job("send", {"n": 2})
    await source.backend.push([*lists, keyed, good], T)
    move = a_move(source, target, most=2)

    # When that is asked for before
    caveats = (await move.survey()).caveats

    # Then it is said
    assert any("3 or more jobs stay in the source" in caveat for caveat in caveats)

    # And they stay where they are, each with its reason
    report = await move.run()
    assert report.staying.keys() == {*(job.id for job in lists), keyed.id}
    assert "by name" in report.staying[lists[0].id]
    assert "digest" in report.staying[keyed.id]
    assert await run_out(target.backend, "send") == [good.id]
    assert await run_out(source.backend, "send") == [*(job.id for job in lists), keyed.id]
    assert Capability.POSITIONAL not in target.backend.capabilities


@pytest.mark.parametrize(("here", "there"), [("sqlite", "redis")])
async def test_an_equal_unique_job_at_the_target_keeps_the_other_one_in_the_source(source: Side, target: Side) -> None:
    here, there = (a_job("send", {"n": 1}, unique="until_done") for _ in range(2))
    await source.backend.push([here], T)
    await target.backend.push([there], T)
    report = await a_move(source, target).run()
    assert report.staying == {here.id: "an equal unique job is at the target"}
    assert await run_out(source.backend, "send") == [here.id]


@pytest.mark.parametrize(("here", "there"), [("redis", "sqlite")])
async def test_a_firing_that_both_sides_enqueued_runs_once(source: Side, target: Side) -> None:
    # Given a firing of a periodic job on both sides, as when new workers began before the move
    firing = a_job("tick", {}, id="periodic:tick:* * * * *:1700000060", run_at=T + 60)
    assert await source.backend.push([firing], T, once=True) == [True]
    assert await target.backend.push([firing], T, once=True) == [True]

    # When the jobs are moved
    report = await a_move(source, target).run()

    # Then it is there once
    assert (report.known, report.moved[State.SCHEDULED]) == (1, 0)
    assert (await target.backend.counts())[State.SCHEDULED] == 1
    assert (await source.backend.counts())[State.SCHEDULED] == 0


@pytest.mark.parametrize(("here", "there"), [("postgres", "redis")])
async def test_a_firing_that_has_run_in_the_source_does_not_run_in_the_target(source: Side, target: Side) -> None:
    firing = a_job("tick", {}, id="periodic:tick:* * * * *:1700000060")
    await source.backend.push([firing], T, once=True)
    assert await run_out(source.backend, "tick") == [firing.id]
    await a_move(source, target).run()
    assert await target.backend.push([firing], T, once=True) == [False]


@pytest.mark.parametrize(("here", "there"), [("redis", "sqlite")])
async def test_an_id_that_the_target_knew_long_ago_is_no_reason_to_drop_a_job(source: Side, target: Side) -> None:
    # Given a job of the source whose id the target took in long ago, and should have forgotten
    job, long_ago = a_job("send", {"n": 1}, id="report"), T - 30 * 86400
    await target.backend.push([a_job("send", {"n": 0}, id="report", enqueued_at=long_ago)], long_ago, once=True)
    await target.backend.purge("default")
    await source.backend.push([job], T, once=True)

    report = await a_move(source, target).run()

    assert (report.known, report.moved[State.QUEUED]) == (0, 1)
