"""Serving: a service, the worker inside it and the faces around it, begun and ended in order."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Protocol

from worksong.shift import has_started
from worksong.worker import Worker

log = logging.getLogger("worksong")


class Service(Protocol):
    """The use-cases; see `worksong.service.jobservice`."""

    async def start(self) -> None: ...
    async def stop(self) -> None: ...


class Face(Protocol):
    """Something that takes requests."""

    @property
    def where(self) -> str:
        """Its URL, once it takes them."""
        ...

    async def start(self) -> None:
        """Take requests from now on."""
        ...

    async def ended(self) -> None:
        """Return when it takes no requests any more; raise why, if nobody has stopped it."""
        ...

    async def stop(self) -> None:
        """Take no new requests, and wait a moment for those that are being answered."""
        ...


def both(first: Callable[[], None], second: Callable[[], None]) -> Callable[[], None]:
    """One after the other: an app may want to hear what its program hears."""

    def call() -> None:
        first()
        second()

    return call


class Serving:
    """One process of the service."""

    def __init__(self, worker: Worker, service: Service, faces: Sequence[Face], *, works: bool, grace: float) -> None:
        """`works`: whether it runs jobs as well; `grace`: seconds that running ones have to finish."""
        self._worker, self._service, self._faces = worker, service, faces
        self._works, self._grace = works, grace
        self._stop = asyncio.Event()

    def stop(self) -> None:
        """Have it end, from within its event loop."""
        self._stop.set()

    async def run(self, on_ready: Callable[[], None]) -> None:
        """Until somebody says stop, or a face gives up. `on_ready`: called when requests are taken."""
        self._worker.on_dismissed = both(self.stop, self._worker.on_dismissed)
        stopping = asyncio.ensure_future(self._stop.wait())
        starting = asyncio.ensure_future(self._begin())
        try:
            await asyncio.wait([starting, stopping], return_when=asyncio.FIRST_COMPLETED)
            if await has_started(starting):
                await self._answer(on_ready)
        finally:
            starting.cancel()
            stopping.cancel()
            try:
                await self._service.stop()
            finally:
                await self._worker.astop(self._grace)  # closes the stores, too

    async def _begin(self) -> None:
        if self._works:
            await self._worker.astart()
        await self._service.start()

    async def _answer(self, on_ready: Callable[[], None]) -> None:
        """Requests come in only while all that is behind them stands."""
        try:
            for face in self._faces:
                await face.start()
            on_ready()
            await self._told_to_stop()
        finally:
            await asyncio.gather(*(face.stop() for face in self._faces))

    async def _told_to_stop(self) -> None:
        waits = [
            asyncio.ensure_future(self._stop.wait()),
            *(asyncio.ensure_future(face.ended()) for face in self._faces),
        ]
        try:
            done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for one in done:
                one.result()
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.wait(waits)
