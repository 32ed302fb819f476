"""What the service offers beside Valet's routes, under /api/v1."""

from __future__ import annotations

import asyncio
import base64
import binascii
import math
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, TypeAlias

import msgspec

from worksong.domain.record import JobRecord
from worksong.domain.result import Result
from worksong.faces.asgi.refused import Refused
from worksong.faces.http.answers import Answer, Asked, Bodies, Parameter, Route, json, route
from worksong.faces.http.limits import Limits
from worksong.faces.http.streams import EVENTS, Streams
from worksong.faces.http.valet import KEY_PARAMETER, key_of
from worksong.faces.http.views import Job, JobResult, Jobs, Page, Pipeline, PipelinePage, Problem, Viewer
from worksong.faces.http.views import result as result_of
from worksong.ports.records import After
from worksong.service.access import Scope
from worksong.service.forms import BatchForm, Reader, StagedForm
from worksong.service.jobservice import JobService, status_of
from worksong.service.lookup import Sought

PAGE, LARGEST_PAGE = 50, 200
LONGEST_SEARCH = 500
"""Characters of a search."""
DIGITS = 9

Ask: TypeAlias = Callable[[str, float], Coroutine[Any, Any, Result]]
"""Takes an id, and for how many seconds to wait."""

_BAD: Bodies = {400: Problem}
_MISSING: Bodies = {404: Problem}
_REFUSED: Bodies = {**_BAD, **_MISSING, 409: Problem}


class Additions:
    """The handlers of those routes."""

    def __init__(self, service: JobService, viewer: Viewer, limits: Limits) -> None:
        self._service, self._viewer, self._limits = service, viewer, limits
        self._batches, self._pipelines = Reader(BatchForm), Reader(StagedForm)
        self._leaving = asyncio.Event()
        self._streams = Streams(service.worker.clock, limits.streams, self._leaving)
        self._waits = 0

    def leave(self) -> None:
        """End what goes on for long."""
        self._leaving.set()

    @property
    def routes(self) -> Sequence[Route]:
        """What is asked, by whom, and who answers."""
        read, manage, key, form = Scope.READ, Scope.MANAGE, [KEY_PARAMETER], BatchForm
        job, pipeline = "/api/v1/jobs/{id}", "/api/v1/pipelines/{id}"
        changed, piped = {200: Job, **_REFUSED}, {200: Pipeline, **_REFUSED}
        page, pipes, one = {200: Page, **_BAD}, {200: PipelinePage, **_BAD}, {200: Pipeline, **_MISSING}
        batch, result, told = (
            {202: Jobs, **_REFUSED},
            {200: JobResult, **_BAD, **_MISSING, 410: Problem},
            {204: None, **_MISSING},
        )
        sought, stream = (_STATUS, _TASK, _WORDS, _LIMIT, _CURSOR), {200: EVENTS, **told}
        return [
            route("GET /api/v1/records", read, self.records, "Jobs, sought and in pages", page, asks=sought),
            route(
                "POST /api/v1/records", Scope.ENQUEUE, self.create, "Create several jobs", batch, takes=form, asks=key
            ),
            route(f"GET {job}/result", read, self.result, "A result, waited for", result, asks=[_WAIT]),
            route(f"GET {job}/events", read, self.events, "Events until a job has ended", stream, asks=[_LAST]),
            route(f"POST {job}/cancel", manage, self.cancel, "Drop a job that waits, or stop one that runs", changed),
            route(f"POST {job}/retry", manage, self.retry, "Run a job that failed once more", changed),
            route(
                "POST /api/v1/pipelines",
                Scope.ENQUEUE,
                self.create_pipeline,
                "Create a pipeline, some of whose jobs may run side by side",
                {202: Pipeline, **_BAD, 409: Problem},
                takes=StagedForm,
                asks=key,
            ),
            route("GET /api/v1/pipelines", read, self.pipelines, "Pipelines in pages", pipes, asks=_PAGED),
            route(f"GET {pipeline}", read, self.pipeline, "A pipeline with its jobs", one),
            route(
                f"GET {pipeline}/result",
                read,
                self.pipeline_result,
                "What came of it, waited for",
                result,
                asks=[_WAIT],
            ),
            route(
                f"GET {pipeline}/events",
                read,
                self.pipeline_events,
                "Events of it and its jobs until it has ended",
                stream,
                asks=[_LAST],
            ),
            route(f"POST {pipeline}/cancel", manage, self.cancel_pipeline, "End a pipeline where it is", piped),
        ]

    # jobs

    async def records(self, asked: Asked) -> Answer:
        query = asked.query
        words = query.get("q", "")
        if len(words) > LONGEST_SEARCH:
            raise Refused(400, "bad_request", f"a search has {LONGEST_SEARCH} characters at most")
        sought = Sought(status_of(query.get("status", "")), query.get("task", ""), tuple(words.split()))
        part = await self._service.find_jobs(sought, _after(query), _limit(query))
        return json(200, Page([self._viewer.job(job) for job in part.found], _cursor(part.rest)))

    async def create(self, asked: Asked) -> Answer:
        form = self._batches.read(asked.body)
        jobs = await self._service.create_jobs(form, key_of(asked))
        return json(202, Jobs([self._viewer.job(job) for job in jobs]), about=tuple(job.id for job in jobs))

    async def cancel(self, asked: Asked) -> Answer:
        return self._changed(await self._service.cancel_job(asked.id))

    async def retry(self, asked: Asked) -> Answer:
        return self._changed(await self._service.retry_job(asked.id))

    def _changed(self, job: JobRecord) -> Answer:
        return json(200, self._viewer.job(job), about=(job.id,))

    async def result(self, asked: Asked) -> Answer:
        return await self._result(asked, self._service.result)

    async def pipeline_result(self, asked: Asked) -> Answer:
        return await self._result(asked, self._service.pipeline_result)

    async def _result(self, asked: Asked, ask: Ask) -> Answer:
        seconds = min(_seconds(asked.query.get("wait", "0")), self._limits.wait)
        if not seconds:
            return json(200, result_of(await ask(asked.id, 0.0)))
        if self._waits >= self._limits.waits:
            raise Refused(503, "busy", "too many wait for results at once", wait=1.0)
        self._waits += 1
        try:
            return await self._waited(asked, ask(asked.id, seconds))
        finally:
            self._waits -= 1

    async def _waited(self, asked: Asked, result: Coroutine[Any, Any, Result]) -> Answer:
        """The result; sooner, if the process is about to end, or whoever asks has gone."""
        leaving, gone = asyncio.ensure_future(self._leaving.wait()), asyncio.ensure_future(asked.gone())
        waiting = asyncio.ensure_future(result)
        try:
            await asyncio.wait([leaving, gone, waiting], return_when=asyncio.FIRST_COMPLETED)
            if waiting.done():
                return json(200, result_of(waiting.result()))
            raise Refused(503, "busy", "this process is about to end: ask again", wait=1.0)
        finally:
            for one in (leaving, gone, waiting):
                one.cancel()

    async def events(self, asked: Asked) -> Answer:
        return await self._streams.answer(asked, self._service.follow, self._viewer.event)

    # pipelines

    async def create_pipeline(self, asked: Asked) -> Answer:
        pipeline, jobs = await self._service.create_pipeline(self._pipelines.read(asked.body), key_of(asked))
        return json(202, self._viewer.pipeline(pipeline, jobs), about=(pipeline.id,))

    async def pipelines(self, asked: Asked) -> Answer:
        query = asked.query
        part = await self._service.find_pipelines(status_of(query.get("status", "")), _after(query), _limit(query))
        return json(200, PipelinePage([self._viewer.pipeline(one) for one in part.found], _cursor(part.rest)))

    async def pipeline(self, asked: Asked) -> Answer:
        pipeline = await self._service.pipeline(asked.id)
        return json(200, self._viewer.pipeline(pipeline, await self._service.pipeline_jobs(asked.id)))

    async def pipeline_events(self, asked: Asked) -> Answer:
        return await self._streams.answer(asked, self._service.follow_pipeline, self._viewer.advance)

    async def cancel_pipeline(self, asked: Asked) -> Answer:
        pipeline = await self._service.cancel_pipeline(asked.id)
        return json(200, self._viewer.pipeline(pipeline), about=(pipeline.id,))


_STATUS = Parameter("status", {"type": "string"}, "Only those of this status, in any case; empty: all.")
_TASK = Parameter("task", {"type": "string"}, "Only those of this task; `*` stands for any text.")
_WORDS = Parameter(
    "q",
    {"type": "string", "maxLength": LONGEST_SEARCH},
    "Words, each somewhere in the name, the description, the id, the task or the reason of the failure.",
)
_LIMIT = Parameter("limit", {"type": "integer"}, f"How many, 1 to {LARGEST_PAGE}; {PAGE} unless it is said.")
_CURSOR = Parameter("cursor", {"type": "string"}, "The `next` of the page before.")
_PAGED = (_STATUS, _LIMIT, _CURSOR)
_WAIT = Parameter("wait", {"type": "number", "minimum": 0}, "Seconds to wait for it; fewer, where that is too long.")
_LAST = Parameter("Last-Event-ID", {"type": "string"}, "The last event that was seen.", "header")

_encode = msgspec.json.Encoder().encode
_read_cursor = msgspec.json.Decoder(tuple[float, str]).decode


def _limit(query: Mapping[str, str]) -> int:
    """The nearest there can be."""
    text = query.get("limit", str(PAGE))
    try:
        return max(1, min(LARGEST_PAGE, int(text[:DIGITS])))
    except ValueError:
        raise Refused(400, "bad_request", f"limit is a whole number, not {text[:40]!r}") from None


def _seconds(text: str) -> float:
    try:
        seconds = float(text[:DIGITS])
    except ValueError:
        seconds = math.nan
    if not seconds >= 0:
        raise Refused(400, "bad_request", f"wait is a number of seconds from 0, not {text[:40]!r}")
    return seconds


def _cursor(after: After | None) -> str | None:
    return None if after is None else base64.urlsafe_b64encode(_encode(after)).decode().rstrip("=")


def _after(query: Mapping[str, str]) -> After | None:
    text = query.get("cursor", "")
    if not text:
        return None
    try:
        after = After(*_read_cursor(base64.urlsafe_b64decode(f"{text}{'=' * (-len(text) % 4)}")))
    except (msgspec.MsgspecError, binascii.Error, ValueError):
        raise _no_cursor() from None
    if not after.id.isprintable():  # no store is asked for what none of them could keep
        raise _no_cursor()
    return after


def _no_cursor() -> Refused:
    return Refused(400, "bad_request", "the cursor is none that this service gave: begin without one")
