"""How late an event loop is: what blocks it makes every job wait, and nothing else tells of it."""

from __future__ import annotations

import asyncio

EVERY = 1.0
"""Seconds between two ticks."""


class Lag:
    """Of the loop it was started in; may be read in any thread, while the loop is blocked too."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tick: asyncio.TimerHandle | None = None
        self._due = self._late = 0.0

    def start(self) -> None:
        """Measure the running loop."""
        self._loop = asyncio.get_running_loop()
        self._expect()

    def stop(self) -> None:
        """Measure nothing more."""
        if self._tick:
            self._tick.cancel()
        self._loop = None
        self._late = 0.0

    @property
    def seconds(self) -> float:
        """How late the last tick came; how late the next one is already, when that is more."""
        loop = self._loop
        return max(self._late, loop.time() - self._due) if loop else 0.0

    def _ticked(self) -> None:
        if self._loop:
            self._late = self._loop.time() - self._due
            self._expect()

    def _expect(self) -> None:
        assert self._loop is not None, "started"
        self._due = self._loop.time() + EVERY
        self._tick = self._loop.call_at(self._due, self._ticked)
