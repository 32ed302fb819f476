"""Messages between the wire and the service: requests become forms, records become answers."""

from __future__ import annotations

import msgspec
from google.protobuf.struct_pb2 import Struct

from worksong.domain.record import JobRecord, PipelineRecord, reason_of
from worksong.domain.result import Result
from worksong.faces.grpc.values import params_of, struct_of, time_of, value_of
from worksong.faces.grpc.wire import job_pb2, jobresult_pb2, pipeline_pb2
from worksong.ledger import Edit
from worksong.service.forms import JobForm, PipelineForm
from worksong.service.jobservice import JobService
from worksong.service.redaction import without_logins
from worksong.service.showing import milliseconds, shown_params

_INT32 = (1 << 31) - 1


def job_form(request: job_pb2.CreateJobRequest) -> JobForm:
    """What is asked for; raises `Invalid` for parameters that JSON cannot say."""
    return JobForm(
        name=request.name,
        description=request.description,
        task_name=request.task_name,
        timeout=request.timeout,
        task_params=params_of(request.task_params),
        run_at=request.run_at,
        use_previous_results=request.use_previous_results,
    )


def pipeline_form(request: pipeline_pb2.CreatePipelineRequest) -> PipelineForm:
    """The same of a pipeline."""
    return PipelineForm(
        name=request.name,
        description=request.description,
        run_at=request.run_at,
        jobs=[job_form(job) for job in request.jobs],
    )


def edit_of(request: job_pb2.UpdateJobRequest | pipeline_pb2.UpdatePipelineRequest) -> Edit:
    """An empty text is one that was not sent: the wire does not tell the two apart."""
    return Edit(request.name or None, request.description or None)


class Answers:
    """Writes them, as far as they may be shown."""

    def __init__(self, service: JobService) -> None:
        self._unit, self._registry = service.unit, service.worker.registry

    def created_job(self, job: JobRecord) -> job_pb2.CreateJobResponse:
        return job_pb2.CreateJobResponse(
            id=job.id,
            name=job.name,
            task_name=job.task,
            task_params=self._params(job),
            timeout=self._timeout(job),
            description=job.description,
            status=job.status,
            run_at=time_of(job.due),
            created_at=time_of(job.created_at),
        )

    def job(self, job: JobRecord) -> job_pb2.GetJobResponse:
        return job_pb2.GetJobResponse(
            id=job.id,
            name=job.name,
            task_name=job.task,
            task_params=self._params(job),
            timeout=self._timeout(job),
            description=job.description,
            status=job.status,
            failure_reason=without_logins(job.failure_reason),
            run_at=time_of(job.due),
            scheduled_at=time_of(job.scheduled_at),
            created_at=time_of(job.created_at),
            started_at=time_of(job.started_at),
            completed_at=time_of(job.completed_at),
            duration=milliseconds(job) or 0,
        )

    def created_pipeline(self, pipeline: PipelineRecord, jobs: list[JobRecord]) -> pipeline_pb2.CreatePipelineResponse:
        return pipeline_pb2.CreatePipelineResponse(
            id=pipeline.id,
            name=pipeline.name,
            description=pipeline.description,
            jobs=[self.created_job(job) for job in jobs],
            status=pipeline.status,
            run_at=time_of(pipeline.due),
            created_at=time_of(pipeline.created_at),
        )

    def pipeline(self, pipeline: PipelineRecord) -> pipeline_pb2.GetPipelineResponse:
        return pipeline_pb2.GetPipelineResponse(
            id=pipeline.id,
            name=pipeline.name,
            description=pipeline.description,
            status=pipeline.status,
            run_at=time_of(pipeline.due),
            created_at=time_of(pipeline.created_at),
            started_at=time_of(pipeline.started_at),
            completed_at=time_of(pipeline.completed_at),
            duration=milliseconds(pipeline) or 0,
        )

    def result(self, result: Result) -> jobresult_pb2.GetJobResultResponse:
        return jobresult_pb2.GetJobResultResponse(
            job_id=result.job_id,
            metadata=value_of(msgspec.json.decode(result.value)),
            error=without_logins(reason_of(result)),
        )

    def _params(self, job: JobRecord) -> Struct:
        return struct_of(shown_params(job, self._registry) or {})

    def _timeout(self, job: JobRecord) -> int:
        """In the unit it was given in, as far as the wire can carry it."""
        return max(-_INT32 - 1, min(_INT32, round(job.timeout / self._unit)))
