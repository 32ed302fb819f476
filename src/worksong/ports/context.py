"""What a handler and its middleware share about one run of a job."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from worksong.domain.job import Job

if TYPE_CHECKING:
    from worksong.ports.backend import Running


class Context:
    """One run of one job. Subclass it with fields that have defaults, and give it as ``Worker(context=...)``.

    Every run gets a fresh one, shared by the middleware and the handler.
    """

    job: Job
    fence: int
    """Grows with every lending of this job: ``UPDATE ... SET fence = :f WHERE id = :x AND fence < :f`` keeps a late
    run from overwriting a newer one."""
    _running: Running
    _now: Callable[[], float]

    def begin(self, running: Running, now: Callable[[], float]) -> None:
        """Called by the engine: the run that this fresh context is for."""
        self.job = running.delivery.job
        self.fence = running.delivery.fence
        self._running, self._now = running, now

    @property
    def lease_lost(self) -> bool:
        """This worker was taken for dead and the job given to another one: stop, and change nothing more."""
        return self._running.lost

    def checkin(self, message: str) -> None:
        """Say how far the job is; operators see the latest message."""
        self._running.checkin = message
        self._running.checkin_at = self._now()

    def progress(self, done: int, total: int) -> None:
        """Check in with how many of how many steps are done."""
        self._running.done, self._running.total = done, total
        self.checkin(f"{done}/{total}")
