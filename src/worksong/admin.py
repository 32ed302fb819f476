"""`worker.admin`: what an operator can see and do, each for blocking and (with `a` in front) for async code."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec.structs import replace

from worksong.blocking import Background
from worksong.domain.capability import Capability
from worksong.domain.errors import Unsupported
from worksong.domain.finding import Finding
from worksong.domain.job import JobView
from worksong.domain.lifecycle import State
from worksong.domain.record import Status
from worksong.domain.why import Facts
from worksong.engine.pauses import Standing, stopped
from worksong.ledger import Ledger
from worksong.ports.backend import Backend, BusyView, Direction, Listing, PoolView, QueueView, Trace, Window
from worksong.ports.clock import Clock

PAGE = 20
GONE_AFTER = 30.0
"""Seconds without a beat after which nothing is expected of a pool: by then it should have been reaped."""


class Admin:
    """Listings come in pages of 20, counted from 1."""

    def __init__(
        self,
        backend: Callable[[], Backend],
        background: Background,
        clock: Clock,
        ledger: Callable[[], Ledger | None] = lambda: None,
    ) -> None:
        """`backend` and `ledger` answer those for the running loop; None: no records are kept."""
        self._backend, self._background, self._clock, self._ledger = backend, background, clock, ledger

    async def aqueues(self) -> list[QueueView]:
        """Every queue with its length, latency, limit and pause."""
        return await self._backend().queues(self._clock.now())

    async def acounts(self) -> dict[State, int]:
        """How many jobs are in each state."""
        return await self._backend().counts()

    async def apools(self) -> list[PoolView]:
        """The worker pools that beat."""
        return await self._backend().pools()

    async def abusy(self) -> list[BusyView]:
        """The workers that run a job, and which."""
        return await self._backend().busy()

    async def ascheduled(self, page: int = 1) -> Listing:
        """Jobs to run later, soonest first."""
        return await self.alist(State.SCHEDULED, page)

    async def aretries(self, page: int = 1) -> Listing:
        """Failed jobs that will run again, soonest first."""
        return await self.alist(State.RETRY, page)

    async def adead(self, page: int = 1) -> Listing:
        """Jobs that failed for good, oldest death first."""
        return await self.alist(State.DEAD, page)

    async def alist(self, state: State, page: int = 1) -> Listing:
        """One page of the jobs in a state."""
        return await self._backend().jobs(state, Window(PAGE, (max(1, page) - 1) * PAGE))

    async def ajob(self, job_id: str) -> JobView | None:
        """The job, wherever it is; None when it is gone."""
        return await self._backend().job(job_id)

    async def apause(self, name: str) -> None:
        """Start nothing more from this queue."""
        await self._backend().pause(name)

    async def aresume(self, name: str) -> None:
        """End a pause."""
        await self._backend().resume(name)

    async def apaused_periodic(self) -> list[Standing]:
        """The schedules of periodic jobs that are paused, by job type."""
        return await stopped(self._backend())

    async def apurge(self, name: str) -> int:
        """Drop all jobs waiting in this queue; answers how many."""
        return await self._backend().purge(name)

    async def acancel(self, job_id: str) -> bool:
        """Drop the job, or stop it if it runs; False when it is not there."""
        # Its record comes first: whoever is lent the job after that drops it.
        struck = await self._strike(job_id)
        if struck is None:
            return False
        try:
            return await self._backend().cancel(job_id, self._clock.now()) or struck
        except Unsupported:
            if not struck:
                raise
            return True

    async def _strike(self, job_id: str) -> bool | None:
        """Whether there was a record of the job, and an open one; None: it is through, and the queue is about to hear
        of that."""
        ledger = self._ledger()
        if ledger is None or await ledger.cancel(job_id):
            return ledger is not None
        job = await ledger.job(job_id)
        return None if job and job.status is Status.COMPLETED else False

    async def aquiet(self, pool_id: str) -> bool:
        """Have a worker process fetch nothing more, for as long as it lives; False when it is not there."""
        return await self._backend().direct(pool_id, Direction.QUIET)

    async def adismiss(self, pool_id: str) -> bool:
        """Have a worker process finish what it runs, and end; False when it is not there."""
        return await self._backend().direct(pool_id, Direction.STOP)

    async def aretry_dead(self, job_id: str) -> bool:
        """Queue a dead job again, its failures forgotten; False when it is not there."""
        ledger = self._ledger()
        failed = await ledger.job(job_id) if ledger else None
        retried = bool(await self._backend().requeue(State.DEAD, [job_id], self._clock.now()))
        if retried and ledger and failed:
            await ledger.reopen(failed)
        return retried

    async def aretry_all_dead(self) -> int:
        """Queue all dead jobs again; answers how many."""
        return await self._backend().requeue(State.DEAD, None, self._clock.now())

    async def adelete_dead(self, job_id: str) -> bool:
        """Drop a dead job; False when it is not there."""
        return bool(await self._backend().delete(State.DEAD, [job_id]))

    async def adelete_all_dead(self) -> int:
        """Drop all dead jobs; answers how many."""
        return await self._backend().delete(State.DEAD, None)

    async def adelete_scheduled(self, job_id: str) -> bool:
        """Drop a scheduled job and its unique lock; False when it is not there."""
        return await self._delete(State.SCHEDULED, job_id)

    async def adelete_retry(self, job_id: str) -> bool:
        """Drop a job that waits for its retry; False when it is not there."""
        return await self._delete(State.RETRY, job_id)

    async def _delete(self, state: State, job_id: str) -> bool:
        deleted = await self._backend().delete(state, [job_id])
        if deleted:
            await self._strike(job_id)
        return bool(deleted)

    async def awhy(self, job_id: str) -> Facts:
        """What is known about a job and those who could run it; `worksong.domain.why.reasons` decides from it."""
        backend = self._backend()
        trace = await backend.trace(job_id)
        facts = _facts(trace, await backend.pools(), await backend.busy(), trace.server_now or self._clock.now())
        job = facts.job
        apart = Capability.QUEUES in backend.capabilities
        return replace(facts, queue=(job.queue if apart else job.handler) if job else "")

    async def aexamine(self) -> list[Finding]:
        """What is wrong with the store, and which checks it passes."""
        return await self._backend().examine(self._clock.now())

    async def afix(self, finding_id: str) -> str:
        """Mend a fixable finding; answers what was done."""
        return await self._backend().fix(finding_id, self._clock.now())

    # the same, blocking

    def examine(self) -> list[Finding]:
        return self._background.call(self.aexamine())

    def queues(self) -> list[QueueView]:
        return self._background.call(self.aqueues())

    def counts(self) -> dict[State, int]:
        return self._background.call(self.acounts())

    def pools(self) -> list[PoolView]:
        return self._background.call(self.apools())

    def busy(self) -> list[BusyView]:
        return self._background.call(self.abusy())

    def paused_periodic(self) -> list[Standing]:
        return self._background.call(self.apaused_periodic())

    def scheduled(self, page: int = 1) -> Listing:
        return self._background.call(self.ascheduled(page))

    def retries(self, page: int = 1) -> Listing:
        return self._background.call(self.aretries(page))

    def dead(self, page: int = 1) -> Listing:
        return self._background.call(self.adead(page))

    def list(self, state: State, page: int = 1) -> Listing:
        return self._background.call(self.alist(state, page))

    def job(self, job_id: str) -> JobView | None:
        return self._background.call(self.ajob(job_id))

    def pause(self, name: str) -> None:
        self._background.call(self.apause(name))

    def resume(self, name: str) -> None:
        self._background.call(self.aresume(name))

    def purge(self, name: str) -> int:
        return self._background.call(self.apurge(name))

    def cancel(self, job_id: str) -> bool:
        return self._background.call(self.acancel(job_id))

    def quiet(self, pool_id: str) -> bool:
        return self._background.call(self.aquiet(pool_id))

    def dismiss(self, pool_id: str) -> bool:
        return self._background.call(self.adismiss(pool_id))

    def retry_dead(self, job_id: str) -> bool:
        return self._background.call(self.aretry_dead(job_id))

    def retry_all_dead(self) -> int:
        return self._background.call(self.aretry_all_dead())

    def delete_dead(self, job_id: str) -> bool:
        return self._background.call(self.adelete_dead(job_id))

    def delete_all_dead(self) -> int:
        return self._background.call(self.adelete_all_dead())

    def delete_scheduled(self, job_id: str) -> bool:
        return self._background.call(self.adelete_scheduled(job_id))

    def delete_retry(self, job_id: str) -> bool:
        return self._background.call(self.adelete_retry(job_id))

    def why(self, job_id: str) -> Facts:
        return self._background.call(self.awhy(job_id))

    def fix(self, finding_id: str) -> str:
        return self._background.call(self.afix(finding_id))


def _facts(trace: Trace, pools: Sequence[PoolView], busy: Sequence[BusyView], now: float) -> Facts:
    view = trace.job
    if view is None:
        return Facts(now=now, taken_in=trace.taken_in)
    living = [pool for pool in pools if now - pool.heartbeat_at < GONE_AFTER]
    serving = {pool.id for pool in living if view.handler in pool.handlers}
    runs = next((worker for worker in busy if worker.job_id == view.id and view.state is State.RUNNING), None)
    holder = trace.pool or (runs.pool_id if runs else "")
    return Facts(
        now=now,
        state=view.state,
        job=view.job,
        at=view.at,
        unreadable=view.reason,
        ahead=trace.ahead,
        paused=trace.paused,
        limit=trace.limit,
        running=trace.running,
        pools=len(living),
        serving=len(serving),
        slots=sum(pool.concurrency for pool in living if pool.id in serving),
        busy=sum(worker.pool_id in serving for worker in busy),
        pool=holder,
        worker=runs.worker_id if runs else "",
        alive=not holder or any(pool.id == holder for pool in living),
        started_at=runs.started_at if runs else 0.0,
        checkin=runs.checkin if runs else "",
        checkin_at=runs.checkin_at if runs else 0.0,
        cancelled=trace.cancelled,
        taken_in=trace.taken_in,
        crashes=trace.crashes,
    )
