"""Transactions of handlers: lent to a run that goes on, one for each, and ended or undone with it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from engine_bench import Hasty, until
from worksong import Job, NotStarted
from worksong.domain.errors import BackendUnavailable
from worksong.domain.job import Delivery
from worksong.domain.outcome import Buried, Done, Outcome, Released, Settlement
from worksong.domain.result import Result
from worksong.engine.deeds import Deeds
from worksong.engine.settler import Settler
from worksong.ports.backend import Running


class Deed:
    """Notes what becomes of it."""

    def __init__(self, answer: bool | Exception) -> None:
        self.connection, self.answer = object(), answer
        self.story: list[str] = []

    async def settle(self, settlement: Settlement, now: float) -> bool:
        self.story.append("settled")
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    async def undo(self) -> None:
        self.story.append("undone")


class Bank:
    """Lends when told to, and takes endings in the usual way."""

    def __init__(self, answer: bool | Exception = True) -> None:
        self.answer, self.deeds = answer, list[Deed]()
        self.endings: list[Outcome] = []
        self.held = True
        self.gate = asyncio.Event()
        self.gate.set()
        self.refusals: list[Exception] = []

    async def begin(self, *, blocks: bool) -> Deed:
        await self.gate.wait()
        if self.refusals:
            raise self.refusals.pop()
        self.deeds.append(Deed(self.answer))
        return self.deeds[-1]

    async def settle(self, batch: list[Settlement], now: float) -> list[bool]:
        held, self.held = self.held, False  # a job ends once
        self.endings += [settlement.outcome for settlement in batch]
        return [held] * len(batch)


class Desk:
    """Deeds with a settler, as a lane has them."""

    def __init__(self, bank: Any, slots: int = 2, results: Any = None) -> None:
        self.slots: list[Running | None] = [None] * slots
        self.held: dict[int, Delivery] = {}
        self.deeds = Deeds(bank, self.slots, lambda _, failure: Buried(str(failure)))
        self.settler = Settler(bank, Hasty(), self.held, lambda: None, results, deeds=self.deeds)

    def run(self, slot: int = 0) -> Running:
        delivery = Delivery(Job("pay", id=f"job-{slot}"), None, slot + 1)
        self.held[delivery.fence] = delivery
        self.slots[slot] = running = Running(delivery, slot, 0.0)
        return running

    async def end(self, running: Running, outcome: Outcome) -> None:
        self.slots[running.slot] = None
        self.settler.put(Settlement(running.delivery, outcome))
        await self.settler.drained()


async def test_a_run_has_one_transaction_however_often_it_asks() -> None:
    desk = Desk(bank := Bank())
    running = desk.run()

    lent = await asyncio.gather(*(desk.deeds.alend(running) for _ in range(3)))
    await desk.end(running, Done(1))

    assert lent == [bank.deeds[0].connection] * 3
    assert bank.deeds[0].story[:1] == ["settled"]
    assert (bank.endings, desk.held, desk.settler.endings[Done]) == ([], {}, 1)


async def test_only_a_run_that_is_done_commits() -> None:
    desk = Desk(bank := Bank())
    running = desk.run()
    await desk.deeds.alend(running)

    await desk.end(running, Released())

    assert (bank.deeds[0].story, bank.endings) == (["undone"], [Released()])


async def test_what_fails_at_the_commit_is_a_failure_of_the_job() -> None:
    desk = Desk(bank := Bank(BackendUnavailable("no answer")))
    running = desk.run()
    await desk.deeds.alend(running)

    await desk.end(running, Done(1))

    assert (bank.deeds[0].story, bank.endings) == (["settled", "undone"], [Buried("no answer")])


async def test_without_its_result_nothing_is_committed() -> None:
    # Given a store for results that is away for a moment
    class Away:
        left = 1

        async def put(self, results: list[Any]) -> None:
            if self.left:
                self.left -= 1
                raise BackendUnavailable("no store")

    desk = Desk(bank := Bank(), results=Away())
    running = desk.run()
    await desk.deeds.alend(running)

    # When a run is done, then it has failed, and nothing is left of it
    await desk.end(running, Done(1))
    await desk.deeds.close()
    assert (bank.deeds[0].story, bank.endings) == (["undone"], [Buried("no store")])


class Shelf:
    """A store for results apart from the jobs: the last one of each job is what a reader finds."""

    def __init__(self, outages: int = 0) -> None:
        self.kept: list[Result] = []
        self.puts, self.outages = 0, outages

    async def put(self, results: list[Result]) -> None:
        self.puts += 1
        if self.puts > 1 and self.outages:  # the first is that of the run which is done
            self.outages -= 1
            raise BackendUnavailable("no store")
        self.kept += results


async def test_a_commit_that_was_not_answered_and_was_carried_out_keeps_its_result() -> None:
    # Given a run whose commit is carried out, and whose answer is lost
    shelf = Shelf()
    desk = Desk(bank := Bank(BackendUnavailable("no answer")), results=shelf)
    bank.held = False
    running = desk.run()
    await desk.deeds.alend(running)

    # When the failure that this looks like finds the job gone
    await desk.end(running, Done(1))

    # Then a reader finds what the run returned
    assert bank.endings == [Buried("no answer")]
    assert [(result.value, result.failure) for result in shelf.kept] == [(b"1", None)]


@pytest.mark.parametrize("outages", [0, 3])
async def test_a_commit_that_was_not_answered_and_was_not_carried_out_is_a_failure(outages: int) -> None:
    # Given a run whose commit is lost, and a store for results that may be away afterwards
    shelf = Shelf(outages)
    desk = Desk(bank := Bank(BackendUnavailable("no answer")), results=shelf)
    running = desk.run()
    await desk.deeds.alend(running)

    # When the failure finds the job held
    await desk.end(running, Done(1))

    # Then a reader finds the failure, in the end
    assert bank.endings[0] == Buried("no answer")
    assert [bool(result.failure) for result in shelf.kept] == [False, True]
    assert (desk.settler.endings[Buried], desk.settler.refused, desk.held) == (1, 0, {})


async def test_a_late_commit_is_counted_as_refused() -> None:
    desk = Desk(bank := Bank(answer=False))
    running = desk.run()
    await desk.deeds.alend(running)

    await desk.end(running, Done(1))

    assert (bank.endings, desk.settler.refused, desk.held) == ([], 1, {})


async def test_the_job_of_somebody_else_leaves_nothing() -> None:
    desk = Desk(bank := Bank())
    running = desk.run()
    await desk.deeds.alend(running)

    desk.slots[0] = None
    desk.deeds.abandon(running.delivery.fence)
    desk.deeds.abandon(running.delivery.fence)
    await desk.deeds.close()

    assert (bank.deeds[0].story, desk.deeds.open) == (["undone"], {})
    with pytest.raises(NotStarted, match="does not run any more"):
        await desk.deeds.alend(running)


async def test_what_is_opened_too_late_is_undone() -> None:
    # Given a run that is cancelled while it waits for a connection
    desk = Desk(bank := Bank())
    running = desk.run()
    bank.gate.clear()
    asking = asyncio.create_task(desk.deeds.alend(running))
    await until(lambda: desk.deeds.open)
    asking.cancel()
    await asyncio.wait([asking])

    # When it has ended, and the connection comes
    desk.slots[0] = None
    desk.settler.put(Settlement(running.delivery, Released()))
    await asyncio.sleep(0)
    bank.gate.set()
    await desk.settler.drained()

    # Then it is given back, and the job ends in the usual way
    assert (bank.deeds[0].story, bank.endings) == (["undone"], [Released()])


async def test_what_could_not_be_opened_may_be_asked_for_again() -> None:
    desk = Desk(bank := Bank())
    running = desk.run()
    bank.refusals.append(BackendUnavailable("away"))

    with pytest.raises(BackendUnavailable, match="away"):
        await desk.deeds.alend(running)
    await desk.deeds.alend(running)

    await desk.end(running, Done())
    assert bank.deeds[0].story[:1] == ["settled"]


async def test_a_slot_that_is_free_again_waits_for_the_connection_of_the_job_before() -> None:
    # Given one slot, whose job is over and not yet settled
    desk = Desk(bank := Bank(), slots=1)
    first = desk.run()
    await desk.deeds.alend(first)
    desk.slots[0] = None

    # When the next one asks
    second = desk.run()
    second.delivery = Delivery(Job("pay", id="next"), None, 99)
    asking = asyncio.create_task(desk.deeds.alend(second))
    await until(lambda: len(desk.deeds.open) == 2)
    for _ in range(10):
        await asyncio.sleep(0)
    assert len(bank.deeds) == 1

    # Then it is lent one when the first is settled
    desk.settler.put(Settlement(first.delivery, Done()))
    assert await asking is bank.deeds[1].connection
    await desk.settler.drained()
    await desk.deeds.close()


async def test_what_is_open_at_the_end_is_undone() -> None:
    desk = Desk(bank := Bank())
    await desk.deeds.alend(desk.run(0))
    bank.gate.clear()
    asking = asyncio.create_task(desk.deeds.alend(desk.run(1)))
    await until(lambda: len(desk.deeds.open) == 2)

    await desk.deeds.close()

    assert bank.deeds[0].story == ["undone"]
    await asyncio.wait([asking])
    assert asking.cancelled()


async def test_a_run_that_wrote_is_told_of_when_its_fate_is_known() -> None:
    # Given two runs that wrote, of which one cannot be committed
    fates = list[Outcome]()
    for answer in (True, BackendUnavailable("no answer")):
        desk = Desk(Bank(answer))
        running = desk.run()
        await desk.deeds.alend(running)
        desk.settler.fates[running.delivery.fence] = fates.append
        # When they end as their handlers decided
        await desk.end(running, Done(1))
        # Then it is told what became of them, as it is counted
        assert desk.settler.endings[type(fates[-1])] == 1
        assert desk.settler.fates == {}
    assert fates == [Done(1), Buried("no answer")]
