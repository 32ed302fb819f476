"""The operator's desk: what a console shows of a backend and orders of it, with all that must not leave taken out."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec
from msgspec.structs import replace

from worksong.admin import Admin
from worksong.blocking import Background
from worksong.domain.capability import INSTEAD, Capability
from worksong.domain.errors import InvalidArguments, Unsupported
from worksong.domain.job import JobView
from worksong.domain.lifecycle import State
from worksong.domain.tally import Tally
from worksong.domain.why import reasons
from worksong.engine.releases import Release, releases
from worksong.engine.vitals import Vitals, vitals_of
from worksong.ledger import Ledger
from worksong.ports.backend import Backend, BusyView, Listing, PoolView, Window
from worksong.ports.clock import Clock
from worksong.ports.results import Results
from worksong.registry import Registry
from worksong.service.acts import NEEDS, Act, Told, on_all, on_pool, on_queue, on_some, on_trickle
from worksong.service.aftermath import carry_out
from worksong.service.agenda import Agenda
from worksong.service.ailments import Group, grouped, key_of
from worksong.service.attempts import attempts_of
from worksong.service.course import USUAL, Course, Period, read
from worksong.service.dossier import Dossier, facts_fields, result_fields
from worksong.service.explanation import told
from worksong.service.fields import arguments, job_fields, plain, without
from worksong.service.glance import Glance, look
from worksong.service.history import History
from worksong.service.redaction import redacted, without_logins
from worksong.service.search import Found, Search, find
from worksong.service.trickle import Trickles

PAGE = 50
LAST_PAGE = 10_000
LOOKS_EVERY = 2.0
"""Seconds between two looks of a page that is open, as far as it asks by the clock."""
VITALS = 50
"""Processes whose memory and lag are asked for, at once."""
QUEUES = 200
"""Queues whose course is kept, the longest ones."""
ACTS: dict[State, tuple[str, ...]] = {
    State.QUEUED: ("cancel",),
    State.RUNNING: ("cancel",),
    State.SCHEDULED: ("requeue", "delete"),
    State.RETRY: ("requeue", "delete"),
    State.DEAD: ("requeue", "delete"),
}
"""What can be done with the jobs of a state."""


class Store(NamedTuple):
    """Whose jobs they are."""

    backend: Callable[[], Backend]
    """For the running loop."""
    clock: Clock
    url: str
    """Without secrets."""
    namespace: str
    results: Callable[[], Results] | None = None
    """None: the backend keeps them, where it can."""
    registry: Registry | None = None
    """None: no application is known."""
    ledger: Callable[[], Ledger] | None = None
    """What the job service keeps of its jobs and pipelines, for the running loop; None: nothing is kept."""


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """Some jobs of a state."""

    state: State
    jobs: list[dict[str, Any]]
    total: int
    """How many there are in all, as far as it was looked."""
    page: int
    pages: int
    looked: int = 0
    """A search: how many jobs it looked at."""
    of: int = 0
    """A search: how many there are in the state."""


class Desk:
    """One for a console. All it answers may be shown to whoever may look at all."""

    def __init__(self, store: Store) -> None:
        self.store, self.clock = store, store.clock
        self._admin = Admin(store.backend, Background(), store.clock)
        self.counted, self.waiting = History(LOOKS_EVERY), History(LOOKS_EVERY)
        """How many jobs were in each state, and how many waited in each queue, whenever somebody looked."""
        self.trickles = Trickles(store.backend, store.clock)
        self.agenda = Agenda(store.backend, store.clock, store.registry, self._hidden)
        self._courses: dict[Period, tuple[float, Course]] = {}
        self._reading: defaultdict[Period, asyncio.Lock] = defaultdict(asyncio.Lock)

    @property
    def capabilities(self) -> frozenset[Capability]:
        return self.store.backend().capabilities

    def can(self, act: str) -> bool:
        """Whether the backend promises what the act needs."""
        return NEEDS[act] in self.capabilities

    def lacking(self, capability: Capability) -> str:
        """Why something is not offered, and what to do instead; empty when it is."""
        return "" if capability in self.capabilities else f"{capability.value}: not here; {INSTEAD[capability]}"

    @property
    def lacking_results(self) -> str:
        """The same of what handlers return."""
        return "" if self.store.results else self.lacking(Capability.RESULTS)

    async def glance(self) -> Glance:
        """Counts, queues, pools and busy workers."""
        glance, now = await look(self._admin), self.clock.monotonic()
        self.counted.note(now, glance.counts)
        longest = heapq.nlargest(QUEUES, glance.queues, key=lambda queue: queue.count)
        self.waiting.note(now, {queue.name: queue.count for queue in longest})
        return glance

    async def course(self, period: Period) -> Course:
        """What jobs did; read again when what was read is no longer fresh. Raises `Unsupported`."""
        async with self._reading[period]:  # who comes meanwhile shares what was read
            now = self.clock.monotonic()
            at, known = self._courses.get(period, (now - period.kept, None))
            if known is None or now - at >= period.kept:
                known = await read(self.store.backend(), period, self.clock.now(), known)
                known = replace(known, releases=await self._releases(known))
                self._courses[period] = now, known
            return known

    async def queue_courses(self, names: Sequence[str]) -> dict[str, list[Tally]]:
        """What the jobs of each queue did in the last hour, minute by minute; of none where nobody keeps that."""
        if Capability.HISTORY not in self.capabilities:
            return {}
        course, apart = await self.course(USUAL), Capability.QUEUES in self.capabilities
        return {name: course.of_queue(name, apart=apart) for name in names}

    async def _releases(self, course: Course) -> list[Release]:
        """Those that began within its time."""
        if Capability.NOTES not in self.capabilities:
            return []
        begin = course.points[0].at
        return [release for release in await releases(self.store.backend()) if release.at >= begin]

    def busy_fields(self, view: BusyView) -> dict[str, Any]:
        """A busy worker."""
        args = without(arguments(view), self._hidden(view.handler))
        return {**plain(view), "args": redacted(args), "checkin": without_logins(view.checkin)}

    def job_fields(self, view: JobView) -> dict[str, Any]:
        """A job."""
        return job_fields(view, reveal=False, hidden=self._hidden(view.handler))

    def handlers(self, glance: Glance) -> list[str]:
        """Job types that somebody runs, or could run."""
        own = self.store.registry.names() if self.store.registry else ()
        return sorted({*own, *(handler for pool in glance.pools or () for handler in pool.handlers)})

    def _hidden(self, handler: str) -> tuple[str, ...]:
        spec = self.store.registry.find(handler) if self.store.registry else None
        return spec.options.redact if spec else ()

    async def page(self, state: State, number: int, search: Search) -> Page:
        """A page of the jobs of a state, or of those of them that are sought."""
        backend = self.store.backend()
        if not search.narrows:
            listing = await backend.jobs(state, Window(PAGE, (number - 1) * PAGE))
            return self._paged(state, listing.jobs, listing.total, number)
        found = await self._found(state, search)
        shown = found.jobs[(number - 1) * PAGE : number * PAGE]
        page = self._paged(state, shown, len(found.jobs), number)
        return replace(page, looked=found.looked, of=found.total)

    def _paged(self, state: State, views: Sequence[JobView], total: int, number: int) -> Page:
        jobs = [self.job_fields(view) for view in views]
        return Page(state=state, jobs=jobs, total=total, page=number, pages=max(1, -(-total // PAGE)))

    async def _found(self, state: State, search: Search) -> Found:
        """One whole id is asked for, everything else is looked through."""
        if not search.id or "*" in search.id:
            return await find(self.store.backend(), state, search, self._hidden)
        view = await self.found(search.id)
        jobs = [view] if view and view.state is state and search.finds(view, self._hidden(view.handler)) else []
        return Found(jobs, len(jobs), len(jobs))

    async def slice(self, state: State, most: int, offset: int) -> Listing:
        """Some jobs of a state as they are: `job_fields` tells what may be shown of them."""
        return await self.store.backend().jobs(state, Window(most, offset))

    async def found(self, job_id: str) -> JobView | None:
        """A job as it is."""
        return await self._admin.ajob(job_id)

    async def whereabouts(self, job_id: str) -> State | None:
        """In which state the job is; None: it is not there."""
        view = await self.found(job_id)
        return view.state if view else None

    async def dossier(self, job_id: str) -> Dossier:
        """One job; one that is gone may have left a result."""
        facts = await self._admin.awhy(job_id)
        busy = None
        if facts.state is State.RUNNING and Capability.POOLS in self.capabilities:
            busy = next((view for view in await self._admin.abusy() if view.job_id == job_id), None)
        job = facts.job
        view = (
            JobView(job=job, state=facts.state, at=facts.at, reason=facts.unreadable) if job and facts.state else None
        )
        spec = self.store.registry.find(job.handler) if self.store.registry and job else None
        return Dossier(
            id=job_id,
            state=facts.state,
            job=self.job_fields(view) if view else None,
            reasons=[(reason, told(reason, facts)) for reason in reasons(facts)],
            facts=facts_fields(facts),
            busy=self.busy_fields(busy) if busy else None,
            result=await self._result(job_id),
            max_fails=spec.options.max_fails if spec else None,
            attempts=await self._attempts(job_id),
        )

    async def _attempts(self, job_id: str) -> list[dict[str, Any]] | None:
        if Capability.NOTES not in self.capabilities:
            return None
        return await attempts_of(self.store.backend(), job_id)

    async def _result(self, job_id: str) -> dict[str, Any] | None:
        if self.store.results is None and Capability.RESULTS not in self.capabilities:
            return None
        try:
            found = await (self.store.results or self.store.backend)().result(job_id)
        except Unsupported:
            return None
        return result_fields(found) if found else None

    async def ailments(self) -> tuple[list[Group], dict[State, Found]]:
        """Failing jobs in groups, and how many of each state were looked at."""
        looked = {state: await find(self.store.backend(), state, Search()) for state in (State.DEAD, State.RETRY)}
        return grouped(itertools.chain.from_iterable(found.jobs for found in looked.values())), looked

    async def vitals(self, pools: Sequence[PoolView]) -> dict[str, Vitals]:
        """How the processes of some pools are, by the id of the pool, as far as they tell."""
        if Capability.NOTES not in self.capabilities:
            return {}
        backend, now, ids = self.store.backend(), self.clock.now(), [pool.id for pool in pools[:VITALS]]
        found = await asyncio.gather(*(vitals_of(backend, pool_id, now) for pool_id in ids))
        return {pool_id: vitals for pool_id, vitals in zip(ids, found, strict=True) if vitals}

    # orders

    async def on_queue(self, name: str, act: str) -> Act:
        """Pause, resume or purge a queue as it is now."""
        self._check("pause" if act == "resume" else act)
        queue = next((view for view in await self._admin.aqueues() if view.name == name), None)
        if queue is None:
            raise InvalidArguments(f"there is no queue {name!r} now: nothing was done")
        wanted = queue if act == "purge" else replace(queue, paused=act == "resume")
        return on_queue("purge" if act == "purge" else "pause", wanted)

    async def on_pool(self, pool_id: str, act: str) -> Act:
        """Have a worker process go quiet, or end."""
        if act not in ("quiet", "dismiss"):
            raise InvalidArguments(f"workers cannot be told to {act!r}: there is quiet, dismiss")
        self._check(act)
        pool = next((view for view in await self._admin.apools() if view.id == pool_id), None)
        if pool is None:
            raise InvalidArguments(f"there is no worker process {pool_id!r} now: it has ended, and nothing was done")
        return on_pool(act, pool)

    async def on_jobs(self, state: State, act: str, job_ids: Sequence[str] | None, search: Search) -> Act:
        """Do something with chosen jobs; None: with all of the state, or with all that are sought."""
        self._check_of(state, act)
        if job_ids is not None:
            return on_some(act, state, job_ids)
        if search.narrows:
            found = _on_found(act, state, (await self._found(state, search)).jobs)
            return found._replace(sweeping=act != "requeue")
        if act == "cancel":
            raise InvalidArguments("all jobs of a state cannot be cancelled at once: choose them, or purge their queue")
        return on_all(f"{act}_all", state, (await self._admin.acounts()).get(state, 0))

    async def on_group(self, state: State, act: str, handler: str, error: str, per_minute: float | None = None) -> Act:
        """Do something with the jobs of one group of `ailments`, and with no other that a search would find as well.

        `per_minute`: the pace at which dead ones are queued; None: all at once.
        """
        self._check_of(state, act)
        looked = await find(self.store.backend(), state, Search())
        group = handler, error
        found = [view for view in looked.jobs if key_of(view) == group]
        if per_minute is None:
            return _on_found(act, state, found)
        if (state, act) != (State.DEAD, "requeue"):
            raise InvalidArguments("a pace is for dead jobs that are queued again: leave it out")
        ids = [view.id for view in found if view.id]
        return on_trickle(lambda: self.trickles.begin(group, ids, per_minute), len(ids), per_minute)

    def on_trickling(self, trickle_id: str) -> Act:
        """Queue no more of a group that is being queued some a minute."""
        found = next((trickle for trickle in self.trickles.running if trickle.id == trickle_id), None)
        if found is None:
            raise InvalidArguments("these jobs are no longer being queued: nothing was done")

        async def stop(backend: Backend, now: float) -> Told:
            self.trickles.stop(trickle_id)
            return Told(f"stopped queueing {found.group[0]}: {found.left:,} stay dead", found.left)

        return Act(stop)

    def _check_of(self, state: State, act: str) -> None:
        if act not in ACTS.get(state, ()):
            raise InvalidArguments(f"{state} jobs cannot be told to {act!r}: there is {', '.join(ACTS[state])}")
        self._check(act)

    def _check(self, act: str) -> None:
        need = NEEDS.get(act)
        if need is None:
            raise InvalidArguments(f"there is no order {act!r}")
        if need not in self.capabilities:
            raise Unsupported(f"promise that {need.value}", self.store.backend().name, INSTEAD[need])

    async def carry_out(self, act: Act) -> tuple[str, int]:
        """Do it: what was done, and to how many."""
        ledger = self.store.ledger() if self.store.ledger else None
        said = await carry_out(act, self.store.backend(), ledger, self.clock.now())
        return said.text, said.done


def _on_found(act: str, state: State, views: Sequence[JobView]) -> Act:
    """What cannot be named is left out: an order for no id is one for whatever has none."""
    found = [view.id for view in views if view.id]
    chosen = on_some(act, state, found)
    return chosen._replace(question=chosen.question or _really(act, len(found), state), reach=len(found))


def _really(act: str, count: int, state: State) -> str:
    return f"Queue {count:,} {state} job{'' if count == 1 else 's'} at once?" if act == "requeue" else ""
