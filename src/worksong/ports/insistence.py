"""Asking a store that is away until it answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from worksong.domain.errors import BackendUnavailable
from worksong.ports import chance
from worksong.ports.clock import Clock

T = TypeVar("T")


async def insist(ask: Callable[[], Awaitable[T]], clock: Clock) -> T:
    """What it answers in the end; only for what may be asked twice."""
    pause = 0.1
    while True:
        try:
            return await ask()
        except BackendUnavailable:
            await clock.sleep(chance.uniform(0, pause))
            pause = min(10.0, pause * 2)
