"""What was counted, brought to the store now and then: never per job, and never in the way of one."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from typing import Protocol

from worksong.domain.errors import BackendUnavailable
from worksong.domain.tally import Tally
from worksong.engine.board import Board
from worksong.engine.lag import Lag
from worksong.engine.vitals import Vitals, tell
from worksong.ports.chronicle import Chronicle
from worksong.ports.memory import resident_kb
from worksong.ports.notebook import Notebook

PATIENCE = 1.0
"""Seconds that the last counts of a process may take on their way."""

log = logging.getLogger("worksong")


class Store(Chronicle, Notebook, Protocol):
    """Both that things are told to."""


class Annals:
    """What the store does not know yet is kept until it was told: a process that is killed takes it along."""

    def __init__(self, board: Board, *, queues: bool = False) -> None:
        """`queues`: tell of queues as well, since they are others than job types."""
        self._board, self._queues = board, queues
        self.lag: Lag | None = None
        """Of the loop that runs the jobs; None: nobody asks how the process is."""
        self._told: dict[str, Tally] = {}

    async def write(self, store: Store, now: float, pool_id: str = "") -> None:
        """Tell the store what is new, and how the process of a pool is. Where that fails it is told again: what was
        lost is the answer, at worst.

        What the store refuses keeps nothing else from being told; the first refusal is raised then. One who is
        cancelled meanwhile does not tell it again: it may be under way.
        """
        refusals: list[Exception] = []
        for part in self._parts(store, now, pool_id):
            try:
                await part()
            except BackendUnavailable:
                raise
            except Exception as refusal:
                refusals.append(refusal)
        if refusals:
            raise refusals[0]

    def _parts(self, store: Store, now: float, pool_id: str) -> Iterator[Callable[[], Awaitable[None]]]:
        board, lag = self._board, self.lag
        yield lambda: self._write_counts(store, now)
        if attempts := board.attempts:
            yield lambda: attempts.write(store, now)
        if firings := board.firings:
            yield lambda: firings.write(store, now)
        if pool_id and lag:
            yield lambda: tell(store, pool_id, Vitals(now, 1024 * resident_kb(), lag.seconds))

    async def _write_counts(self, store: Chronicle, now: float) -> None:
        found = self._board.by_handler() | (self._board.by_queue() if self._queues else {})
        news = {name: new for name, tally in found.items() if (new := tally - self._told.get(name, Tally()))}
        if news:
            before, self._told = self._told, found
            try:
                await store.note(news, now)
            except Exception:
                self._told = before
                raise

    async def conclude(self, store: Store, now: float) -> None:
        """The last time; a store that is away is not waited for, and nothing that goes wrong holds up a stop."""
        try:
            async with asyncio.timeout(PATIENCE):
                await self.write(store, now)
        except Exception as failure:
            log.debug("the last counts of this process are lost: %r", failure)
