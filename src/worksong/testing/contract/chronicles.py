"""What jobs did over time: added up by whoever did it, and forgotten in the end."""

from __future__ import annotations

import asyncio

import pytest

from worksong.domain.capability import Capability
from worksong.domain.course import Grain
from worksong.domain.job import Delivery, Job
from worksong.domain.outcome import Buried, Discarded, Done, Outcome, Released, Retried, Snoozed
from worksong.domain.tally import BOUNDS, BUCKETS, PLACE, RAN, SIZE, WAITED, Tally
from worksong.engine.board import Board
from worksong.ports.backend import Backend, Running
from worksong.testing.contract.steps import T
from worksong.testing.contract.suite import Suite, needs

AT = T // 3600 * 3600.0
"""The beginning of an hour."""


def a_tally(outcome: Outcome | None = None, times: int = 1, *, ran: float = 0.25, waited: float = 2.0) -> Tally:
    """So many jobs that ended so."""
    numbers: list[float] = [0] * SIZE
    numbers[PLACE[type(outcome or Done())]] = times
    for start, seconds in ((RAN, ran), (WAITED, waited)):
        numbers[start] = seconds * times
        bucket = next((place for place, bound in enumerate(BOUNDS) if seconds <= bound), BUCKETS - 1)
        numbers[start + 1 + bucket] = times
    return Tally(numbers)


async def noted(backend: Backend, grain: Grain, handler: str = "send", *, until: float = AT + 7200) -> list[int]:
    """How many jobs ended in each slot in which any did."""
    return [slot.tallies[handler].ended() for slot in await backend.course(grain, AT - 7200, until)]


class Chronicles(Suite):
    @needs(Capability.HISTORY)
    async def test_a_slot_says_what_was_noted_in_it(self, backend: Backend) -> None:
        outcomes: tuple[Outcome, ...] = (Done(), Retried(T, ""), Buried(""), Discarded(""), Snoozed(T), Released())
        every = [a_tally(outcome, times) for times, outcome in enumerate(outcomes, 1)]
        for number, tally in enumerate(every):
            await backend.note({"send": tally, f"send{number}": tally}, AT + number)
        for grain in Grain:
            (slot,) = await backend.course(grain, AT, AT + 1)
            assert slot.at == AT
            assert slot.tallies["send"].named == pytest.approx(sum(every, start=Tally()).named)
            assert [slot.tallies[f"send{number}"].named for number in range(6)] == [tally.named for tally in every]

    @needs(Capability.HISTORY)
    async def test_slots_are_as_long_as_their_grain(self, backend: Backend) -> None:
        for after in (0, 59.9, 60, 599, 600, 3599, 3600):
            await backend.note({"send": a_tally()}, AT + after)
        assert await noted(backend, Grain.MINUTE) == [2, 1, 1, 1, 1, 1]
        assert await noted(backend, Grain.TEN_MINUTES) == [4, 1, 1, 1]
        assert await noted(backend, Grain.HOUR) == [6, 1]

    @needs(Capability.HISTORY)
    async def test_who_asks_gets_the_slots_that_begin_in_that_time(self, backend: Backend) -> None:
        for minute in range(5):
            await backend.note({"send": a_tally()}, AT + 60 * minute)
        found = await backend.course(Grain.MINUTE, AT + 60, AT + 180)
        assert [slot.at for slot in found] == [AT + 60, AT + 120]
        found = await backend.course(Grain.MINUTE, AT + 60.5, AT + 180.5)
        assert [slot.at for slot in found] == [AT + 120, AT + 180]
        assert list(await backend.course(Grain.MINUTE, AT + 86_400, AT + 90_000)) == []

    @needs(Capability.HISTORY)
    async def test_workers_that_note_at_the_same_time_lose_nothing(self, backend: Backend) -> None:
        others = [backend, *(backend.sibling() for _ in range(3))]
        notes = [
            other.note({f"send{number}": a_tally() for number in (0, 2, 1)}, AT) for other in others for _ in range(10)
        ]
        await asyncio.gather(*notes)
        for grain in Grain:
            assert [await noted(backend, grain, f"send{number}") for number in range(3)] == [[40]] * 3
        for other in others[1:]:
            await other.close()

    @needs(Capability.HISTORY)
    async def test_long_times_and_short_ones_add_up_exactly(self, backend: Backend) -> None:
        for _ in range(100):
            await backend.note({"send": a_tally(ran=0.000_01, waited=100_000.0)}, AT)
        (slot,) = await backend.course(Grain.HOUR, AT, AT + 1)
        assert slot.tallies["send"].ran.seconds == pytest.approx(0.001)
        assert slot.tallies["send"].waited.seconds == pytest.approx(10_000_000.0)

    @needs(Capability.HISTORY)
    async def test_what_a_worker_tells_of_the_longest_names_is_taken(self, backend: Backend) -> None:
        board = Board()
        for name in ("a" * 200, "b" * 200, "c" * 199):
            board.note(Running(Delivery(Job(name, queue=name, id=name), None, 1), 0, AT), Done(), AT + 1)
        told = board.by_handler() | board.by_queue()
        await backend.note(told, AT)
        (slot,) = await backend.course(Grain.HOUR, AT, AT + 1)
        assert slot.tallies == told

    @needs(Capability.HISTORY)
    async def test_nothing_is_noted_of_nothing(self, backend: Backend) -> None:
        await backend.note({}, AT)
        assert await noted(backend, Grain.MINUTE) == []

    @needs(Capability.HISTORY)
    async def test_history_is_erased_with_everything_else(self, backend: Backend) -> None:
        await backend.note({"send": a_tally()}, AT)
        await backend.erase()
        assert await noted(backend, Grain.HOUR) == []
