"""What load balancers, orchestrators and monitors ask: whether the process lives, can do its work, and what it did."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

from worksong.faces.http.answers import TEXT, Answer, Asked, Route, json, route
from worksong.faces.http.views import Readiness
from worksong.service.access import Scope
from worksong.service.health import Health, Lookout
from worksong.service.jobservice import JobService


class Metrics(Protocol):
    """`worksong.metrics.Metrics`, whose packages need not be there."""

    def text(self, accept: str = "") -> tuple[bytes, str]: ...


class Probes:
    """The handlers of /healthz and /readyz, and of /metrics where there are any."""

    def __init__(self, service: JobService, metrics: Metrics | None = None) -> None:
        self._lookout, self._metrics = Lookout(service.health, service.worker.clock), metrics

    @property
    def routes(self) -> Sequence[Route]:
        """What is asked, by whom, and who answers."""
        alive = "Whether the process answers at all"
        ready = "Whether queue and store answer, and the worker in this process fetches; why not is told with a token"
        answers = {200: Readiness, 503: Readiness}
        counted = "What jobs did, and what waits, for Prometheus"
        measured = [route("GET /metrics", Scope.READ, self.metrics, counted, {200: "text/plain"})]
        return [
            *(measured if self._metrics else ()),
            route("GET /healthz", None, self.alive, alive, {200: "text/plain"}),
            route("HEAD /healthz", None, self.alive, alive, {200: None}),
            route("GET /readyz", None, self.ready, ready, answers),
            route("HEAD /readyz", None, self.ready, ready, {200: None, 503: None}),
        ]

    async def alive(self, asked: Asked) -> Answer:
        return Answer(200, b"ok\n", TEXT)

    async def metrics(self, asked: Asked) -> Answer:
        """Asks the queue, and waits for that in a thread."""
        assert self._metrics
        body, kind = await asyncio.to_thread(self._metrics.text, asked.header(b"accept") or "")
        return Answer(200, body, kind)

    async def ready(self, asked: Asked) -> Answer:
        health = await self._lookout.look()
        told = health if asked.caller.may(Scope.READ) else Health()
        found = Readiness(ready=health.is_well, queue=told.queue, store=told.store, worker=told.worker)
        answer = json(200 if health.is_well else 503, found)
        return answer if health.is_well else answer._replace(headers=(("Retry-After", "1"),))
