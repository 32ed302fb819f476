"""What an operator can do about a row: what is asked first, what is done, and what is said afterwards."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from worksong import enqueueing
from worksong.domain.capability import Capability
from worksong.domain.job import Job, JobView
from worksong.domain.lifecycle import State
from worksong.engine import timetable
from worksong.engine.pauses import Standing, ordered_of
from worksong.ports.backend import Backend, BusyView, Direction, PoolView, QueueView
from worksong.registry import Periodic
from worksong.service.moments import span

NEEDS = {
    "pause": Capability.PAUSE,
    "purge": Capability.PURGE,
    "cancel": Capability.CANCEL,
    "requeue": Capability.REVIVE,
    "delete": Capability.REVIVE,
    "requeue_all": Capability.REVIVE,
    "delete_all": Capability.REVIVE,
    "quiet": Capability.DIRECT,
    "dismiss": Capability.DIRECT,
}
"""What a backend must promise for each."""
OFFERED: dict[str, tuple[str, ...]] = {
    "queues": ("pause", "purge"),
    "workers": ("cancel",),
    "pools": (),
    "scheduled": ("requeue", "delete"),
    "retries": ("requeue", "delete"),
    "dead": ("requeue", "delete", "requeue_all", "delete_all"),
}
"""What can be done in each panel."""
GONE = "is not there any more: nothing was done"


class Told(NamedTuple):
    """What was done."""

    text: str
    done: int = 1
    """To how many jobs or queues."""


class Act(NamedTuple):
    """Something to do, once."""

    carry_out: Callable[[Backend, float], Awaitable[Told]]
    """Does it, at this time, and says what was done."""
    question: str = ""
    """What must be answered with yes before; empty: nothing that could be regretted."""
    reach: int = 0
    """How many it would reach, as far as more may come until it is done; 0: just what was named."""
    sweeping: bool = False
    """Whether it drops whatever is somewhere, or ends a process: more than the daily business of an operator."""
    order: str = ""
    """requeue, delete or cancel, of chosen jobs."""
    job_ids: Sequence[str] = ()
    """Those."""


def on_queue(name: str, view: QueueView) -> Act:
    """Pause or resume it; or purge it."""
    queue = view.name

    async def pause(backend: Backend, now: float) -> Told:
        await backend.pause(queue)
        return Told(f"paused {queue}")

    async def resume(backend: Backend, now: float) -> Told:
        await backend.resume(queue)
        return Told(f"resumed {queue}")

    async def purge(backend: Backend, now: float) -> Told:
        count = await backend.purge(queue)
        return Told(f"purged {queue}: {_jobs(count)} dropped", count)

    if name == "purge":
        return Act(
            purge,
            f"Purge {queue}? {_jobs(view.count, 'waiting ')} would be dropped for good.",
            view.count,
            sweeping=True,
        )
    return Act(resume if view.paused else pause)


def on_running(view: BusyView) -> Act:
    """Cancel the job that runs there."""

    async def cancel(backend: Backend, now: float) -> Told:
        if await backend.cancel(view.job_id, now):
            return Told(f"told {_named(view.handler, view.job_id)} to stop")
        return Told(f"{view.job_id} {GONE}", 0)

    return Act(cancel, f"Cancel {_named(view.handler, view.job_id)}? It is told to stop, and does not run again.")


def on_pool(name: str, view: PoolView) -> Act:
    """Have it fetch nothing more; or end."""
    pool = f"{view.host or 'the worker'} {view.pid or view.id}"

    async def tell(backend: Backend, now: float) -> Told:
        if not await backend.direct(view.id, Direction.STOP if name == "dismiss" else Direction.QUIET):
            return Told(f"{pool} {GONE}", 0)
        return Told(f"told {pool} to {'end' if name == 'dismiss' else 'go quiet'}: it hears that with its next beat")

    if name == "dismiss":
        return Act(tell, f"Have {pool} end? It fetches nothing more, and what it runs may finish.", sweeping=True)
    question = f"Have {pool} go quiet? What it runs goes on; it fetches nothing more for as long as it lives."
    return Act(tell, question, sweeping=True)


def on_periodic(name: str, entry: Periodic, *, paused: bool) -> Act:
    """Run a periodic job once, now, whatever its schedule does; or pause that, or resume it."""

    async def fire(backend: Backend, now: float) -> Told:
        await enqueueing.enqueue(backend, [Job(entry.handler, entry.args, entry.queue)], now)
        return Told(f"queued {entry.handler}")

    async def pause(backend: Backend, now: float) -> Told:
        await timetable.pause(backend, entry, now)
        return Told(f"paused {schedule}: it does not fire until it is resumed")

    async def resume(backend: Backend, now: float) -> Told:
        await timetable.resume(backend, entry, now)
        return Told(f"resumed {schedule}: it fires again with its next time, and what it missed is not made up for")

    schedule = f"{entry.handler} ({entry.schedule.spec})"
    match name:
        case "pause":
            return Act(pause)
        case "resume":
            return Act(resume)
        case _:
            rest = "Its schedule stays paused." if paused else "It fires at its times as before."
            return Act(fire, f"Run {entry.handler} now? {rest}")


def on_paused(standing: Standing, entry: Periodic | None) -> Act:
    """Resume a schedule that is paused; no `entry`: this application does not have it, or does not have it any more."""
    if entry:
        return on_periodic("resume", entry, paused=True)

    async def resume(backend: Backend, now: float) -> Told:
        await ordered_of(standing.key, backend, now, paused=False)
        schedule = f"{standing.handler} ({standing.spec})"
        return Told(f"resumed {schedule}, which this application does not have: it fires again wherever one has it")

    return Act(resume)


def on_job(name: str, view: JobView) -> Act:
    """Queue it at once; or delete it."""
    job = _named(view.handler, view.id)

    async def requeue(backend: Backend, now: float) -> Told:
        done = await backend.requeue(view.state, [view.id], now)
        return Told(f"queued {job}" if done else f"{job} {GONE}", done)

    async def delete(backend: Backend, now: float) -> Told:
        done = await backend.delete(view.state, [view.id])
        return Told(f"deleted {job}" if done else f"{job} {GONE}", done)

    if name == "delete":
        return Act(delete, f"Delete {job}? It would be dropped for good.")
    if view.state is State.SCHEDULED:
        return Act(requeue, f"Run {job} now, and not at its time?")
    return Act(requeue)


def on_trickle(begin: Callable[[], object], count: int, per_minute: float) -> Act:
    """Queue dead jobs, so many a minute."""

    async def start(backend: Backend, now: float) -> Told:
        begin()
        return Told(f"began to queue {_jobs(count, 'dead ')}, {per_minute:g} a minute", count)

    question = (
        f"Queue {_jobs(count, 'dead ')}, {per_minute:g} a minute? That takes about {span(60 * count / per_minute)}, "
        "and goes on as long as this console runs; what is not queued by then stays dead."
    )
    return Act(start, question, count)


def on_all(name: str, state: State, total: int) -> Act:
    """Queue or delete all jobs of the state."""

    async def requeue(backend: Backend, now: float) -> Told:
        return _told("queued", await backend.requeue(state, None, now), state)

    async def delete(backend: Backend, now: float) -> Told:
        return _told("deleted", await backend.delete(state, None), state)

    if name == "delete_all":
        return Act(
            delete, f"Delete all {_jobs(total, f'{state} ')}? They would be dropped for good.", total, sweeping=True
        )
    return Act(requeue, f"Queue all {_jobs(total, f'{state} ')} at once?", total)


def on_some(name: str, state: State, job_ids: Sequence[str]) -> Act:
    """Queue, delete or cancel the jobs of these ids, those of them that are still there."""

    async def requeue(backend: Backend, now: float) -> Told:
        return _told("queued", await backend.requeue(state, job_ids, now), state)

    async def delete(backend: Backend, now: float) -> Told:
        return _told("deleted", await backend.delete(state, job_ids), state)

    async def cancel(backend: Backend, now: float) -> Told:
        return _told("cancelled", sum([await backend.cancel(job_id, now) for job_id in job_ids]), state)

    jobs = _jobs(len(job_ids), f"{state} ")
    match name:
        case "delete":
            question = f"Delete {jobs}? {_they(job_ids)} would be dropped for good."
            return Act(delete, question, order=name, job_ids=job_ids)
        case "cancel":
            question = f"Cancel {jobs}? What runs is told to stop; what waits is dropped for good."
            return Act(cancel, question, order=name, job_ids=job_ids)
        case _:
            return Act(requeue, order="requeue", job_ids=job_ids)


def _told(what: str, count: int, state: State) -> Told:
    return Told(f"{what} {_jobs(count, f'{state} ')}", count)


def _they(job_ids: Sequence[str]) -> str:
    return "It" if len(job_ids) == 1 else "They"


def _named(handler: str, job_id: str) -> str:
    return f"{handler} {job_id}".strip()


def _jobs(count: int, kind: str = "") -> str:
    return f"{count:,} {kind}job{'' if count == 1 else 's'}"
