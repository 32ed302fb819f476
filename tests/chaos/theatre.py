"""Where the chaos takes place: a store that can be struck, and what must hold in it.

Each scene is told once, to this port; `theatre_redis`, `theatre_sqlite` and `theatre_servers` have what is behind it.
A scene runs on all backends unless it is marked with `on`, which says where it makes sense.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Protocol

import pytest

from chaos.scale import FULL
from worksong.adapters import connect
from worksong.domain.lifecycle import State
from worksong.ports.backend import Backend, Window

NAMESPACE = "chaos"
WITH_A_SERVER = ("redis", "postgres", "mariadb")
DATABASES = ("sqlite", "postgres", "mariadb")
EVERYWHERE = ("redis", *DATABASES)


def on(*theatres: str, small: tuple[str, ...] = ()) -> pytest.MarkDecorator:
    """Where a scene takes place; below full scale only in the `small` ones, if some are named."""
    return pytest.mark.parametrize("theatre", small if small and not FULL else theatres, indirect=True)


class Theatre(Protocol):
    """One store under test."""

    name: str
    """As certificates call it."""
    version: str
    url: str
    connections_at_most: int
    """How many one program opens that waits for nothing."""
    outages: list[tuple[float, float]]
    """(from, until), monotonic seconds, when the server was away."""

    async def kill(self) -> None:
        """End the server as a power cut of its process would: SIGKILL."""
        ...

    async def restart(self) -> None:
        """Start it again on what it had stored; when this returns it answers."""
        ...

    def freeze(self) -> None:
        """SIGSTOP: it accepts connections and answers nothing."""
        ...

    def thaw(self) -> None:
        """SIGCONT, if it is there."""
        ...

    async def disorder(self) -> list[str]:
        """What is inconsistent when nothing is left to do: locks without jobs, jobs of nobody. Empty: nothing."""
        ...

    async def connections(self) -> int:
        """How many are open to the store, besides the one that asks."""
        ...

    async def blocked(self) -> bool:
        """Whether somebody is in the middle of what keeps all others from writing."""
        ...

    async def measure(self) -> None:
        """From now on the server notes how long what it is told to do takes."""
        ...

    async def measured(self) -> Mapping[str, int]:
        """What it noted, as figures of a certificate; empty where a server cannot tell."""
        ...


class NoServer:
    """The part of a store that is a file: nobody can be killed but those who use it."""

    async def kill(self) -> None:
        raise AssertionError("there is no server to kill: mark the scene with `on(*WITH_A_SERVER)`")

    async def restart(self) -> None:
        raise AssertionError("there is no server to start: mark the scene with `on(*WITH_A_SERVER)`")

    def freeze(self) -> None:
        raise AssertionError("there is no server to freeze: mark the scene with `on(*WITH_A_SERVER)`")

    def thaw(self) -> None:
        """Nothing was frozen."""


@asynccontextmanager
async def backend(theatre: Theatre) -> AsyncIterator[Backend]:
    """The store, as an operator looks at it."""
    opened = connect(theatre.url, namespace=NAMESPACE)
    try:
        yield opened
    finally:
        await opened.close()


async def stored(theatre: Theatre, *states: State) -> set[str]:
    """The ids of all jobs in these states."""
    found: set[str] = set()
    async with backend(theatre) as store:
        for state in states:
            page = await store.jobs(state, Window(limit=1000))
            while page.jobs:
                found |= {view.id for view in page}
                page = await store.jobs(state, Window(limit=1000, offset=len(found)))
    return found


async def quiet(theatre: Theatre, within: float, *, but: str = "\0", kept: State = State.DEAD) -> float:
    """Wait until nothing is left to do and all is in order; answers after how many seconds.

    `but`: what a disorder may contain, and is none. `kept`: where jobs may lie besides the dead.
    """
    begun, at_rest = time.monotonic(), (State.DEAD, kept)
    async with backend(theatre) as store:
        while True:
            left = {state: count for state, count in (await store.counts()).items() if count and state not in at_rest}
            wrong = [] if left else [what for what in await theatre.disorder() if but not in what]
            if not left and not wrong:
                return time.monotonic() - begun
            assert time.monotonic() - begun < within, f"not quiet after {within:.0f} s: {left or wrong}"
            await asyncio.sleep(0.05)
