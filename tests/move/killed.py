"""A program that moves, and kills itself: for each line (SEED) it forks a child that dies somewhere in the middle.

    python killed.py FROM FROM_NAMESPACE TO TO_NAMESPACE

Answers `killed` or `done` for each line.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import NoReturn, TypeVar

from move.stage import a_move, side
from worksong.domain.job import Job
from worksong.ports.backend import Backend
from worksong.testing.flaky import FlakyBackend

T = TypeVar("T")

MOST = 3
STEPS = 12
"""Of a load, an unload and a release each."""
COUNTED = ("load", "unload", "release")


class Doomed(FlakyBackend):
    """Ends the process at one of its steps: before it, after it, or somewhere within."""

    def __init__(self, inner: Backend, fate: Fate) -> None:
        super().__init__(inner)
        self._fate = fate

    async def _do(self, method: str, act: Callable[[], Awaitable[T]], lost: Sequence[Job] = ()) -> T:
        if method not in COUNTED or not self._fate.has_come():
            return await act()
        if self._fate.delay >= 0:
            asyncio.get_running_loop().call_later(self._fate.delay, die)
            await act()
        return die()


class Fate:
    """Which step is the last one, and how far it gets."""

    def __init__(self, seed: int) -> None:
        chance = random.Random(seed)
        self._left = chance.randint(2, STEPS)
        self.delay = chance.choice([-1.0, 0.0, chance.random() / 200, 60.0])

    def has_come(self) -> bool:
        self._left -= 1
        return self._left < 0


def die() -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("nobody survives that")


async def move(seed: int, urls: Sequence[str]) -> None:
    fate = Fate(seed)
    source, target = side(urls[0], urls[1]), side(urls[2], urls[3])
    source, target = (one._replace(backend=Doomed(one.backend, fate)) for one in (source, target))
    await a_move(source, target, most=MOST).run()


def main() -> None:
    for url in sys.argv[1::2]:
        side(url)  # what it imports is imported once, not in every child
    for line in sys.stdin:
        child = os.fork()
        if not child:
            asyncio.run(move(int(line), sys.argv[1:]))
            os._exit(0)
        _, status = os.waitpid(child, 0)
        killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        print("killed" if killed else "done" if status == 0 else f"failed {status}", flush=True)


if __name__ == "__main__":
    main()
