"""What waits in the backend, asked for at a scrape and not more often than once in a second."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Collection, Mapping, Sequence

import msgspec

from worksong.blocking import Background
from worksong.domain.errors import Unsupported, WorksongError
from worksong.domain.lifecycle import State
from worksong.domain.tally import OTHER
from worksong.ports.backend import QueueView
from worksong.worker import Worker

KEPT = 1.0
"""Seconds for which an answer is not asked for again, however many scrape."""
PATIENCE = 5.0
"""Seconds that a scrape waits for the backend."""
QUEUES = 200
"""Queues that are told apart, the longest ones; all others are one."""


class Stock(msgspec.Struct, frozen=True):
    """What the backend said."""

    up: bool
    """Whether it answered at all."""
    counts: Mapping[State, int] = {}
    queues: Sequence[QueueView] = ()


class Stocktaking:
    """Any thread may ask: it has a loop of its own, which no handler can block."""

    def __init__(self, worker: Worker) -> None:
        self._worker, self._background = worker, Background()
        self._asking = threading.Lock()
        self._at = float("-inf")
        self._found: Stock | None = None
        self._named: frozenset[str] = frozenset()
        """The queues that were told apart last."""

    def take(self) -> Stock | None:
        """None: this backend cannot tell what waits in it."""
        with self._asking:
            now = self._worker.clock.monotonic()
            if now - self._at >= KEPT:
                try:
                    self._found = self._background.call(self._look())
                except Unsupported:
                    self._found = None
                except (WorksongError, TimeoutError):  # the backend tells of an outage once
                    self._found = Stock(up=False)
                self._at = now
            return self._found

    def close(self) -> None:
        """Let go of the connections that were needed for it."""
        if self._background.started:
            self._background.call(self._leave())

    async def _look(self) -> Stock:
        async with asyncio.timeout(PATIENCE):
            counts = await self._worker.admin.acounts()
            queues = _bounded(await self._worker.admin.aqueues(), self._named)
            self._named = frozenset(queue.name for queue in queues)
            return Stock(True, counts, queues)

    async def _leave(self) -> None:
        with contextlib.suppress(WorksongError):
            await self._worker.backend().close()


def _bounded(queues: Sequence[QueueView], named: Collection[str] = ()) -> list[QueueView]:
    """The longest ones, and all others as one: whoever enqueues may invent queues without end.

    Those that had a name before keep it while they have jobs: a series that comes and goes tells nothing.
    """
    ordered = sorted(queues, key=lambda queue: (not (queue.count and queue.name in named), -queue.count))
    shown, rest = ordered[:QUEUES], ordered[QUEUES:]
    if rest:
        waiting, latest = sum(queue.count for queue in rest), max(queue.latency for queue in rest)
        shown.append(QueueView(name=OTHER, count=waiting, latency=latest))
    return shown
