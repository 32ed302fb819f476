"""Whether the job service can do its work: its store, its queue, and the worker beside it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from importlib.metadata import version

import msgspec

from worksong.domain.names import one_line
from worksong.ports.clock import Clock
from worksong.ports.records import Kind, Ref
from worksong.service.redaction import without_logins
from worksong.worker import Worker

PATIENCE = 2.0
"""Seconds that the store and the queue have to answer."""
SILENT_FOR = 30.0
"""Seconds without an answered fetch from which a worker is not at work: an idle one is answered every few seconds."""
KEPT = 1.0
"""Seconds for which what was found is told again: anybody may ask, and each look asks the queue and the store."""
_NOBODY = Ref(Kind.JOB, "00000000-0000-0000-0000-000000000000")


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """What was found just now."""

    queue: str = ""
    """What is wrong with the queue; empty: it answers."""
    store: str = ""
    """The same of the records."""
    worker: str = ""
    """The same of the worker in this process; also empty when there is none."""
    at: float = 0.0
    version: str = ""

    @property
    def is_well(self) -> bool:
        return not (self.queue or self.store or self.worker)


class Lookout:
    """Looks for many who ask, and once for those who ask at the same time. Belongs to an event loop."""

    def __init__(self, look: Callable[[], Awaitable[Health]], clock: Clock) -> None:
        self._ask, self._clock = look, clock
        self._found: tuple[float, Health] | None = None
        self._looking: asyncio.Task[Health] | None = None

    async def look(self) -> Health:
        """What was found within the last second, or is found by the look that is under way."""
        if self._found and self._clock.monotonic() - self._found[0] < KEPT:
            return self._found[1]
        if self._looking is None or self._looking.done():
            self._looking = asyncio.get_running_loop().create_task(self._look())
        return await asyncio.shield(self._looking)  # who asked first may leave

    async def _look(self) -> Health:
        health = await self._ask()
        self._found = self._clock.monotonic(), health
        return health


async def examine(worker: Worker) -> Health:
    """Ask the store and the queue at the same time."""
    assert worker.ledgers is not None
    queue, store = await asyncio.gather(
        _asked(worker.admin.acounts()), _asked(worker.ledgers.here().store.read([_NOBODY]))
    )
    return Health(queue=queue, store=store, worker=_idle(worker), at=worker.clock.now(), version=version("worksong"))


async def _asked(answer: Awaitable[object]) -> str:
    """What is wrong; empty when it answered."""
    try:
        async with asyncio.timeout(PATIENCE):
            await answer
    except TimeoutError:
        return f"it did not answer within {PATIENCE:g} s"
    except Exception as failure:  # whatever it is, it does not answer
        return one_line(without_logins(str(failure) or type(failure).__name__))
    return ""


def _idle(worker: Worker) -> str:
    """Why the worker that was started in this process fetches nothing."""
    silence = worker.silence
    return f"no fetch was answered for {silence:.0f} s" if silence is not None and silence > SILENT_FOR else ""
