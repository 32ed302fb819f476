"""What jobs did over time, in Redis: a hash for each slot, which the server forgets by itself."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from math import ceil

from worksong.adapters.redis.client import Arg, Script
from worksong.adapters.redis.store import Store, text, whole
from worksong.domain.course import Grain, Slot
from worksong.domain.tally import Tally

NOTE = Script.named("note")
MICROS = 1_000_000
"""Seconds are added as microseconds: sums of whole numbers stay exact."""
SUMS = ("ran", "waited")
"""The numbers that are seconds."""


class RedisChronicle:
    """Fields are named `NUMBER:JOB TYPE`, as in `done:send_email`."""

    def __init__(self, store: Store, key: Callable[[int, int], str]) -> None:
        """`key`: of the slot so many seconds long that begins at that Unix second."""
        self._store, self._key = store, key

    async def note(self, tallies: Mapping[str, Tally], now: float) -> None:
        """Add to the slots of this moment, all in one step."""
        fields: list[Arg] = []
        for handler, tally in tallies.items():
            for name, number in tally.named.items():
                fields += (f"{name}:{handler}", round(number * MICROS) if name in SUMS else int(number))
        if fields:
            keys = [self._key(grain.seconds, grain.slot(now)) for grain in Grain]
            await self._store.run(NOTE, keys, [*(grain.kept + grain.seconds for grain in Grain), *fields])

    async def course(self, grain: Grain, since: float, until: float) -> list[Slot]:
        """The earliest first."""
        slots = range(ceil(since / grain.seconds) * grain.seconds, ceil(until), grain.seconds)
        found = await self._store.try_all([("HGETALL", self._key(grain.seconds, at)) for at in slots])
        return await asyncio.to_thread(_slots, slots, found)  # many job types are many fields


def _slots(begun: Sequence[int], found: Sequence[Sequence[bytes]]) -> list[Slot]:
    return [Slot(at, _read(fields)) for at, fields in zip(begun, found, strict=True) if fields]


def _read(fields: Sequence[bytes]) -> dict[str, Tally]:
    """What is no number counts nothing."""
    named: defaultdict[str, dict[str, float]] = defaultdict(dict)
    for field, stored in zip(fields[::2], fields[1::2], strict=True):
        name, _, handler = text(field).partition(":")
        named[handler][name] = whole(stored) / MICROS if name in SUMS else max(0, whole(stored))
    return {handler: Tally.of(numbers) for handler, numbers in named.items()}
