"""The health service of gRPC: whether calls can be answered, as the service itself finds it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Mapping, Sequence

from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from worksong.faces.grpc.calls import Call, Methods, Stream
from worksong.faces.grpc.verdicts import Crowded
from worksong.service.health import Lookout
from worksong.service.jobservice import JobService
from worksong.service.refusals import Missing

PERIOD = 5.0
"""Seconds between two looks for those who watch."""
WATCHERS = 50
"""Who may watch at once: they need no token, and the calls of others need places, too."""


class Health:
    """`grpc.health.v1.Health`: answers for the server as a whole, and for each service by its name."""

    name = "grpc.health.v1.Health"

    def __init__(self, service: JobService, names: Sequence[str]) -> None:
        self._lookout, self._names = Lookout(service.health, service.worker.clock), {"", *names}
        self._watchers = 0
        self._leaving = asyncio.Event()

    @property
    def methods(self) -> Methods:
        return {"Check": Call(HealthCheckRequest, None, self.check)}

    @property
    def streams(self) -> Mapping[str, Stream]:
        return {"Watch": Stream(HealthCheckRequest, None, self.watch)}

    async def check(self, request: HealthCheckRequest) -> HealthCheckResponse:
        if request.service not in self._names:
            raise Missing("there is no such service")
        return HealthCheckResponse(status=await self._status())

    async def watch(self, request: HealthCheckRequest) -> AsyncGenerator[HealthCheckResponse]:
        """The status as it is now, and again whenever it changes."""
        if self._watchers >= WATCHERS:
            raise Crowded(f"{WATCHERS} watch already: ask with Check")
        self._watchers += 1
        try:
            async with contextlib.aclosing(self._changes(request)) as changes:
                async for change in changes:
                    yield change
        finally:
            self._watchers -= 1

    async def _changes(self, request: HealthCheckRequest) -> AsyncGenerator[HealthCheckResponse]:
        told: int | None = None
        while True:
            known = request.service in self._names
            status = await self._status() if known else HealthCheckResponse.SERVICE_UNKNOWN
            if status != told:
                told = status
                yield HealthCheckResponse(status=status)
            if self._leaving.is_set():
                return
            await self._pause()

    async def _status(self) -> int:
        if self._leaving.is_set() or not (await self._lookout.look()).is_well:
            return HealthCheckResponse.NOT_SERVING
        return HealthCheckResponse.SERVING

    async def _pause(self) -> None:
        try:
            async with asyncio.timeout(PERIOD):
                await self._leaving.wait()
        except TimeoutError:
            return

    def leave(self) -> None:
        """No more calls are to come."""
        self._leaving.set()
