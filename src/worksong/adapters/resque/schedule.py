"""The delayed jobs, as all schedulers of the family keep them: a list for each second in which something is due."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import NamedTuple

from worksong.adapters.redis.client import Arg
from worksong.adapters.redis.store import stored, text, whole
from worksong.adapters.resque.space import CLEAN, Space
from worksong.domain.lifecycle import State

CHUNK = 500


class Entry(NamedTuple):
    """A payload on the schedule."""

    due: int
    raw: bytes
    state: State
    """Whether it failed before."""


class Schedule:
    """Reads it from its soonest end."""

    def __init__(self, space: Space) -> None:
        self._space = space

    async def entries(self) -> AsyncIterator[Entry]:
        """All, the soonest first; what is moved meanwhile may be missing."""
        passed = 0
        while True:
            seconds = await self._seconds(passed, CHUNK)
            for second in seconds:
                at = 0
                while True:
                    raws = await self._bucket(second, at, CHUNK)
                    for raw, state in zip(raws, await self._states(raws), strict=True):
                        yield Entry(second, raw, state)
                    if len(raws) < CHUNK:
                        break
                    at += len(raws)
            if len(seconds) < CHUNK:
                return
            passed += len(seconds)

    async def due(self, now: float, limit: int, *, past: int = 0) -> list[tuple[int, bytes]]:
        """(second, payload) of what is due, at most `limit`, behind the first `past`."""
        k, found = self._space.keys, list[tuple[int, bytes]]()
        members = await self._space.call("ZRANGEBYSCORE", k.schedule, "-inf", int(now), "LIMIT", 0, past + limit)
        seconds, passed = _whole(members), 0
        lengths = await self._space.try_all([("LLEN", k.delayed(second)) for second in seconds]) if past else []
        for length in lengths:
            if (length or 0) > past:
                break
            past, passed = past - (length or 0), passed + 1
        for second in seconds[passed:]:
            raws = await self._bucket(second, past, limit - len(found))
            if not raws and not past:
                await self._clean(second)
            past = 0
            found += [(second, raw) for raw in raws]
            if len(found) >= limit:
                break
        return found

    async def totals(self) -> tuple[int, int]:
        """How many are scheduled, and how many of the payloads on the schedule failed before."""
        total = passed = 0
        while seconds := await self._seconds(passed, CHUNK):
            lengths = await self._space.try_all([("LLEN", self._space.keys.delayed(second)) for second in seconds])
            total, passed = total + sum(length or 0 for length in lengths), passed + len(seconds)
        retries = await self._retries()
        return max(0, total - retries), retries

    async def _retries(self) -> int:
        """Marks whose payload was moved by another scheduler are dropped before they are counted."""
        k, retries = self._space.keys, 0
        cursor = b"0"
        while True:
            cursor, flat = await self._space.call("ZSCAN", k.retries, cursor, "COUNT", CHUNK)
            raws = flat[::2]
            there = await self._space.try_all([("EXISTS", stored(k.timestamps("")) + raw) for raw in raws])
            stale = [raw for raw, exists in zip(raws, there, strict=True) if not exists]
            if stale:
                await self._space.call("ZREM", k.retries, *stale)
            retries += len(raws) - len(stale)
            if cursor == b"0":
                return retries

    async def _seconds(self, start: int, count: int) -> list[int]:
        return _whole(await self._space.call("ZRANGE", self._space.keys.schedule, start, start + count - 1))

    async def _bucket(self, second: int, start: int, count: int) -> list[bytes]:
        (raws,) = await self._space.try_all([("LRANGE", self._space.keys.delayed(second), start, start + count - 1)])
        return raws or []

    async def _states(self, raws: list[bytes]) -> list[State]:
        commands: list[tuple[Arg, ...]] = [("ZSCORE", self._space.keys.retries, raw) for raw in raws]
        marks = await self._space.try_all(commands)
        return [State.SCHEDULED if mark is None else State.RETRY for mark in marks]

    async def _clean(self, second: int) -> None:
        """An empty list of a second that is still on the schedule, as removals by peers leave it."""
        await self._space.run(CLEAN, (self._space.keys.schedule, self._space.keys.delayed(second)), (second,))


def _whole(members: list[bytes]) -> list[int]:
    return [whole(member) for member in members if text(member).lstrip("-").isdecimal()]
