"""What `worksong cron` asks the store of an app, and orders there: which schedules are paused."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence

from worksong.domain.capability import Capability
from worksong.domain.errors import Unsupported, WorksongError
from worksong.engine.pauses import Key, Standing, check_can_pause, standings, stopped
from worksong.faces.cli.screen import complain
from worksong.faces.cli.target import VARIABLE, Target, ask_backend, without_namespace
from worksong.ports.backend import Backend
from worksong.service.acts import Act, on_paused, on_periodic
from worksong.worker import Worker


def aim_app(worker: Worker, url: str | None, namespace: str | None) -> None:
    """Look for the app's jobs where the command says, or the environment; else where the app has them."""
    chosen = url or os.environ.get(VARIABLE)
    if chosen or namespace:
        place = chosen or worker.url
        worker.connect(without_namespace(place) if namespace else place, name=namespace)


def known_standings(worker: Worker) -> Mapping[Key, Standing] | None:
    """Of the schedules about which something was ordered; None where nobody can tell, or the store does not."""
    target = Target(worker.url, worker.name)
    try:
        if Capability.SHARED not in worker.capabilities or Capability.NOTES not in worker.capabilities:
            return None
        return {} if target.is_new else ask_backend(target, standings)
    except WorksongError as failure:
        complain("note", f"whether schedules are paused is not known: {failure}")
        return None


def pause(worker: Worker, handler: str) -> list[str]:
    """Have all schedules of a job type stand still; answers what was done."""
    entries = [entry for entry in worker.registry.periodic if entry.handler == handler]
    if not entries:
        raise _unknown(worker, handler)

    async def orders(backend: Backend) -> list[str]:
        return await _done(backend, [on_periodic("pause", entry, paused=False) for entry in entries])

    return ask_backend(_shared(worker), orders)


def resume(worker: Worker, handler: str) -> list[str]:
    """Have those of them fire again that are paused, also those that the app has no more; answers what was done."""
    entries = {(entry.handler, entry.schedule.spec): entry for entry in worker.registry.periodic}

    async def orders(backend: Backend) -> list[str]:
        check_can_pause(backend)
        paused = [standing for standing in await stopped(backend) if standing.handler == handler]
        return await _done(backend, [on_paused(standing, entries.get(standing.key)) for standing in paused])

    done = ask_backend(_shared(worker), orders)
    if not done and all(name != handler for name, _ in entries):
        raise _unknown(worker, handler)
    return done


async def _done(backend: Backend, acts: Sequence[Act]) -> list[str]:
    return [(await act.carry_out(backend, time.time())).text for act in acts]


def _shared(worker: Worker) -> Target:
    target = Target(worker.url, worker.name)
    if Capability.SHARED not in worker.capabilities:
        instead = "use the web console of that process, or another backend"
        raise Unsupported("be told from outside which periodic jobs are paused", target.shown, instead)
    return target


def _unknown(worker: Worker, handler: str) -> WorksongError:
    names = ", ".join(sorted({entry.handler for entry in worker.registry.periodic})) or "none"
    return WorksongError(f"{handler!r} is no periodic job of this app; these are: {names}")
