"""Whether a queue may have something to give: told by the doorbell, or looked for again and again without one."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

from worksong.adapters.gocraft.doorbell import Doorbell
from worksong.adapters.gocraft.space import Space, stored, whole
from worksong.adapters.redis.client import Arg

FIRST_NAP, LONGEST_NAP = 0.005, 0.1
"""Seconds between two looks in vain: without a doorbell, and with one when others are always faster."""
RELOOK = 2.0
"""Seconds after which everything is read again, though nothing rang."""

log = logging.getLogger("worksong")


class Lookout:
    """Watches of each job type the keys of which one must change before it can give anything.

    Of an empty queue that is the queue itself. Of one that is paused or at its limit it is what holds it: jobs that
    come in behind those that wait already ring for nobody.
    """

    def __init__(self, space: Space) -> None:
        self._space, self._bell = space, Doorbell(space.redis)
        self._watch: dict[str, list[bytes]] = {}
        self._read = float("-inf")
        self._nap = FIRST_NAP
        self._called = False
        self._polls = self._complained = False

    def silent(self, names: Sequence[str]) -> bool:
        """Whether nothing has changed since none of these job types had anything to give."""
        return bool(names) and not self._called and all(map(self._quiet, names))

    def ring(self) -> None:
        """This process queued something, or let it go: news only where the server tells nothing."""
        if self._polls:
            self._bell.ring()

    def found(self) -> None:
        """A look was worth it."""
        self._called, self._nap = False, FIRST_NAP

    async def wait(self, names: Sequence[str], seconds: float) -> None:
        """After a look in vain: return when the next may be worth it, at the latest after so many seconds."""
        if self._called:
            self._called = False
            rest = self._next_nap(seconds)
            await asyncio.sleep(rest)
            seconds -= rest
        since = self._bell.rings
        called = await self._listen(names)
        self._polls = called is None
        if called is None:
            self._complain()
            await self._bell.wait(since, self._next_nap(seconds))
        else:
            self._called = called or await self._bell.wait(since, min(seconds, RELOOK))

    async def close(self) -> None:
        """Let go of the connection."""
        await self._bell.close()

    def _complain(self) -> None:
        if self._bell.refusal and not self._complained:
            self._complained = True
            log.warning(
                "%s does not tell when jobs come in, so idle workers look for them every %g s: %s; "
                "it takes Redis 6 or newer, and a user who may HELLO and CLIENT TRACKING",
                self._space.redis.address.shown,
                LONGEST_NAP,
                self._bell.refusal,
            )

    def _next_nap(self, most: float) -> float:
        nap, self._nap = self._nap, min(LONGEST_NAP, self._nap * 2)
        return max(0.0, min(nap, most))

    def _quiet(self, name: str) -> bool:
        return name in self._watch and self._bell.watches(self._watch[name])

    async def _listen(self, names: Sequence[str]) -> bool | None:
        """Watch whatever is not watched; whether something is there to be taken. None: changes are not told."""
        now = asyncio.get_running_loop().time()
        again = now - self._read >= RELOOK
        unsure = [name for name in names if again or not self._quiet(name)]
        if not unsure:
            return False
        queues = [stored(self._space.keys.jobs(name)) for name in unsure]
        answers = await self._bell.read([("EXISTS", *queues)], queues)
        if answers is None:
            return None
        if again:
            self._read = now
        if answers[0] == 0:
            self._watch.update({name: [queue] for name, queue in zip(unsure, queues, strict=True)})
            return False
        return await self._look_at(unsure)

    async def _look_at(self, names: Sequence[str]) -> bool | None:
        k = self._space.keys
        every = [[stored(key(name)) for key in (k.jobs, k.paused, k.lock, k.max_concurrency)] for name in names]
        commands: list[tuple[Arg, ...]] = []
        for queue, paused, lock, limit in every:
            commands += (("LLEN", queue), ("EXISTS", paused), ("GET", lock), ("GET", limit))
        answers = await self._bell.read(commands, [key for keys in every for key in keys])
        if answers is None:
            return None
        there = False
        for place, (name, keys) in enumerate(zip(names, every, strict=True)):
            length, *held = answers[4 * place : 4 * place + 4]
            if not isinstance(length, int) or length == 0:
                watched = keys[:1]
            elif _is_held(*held):
                watched = keys[1:]
            else:
                watched, there = keys, True
            self._watch[name] = watched
            self._bell.ignore(set(keys) - set(watched))
        return there


def _is_held(paused: Any, lock: Any, limit: Any) -> bool:
    """Whether a queue gives nothing for now: paused, at its limit, or one of these keys is of a wrong type."""
    if isinstance(lock, Exception) or isinstance(limit, Exception):
        return True
    return paused != 0 or 0 < whole(limit) <= whole(lock)
