"""What a handler and its middleware share about one run of a job."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Protocol

from worksong.domain.errors import NotStarted
from worksong.domain.job import Job

if TYPE_CHECKING:
    from worksong.ports.backend import Running


class Lender(Protocol):
    """Lends a run the connection in whose transaction its job ends."""

    def lend(self, running: Running) -> Any:
        """In a thread without an event loop."""
        ...

    async def alend(self, running: Running) -> Any: ...


LENDER: ContextVar[Lender] = ContextVar("worksong.lender")
"""Whoever runs the job; set once for all of them, so that those who borrow nothing pay nothing."""


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
    _handed_on: Mapping[str, str] = {}

    def begin(self, running: Running, now: Callable[[], float]) -> None:
        """Called by the engine: the run that this fresh context is for."""
        self.job = running.delivery.job
        self.fence = running.delivery.fence
        self._running, self._now = running, now

    @property
    def lease_lost(self) -> bool:
        """This worker was taken for dead and the job given to another one: stop, and change nothing more."""
        return self._running.lost

    def hand_on(self, meta: Mapping[str, str]) -> None:
        """Give this meta data to the jobs that follow this one in its pipeline, as tracing does with its span."""
        self._handed_on = meta

    @property
    def handed_on(self) -> Mapping[str, str]:
        """What was handed on."""
        return self._handed_on

    def checkin(self, message: str) -> None:
        """Say how far the job is; operators see the latest message."""
        self._running.checkin = message
        self._running.checkin_at = self._now()

    def progress(self, done: int, total: int) -> None:
        """Check in with how many of how many steps are done."""
        self._running.done, self._running.total = done, total
        self.checkin(f"{done}/{total}")

    def connection(self) -> Any:
        """A connection to the database of the jobs, in a transaction that is committed together with this job's end.

        It begins with the first call; further calls give the same connection. When the handler returns, what was
        written and the ending are committed at once, provided that the job is still this worker's; when it raises, or
        returns Retry, Snooze or Discard, nothing is left of it. For plain functions: on `sqlite:///` a
        `sqlite3.Connection`. `Unsupported` where there is none.
        """
        return _lender().lend(self._running)

    async def aconnection(self) -> Any:
        """`connection` for async code: asyncpg's or asyncmy's, on `sqlite:///` a `sqlite3.Connection`."""
        return await _lender().alend(self._running)


def _lender() -> Lender:
    try:
        return LENDER.get()
    except LookupError:
        raise NotStarted("no job is running here: a connection is lent inside a handler only") from None
