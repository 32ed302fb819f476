"""A server that is away: since when, when to knock again, and one line in the log for all who miss it."""

from __future__ import annotations

import logging
from collections.abc import Callable

from worksong.domain.errors import BackendUnavailable, WorksongError

_SETTLED = 1.0
_REMINDED = 10.0


class NotSent(BackendUnavailable):
    """the server could not be asked; nothing was carried out"""


class NoAnswer(BackendUnavailable):
    """the connection broke before the answer came; the command may or may not have been carried out"""


class Outage:
    """Since when the server is away, and when to knock again. Times are those of the event loop."""

    def __init__(self, shown: str, draw: Callable[[], float], log: logging.Logger) -> None:
        """`shown`: the server's name. `draw` returns a number in [0, 1)."""
        self._shown, self._draw, self._log = shown, draw, log
        self.failures = 0
        self._row = 0
        self._until = 0.0
        self._told = False
        self._refused = float("-inf")
        self._since: float | None = None
        self._cause: WorksongError = NotSent()

    def check(self, now: float, failures: int) -> None:
        """Raise while it is too early for a try, and to who waited for one that failed."""
        if now < self._until or failures != self.failures:
            raise type(self._cause)(f"{self._cause}; next try in {max(0.0, self._until - now):.1f} s")

    def failed(self, now: float, cause: WorksongError, *, missed: bool = True) -> None:
        """It could not be reached."""
        self._until = now + self._draw() * min(5.0, 0.1 * 2 ** min(self._row, 7))
        self.failures += 1
        self._row += 1
        self._cause = cause
        if missed and not self._told:
            self._told, self._since = True, now
            self._log.warning("%s; trying again when asked", cause)

    def broke(self, born: float, now: float, cause: str, *, missed: bool) -> None:
        """A connection that lived may be renewed at once; one that comes and goes is told of once, if missed."""
        settled = now - born > _SETTLED
        if settled:
            self._row, self._told = 0, False
        self.failed(now, NotSent(f"the connection to {self._shown} broke ({cause})"), missed=missed)
        if settled:
            self._row, self._until = 0, now

    def refused(self, now: float, cause: WorksongError) -> None:
        """A server that answers and does nothing: callers wait as if it were away, and leave it to us to tell."""
        if now - self._refused >= _REMINDED:
            self._refused = now
            self._log.warning("%s; trying again when asked", cause)

    def over(self, now: float) -> None:
        """It can be reached."""
        if self._since is not None:
            self._log.info("%s is back after %.1f s", self._shown, now - self._since)
        self._since = None
