"""Valet's routes: its paths, codes and bodies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from worksong.faces.asgi.refused import Refused
from worksong.faces.http.answers import Answer, Asked, Parameter, Route, json, nothing
from worksong.faces.http.views import Condition, Job, JobResult, Jobs, Pipeline, Pipelines, Tasks, Trouble, Viewer
from worksong.faces.http.views import condition as condition_of
from worksong.faces.http.views import result as result_of
from worksong.ledger import Edit
from worksong.service.access import Scope
from worksong.service.forms import EditForm, JobForm, PipelineForm, Reader
from worksong.service.jobservice import JobService, status_of

KEY = b"idempotency-key"
LONGEST_KEY = 255

_BAD, _MISSING, _CONFLICT = {400: Trouble}, {404: Trouble}, {409: Trouble}
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
        read, manage, enqueue = Scope.READ, Scope.MANAGE, Scope.ENQUEUE
        created: dict[int, Any] = {**_BAD, **_CONFLICT}
        jobs, pipelines, keyed = "/api/jobs", "/api/pipelines", [KEY_PARAMETER]
        return [
            Route("GET", "/api/status", read, self.status, "Whether queue and store answer", {200: Condition}),
            Route("GET", "/api/tasks", read, self.tasks, "The names of the tasks", {200: Tasks}),
            Route(
                "POST", jobs, enqueue, self.create_job, "Create a job", {202: Job, **created}, JobForm, [KEY_PARAMETER]
            ),
            Route("GET", jobs, read, self.jobs, "All jobs, the oldest first", {200: Jobs, **_BAD}, None, [_STATUS]),
            Route("GET", f"{jobs}/{{id}}", read, self.job, "A job", {200: Job, **_MISSING}),
            Route(
                "PATCH",
                f"{jobs}/{{id}}",
                manage,
                self.edit_job,
                "Call a job otherwise",
                {204: None, **_BAD, **_MISSING},
                EditForm,
            ),
            Route(
                "DELETE",
                f"{jobs}/{{id}}",
                manage,
                self.delete_job,
                "Delete a job that belongs to no pipeline, and its result",
                {204: None, **_MISSING, **_CONFLICT},
            ),
            Route("GET", f"{jobs}/{{id}}/results", read, self.result, "A result", {200: JobResult, **_MISSING}),
            Route(
                "DELETE",
                f"{jobs}/{{id}}/results",
                manage,
                self.delete_result,
                "Delete a result",
                {204: None, **_MISSING},
            ),
            Route(
                "POST",
                pipelines,
                enqueue,
                self.create_pipeline,
                "Create a pipeline and its jobs",
                {202: Pipeline, **created},
                PipelineForm,
                keyed,
            ),
            Route(
                "GET",
                pipelines,
                read,
                self.pipelines,
                "All pipelines, the oldest first",
                {200: Pipelines, **_BAD},
                None,
                [_STATUS],
            ),
            Route("GET", f"{pipelines}/{{id}}", read, self.pipeline, "A pipeline", {200: Pipeline, **_MISSING}),
            Route(
                "PATCH",
                f"{pipelines}/{{id}}",
                manage,
                self.edit_pipeline,
                "Call a pipeline otherwise",
                {204: None, **_BAD, **_MISSING},
                EditForm,
            ),
            Route(
                "DELETE",
                f"{pipelines}/{{id}}",
                manage,
                self.delete_pipeline,
                "Delete a pipeline, its jobs and their results",
                {204: None, **_MISSING},
            ),
            Route(
                "GET",
                f"{pipelines}/{{id}}/jobs",
                read,
                self.pipeline_jobs,
                "The jobs of a pipeline, in order",
                {200: Jobs, **_MISSING},
            ),
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
        return json(200, result_of(await self._service.result(asked.id)))

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
