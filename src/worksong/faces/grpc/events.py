"""Events: what changes about a job or a pipeline, told to whoever watches it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Mapping

import msgspec

from worksong.domain.record import JobRecord, Status
from worksong.domain.result import Result
from worksong.faces.grpc.calls import Methods, Stream
from worksong.faces.grpc.values import time_of, value_of
from worksong.faces.grpc.wire import events_pb2
from worksong.service.access import Scope
from worksong.service.following import Event
from worksong.service.jobservice import JobService
from worksong.service.progress import Advance
from worksong.service.redaction import without_logins
from worksong.service.refusals import Busy, Missing


class Events:
    """`worksong.events.Events`."""

    name = "worksong.events.Events"

    def __init__(self, service: JobService) -> None:
        self._service = service
        self._leaving = asyncio.Event()

    @property
    def methods(self) -> Methods:
        return {}

    @property
    def streams(self) -> Mapping[str, Stream]:
        return {
            "Watch": Stream(events_pb2.WatchRequest, Scope.READ, self.watch),
            "WatchPipeline": Stream(events_pb2.WatchPipelineRequest, Scope.READ, self.watch_pipeline),
        }

    async def watch(self, request: events_pb2.WatchRequest) -> AsyncGenerator[events_pb2.Event]:
        """The job as it is now, and again whenever something becomes of it, until it has ended."""
        job = await self._service.job(request.job_id)
        async with contextlib.aclosing(self._service.follow(job.id)) as events:
            async for event in events:
                if event:
                    yield _event(event.job, event.checkin, await self._result(event.job))
                self._check_staying(event)

    async def watch_pipeline(
        self, request: events_pb2.WatchPipelineRequest
    ) -> AsyncGenerator[events_pb2.PipelineEvent]:
        """The same of a pipeline, with those of its jobs that have moved."""
        async with contextlib.aclosing(self._service.follow_pipeline(request.pipeline_id)) as events:
            async for event in events:
                if event:
                    yield _pipeline_event(event)
                self._check_staying(event)

    def _check_staying(self, event: Event | Advance | None) -> None:
        if self._leaving.is_set() and not (event and event.kind == "end"):
            raise Busy("this process is about to end: ask again")

    def leave(self) -> None:
        """No more calls are to come: whoever watches hears so soon, and no stop waits for the jobs."""
        self._leaving.set()

    async def _result(self, job: JobRecord) -> Result | None:
        if job.status is not Status.COMPLETED:
            return None
        try:
            return await self._service.result(job.id)
        except Missing:  # somebody has deleted it
            return None


def _event(job: JobRecord, checkin: str, result: Result | None) -> events_pb2.Event:
    return events_pb2.Event(
        job_id=job.id,
        status=job.status,
        at=time_of(_since(job)),
        checkin=checkin,
        failure_reason=without_logins(job.failure_reason),
        result=value_of(msgspec.json.decode(result.value)) if result else None,
    )


def _pipeline_event(event: Advance) -> events_pb2.PipelineEvent:
    return events_pb2.PipelineEvent(
        pipeline_id=event.pipeline.id,
        status=event.pipeline.status,
        at=time_of(event.pipeline.completed_at or event.pipeline.started_at or event.pipeline.created_at),
        done=event.done,
        total=len(event.pipeline.job_ids),
        jobs=[_event(moved.job, moved.checkin, None) for moved in event.jobs],
    )


def _since(job: JobRecord) -> float:
    match job.status:
        case Status.PENDING:
            return job.created_at
        case Status.SCHEDULED:
            return job.scheduled_at
        case Status.IN_PROGRESS:
            return job.started_at
        case Status.COMPLETED | Status.FAILED:
            return job.completed_at
