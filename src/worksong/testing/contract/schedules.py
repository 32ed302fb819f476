"""Periodic jobs whose schedule is paused, and resumed: seen by all processes, and nothing is lost or fired twice."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from worksong.domain import cron
from worksong.domain.capability import Capability
from worksong.domain.errors import BackendUnavailable
from worksong.domain.job import Job
from worksong.domain.lifecycle import State
from worksong.engine.pauses import standings
from worksong.engine.timetable import pause, resume, schedule_ahead
from worksong.ports.backend import Backend
from worksong.ports.notebook import FOR_GOOD, Line
from worksong.registry import Periodic
from worksong.testing.contract.steps import T, fetch, join, listed, settle
from worksong.testing.contract.suite import Suite, needs
from worksong.testing.flaky import Fault, FlakyBackend, error, execute_then_error

MINUTELY = Periodic(cron.parse("* * * * *"), "send", {"to": "all"}, "default")
HOURLY = Periodic(cron.parse("TZ=Europe/Berlin 0 * * * *"), "sweep", {}, "default")
PAUSES = needs(Capability.NOTES, Capability.DELAY, Capability.DEDUP, Capability.BROWSE, Capability.REVIVE)
FIRST = T + 40
"""When the minute in which every test begins is over."""
NEARLY = T + 2700
"""A hundred seconds before a full hour."""
YEARS = 10 * 365 * 86_400.0


async def due(backend: Backend) -> list[float]:
    """When the firings on the schedule are due, and that each is there once."""
    found = [(view.at, view.handler) for view in await listed(backend, State.SCHEDULED)]
    assert len(found) == len(set(found)), found
    return sorted(at for at, _ in found)


class Schedules(Suite):
    @PAUSES
    async def test_a_paused_schedule_puts_nothing_in_the_queue_and_the_others_go_on(self, backend: Backend) -> None:
        # Given two schedules with firings ahead
        await schedule_ahead(backend, [MINUTELY, HOURLY], NEARLY)
        assert len(await due(backend)) == 5
        # When one of them is paused, and again
        for _ in range(2):
            assert (await pause(backend, MINUTELY, NEARLY)).paused
        # Then what it had ahead is taken back, and no process puts anything there, however often it looks
        other = backend.sibling()
        for now in (NEARLY + 1, NEARLY + 70, NEARLY + 9_000):
            for process in (backend, other):
                await schedule_ahead(process, [MINUTELY], now)
        (left,) = await listed(backend, State.SCHEDULED)
        assert left.handler == "sweep"
        # And everybody is told, with the time
        (standing,) = (await standings(other)).values()
        assert (standing.key, standing.paused, standing.at) == (("send", "* * * * *"), True, NEARLY)
        await other.close()

    @PAUSES
    async def test_a_resumed_schedule_fires_once_at_each_time_from_the_next_on(self, backend: Backend) -> None:
        # Given a schedule that was paused at once after its firings were put ahead
        await schedule_ahead(backend, [MINUTELY], T)
        await pause(backend, MINUTELY, T)
        # When it is resumed two minutes later, before all of those would have been due
        now, other = FIRST + 130, backend.sibling()
        assert not (await resume(other, MINUTELY, now)).paused
        # Then what passed is not made up for, and what comes fires once, whoever puts it there
        for process in (backend, other, backend):
            await schedule_ahead(process, [MINUTELY], now)
        assert await due(backend) == [FIRST + 180, FIRST + 240, FIRST + 300, FIRST + 360]
        # And so it is after the next pause, and for whoever resumes what is not paused
        await pause(backend, MINUTELY, now + 1)
        assert await due(backend) == []
        for process in (backend, other):
            await resume(process, MINUTELY, now + 2)
        assert await due(backend) == [FIRST + 180, FIRST + 240, FIRST + 300, FIRST + 360]
        await other.close()

    @PAUSES
    async def test_a_pause_takes_back_firings_that_are_overdue_since_no_worker_lives(self, backend: Backend) -> None:
        await schedule_ahead(backend, [MINUTELY], T)
        await pause(backend, MINUTELY, FIRST + 3600)
        assert await due(backend) == []

    @PAUSES
    async def test_a_firing_after_a_pause_runs_as_any_other(self, backend: Backend) -> None:
        await pause(backend, MINUTELY, T)
        await resume(backend, MINUTELY, T)
        pool = await join(backend, "send")
        assert await backend.promote(FIRST, 10) == 1
        (delivery,) = await fetch(backend, pool, now=FIRST)
        assert (delivery.job.args, delivery.job.enqueued_at) == ({"to": "all"}, FIRST)
        assert await settle(backend, delivery, now=FIRST)

    @PAUSES
    async def test_firings_that_a_pause_overtook_are_taken_back_by_who_put_them_there(self, backend: Backend) -> None:
        # Given a process that has just asked whether the schedule is paused
        slow = _Overtaken(backend)
        # When it is paused before that process puts its firings on the schedule
        await schedule_ahead(slow, [MINUTELY], T)
        # Then they do not stay
        assert await due(backend) == []
        # And once it is resumed, each fires
        await resume(backend, MINUTELY, T)
        assert await due(backend) == [FIRST, FIRST + 60, FIRST + 120, FIRST + 180]

    @PAUSES
    @pytest.mark.parametrize("fault", [error, execute_then_error])
    async def test_they_are_taken_back_also_when_the_push_for_another_schedule_fails(
        self, backend: Backend, fault: Fault
    ) -> None:
        # Given a process whose second push in a round fails, and that was overtaken by a pause before the first
        slow = _Overtaken(FlakyBackend(backend, {"push": [None, fault]}))
        with pytest.raises(BackendUnavailable):
            await schedule_ahead(slow, [MINUTELY, HOURLY], NEARLY)
        # Then of the schedule that is paused nothing stays
        assert {view.handler for view in await listed(backend, State.SCHEDULED)} <= {"sweep"}

    @PAUSES
    async def test_what_one_who_was_cut_off_left_there_the_next_round_takes_back(self, backend: Backend) -> None:
        # Given a process that was overtaken by a pause, and could not look again
        slow = _Overtaken(FlakyBackend(backend, {"lines": [None, None, error]}))
        with pytest.raises(BackendUnavailable):
            await schedule_ahead(slow, [MINUTELY], T)
        assert len(await due(backend)) == 4
        # Then it looks in its next round, as any process does
        await schedule_ahead(slow.inner, [MINUTELY], T + 50)
        assert await due(backend) == []

    @PAUSES
    async def test_what_a_pause_that_was_cut_off_left_there_the_next_round_takes_back(self, backend: Backend) -> None:
        # Given firings, and a pause that could not take them back
        await schedule_ahead(backend, [MINUTELY, HOURLY], NEARLY)
        with pytest.raises(BackendUnavailable):
            await pause(FlakyBackend(backend, {"delete": [error]}), MINUTELY, NEARLY)
        assert len(await due(backend)) == 5
        # When any process looks, then they are gone, and others' are not
        await schedule_ahead(backend, [MINUTELY, HOURLY], NEARLY + 30)
        assert [view.handler for view in await listed(backend, State.SCHEDULED)] == ["sweep"]

    @PAUSES
    async def test_a_pause_holds_that_overtook_somebody_who_resumes(self, backend: Backend) -> None:
        # Given a schedule that is paused
        await pause(backend, MINUTELY, T)
        # When it is paused again before one who resumes it puts its firings on the schedule
        await resume(_Overtaken(backend), MINUTELY, T)
        # Then none stays
        assert [standing.orders for standing in (await standings(backend)).values()] == [3]
        assert await due(backend) == []

    @PAUSES
    async def test_a_pause_outlives_years_of_pruning_and_lines_that_nobody_can_read(self, backend: Backend) -> None:
        await pause(backend, MINUTELY, T)
        await backend.jot([Line("schedules", text, 20, FOR_GOOD) for text in ("", "{", '[["send"]]', "[[1,2,3]]")], T)
        await backend.prune(T + YEARS)
        assert [standing.paused for standing in (await standings(backend)).values()] == [True]
        await pause(backend, HOURLY, T)
        assert [standing.paused for standing in (await standings(backend)).values()] == [True, True]

    @needs(Capability.NOTES)
    async def test_a_page_that_is_kept_for_good_is_never_forgotten(self, backend: Backend) -> None:
        await backend.jot([Line("kept", "for good", 5, FOR_GOOD), Line("other", "for a day", 5, 86_400.0)], T)
        await backend.prune(T + YEARS)
        assert await backend.lines("kept") == ["for good"]


class _Overtaken(FlakyBackend):
    """The backend for a process that is slow: when it pushes first, the schedule has just been paused."""

    async def push(self, jobs: Sequence[Job], now: float, *, once: bool = False) -> list[bool]:
        if not self.calls["push"]:
            await pause(self, MINUTELY, T)
        return await super().push(jobs, now, once=once)
