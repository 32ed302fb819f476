"""Whoever waits for an ending hears of it soon, and is in nobody's way until then."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from patience import auntil
from worksong.adapters import awaited
from worksong.adapters.awaited import Awaited
from worksong.adapters.bells import Bells

RINGS = 1000


async def test_endings_of_others_are_looked_at_together(monkeypatch: pytest.MonkeyPatch) -> None:
    # Given somebody who waits for one ending, where nothing but a bell leads to a look, or a pause that does not end
    monkeypatch.setattr(awaited, "FIRST_NAP", 3600.0)
    monkeypatch.setattr(awaited, "LONGEST_NAP", 3600.0)
    bells, looks = Bells(), 0

    async def look(ids: Sequence[str]) -> dict[str, str]:
        nonlocal looks
        looks += 1
        return {}

    waiters = Awaited(look, bells)
    waiting = asyncio.ensure_future(waiters.wait("mine", 3600.0))
    await auntil(lambda: looks == 2)

    # When the bell rings for another one, then it is looked at once
    bells.ring()
    await auntil(lambda: looks == 3)

    # And when it rings on for others, they wait for the next look
    for _ in range(RINGS):
        bells.ring()
        await asyncio.sleep(0)
    assert looks == 3
    waiting.cancel()
    await asyncio.wait([waiting])
    await waiters.close()


async def test_after_endings_of_others_ones_own_is_told() -> None:
    # Given somebody who waits, and a bell that rings for others all the time
    bells, found = Bells(), dict[str, str]()

    async def look(ids: Sequence[str]) -> dict[str, str]:
        return {one: found[one] for one in ids if one in found}

    waiters = Awaited(look, bells)
    waiting = asyncio.ensure_future(waiters.wait("mine", 600.0))
    for number in range(RINGS):
        found[f"of {number}"] = "over"
        bells.ring()
        await asyncio.sleep(0)
    # When his own ending comes
    found["mine"] = "over"
    bells.ring()
    # Then he is told
    assert await waiting == "over"
    await waiters.close()
