"""The client: what a service can be asked, each verb with its twin for async code."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from types import NoneType, TracebackType
from typing import Any, Self, TypeVar

from worksong.blocking import Background
from worksong.client import stream
from worksong.client.answers import Found, Job, JobEvent, Jobs, Page, Pipeline, PipelineEvent, Status, Tasks
from worksong.client.connection import Connection
from worksong.client.errors import NotFound
from worksong.client.requests import (
    Moment,
    Request,
    Stage,
    Step,
    edit_body,
    encoded,
    job_body,
    pipeline_body,
    place,
)
from worksong.domain.errors import ConfigError, JobFailed, ResultLost, ResultTimeout, WorksongError
from worksong.enqueueing import Delay, seconds_of
from worksong.perloop import PerLoop

T = TypeVar("T")
ROUND = 20.0
"""Seconds that the service is asked to wait for a result at a time."""
SHORTEST = 0.5
"""Seconds that such a round takes at least, also where the service waits less than it is asked to."""


class Client:
    """A service, by its URL. Usable from threads and from event loops; connections are opened when they are needed.

    All verbs raise `BackendUnavailable` while the service, its store or its queue is away, `Forbidden` for a token that
    does not allow it, and `NotFound` for what there is not. What only asks, and what carries a `key`, is tried several
    times before; everything else is sent once.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        timeout: float = 30.0,
        attempts: int = 4,
        verify: Any = True,
    ) -> None:
        """`timeout`: seconds for each step of a request. `verify`: an `ssl.SSLContext`, where the system's is not the
        one."""
        if not isinstance(attempts, int) or isinstance(attempts, bool) or attempts < 1:
            raise ConfigError(f"attempts is a whole number from 1, not {attempts!r}")
        self._connections = PerLoop(Connection(url, token, timeout=timeout, attempts=attempts, verify=verify))
        self._background = Background()

    # creating

    def create_job(self, task: str, params: Mapping[str, Any] | None = None, **options: Any) -> Job:
        """Create a job of a task. Options: `name`, `description`, `timeout`, `run_at` (a datetime, or how long from
        now), and `key`: whoever gives the same key again is given the job of the first time."""
        return self._background.call(self.acreate_job(task, params, **options))

    async def acreate_job(
        self,
        task: str,
        params: Mapping[str, Any] | None = None,
        *,
        name: str = "",
        description: str = "",
        timeout: int = 0,  # noqa: ASYNC109, it is the job's
        run_at: Moment = None,
        key: str | None = None,
    ) -> Job:
        """`create_job` for async code."""
        step = Step(task, params or {}, name=name, description=description, timeout=timeout)
        body = encoded(job_body(step, run_at))
        return await self._ask(Request("POST", "/api/jobs", Job, body, key=key))

    def create_jobs(self, jobs: Sequence[Step], *, key: str | None = None) -> list[Job]:
        """Create several jobs that belong to no pipeline, all of them or none."""
        return self._background.call(self.acreate_jobs(jobs, key=key))

    async def acreate_jobs(self, jobs: Sequence[Step], *, key: str | None = None) -> list[Job]:
        """`create_jobs` for async code."""
        body = encoded({"jobs": [job_body(job, None) for job in jobs]})
        found = await self._ask(Request("POST", "/api/v1/records", Jobs, body, key=key))
        return list(found.jobs)

    def create_pipeline(self, name: str, stages: Sequence[Stage], **options: Any) -> Pipeline:
        """Create a pipeline of two steps or more; a list among them runs side by side, and the stage behind it waits
        for all of it. Options: `description`, `run_at` and `key`, as for a job."""
        return self._background.call(self.acreate_pipeline(name, stages, **options))

    async def acreate_pipeline(
        self,
        name: str,
        stages: Sequence[Stage],
        *,
        description: str = "",
        run_at: Moment = None,
        key: str | None = None,
    ) -> Pipeline:
        """`create_pipeline` for async code."""
        body = encoded(pipeline_body(name, stages, description, run_at))
        path = "/api/pipelines" if all(isinstance(stage, Step) for stage in stages) else "/api/v1/pipelines"
        return await self._ask(Request("POST", path, Pipeline, body, key=key))

    # asking

    def tasks(self) -> list[str]:
        """The names of the tasks that jobs can be created for."""
        return self._background.call(self.atasks())

    async def atasks(self) -> list[str]:
        """`tasks` for async code."""
        found = await self._ask(Request("GET", "/api/tasks", Tasks))
        return list(found.tasks)

    def job(self, job_id: str) -> Job:
        """A job."""
        return self._background.call(self.ajob(job_id))

    async def ajob(self, job_id: str) -> Job:
        """`job` for async code."""
        return await self._ask(Request("GET", place("api", "jobs", job_id), Job))

    def jobs(self, *, status: Status | str = "", task: str = "", words: str = "") -> Iterator[Job]:
        """Jobs, the oldest first, asked for page by page: of a status, of a task, with words somewhere in them."""
        cursor: str | None = ""
        while cursor is not None:
            page = self._background.call(self._page(status, task, words, cursor))
            yield from page.jobs
            cursor = page.next

    async def ajobs(self, *, status: Status | str = "", task: str = "", words: str = "") -> AsyncIterator[Job]:
        """`jobs` for async code."""
        cursor: str | None = ""
        while cursor is not None:
            page = await self._page(status, task, words, cursor)
            for job in page.jobs:
                yield job
            cursor = page.next

    async def _page(self, status: str, task: str, words: str, cursor: str) -> Page:
        asked = {"status": str(status), "task": task, "q": words, "cursor": cursor, "limit": "200"}
        query = {name: text for name, text in asked.items() if text}
        return await self._ask(Request("GET", "/api/v1/records", Page, query=query))

    def pipeline(self, pipeline_id: str) -> Pipeline:
        """A pipeline with its jobs."""
        return self._background.call(self.apipeline(pipeline_id))

    async def apipeline(self, pipeline_id: str) -> Pipeline:
        """`pipeline` for async code."""
        return await self._ask(Request("GET", place("api", "v1", "pipelines", pipeline_id), Pipeline))

    def result(self, job_id: str, timeout: Delay | None = None) -> Any:
        """Wait for what a job returns, at most `timeout` (a timedelta or seconds; None: for ever).

        Raises `JobFailed` when it has failed for good, `ResultTimeout` when it has not ended in time, and `ResultLost`
        when what it returned could not be kept, or was deleted.
        """
        return self._background.call(self.aresult(job_id, timeout))

    async def aresult(self, job_id: str, timeout: Delay | None = None) -> Any:  # noqa: ASYNC109, see its twin
        """`result` for async code."""
        return await self._waited("job", job_id, timeout, self.ajob)

    def pipeline_result(self, pipeline_id: str, timeout: Delay | None = None) -> Any:
        """Wait for what the last job of a pipeline returns, a list for several; as `result` does.

        Raises `JobFailed` as soon as one of its jobs has failed for good.
        """
        return self._background.call(self.apipeline_result(pipeline_id, timeout))

    async def apipeline_result(
        self,
        pipeline_id: str,
        timeout: Delay | None = None,  # noqa: ASYNC109, it is the blocking one's twin
    ) -> Any:
        """`pipeline_result` for async code."""
        return await self._waited("pipeline", pipeline_id, timeout, self.apipeline)

    async def _waited(
        self, kind: str, record_id: str, most: Delay | None, known: Callable[[str], Awaitable[Job | Pipeline]]
    ) -> Any:
        """`known`: its record; raises `NotFound` when there is none."""
        limit = math.inf if most is None else seconds_of(most, f"{kind} {record_id}: a timeout")
        end = time.monotonic() + limit
        ended: Job | Pipeline | None = None
        while True:
            begun = time.monotonic()
            left = max(0.0, end - begun)
            found = await self._result(kind, record_id, 0.0 if ended else min(left, ROUND))
            if found:
                return _value(found)
            record = await known(record_id)
            if record == ended:
                raise _deleted(kind, record)
            ended = record if record.status.ended else None  # perhaps just now: then its result is there
            if ended is None:
                if time.monotonic() >= end:
                    raise ResultTimeout(f"{kind} {record_id} has no result after {limit:g} s: it waits or runs")
                await asyncio.sleep(begun + min(left, SHORTEST) - time.monotonic())

    async def _result(self, kind: str, record_id: str, wait: float) -> Found | None:
        """None: there is none."""
        path, query = place("api", "v1", f"{kind}s", record_id, "result"), {"wait": f"{wait:.3f}"}
        try:
            return await self._ask(Request("GET", path, Found, query=query, patience=wait))
        except NotFound:
            return None

    # following

    def follow_job(self, job_id: str) -> Iterator[JobEvent]:
        """What becomes of a job as it happens, until it has ended; a stream that breaks off is taken up again."""
        return stream.each(self.afollow_job(job_id), self._background)

    def afollow_job(self, job_id: str) -> AsyncGenerator[JobEvent]:
        """`follow_job` for async code."""
        return stream.events(self._connections, stream.of("jobs", job_id, JobEvent))

    def follow_pipeline(self, pipeline_id: str) -> Iterator[PipelineEvent]:
        """The same of a pipeline, with those of its jobs that have moved."""
        return stream.each(self.afollow_pipeline(pipeline_id), self._background)

    def afollow_pipeline(self, pipeline_id: str) -> AsyncGenerator[PipelineEvent]:
        """`follow_pipeline` for async code."""
        return stream.events(self._connections, stream.of("pipelines", pipeline_id, PipelineEvent))

    # changing

    def cancel_job(self, job_id: str) -> Job:
        """Drop a job that waits, or stop one that runs; raises `Conflict` when it has ended."""
        return self._background.call(self.acancel_job(job_id))

    async def acancel_job(self, job_id: str) -> Job:
        """`cancel_job` for async code."""
        return await self._ask(Request("POST", place("api", "v1", "jobs", job_id, "cancel"), Job, b"{}"))

    def retry_job(self, job_id: str) -> Job:
        """Run a job that failed once more; raises `Conflict` when it has not."""
        return self._background.call(self.aretry_job(job_id))

    async def aretry_job(self, job_id: str) -> Job:
        """`retry_job` for async code."""
        return await self._ask(Request("POST", place("api", "v1", "jobs", job_id, "retry"), Job, b"{}"))

    def cancel_pipeline(self, pipeline_id: str) -> Pipeline:
        """Stop a pipeline where it is; raises `Conflict` when it has ended."""
        return self._background.call(self.acancel_pipeline(pipeline_id))

    async def acancel_pipeline(self, pipeline_id: str) -> Pipeline:
        """`cancel_pipeline` for async code."""
        return await self._ask(Request("POST", place("api", "v1", "pipelines", pipeline_id, "cancel"), Pipeline, b"{}"))

    def edit_job(self, job_id: str, *, name: str | None = None, description: str | None = None) -> None:
        """Call a job otherwise; what is None stays as it was."""
        self._background.call(self.aedit_job(job_id, name=name, description=description))

    async def aedit_job(self, job_id: str, *, name: str | None = None, description: str | None = None) -> None:
        """`edit_job` for async code."""
        await self._ask(Request("PATCH", place("api", "jobs", job_id), NoneType, encoded(edit_body(name, description))))

    def delete_job(self, job_id: str) -> None:
        """Forget a job and its result; raises `Conflict` for one of a pipeline."""
        self._background.call(self.adelete_job(job_id))

    async def adelete_job(self, job_id: str) -> None:
        """`delete_job` for async code."""
        await self._ask(Request("DELETE", place("api", "jobs", job_id), NoneType))

    def delete_pipeline(self, pipeline_id: str) -> None:
        """Forget a pipeline, its jobs and their results."""
        self._background.call(self.adelete_pipeline(pipeline_id))

    async def adelete_pipeline(self, pipeline_id: str) -> None:
        """`delete_pipeline` for async code."""
        await self._ask(Request("DELETE", place("api", "pipelines", pipeline_id), NoneType))

    # life

    async def _ask(self, request: Request[T]) -> T:
        return await self._connections.here().send(request)

    def close(self) -> None:
        """Let go of the connections of the blocking verbs."""
        self._background.call(self.aclose())

    async def aclose(self) -> None:
        """Let go of the running loop's connections."""
        await self._connections.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()


def _value(found: Found) -> Any:
    if found.error:
        raise JobFailed(f"job {found.job_id} failed: {found.error}")
    if found.lost:
        raise ResultLost(f"job {found.job_id} succeeded, but its result could not be kept: {found.lost}")
    return found.metadata


def _deleted(kind: str, record: Job | Pipeline) -> WorksongError:
    """What is left to say of one that has ended, when its result is gone."""
    if record.status is Status.COMPLETED:
        return ResultLost(f"{kind} {record.id} succeeded, but its result was deleted")
    jobs = record.jobs if isinstance(record, Pipeline) else (record,)
    reasons = (job.failure_reason for job in jobs if job.status is Status.FAILED)
    return JobFailed(f"{kind} {record.id} failed: {next(reasons, 'why was deleted with its result')}")
