"""Since when the server is away, and when to knock again."""

from __future__ import annotations

import logging
from collections.abc import Callable

from worksong.domain.errors import BackendUnavailable, WorksongError
from worksong.ports import chance

LONGEST = 5.0
"""Seconds between two tries, at most."""
log = logging.getLogger("worksong.amqp")


class Outage:
    """Shared by the connections to one server, so that it is told of once."""

    def __init__(self, shown: str, draw: Callable[[], float] = chance.random) -> None:
        self._shown, self._draw = shown, draw
        self.failures = 0
        self._row = 0
        self._until = 0.0
        self._since: float | None = None
        self._cause: WorksongError = BackendUnavailable()

    def check(self, now: float, failures: int) -> None:
        """Raise while it is too early for a try, and to who waited for one that failed."""
        if now < self._until or failures != self.failures:
            raise type(self._cause)(f"{self._cause}; next try in {max(0.0, self._until - now):.1f} s")

    def failed(self, now: float, cause: WorksongError) -> None:
        """A try failed: with full jitter, rest longer each time."""
        self._until = now + self._draw() * min(LONGEST, 0.1 * 2 ** min(self._row, 7))
        self.failures += 1
        self._row += 1
        self._cause = cause
        self._tell(now, str(cause))

    def broke(self, now: float, why: str) -> None:
        """A connection that lived ended; the next try may come at once."""
        self._tell(now, why)

    def over(self, now: float) -> None:
        """A try succeeded."""
        self._row = 0
        self._until = 0.0
        if self._since is not None:
            log.info("%s is back after %.1f s", self._shown, now - self._since)
        self._since = None

    def _tell(self, now: float, why: str) -> None:
        if self._since is None:
            self._since = now
            log.warning("%s; trying again when asked", why)
