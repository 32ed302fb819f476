"""The patience of the tests themselves: it answers what came, and says what did not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from patience import auntil, until


def test_what_came_is_answered() -> None:
    looks = iter([0, 0, 7])
    assert until(lambda: next(looks), pause=0) == 7


def test_what_is_seen_may_have_to_be_more_than_true() -> None:
    looks = iter([1, 2, 3])
    assert until(lambda: next(looks), met=lambda seen: seen > 2, pause=0) == 3


@pytest.mark.parametrize("awaited", [False, True])
async def test_others_have_their_turns_between_two_looks(awaited: bool) -> None:
    # Given somebody who does something in turns of the loop
    done: list[int] = []

    async def work() -> None:
        for number in range(3):
            await asyncio.sleep(0)
            done.append(number)

    async def ask() -> list[int]:
        return done

    working = asyncio.create_task(work())
    # When it is looked for, by a function or a coroutine, then it comes
    look: Callable[[], Any] = ask if awaited else lambda: done
    assert await auntil(look, met=lambda seen: len(seen) == 3, pause=0) == [0, 1, 2]
    await working


def test_what_does_not_come_is_named_with_what_was_seen_last() -> None:
    with pytest.raises(AssertionError, match=r"waited 0 s in vain for the moon; last seen: \[\]"):
        until(list, "the moon", within=0)


async def test_what_nobody_has_named_is_shown_as_it_was_written() -> None:
    moons: list[int] = []
    with pytest.raises(AssertionError, match=r"in vain for .*moons.*; last seen: False"):
        await auntil(lambda: bool(moons), within=0)


def test_what_has_no_source_is_still_told() -> None:
    with pytest.raises(AssertionError, match=r"in vain for <class 'dict'>; last seen: \{\}"):
        until(dict, within=0)


def test_who_waits_may_tell_of_what_was_seen_last() -> None:
    with pytest.raises(AssertionError, match="in vain for 7 moons, not 8"):
        until(lambda: 7, lambda seen: f"{seen} moons, not 8", met=lambda seen: seen == 8, within=0)
