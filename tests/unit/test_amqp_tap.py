"""What a pool of RabbitMQ has sent in advance, and what of that it hands back: two job types, one short, one long."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count
from typing import Any, NamedTuple

import pytest

from worksong.adapters.amqp.channel import Delivered
from worksong.adapters.amqp.consumers import Consumer
from worksong.adapters.amqp.held import Held
from worksong.adapters.amqp.pace import AHEAD, WINDOW, Paces
from worksong.adapters.amqp.tap import Tap

SLOTS = 25
TYPES = ("short", "long")


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def tap(clock: Clock) -> Tap:
    """One that has a consumer for each of two types, as it begins: half of the slots for each."""
    nothing: Any = object()
    tap = Tap(nothing, nothing, SLOTS, "here", lambda _: None)
    tap._channel, tap._paces, tap.asked = nothing, Paces(clock), True
    for name, prefetch in tap._lacking(TYPES, SLOTS):
        tap._consumers[name] = Consumer(name, prefetch)
    return tap


def end(tap: Tap, clock: Clock, per_second: Mapping[str, float]) -> None:
    """Jobs of these types have been ending at these rates."""
    for _ in range(3):
        clock.now += 2 * WINDOW
        tap._paces.ended([name for name, rate in per_second.items() for _ in range(round(rate * 2 * WINDOW))])


def send(tap: Tap, name: str, jobs: int) -> None:
    """The server sends so many."""
    nothing: Any = object()
    for tag, _ in zip(count(len(tap._unended) + 1), range(jobs), strict=False):
        tap._came(tap._channel or nothing, tap._consumers[name], Delivered(tag, name, nothing, "", ""))


def begin(tap: Tap, name: str, jobs: int) -> None:
    """So many of those that lie here get a slot."""
    for _ in range(jobs):
        tap._buffer[name].popleft()


async def test_short_jobs_are_read_ahead_and_their_long_neighbours_are_not(tap: Tap, clock: Clock) -> None:
    # Given short jobs that come and go, and long ones that do not fill their share
    end(tap, clock, {"short": 5000, "long": 20})
    # When nothing is left here, then short ones only are sent for, beyond the slots what ends in an instant
    [(name, more)] = tap._lacking(TYPES, SLOTS)
    assert name == "short"
    assert abs(13 + more - (SLOTS + 5000 * AHEAD)) <= 1


async def test_a_type_that_does_not_fill_its_share_gets_no_more(tap: Tap, clock: Clock) -> None:
    # Given types with room for twice as many, of which a few end now and then
    end(tap, clock, {"short": 200, "long": 20})
    # When nothing is left here, then nothing is sent for: what may be sent is more than what comes
    assert tap._lacking(TYPES, SLOTS) == []


async def test_long_jobs_that_fill_their_share_get_the_free_slots(tap: Tap, clock: Clock) -> None:
    # Given short jobs that are gone, and long ones in as many slots as they may have
    end(tap, clock, {"short": 5000, "long": 20})
    clock.now += 60.0
    send(tap, "long", 13)
    begin(tap, "long", 13)
    # When slots are free, then more of them are sent for, and no more than fit
    assert tap._lacking(TYPES, SLOTS - 13) == [("long", SLOTS - 13)]


async def test_what_no_slot_is_free_for_is_handed_back(tap: Tap) -> None:
    # Given long jobs in all slots
    send(tap, "long", SLOTS)
    begin(tap, "long", SLOTS)
    assert not tap.hoards
    # When one more lies here, then others could run it sooner
    send(tap, "long", 1)
    assert tap.hoards


async def test_what_gets_a_slot_at_once_stays(tap: Tap, clock: Clock) -> None:
    # Given free slots for all that lies here
    send(tap, "short", SLOTS)
    assert not tap.hoards
    # When all slots are taken, and as many jobs end in an instant
    end(tap, clock, {"short": 5000})
    begin(tap, "short", SLOTS)
    send(tap, "long", SLOTS)
    # Then these get theirs soon, until the pace slackens
    assert not tap.hoards
    clock.now += 60.0
    assert tap.hoards


async def test_a_pool_that_does_not_fetch_keeps_nothing(tap: Tap) -> None:
    send(tap, "short", 1)
    tap.asked = False
    assert tap.hoards


class Word(NamedTuple):
    what: str
    tag: int


class Wire:
    """A channel that notes what is said on it."""

    complete = True

    def __init__(self) -> None:
        self.said: list[Word] = []

    def ack(self, tag: int, *, multiple: bool = False) -> None:
        self.said.append(Word("all up to" if multiple else "ack", tag))

    def requeue(self, tag: int) -> None:
        self.said.append(Word("back", tag))

    def pass_on(self, tag: int) -> None:
        self.said.append(Word("on", tag))


@pytest.fixture
def wire(tap: Tap) -> Wire:
    wire: Any = Wire()
    tap._channel = wire
    return wire


def bring(tap: Tap, wire: Any, *tags: int, hold: str = "") -> dict[int, Held]:
    """These are told of, in this order."""
    nothing: Any = object()
    return {
        tag: tap._hold(Delivered(tag, "", nothing, "", ""), wire, tap._consumers["long"], hold=hold) for tag in tags
    }


async def test_a_run_of_the_oldest_takes_one_word(tap: Tap, wire: Wire) -> None:
    held = bring(tap, wire, 1, 2, 3, 4, 5)
    tap.ack([held[2], held[1], held[3], held[5]])
    assert wire.said == [("all up to", 3), ("ack", 5)]
    assert list(tap._unended) == [4]


async def test_a_run_does_not_take_in_an_older_one_that_was_told_of_later(tap: Tap, wire: Wire) -> None:
    # Given five deliveries, the oldest of which is told of last
    held = bring(tap, wire, 10, 11, 12, 13, 9)
    # When the others end, then nothing is said of it
    tap.ack([held[tag] for tag in (10, 11, 12, 13)])
    assert sorted(wire.said) == [("ack", 10), ("ack", 11), ("ack", 12), ("ack", 13)]
    assert list(tap._unended) == [9]


async def test_a_run_does_not_take_in_what_nobody_has_been_told_of(tap: Tap, wire: Wire) -> None:
    # Given a delivery that has come, and that whoever asked for it has not seen yet
    held = bring(tap, wire, 10, 11)
    wire.complete = False
    # When all others end, then each of them is said
    tap.ack(held.values())
    assert sorted(wire.said) == [("ack", 10), ("ack", 11)]


async def test_what_came_out_of_a_hold_goes_on_and_never_back_into_it(tap: Tap, wire: Wire) -> None:
    held = bring(tap, wire, 1) | bring(tap, wire, 2, hold="long.held.1")
    tap.requeue(held.values())
    assert wire.said == [("back", 1), ("on", 2)]


async def test_a_delivery_ends_once_and_on_its_own_channel(tap: Tap, wire: Wire) -> None:
    # Given deliveries of a channel that is gone, and of the next one, with the same tags
    other = Wire()
    gone, held = bring(tap, other, 1, 2, 3), bring(tap, wire, 1, 2, 3)
    # When both are ended, some of them twice
    tap.ack([gone[1], held[2]])
    tap.requeue([gone[3], held[2]])
    tap.ack([held[2]])
    # Then what is left is untouched, and the server hears of each once
    assert (wire.said, other.said) == ([("ack", 2)], [])
    assert list(tap._unended) == [1, 3]
