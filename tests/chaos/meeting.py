"""How a call meets a fault of the network: what it ends with, and how it is repeated until the server has answered."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import NamedTuple, TypeVar

from chaos.scale import FULL
from worksong.domain.errors import BackendUnavailable

Stage = TypeVar("Stage")

HEALTHY = 10.0 if FULL else 90.0
"""Seconds after the end of a fault in which the server answers again; a loaded machine is given more."""


class Met(NamedTuple):
    """How a call ended that met a fault."""

    error: BackendUnavailable | None
    seconds: float


async def meeting(act: Callable[[Stage], Awaitable[object]], stage: Stage) -> Met:
    """How the call ends; anything but success and a typed error is raised."""
    began = time.monotonic()
    try:
        await act(stage)
    except BackendUnavailable as error:
        return Met(error, time.monotonic() - began)
    return Met(None, time.monotonic() - began)


async def repeated(act: Callable[[Stage], Awaitable[object]], stage: Stage) -> float:
    """Do it until the server has answered, as the engine does; how many seconds that took."""
    began = time.monotonic()
    async with asyncio.timeout(HEALTHY):
        while True:
            try:
                await act(stage)
            except BackendUnavailable:
                await asyncio.sleep(0.01)
            else:
                return time.monotonic() - began
