"""Endings on their way back: in batches, repeated while the server is away, told when they came too late."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator, Sequence

import pytest

from engine_bench import Hasty, until
from patience import PATIENCE
from worksong import Job
from worksong.domain.errors import BackendRefused, BackendUnavailable
from worksong.domain.job import Delivery, new_id
from worksong.domain.outcome import Done, Settlement
from worksong.engine.engine import CANCEL_PATIENCE
from worksong.engine.settler import BATCH, LONGEST_PAUSE, PLENTY, Settler
from worksong.ports.backend import Want
from worksong.testing.clock import FakeClock

Held = dict[int, Delivery]


class Desk:
    """A broker that only settles, and holds what it is given until let go."""

    def __init__(self) -> None:
        self.batches: list[list[Settlement]] = []
        self.at_once = self.most = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.answers: Iterator[bool | Exception] = itertools.repeat(True)

    async def push(self, jobs: Sequence[Job], now: float, *, once: bool = False) -> list[bool]:
        raise NotImplementedError

    async def fetch(self, want: Want, now: float) -> list[Delivery]:
        raise NotImplementedError

    async def settle(self, batch: Sequence[Settlement], now: float) -> list[bool]:
        self.batches.append(list(batch))
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        await self.gate.wait()
        self.at_once -= 1
        answer = next(self.answers)
        if isinstance(answer, Exception):
            raise answer
        return [answer] * len(batch)


def settlements(count: int, held: Held) -> list[Settlement]:
    """Endings of so many jobs, which are held."""
    deliveries = [Delivery(Job("x", id=new_id()), None, fence) for fence in range(len(held), len(held) + count)]
    held.update({delivery.fence: delivery for delivery in deliveries})
    return [Settlement(delivery, Done()) for delivery in deliveries]


async def test_endings_gather_while_there_are_plenty(monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a settler that was told that there are plenty, and has no other reason to let endings leave
    monkeypatch.setattr("worksong.engine.settler.PATIENCE", 3600.0)
    desk, held = Desk(), Held()
    settler = Settler(desk, Hasty(), held, lambda: None)
    settler.patient = True
    # When a few have ended
    first, *others = settlements(PLENTY, held)
    settler.put(first)
    for _ in range(5):
        await asyncio.sleep(0)
    # Then they wait for others, and all leave together as soon as they are many
    assert not desk.batches
    for ending in others:
        settler.put(ending)
    await until(lambda: desk.batches)
    assert [len(batch) for batch in desk.batches] == [PLENTY]
    await asyncio.wait_for(settler.drained(), PATIENCE)


async def test_endings_that_gather_leave_after_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a settler that was told that there are plenty
    monkeypatch.setattr("worksong.engine.settler.PATIENCE", 0.001)
    desk, held = Desk(), Held()
    settler = Settler(desk, Hasty(), held, lambda: None)
    settler.patient = True
    # When few have ended, and no more do
    for ending in settlements(3, held):
        settler.put(ending)
    # Then they leave
    await until(lambda: desk.batches)
    assert [len(batch) for batch in desk.batches] == [3]
    await asyncio.wait_for(settler.drained(), PATIENCE)


async def test_endings_leave_in_batches_two_at_a_time() -> None:
    # Given a settler
    desk, held, settled = Desk(), Held(), list[int]()
    settler = Settler(desk, Hasty(), held, lambda: settled.append(1))
    desk.gate.clear()

    # When endings come in one turn of the loop, more than three batches of them
    endings = settlements(3 * BATCH + 8, held)
    for ending in endings:
        settler.put(ending)
    assert (settler.empty, settler.full) == (False, False)
    await asyncio.sleep(0)
    await asyncio.sleep(0)

    # Then two batches are under way, and the others follow in order
    assert [len(batch) for batch in desk.batches] == [BATCH, BATCH]
    desk.gate.set()
    await settler.drained()
    assert [len(batch) for batch in desk.batches] == [BATCH, BATCH, BATCH, 8]
    assert [one for batch in desk.batches for one in batch] == endings
    assert desk.most == 2
    assert (held, settler.endings[Done], settler.empty) == ({}, len(endings), True)
    await asyncio.sleep(0)
    assert len(settled) == 4


async def test_a_backlog_is_full_at_some_point() -> None:
    desk, held = Desk(), Held()
    settler = Settler(desk, Hasty(), held, lambda: None)
    desk.gate.clear()
    for ending in settlements(5000, held):
        settler.put(ending)
    assert settler.full
    desk.gate.set()
    await settler.drained()
    assert not settler.full


async def test_a_refused_ending_is_counted_and_told_once(caplog: pytest.LogCaptureFixture) -> None:
    # Given a job that is somebody else's by now
    desk, held = Desk(), Held()
    desk.answers = itertools.repeat(False)
    settler = Settler(desk, Hasty(), held, lambda: None)

    # When its ending is settled, then it is counted as refused, and not kept
    [ending] = settlements(1, held)
    settler.put(ending)
    await settler.drained()
    assert (settler.refused, settler.endings.total(), held) == (1, 0, {})
    [record] = caplog.records
    assert record.getMessage() == f"job {ending.delivery.job.id} (x) ended here after it was given to another worker"


async def test_endings_are_repeated_while_the_server_is_away(caplog: pytest.LogCaptureFixture) -> None:
    # Given a server that is away for fifty calls
    desk, held, clock = Desk(), Held(), Hasty()
    desk.answers = itertools.chain([BackendUnavailable()] * 50, itertools.repeat(True))
    settler = Settler(desk, clock, held, lambda: None)

    # When endings come, then they are tried again after pauses that grow, until they are through
    for ending in settlements(10, held):
        settler.put(ending)
    await settler.drained()
    assert (settler.endings[Done], settler.refused, held) == (10, 0, {})
    assert len(clock.slept) == 50
    assert all(0 <= pause <= 0.1 * 2**index for index, pause in enumerate(clock.slept))

    # and no pause is so long that a stop, once the server is there again, would hand back what has run
    assert max(clock.slept) <= LONGEST_PAUSE < CANCEL_PATIENCE

    # And nothing is said: the backend tells of its outage
    assert caplog.records == []


async def test_an_ending_whose_answer_was_lost_is_not_called_refused(caplog: pytest.LogCaptureFixture) -> None:
    # Given a server that carries an ending out, and whose answer is lost
    desk, held = Desk(), Held()
    desk.answers = iter([BackendUnavailable(), False])
    settler = Settler(desk, Hasty(), held, lambda: None)

    # When it is repeated, and the job is not there any more
    settler.put(settlements(1, held)[0])
    await settler.drained()

    # Then it counts as what it most likely was
    assert (settler.endings[Done], settler.refused, held, caplog.records) == (1, 0, {}, [])


async def test_an_ending_that_is_somebody_elses_by_now_is_not_repeated() -> None:
    # Given a server that is away
    desk, held = Desk(), Held()
    desk.answers = itertools.repeat(BackendUnavailable())
    settler = Settler(desk, Hasty(), held, lambda: None)
    settler.put(settlements(1, held)[0])
    await asyncio.sleep(0)

    # When the job is lost meanwhile, then its ending is given up
    held.clear()
    async with asyncio.timeout(PATIENCE):
        await settler.drained()
    assert settler.empty


@pytest.mark.parametrize("refusal", [BackendRefused("too large"), RuntimeError("a bug")])
async def test_one_ending_that_the_server_refuses_holds_up_no_other(
    refusal: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    # Given a server that refuses every batch with one certain ending, three times
    held = Held()
    endings = settlements(10, held)
    refusals = 4

    class Picky(Desk):
        async def settle(self, batch: Sequence[Settlement], now: float) -> list[bool]:
            nonlocal refusals
            if endings[3] in batch and refusals:
                refusals -= 1
                raise refusal
            return await super().settle(batch, now)

    desk, clock = Picky(), Hasty()
    settler = Settler(desk, clock, held, lambda: None)

    # When all are settled
    for ending in endings:
        settler.put(ending)
    await settler.drained()

    # Then the others went at once, one by one, and this one in the end
    assert [len(batch) for batch in desk.batches] == [1] * 10
    assert desk.batches[-1] == [endings[3]]
    assert (settler.endings[Done], held) == (10, {})
    assert all(0.5 <= pause <= 5 for pause in clock.slept)
    assert len(clock.slept) == 3
    assert len(caplog.records) == 1
    assert f"has ended, but the server refuses to note it: {refusal}" in caplog.text


async def test_what_is_dropped_is_not_settled() -> None:
    desk, held = Desk(), Held()
    desk.answers = itertools.repeat(BackendUnavailable())
    settler = Settler(desk, FakeClock(), held, lambda: None)
    for ending in settlements(200, held):
        settler.put(ending)
    await asyncio.sleep(0)
    settler.drop()
    async with asyncio.timeout(PATIENCE):
        await settler.drained()
    assert (settler.empty, settler.endings.total(), len(held)) == (True, 0, 200)
