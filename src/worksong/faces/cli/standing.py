"""What `worksong cron` asks the store of an app, and orders there: which schedules are paused."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

from worksong.domain.capability import Capability
from worksong.domain.errors import BackendUnavailable, Unsupported, WorksongError
from worksong.engine import timetable
from worksong.engine.pauses import Key, Standing, standings
from worksong.faces.cli.screen import complain
from worksong.faces.cli.target import VARIABLE, Target, without_namespace
from worksong.ports.backend import Backend
from worksong.registry import Periodic
from worksong.worker import Worker

T = TypeVar("T")


def aim_app(worker: Worker, url: str | None, namespace: str | None) -> None:
    """Look for the app's jobs where the command says, or the environment; else where the app has them."""
    chosen = url or os.environ.get(VARIABLE)
    if chosen or namespace:
        place = chosen or worker.url
        worker.connect(without_namespace(place) if namespace else place, name=namespace)


def known_standings(worker: Worker) -> Mapping[Key, Standing] | None:
    """Of the schedules about which something was ordered; None where nobody can tell, or the store is away."""
    if Capability.SHARED not in worker.capabilities or Capability.NOTES not in worker.capabilities:
        return None
    try:
        return _ask(worker, standings)
    except BackendUnavailable as away:
        complain("note", f"whether schedules are paused is not known: {away}")
        return None


def pause(worker: Worker, handler: str) -> list[Periodic]:
    """Have all schedules of a job type stand still; answers which they are."""
    return _each(worker, handler, timetable.pause)


def resume(worker: Worker, handler: str) -> list[Periodic]:
    """Have them fire again."""
    return _each(worker, handler, timetable.resume)


def _each(
    worker: Worker, handler: str, order: Callable[[Backend, Periodic, float], Awaitable[Standing]]
) -> list[Periodic]:
    if Capability.SHARED not in worker.capabilities:
        shown, instead = (
            Target(worker.url, worker.name).shown,
            "use the web console of that process, or another backend",
        )
        raise Unsupported("be told from outside which periodic jobs are paused", shown, instead)
    entries = [entry for entry in worker.registry.periodic if entry.handler == handler]
    if not entries:
        names = ", ".join(sorted({entry.handler for entry in worker.registry.periodic})) or "none"
        raise WorksongError(f"{handler!r} is no periodic job of this app; these are: {names}")

    async def orders(backend: Backend) -> None:
        for entry in entries:
            await order(backend, entry, time.time())

    _ask(worker, orders)
    return entries


def _ask(worker: Worker, question: Callable[[Backend], Awaitable[T]]) -> T:
    async def main() -> T:
        backend = Target(worker.url, worker.name).backend()
        try:
            return await question(backend)
        finally:
            await backend.close()

    return asyncio.run(main())
