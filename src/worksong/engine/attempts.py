"""Runs that failed, brought to the store now and then: for whoever looks at their jobs, and never in the way of one."""

from __future__ import annotations

import os
import socket
from collections import deque
from typing import NamedTuple

import msgspec

from worksong.domain.attempt import LONGEST_ERROR, Attempt
from worksong.domain.errors import BackendUnavailable
from worksong.domain.names import one_line
from worksong.domain.outcome import Buried, Outcome, Retried
from worksong.engine.scribe import Scribe
from worksong.ports.backend import Running
from worksong.ports.notebook import Line, Notebook

MOST = 10
"""Failed runs of a job that are kept, the latest ones."""
KEPT = 7 * 86_400.0
"""Seconds for which they are, after the last one."""
AT_ONCE = 200
"""Failed runs that wait to be brought; where more fail until then, those that failed first are not kept."""

_encode = msgspec.json.Encoder().encode


def page_of(job_id: str) -> str:
    """The page of the notebook on which the failed runs of a job are."""
    return f"attempts:{job_id}"


class _Failed(NamedTuple):
    """A run as it ended; it is written later, by another task."""

    running: Running
    outcome: Retried | Buried
    at: float
    lines: tuple[str, ...]


class Attempts:
    """Told of by the loop that runs the jobs."""

    def __init__(self, scribe: Scribe) -> None:
        """`scribe`: who knows what handlers have logged."""
        self.scribe = scribe
        self._failed: deque[_Failed] = deque(maxlen=AT_ONCE)
        self._worker = one_line(f"{socket.gethostname()} {os.getpid()}")

    def note(self, running: Running, outcome: Outcome, now: float) -> None:
        """A run has ended; of one that has not failed, nothing is kept."""
        lines = self.scribe.take(running.delivery.job)
        if isinstance(outcome, (Retried, Buried)):
            self._failed.append(_Failed(running, outcome, now, lines))

    async def write(self, notebook: Notebook, now: float) -> None:
        """Tell the store what is new; what it was away for is told the next time, and what it refuses is not kept."""
        bringing = [self._failed.popleft() for _ in range(len(self._failed))]  # more may come meanwhile
        if not bringing:
            return
        try:
            await notebook.jot([self._line(failed) for failed in bringing], now)
        except BackendUnavailable:
            room = AT_ONCE - len(self._failed)
            self._failed.extendleft(reversed(bringing[-room:] if room else ()))
            raise

    def _line(self, failed: _Failed) -> Line:
        running, outcome, at, lines = failed
        job = running.delivery.job
        attempt = Attempt(
            at=at,
            began_at=running.started_at,
            number=job.attempt,
            worker=self._worker,
            error=outcome.error[-LONGEST_ERROR:].encode("utf-8", "backslashreplace").decode(),
            dead=isinstance(outcome, Buried),
            lines=lines,
        )
        return Line(page_of(job.id), _encode(attempt).decode(), MOST, KEPT)
