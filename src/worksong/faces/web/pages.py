"""The pages: each asks the desk once and is written from what it answers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from starlette.requests import Request
from starlette.responses import Response

from worksong.domain.capability import Capability
from worksong.domain.lifecycle import State
from worksong.domain.tally import total
from worksong.engine.pauses import Standing
from worksong.faces.asgi.failures import failure_of
from worksong.faces.asgi.refused import Refused
from worksong.faces.web.bodies import page_of, state_of
from worksong.faces.web.charts import Chart, durations, throughput
from worksong.faces.web.looks import Looks
from worksong.faces.web.paper import seek
from worksong.faces.web.pipelinepages import PipelinePages
from worksong.faces.web.replies import Replies
from worksong.faces.web.workwebui import wants_json
from worksong.ports.backend import SILENT_FOR
from worksong.service.acts import NEEDS
from worksong.service.ailments import Group
from worksong.service.course import PERIODS, USUAL, Course, error_share, per_minute, period_of
from worksong.service.desk import ACTS, Desk
from worksong.service.dossier import Dossier
from worksong.service.glance import Glance
from worksong.service.search import ARGS, LISTED, QUALIFIERS, Search, parse

COURSES = 200
"""Queues whose course is drawn, in the order of the page."""
CELLS = 60
"""Points of a sparkline."""
LATE = 60.0
"""Seconds of waiting from which a queue is worth a word."""
SHOWN = 8
"""Rows of a table on the overview."""
HINTS = 100
"""Job types and queues that the search suggests, of each so many at most."""
AILMENTS_KEPT = 10.0
"""Seconds for which the groups of failing jobs on the overview are not gathered again."""


class Done(NamedTuple):
    """What the jobs of a queue did in the last hour."""

    runs: Sequence[int]
    """Those that ended, minute by minute."""
    per_minute: float
    failed: float
    """Which part of them, from 0 to 1."""


Page = Callable[[Request], Awaitable[Response]]


class Pages:
    """The handlers of the routes that people read."""

    def __init__(self, desk: Desk, replies: Replies, patience: float, *, queues: Page) -> None:
        """`queues`: what answers programs that ask for JSON where the page of queues is."""
        self._desk, self._replies, self._patience, self._queues = desk, replies, patience, queues
        self._ailments: tuple[float, Sequence[Group]] = (-AILMENTS_KEPT, ())
        self._looks = Looks(desk.clock)
        self._others: dict[str, Page] = dict(PipelinePages(desk, replies).routes)

    def add(self, pages: Mapping[str, Page]) -> None:
        """Have those answered as these are."""
        self._others |= pages

    @property
    def routes(self) -> Mapping[str, Page]:
        """Path within the console, and what answers there."""
        pages: dict[str, Page] = {
            "/": self.overview,
            "/queues": self.queues,
            "/jobs": self.jobs,
            "/job": self.job,
            "/workers": self.workers,
            "/cron": self.cron,
            "/handlers": self.handlers,
            "/history": self.history,
            "/errors": self.errors,
            **self._others,
        }
        return {path: self._within_patience(page) for path, page in pages.items()}

    def _within_patience(self, page: Page) -> Page:
        """The page, or what kept it from being written; never a wait without an end."""

        async def answer(request: Request) -> Response:
            try:
                async with asyncio.timeout(self._patience):
                    return await page(request)
            except Exception as error:
                return self._replies.refusal(request, failure_of(error))

        async def look(request: Request) -> Response:
            return await self._looks.shared(request, lambda: answer(request))

        return look

    async def overview(self, request: Request) -> Response:
        """Counters, and what a human should look at."""
        desk, now = self._desk, self._desk.clock.monotonic()
        if Capability.BROWSE not in desk.capabilities:
            return self._replies.page(request, "unlisted", title="Overview", hint=desk.lacking(Capability.BROWSE))
        glance, stopped = await desk.glance(), await desk.agenda.stopped()
        return self._replies.page(
            request,
            "overview",
            title="Overview",
            glance=glance,
            states=LISTED,
            courses={state: desk.counted.course(state, now, CELLS) for state in LISTED},
            paces={state: desk.counted.per_minute(state) for state in LISTED},
            alerts=_alerts(glance, stopped),
            stopped=stopped,
            queues=sorted(glance.queues, key=lambda queue: (-queue.count, queue.name))[:SHOWN],
            busy=[desk.busy_fields(view) for view in glance.busy[:SHOWN]],
            failing=(await self._failing(now))[:SHOWN],
            pools_hint=desk.lacking(Capability.POOLS),
            **await self._charts(request),
        )

    async def _charts(self, request: Request) -> dict[str, Any]:
        """What jobs did in the period that is asked for, drawn."""
        hint = self._desk.lacking(Capability.HISTORY)
        period = period_of(request.query_params.get("period", ""))
        course = None if hint else await self._desk.course(period)
        charts = _drawn(course) if course and any(point.tally for point in course.points) else []
        return {"period": period, "periods": PERIODS.values(), "course": course, "charts": charts, "no_history": hint}

    async def handlers(self, request: Request) -> Response:
        """What each job type did."""
        charts = await self._charts(request)
        return self._replies.page(
            request, "handlers", title="Handlers", per_minute=per_minute, error_share=error_share, **charts
        )

    async def history(self, request: Request) -> Response:
        """What the charts show, in numbers."""
        return self._replies.page(request, "history", title="History", **await self._charts(request))

    async def _failing(self, now: float) -> Sequence[Group]:
        at, groups = self._ailments
        if now - at >= AILMENTS_KEPT:
            groups, _ = await self._desk.ailments()
            self._ailments = now, groups
        return sorted(groups, key=lambda group: -group.last_at)

    async def queues(self, request: Request) -> Response:
        """Every queue."""
        if wants_json(request):
            return await self._queues(request)
        desk = self._desk
        glance, now = await desk.glance(), desk.clock.monotonic()
        return self._replies.page(
            request,
            "queues",
            title="Queues",
            queues=glance.queues,
            hints={name: desk.lacking(NEEDS[name]) for name in ("pause", "purge")},
            courses={queue.name: desk.waiting.course(queue.name, now, CELLS) for queue in glance.queues[:COURSES]},
            pace_of=desk.waiting.per_minute,
            done=await self._done([queue.name for queue in glance.queues[:COURSES]]),
        )

    async def _done(self, queues: Sequence[str]) -> dict[str, Done]:
        """Of those queues whose jobs did something in the last hour."""
        found = {name: (course, total(course)) for name, course in (await self._desk.queue_courses(queues)).items()}
        return {
            name: Done([tally.ended() for tally in course[:-1]], per_minute(whole, USUAL.seconds), error_share(whole))
            for name, (course, whole) in found.items()
            if whole
        }

    async def jobs(self, request: Request) -> Response:
        """The jobs of a state, or those that are sought."""
        sought = request.query_params.get("q", "")
        search = parse(sought)
        glance = await self._desk.glance()
        counts = glance.counts
        state = search.state or await self._state(request, search, counts)
        page = await self._desk.page(state, page_of(request.query_params.get("page", "")), search)
        acts = [act for act in ACTS[state] if self._desk.can(act)]
        return self._replies.page(
            request,
            "jobs",
            title=f"{state.capitalize()} jobs",
            page=page,
            counts=counts,
            states=LISTED,
            state=state,
            sought=sought,
            narrows=search.narrows,
            acts=acts,
            hint=self._desk.lacking(Capability.CANCEL if state in (State.QUEUED, State.RUNNING) else Capability.REVIVE),
            hints=_hints(self._desk.handlers(glance), [queue.name for queue in glance.queues]),
        )

    async def _state(self, request: Request, search: Search, counts: Mapping[State, int]) -> State:
        """The one that is asked for; that of a job whose id is; otherwise the one that a human most likely means."""
        if named := request.query_params.get("state", ""):
            return state_of(named)
        if search.id and "*" not in search.id and (found := await self._desk.whereabouts(search.id)):
            return found if found in LISTED else State.QUEUED
        worth = (State.DEAD, State.RETRY, State.RUNNING, State.SCHEDULED)
        return next((state for state in worth if counts.get(state)), State.QUEUED)

    async def job(self, request: Request) -> Response:
        """Everything about one job."""
        job_id = request.query_params.get("id", "")
        if not job_id:
            raise Refused(404, "not_found", "this page is about one job: choose one from a list")
        dossier = await self._desk.dossier(job_id)
        state = dossier.state
        acts = [act for act in ACTS.get(state, ()) if self._desk.can(act)] if state else []
        status = 200 if dossier.job or dossier.result else 404
        return self._replies.page(
            request,
            "job",
            status=status,
            title=f"Job {job_id[:80]}",
            found=dossier,
            acts=acts,
            moments=_moments(dossier),
            copies=self._replies.copies(request, dossier.job) if dossier.job else (),
            lacking_results=self._desk.lacking_results,
            lacking_attempts=self._desk.lacking(Capability.NOTES),
        )

    async def workers(self, request: Request) -> Response:
        """Pools, and what their workers run."""
        glance = await self._desk.glance()
        if glance.pools is None:
            hint = self._desk.lacking(Capability.POOLS)
            return self._replies.page(request, "unlisted", title="Workers", hint=hint)
        busy: dict[str, list[dict[str, Any]]] = {}
        for view in glance.busy:
            busy.setdefault(view.pool_id, []).append(self._desk.busy_fields(view))
        return self._replies.page(
            request,
            "workers",
            title="Workers",
            pools=glance.pools,
            busy=busy,
            words=glance.workers,
            vitals=await self._desk.vitals(glance.pools),
            late=SILENT_FOR,
            hint=self._desk.lacking(Capability.DIRECT),
        )

    async def cron(self, request: Request) -> Response:
        """The periodic jobs of the application, and what else is paused."""
        agenda = self._desk.agenda
        plan = await agenda.plan()
        return self._replies.page(request, "cron", title="Cron", plan=plan, hint=agenda.lacking_pauses)

    async def errors(self, request: Request) -> Response:
        """Failing jobs, grouped."""
        groups, looked = await self._desk.ailments()
        unseen = sum(found.total - found.looked for found in looked.values())
        return self._replies.page(
            request, "errors", title="Errors", groups=groups, unseen=unseen, trickles=self._desk.trickles.running
        )


def _hints(handlers: Sequence[str], queues: Sequence[str]) -> list[str]:
    """How a search may begin."""
    named = [*(seek(handler=name) for name in handlers[:HINTS]), *(seek(queue=name) for name in queues[:HINTS])]
    return [
        *(f"{name}:" for name in QUALIFIERS if name != "state"),
        ARGS,
        *(f"state:{state}" for state in LISTED),
        *named,
    ]


def _alerts(glance: Glance, stopped: Sequence[Standing]) -> list[tuple[str, str, str]]:
    """(kind, text, page) of what a human should look at, the worst first."""
    found: list[tuple[str, str, str]] = []
    waiting = glance.counts.get(State.QUEUED, 0)
    if glance.pools is not None and not glance.pools:
        found.append(("bad" if waiting else "warn", glance.workers, "/workers"))
    if glance.latency >= LATE:
        found.append(("warn", "oldest", "/queues"))
    if glance.paused:
        found.append(("warn", "paused", "/queues"))
    if stopped:
        found.append(("warn", "stopped", "/cron"))
    if glance.counts.get(State.DEAD):
        found.append(("bad", "dead", "/errors"))
    return found


def _drawn(course: Course) -> list[Chart]:
    ran, waited = zip(*((point.tally.ran, point.tally.waited) for point in course.points), strict=True)
    return [
        throughput(course),
        durations(course, ran, "ran", "Run time"),
        durations(course, waited, "waited", "Time until a run"),
    ]


def _moments(dossier: Dossier) -> list[tuple[str, float, str]]:
    """(kind, when, what) of a job's life, as far as its store remembers it, in order."""
    job, facts, result = dossier.job, dossier.facts, dossier.result
    found: list[tuple[str, float, str]] = []
    if job:
        found.append(("queued", job["enqueued_at"], "Enqueued" if job["attempt"] == 1 else "Last enqueued"))
        found += _failures(job, dossier.attempts or ())
        words = {
            State.QUEUED: "Waiting since",
            State.SCHEDULED: "To run",
            State.RETRY: f"To run again, try {job['attempt']}",
            State.DEAD: "Died",
        }
        if dossier.state and dossier.state in words:
            found.append((dossier.state, job["at"], words[dossier.state]))
    if facts["started_at"]:
        found.append(("running", facts["started_at"], "Started"))
    if facts["checkin"]:
        found.append(("running", facts["checkin_at"], f"Said {facts['checkin']}"))
    if result:
        found.append(("dead" if result["ended"] == "failed" else "done", result["at"], f"Ended: {result['ended']}"))
    # Not every format has finer times than seconds: within one, they are in the order in which they come here.
    return sorted((moment for moment in found if moment[1]), key=lambda moment: moment[1] // 1)


def _failures(job: Mapping[str, Any], told: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, float, str]]:
    """The tries that the store was told of; and the last one, where it is not among them yet."""
    for attempt in reversed(told):
        yield "retry", attempt["at"], f"Failed, try {attempt['number']}"
    # Formats with whole seconds round the time, up or down.
    if job["failed_at"] >= max((attempt["at"] for attempt in told), default=0.0) + 2:
        yield "retry", job["failed_at"], f"Failed, try {job['attempt'] - 1}" if job["fails"] else "Failed"
