"""Valet's routes: its paths, codes and bodies."""

from __future__ import annotations

from collections.abc import Sequence

from worksong.faces.asgi.refused import Refused
from worksong.faces.http.answers import Answer, Asked, Bodies, Parameter, Route, json, nothing, route
from worksong.faces.http.views import Condition, Job, JobResult, Jobs, Pipeline, Pipelines, Tasks, Trouble, Viewer
from worksong.faces.http.views import condition as condition_of
from worksong.faces.http.views import result as result_of
from worksong.ledger import Edit
from worksong.service.access import Scope
from worksong.service.forms import EditForm, JobForm, PipelineForm, Reader
from worksong.service.jobservice import JobService, status_of
from worksong.service.keys import LONGEST as LONGEST_KEY
from worksong.service.refusals import Gone, Missing

KEY = b"idempotency-key"

_BAD: Bodies = {400: Trouble}
_MISSING: Bodies = {404: Trouble}
_CONFLICT: Bodies = {409: Trouble}
_REFUSED: Bodies = {**_BAD, **_CONFLICT}
_STATUS = Parameter("status", {"type": "string"}, "Only those of this status, in any case; empty: all.")
KEY_PARAMETER = Parameter(
    "Idempotency-Key",
    {"type": "string", "minLength": 1, "maxLength": LONGEST_KEY},
    "Who sends the same key again, with the same body, is given what was created the first time.",
    "header",
)


class Valet:
    """The handlers of those routes."""

    def __init__(self, service: JobService, viewer: Viewer) -> None:
        self._service, self._viewer = service, viewer
        self._jobs, self._pipelines, self._edits = Reader(JobForm), Reader(PipelineForm), Reader(EditForm)

    @property
    def routes(self) -> Sequence[Route]:
        """What is asked, by whom, and who answers."""
        read, manage, enqueue, key = Scope.READ, Scope.MANAGE, Scope.ENQUEUE, [KEY_PARAMETER]
        job, pipeline, done = "/api/jobs/{id}", "/api/pipelines/{id}", {204: None, **_MISSING}
        created, piped, edited = {202: Job, **_REFUSED}, {202: Pipeline, **_REFUSED}, {**done, **_BAD}
        listed, pipes, one = {200: Jobs, **_BAD}, {200: Pipelines, **_BAD}, {200: Job, **_MISSING}
        result, steps, form = {200: JobResult, **_MISSING}, {200: Jobs, **_MISSING}, PipelineForm
        return [
            route("GET /api/status", read, self.status, "Whether queue and store answer", {200: Condition}),
            route("GET /api/tasks", read, self.tasks, "The names of the tasks", {200: Tasks}),
            route("POST /api/jobs", enqueue, self.create_job, "Create a job", created, takes=JobForm, asks=key),
            route("GET /api/jobs", read, self.jobs, "All jobs, the oldest first", listed, asks=[_STATUS]),
            route(f"GET {job}", read, self.job, "A job", one),
            route(f"PATCH {job}", manage, self.edit_job, "Call a job otherwise", edited, takes=EditForm),
            route(f"DELETE {job}", manage, self.delete_job, "Delete a job of no pipeline", {**done, **_CONFLICT}),
            route(f"GET {job}/results", read, self.result, "A result", result),
            route(f"DELETE {job}/results", manage, self.delete_result, "Delete a result", done),
            route(
                "POST /api/pipelines", enqueue, self.create_pipeline, "Create a pipeline", piped, takes=form, asks=key
            ),
            route("GET /api/pipelines", read, self.pipelines, "All pipelines, the oldest first", pipes, asks=[_STATUS]),
            route(f"GET {pipeline}", read, self.pipeline, "A pipeline", {200: Pipeline, **_MISSING}),
            route(f"PATCH {pipeline}", manage, self.edit_pipeline, "Call a pipeline otherwise", edited, takes=EditForm),
            route(f"DELETE {pipeline}", manage, self.delete_pipeline, "Delete a pipeline and its jobs", done),
            route(f"GET {pipeline}/jobs", read, self.pipeline_jobs, "The jobs of a pipeline, in order", steps),
        ]

    async def status(self, asked: Asked) -> Answer:
        return json(200, condition_of(await self._service.health()))

    async def tasks(self, asked: Asked) -> Answer:
        return json(200, Tasks(self._service.tasks()))

    # jobs

    async def create_job(self, asked: Asked) -> Answer:
        job = await self._service.create_job(self._jobs.read(asked.body), key_of(asked))
        return json(202, self._viewer.job(job), about=(job.id,))

    async def jobs(self, asked: Asked) -> Answer:
        found = await self._service.jobs(status_of(asked.query.get("status", "")))
        return json(200, Jobs([self._viewer.job(job) for job in found]))

    async def job(self, asked: Asked) -> Answer:
        return json(200, self._viewer.job(await self._service.job(asked.id)))

    async def edit_job(self, asked: Asked) -> Answer:
        await self._service.edit_job(asked.id, self._edit(asked))
        return nothing(asked.id)

    async def delete_job(self, asked: Asked) -> Answer:
        await self._service.delete_job(asked.id)
        return nothing(asked.id)

    async def result(self, asked: Asked) -> Answer:
        try:
            return json(200, result_of(await self._service.result(asked.id)))
        except Gone as gone:  # Valet tells the two not apart
            raise Missing(str(gone)) from None

    async def delete_result(self, asked: Asked) -> Answer:
        await self._service.delete_result(asked.id)
        return nothing(asked.id)

    # pipelines

    async def create_pipeline(self, asked: Asked) -> Answer:
        pipeline, jobs = await self._service.create_pipeline(self._pipelines.read(asked.body), key_of(asked))
        return json(202, self._viewer.pipeline(pipeline, jobs), about=(pipeline.id,))

    async def pipelines(self, asked: Asked) -> Answer:
        found = await self._service.pipelines(status_of(asked.query.get("status", "")))
        return json(200, Pipelines([self._viewer.pipeline(pipeline) for pipeline in found]))

    async def pipeline(self, asked: Asked) -> Answer:
        return json(200, self._viewer.pipeline(await self._service.pipeline(asked.id)))

    async def edit_pipeline(self, asked: Asked) -> Answer:
        await self._service.edit_pipeline(asked.id, self._edit(asked))
        return nothing(asked.id)

    async def delete_pipeline(self, asked: Asked) -> Answer:
        await self._service.delete_pipeline(asked.id)
        return nothing(asked.id)

    async def pipeline_jobs(self, asked: Asked) -> Answer:
        found = await self._service.pipeline_jobs(asked.id)
        return json(200, Jobs([self._viewer.job(job) for job in found]))

    def _edit(self, asked: Asked) -> Edit:
        form = self._edits.read(asked.body)
        return Edit(form.name, form.description)


def key_of(asked: Asked) -> str | None:
    """The Idempotency-Key, as this caller's own; None: there is none."""
    key = asked.header(KEY)
    if key is None:
        return None
    if not 0 < len(key) <= LONGEST_KEY or not key.isprintable():
        raise Refused(400, "bad_request", f"an Idempotency-Key has 1 to {LONGEST_KEY} printable characters")
    return f"{asked.caller.name} {key}"
