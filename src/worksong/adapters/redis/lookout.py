"""Whether a queue may have something to give: told by the doorbell, or looked for again and again without one."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from worksong.adapters.redis.client import Arg, Redis
from worksong.adapters.redis.doorbell import Doorbell

FIRST_NAP, LONGEST_NAP = 0.005, 0.1
"""Seconds between two looks in vain: without a doorbell, and with one when others are always faster."""
RELOOK = 2.0
"""Seconds after which everything is read again, though nothing rang."""

log = logging.getLogger("worksong")


class Gate(NamedTuple):
    """A queue, and what can hold it back."""

    queue: bytes
    holders: tuple[bytes, ...]
    questions: tuple[tuple[Arg, ...], ...]
    """A command for each of the holders."""


class Lookout:
    """Watches of each name the keys of which one must change before it can give anything.

    Of an empty queue that is the queue itself. Of one that is held it is what holds it: jobs that come in behind those
    that wait already ring for nobody.
    """

    def __init__(self, redis: Redis, gate: Callable[[str], Gate], is_held: Callable[[Sequence[Any]], bool]) -> None:
        """`is_held` judges what the questions of a gate were answered."""
        self._shown, self._bell = redis.address.shown, Doorbell(redis)
        self._gate, self._is_held = gate, is_held
        self._watch: dict[str, list[bytes]] = {}
        self._read = float("-inf")
        self._nap = FIRST_NAP
        self._called = False
        self._polls = self._complained = False

    def silent(self, names: Sequence[str]) -> bool:
        """Whether nothing has changed since none of these had anything to give."""
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
                self._shown,
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
        gates = [self._gate(name) for name in unsure]
        queues = [gate.queue for gate in gates]
        answers = await self._bell.read([("EXISTS", *queues)], queues)
        if answers is None:
            return None
        if again:
            self._read = now
        if answers[0] == 0:
            self._watch.update({name: [queue] for name, queue in zip(unsure, queues, strict=True)})
            return False
        return await self._look_at(unsure, gates)

    async def _look_at(self, names: Sequence[str], gates: Sequence[Gate]) -> bool | None:
        commands: list[tuple[Arg, ...]] = []
        for gate in gates:
            commands += (("LLEN", gate.queue), *gate.questions)
        answers = await self._bell.read(commands, [key for gate in gates for key in (gate.queue, *gate.holders)])
        if answers is None:
            return None
        there, told = False, iter(answers)
        for name, gate in zip(names, gates, strict=True):
            length, held = next(told), [next(told) for _ in gate.questions]
            every = {gate.queue, *gate.holders}
            if not isinstance(length, int) or length == 0:
                watched = [gate.queue]
            elif self._is_held(held):
                watched = list(gate.holders)
            else:
                watched, there = [*every], True
            self._watch[name] = watched
            self._bell.ignore(every - set(watched))
        return there
