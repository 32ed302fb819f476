"""What was counted on its way to the store: once as a rule, again when it failed, and never in the way of a job."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest

from engine_bench import on, until
from patience import PATIENCE
from worksong import Job, Worker
from worksong.adapters.memory import MemoryBackend
from worksong.domain.course import Grain
from worksong.domain.cron import parse
from worksong.domain.errors import BackendRefused, BackendUnavailable
from worksong.domain.firing import firing_id
from worksong.domain.job import Delivery
from worksong.domain.outcome import Done
from worksong.domain.tally import OTHER, QUEUE, Tally
from worksong.engine.annals import Annals
from worksong.engine.board import Board
from worksong.engine.firings import Firings, last_firing
from worksong.engine.lag import Lag
from worksong.engine.vitals import vitals_of
from worksong.ports.backend import Running
from worksong.registry import Periodic
from worksong.testing.clock import FakeClock
from worksong.testing.flaky import FlakyBackend, error, execute_then_error

T = 1_700_000_000.0


def run(board: Board, times: int = 1) -> None:
    """So many jobs end."""
    for _ in range(times):
        board.note(Running(Delivery(Job("send", id="1", enqueued_at=T), None, 1), 0, T), Done(), T + 1)


async def kept(store: MemoryBackend | FlakyBackend) -> int:
    """How many endings the store knows of."""
    slots = await store.course(Grain.HOUR, 0, 4e9)
    return sum(tally.ended() for slot in slots for name, tally in slot.tallies.items() if not name.startswith(QUEUE))


async def test_only_what_is_new_is_told() -> None:
    board, store = Board(), FlakyBackend(MemoryBackend())
    annals = Annals(board)
    for times in (3, 0, 2):
        run(board, times)
        await annals.write(store, T)
    assert await kept(store) == 5
    assert store.calls["note"] == 2


async def test_what_the_store_could_not_take_is_told_again() -> None:
    # Given a store that is away, and then takes what it was told without an answer
    board, store = Board(), FlakyBackend(MemoryBackend(), {"note": [error, error, execute_then_error]})
    annals = Annals(board)
    run(board, 3)
    for _ in range(2):
        with pytest.raises(BackendUnavailable):
            await annals.write(store, T)
        run(board)
    # When it is told again, then all of it is there; twice, where the answer was lost
    with pytest.raises(BackendUnavailable):
        await annals.write(store, T)
    assert await kept(store) == 5
    await annals.write(store, T)
    assert await kept(store) == 10
    run(board)
    await annals.write(store, T)
    assert await kept(store) == 11


async def test_the_last_words_are_not_waited_for() -> None:
    board, store = Board(), FlakyBackend(MemoryBackend(), {"note": [error]})
    run(board)
    await Annals(board).conclude(store, T)
    assert await kept(store) == 0


class Bursting(MemoryBackend):
    """Is wrong in a way that nobody thought of."""

    async def note(self, tallies: object, now: float) -> None:
        raise ValueError("no such thing")


async def test_nothing_that_goes_wrong_at_the_last_words_holds_up_a_stop() -> None:
    board = Board()
    run(board)
    await Annals(board).conclude(Bursting(), T)


class Slow(MemoryBackend):
    """Takes what it is told, and is long about the answer."""

    taken = False

    async def note(self, tallies: Mapping[str, Tally], now: float) -> None:
        await super().note(tallies, now)
        self.taken = True
        await asyncio.Event().wait()


async def test_who_is_stopped_while_it_tells_does_not_tell_it_again() -> None:
    # Given one that was cut short while the store had already taken what it was told
    board, store = Board(), Slow()
    annals = Annals(board)
    run(board, 3)
    telling = asyncio.create_task(annals.write(store, T))
    await until(lambda: store.taken)
    telling.cancel()
    await asyncio.wait([telling])
    # When it says its last words, then nothing is there twice
    await annals.conclude(store, T)
    assert await kept(store) == 3


class Refusing(MemoryBackend):
    """Takes no history."""

    refused = 0

    async def note(self, tallies: object, now: float) -> None:
        type(self).refused += 1
        raise BackendRefused("the key of this minute holds a list")


async def test_what_a_store_refuses_keeps_nothing_else_from_being_told() -> None:
    # Given a store that takes no history, and a process that has more to tell
    board, store = Board(), Refusing()
    board.firings = Firings([Periodic(parse("@every 60s"), "send", None, "default")])
    annals = Annals(board)
    annals.lag = Lag()
    due = Job("send", id=firing_id("send", "@every 60s", T, 0), enqueued_at=T)
    board.note(Running(Delivery(due, None, 1), 0, T), Done(), T + 1)
    # When it tells, then it hears of the refusal, and the rest is told
    for _ in range(2):
        with pytest.raises(BackendRefused, match="holds a list"):
            await annals.write(store, T, "a pool")
    assert await last_firing(store, "send", "@every 60s")
    assert await vitals_of(store, "a pool", T)


def test_a_queue_with_a_name_too_long_to_be_told_of_is_among_the_others() -> None:
    # Given queues whose names are as long as they may be, and one that is a little shorter
    board = Board()
    for queue in ("a" * 200, "b" * 200, "c" * 199):
        board.note(Running(Delivery(Job("send", queue=queue, id="1", enqueued_at=T), None, 1), 0, T), Done(), T + 1)
    # When they are told of, then no name is longer than that of a job type may be
    assert {name: tally.ended() for name, tally in board.by_queue().items()} == {
        f"{QUEUE}{OTHER}": 2,
        f"{QUEUE}{'c' * 199}": 1,
    }
    assert max(map(len, board.by_queue())) == 200


async def test_a_store_that_takes_no_history_runs_all_jobs(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    # Given a store that refuses what it is told
    store = Refusing()
    monkeypatch.setattr(store, "sibling", lambda: store)
    worker = on(store, monkeypatch, history=True)
    worker.register("send", lambda: None)
    # When jobs run, then they end well, and the trouble is told of once in a while
    async with worker:
        await worker.aperform(Job("send"))
        await until(lambda: store.refused)
        await worker.aperform(Job("send"))
        await until(lambda: worker.stats.done == 2)
    assert [record.getMessage() for record in caplog.records if "the key of this minute" in record.getMessage()]


async def test_a_worker_tells_what_its_jobs_did_while_it_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a worker that keeps a history, and a clock that is turned
    clock, store = FakeClock(T), MemoryBackend()
    worker = on(store, monkeypatch, clock=clock, history=True)
    monkeypatch.setattr(MemoryBackend, "sibling", lambda self: self)
    worker.register("send", lambda: None)
    async with worker:
        await worker.aperform(Job("send"))
        await until(lambda: worker.stats.done == 1)
        # When some beats have passed, then the store knows of it, though the worker goes on
        async with asyncio.timeout(PATIENCE):
            while not await kept(store):
                await clock.aadvance(1)
    # And not a second time at the end
    assert await kept(store) == 1


async def test_a_worker_that_is_not_asked_tells_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    store = FlakyBackend(MemoryBackend())
    monkeypatch.setattr(store, "sibling", lambda: store)
    worker = on(store, monkeypatch)
    worker.register("send", lambda: None)
    async with worker:
        await worker.aperform(Job("send"))
        await until(lambda: worker.stats.done == 1)
    assert store.calls["note"] == 0


def test_a_worker_may_run_again_and_again() -> None:
    # Given a worker that has run and ended
    worker = Worker(history=True)
    worker.register("send", lambda: None)
    for _ in range(3):
        worker.start()
        assert worker.perform(Job("send"))
        handle = worker.perform(Job("send"))
        assert handle
        handle.result(timeout=PATIENCE)
        worker.stop()
    # Then each run is in its history once
    store = worker._stores.jobs.origin
    assert isinstance(store, MemoryBackend)
    assert asyncio.run(kept(store)) == 6
