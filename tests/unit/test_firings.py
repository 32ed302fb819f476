"""How firings of periodic jobs went, and how processes are, on their way to the store."""

from __future__ import annotations

import asyncio

import pytest

from engine_bench import Ledger, on
from patience import PATIENCE
from worksong.adapters.memory import MemoryBackend
from worksong.domain import cron
from worksong.domain.errors import BackendUnavailable
from worksong.domain.firing import firing_id, tick_of
from worksong.domain.job import Delivery, Job
from worksong.domain.outcome import Done, Outcome, Retried
from worksong.engine.annals import Annals
from worksong.engine.board import Board
from worksong.engine.firings import Firing, Firings, last_firing, page_of
from worksong.engine.lag import Lag
from worksong.engine.meter import Meter
from worksong.engine.vitals import Vitals, tell, vitals_of
from worksong.ports.backend import Running
from worksong.ports.notebook import FOR_GOOD, Line
from worksong.registry import Periodic
from worksong.testing.clock import FakeClock
from worksong.testing.flaky import FlakyBackend, error

T = 1_700_000_000.0
MINUTELY = Periodic(cron.parse("* * * * *"), "send", {}, "default")
KEY = "send", "* * * * *"


def fire(board: Board, due: float, *, late: float = 0.0, outcome: Outcome | None = None, fails: int = 0) -> None:
    """A run of this firing ends, a second after it began."""
    job = Job("send", id=firing_id(*KEY, due, turn=2), enqueued_at=due, attempt=fails + 1)
    board.note(Running(Delivery(job, None, 1), 0, due + late), outcome or Done(), due + late + 1)


async def nothing() -> None:
    """A handler."""


def measured() -> Board:
    board = Board()
    board.firings = Firings([MINUTELY])
    return board


async def test_the_last_firing_of_a_schedule_is_told_with_how_late_it_began() -> None:
    # Given two firings, of which the earlier one ended last, and a job that somebody enqueued
    board, store = measured(), MemoryBackend()
    annals = Annals(board)
    fire(board, T + 60, late=0.25)
    await annals.write(store, T + 62)
    fire(board, T, late=90)
    board.note(Running(Delivery(Job("send", id="by hand"), None, 1), 0, T + 70), Done(), T + 71)
    await annals.write(store, T + 92)
    # Then the store knows the later one
    found = await last_firing(store, *KEY)
    assert found == Firing(T + 60, T + 60.25, T + 61.25, "done")
    assert found.drift == 0.25
    assert await last_firing(store, "send", "@daily") is None


async def test_a_firing_that_failed_says_so_and_its_next_try_was_not_late() -> None:
    board, store = measured(), MemoryBackend()
    fire(board, T, outcome=Retried(T + 30, "OSError"))
    await Annals(board).write(store, T + 2)
    found = await last_firing(store, *KEY)
    assert found
    assert (found.ending, found.drift) == ("retried", 0.0)
    fire(board, T, late=30, fails=1)
    await Annals(board).write(store, T + 32)
    again = await last_firing(store, *KEY)
    assert again
    assert (again.ending, again.drift) == ("done", None)


async def test_what_the_store_was_away_for_is_told_the_next_time() -> None:
    board, store = measured(), FlakyBackend(MemoryBackend(), {"jot": [error]})
    annals = Annals(board)
    fire(board, T)
    with pytest.raises(BackendUnavailable):
        await annals.write(store, T + 2)
    await annals.write(store, T + 12)
    found = await last_firing(store, *KEY)
    assert found
    assert found.due == T
    # And only once
    await annals.write(store, T + 22)
    assert store.calls["jot"] == 2


async def test_a_firing_that_is_not_due_for_long_is_invented_and_not_told() -> None:
    board, store = measured(), MemoryBackend()
    fire(board, T)
    job = Job("send", id=firing_id(*KEY, T + 3600))
    board.note(Running(Delivery(job, None, 1), 0, T + 1), Done(), T + 2)
    await Annals(board).write(store, T + 2)
    found = await last_firing(store, *KEY)
    assert found
    assert found.due == T


async def test_a_schedule_that_is_added_later_is_told_of_and_a_new_engine_forgets_nothing() -> None:
    # Given a process that begins without periodic jobs
    periodic: list[Periodic] = []
    meter, store = Meter(), MemoryBackend()
    meter.keep_notes(periodic)
    # When one is added, fires, and another engine begins before the store was told
    periodic.append(MINUTELY)
    fire(meter.board, T)
    meter.keep_notes(periodic)
    # Then the store is told
    await Annals(meter.board).write(store, T + 2)
    assert await last_firing(store, *KEY)


def test_what_goes_wrong_with_the_notes_of_a_run_holds_up_no_ending(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Firings):
        def note(self, running: Running, outcome: Outcome, now: float) -> None:
            raise ValueError("no such time")

    board = Board()
    board.firings = Broken([MINUTELY])
    fire(board, T)
    assert board.by_handler()["send"].ended() == 1
    assert "could not be told of" in caplog.text


async def test_ids_that_anybody_may_invent_take_no_slot(monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a worker with one slot that tells of its firings, and jobs with ids like theirs
    ledger = Ledger()
    worker = on(ledger, monkeypatch, history=True, concurrency=1)
    worker.register("send", nothing)
    worker.periodic("0 0 1 1 *", "send")
    invented = [f"periodic:send:0 0 1 1 *:{digits}" for digits in ("9" * 5000, "9" * 25, "\u0663", "")]
    async with worker:
        # When they run, then each ends, and so does one behind them
        await ledger.push([Job("send", id=job_id) for job_id in [*invented, "last"]], worker.clock.now())
        for job_id in [*invented, "last"]:
            assert await ledger.ending(job_id) == Done()


async def test_lines_that_nobody_can_read_hide_no_firing() -> None:
    board, store = measured(), MemoryBackend()
    fire(board, T)
    await Annals(board).write(store, T + 2)
    await store.jot([Line(page_of(*KEY), text, 5, FOR_GOOD) for text in ("", "{}", '["x"]')], T)
    assert await last_firing(store, *KEY)


async def test_a_process_tells_how_it_is_for_as_long_as_it_lives() -> None:
    store = MemoryBackend()
    annals = Annals(Board())
    annals.lag = Lag()
    await annals.write(store, T, "pool-1")
    found = await vitals_of(store, "pool-1", T + 10)
    assert found
    assert (found.at, found.memory > 1 << 20, found.lag) == (T, True, 0.0)
    # When it tells nothing more, then nobody takes it for well
    assert await vitals_of(store, "pool-1", T + 300) is None
    assert await vitals_of(store, "pool-2", T) is None
    await tell(store, "pool-2", Vitals(T, 0, 1.5))
    await store.jot([Line("vitals:pool-2", "{", 1, FOR_GOOD)], T)
    assert await vitals_of(store, "pool-2", T) is None


async def test_a_worker_tells_of_its_firings_and_how_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a worker that keeps a history, and a clock that is turned
    clock, store = FakeClock(T), MemoryBackend()
    worker = on(store, monkeypatch, clock=clock, history=True)
    monkeypatch.setattr(MemoryBackend, "sibling", lambda self: self)
    worker.register("send", nothing)
    worker.periodic("* * * * *", "send")
    found, vitals = None, None
    async with worker:
        # When minutes pass, then the store knows in the end how a firing went, and how the process is
        async with asyncio.timeout(PATIENCE):
            while not (found and vitals):
                await clock.aadvance(1)
                found = await last_firing(store, *KEY)
                for pool in await store.pools():
                    vitals = await vitals_of(store, pool.id, clock.now())
    assert (found.due - T) % 60 == 40
    assert (found.ending, found.attempt) == ("done", 1)
    assert found.drift is not None


def test_only_the_ids_of_a_schedule_tell_its_times() -> None:
    assert tick_of("periodic:send:* * * * *:1700000000", *KEY) == 1_700_000_000
    assert tick_of("periodic:send:* * * * *:1700000000/3", *KEY) == 1_700_000_000
    for other in (
        "",
        "send",
        "periodic:send:@daily:1700000000",
        "periodic:send:* * * * *:soon",
        "periodic:send:* * * * *:",
        f"periodic:send:* * * * *:{10**12}",
        f"periodic:send:* * * * *:{'9' * 5000}",
    ):
        assert tick_of(other, *KEY) is None
