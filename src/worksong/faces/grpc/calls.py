"""Calls: which there are, what each needs leave for, and the use-case of the service that answers it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from typing import Any, NamedTuple, Protocol, TypeAlias

from google.protobuf.message import Message

from worksong.faces.grpc.messages import Answers, edit_of, job_form, pipeline_form
from worksong.faces.grpc.wire import job_pb2, jobresult_pb2, pipeline_pb2, task_pb2
from worksong.service.access import Scope
from worksong.service.jobservice import JobService, status_of

Answer: TypeAlias = Callable[[Any], Awaitable[Message]]


class Call(NamedTuple):
    """One method."""

    request: type[Message]
    scope: Scope | None
    """What a token must allow; None: nobody is asked for one."""
    answer: Answer


class Stream(NamedTuple):
    """One method whose answers come one after the other, until it ends or the caller leaves."""

    request: type[Message]
    scope: Scope | None
    answer: Callable[[Any], AsyncGenerator[Message]]


Methods: TypeAlias = Mapping[str, Call]


class Part(Protocol):
    """One service."""

    name: str

    @property
    def methods(self) -> Methods: ...
    @property
    def streams(self) -> Mapping[str, Stream]: ...


class Plain:
    """A service without streams."""

    @property
    def streams(self) -> Mapping[str, Stream]:
        return {}


class Jobs(Plain):
    """`job.Job`."""

    name = "job.Job"

    def __init__(self, service: JobService) -> None:
        self._service, self._answers = service, Answers(service)

    @property
    def methods(self) -> Methods:
        return {
            "Create": Call(job_pb2.CreateJobRequest, Scope.ENQUEUE, self.create),
            "Get": Call(job_pb2.GetJobRequest, Scope.READ, self.get),
            "GetJobs": Call(job_pb2.GetJobsRequest, Scope.READ, self.get_all),
            "Update": Call(job_pb2.UpdateJobRequest, Scope.MANAGE, self.update),
            "Delete": Call(job_pb2.DeleteJobRequest, Scope.MANAGE, self.delete),
        }

    async def create(self, request: job_pb2.CreateJobRequest) -> job_pb2.CreateJobResponse:
        return self._answers.created_job(await self._service.create_job(job_form(request)))

    async def get(self, request: job_pb2.GetJobRequest) -> job_pb2.GetJobResponse:
        return self._answers.job(await self._service.job(request.id))

    async def get_all(self, request: job_pb2.GetJobsRequest) -> job_pb2.GetJobsResponse:
        jobs = await self._service.jobs(status_of(request.status))
        return job_pb2.GetJobsResponse(jobs=[self._answers.job(job) for job in jobs])

    async def update(self, request: job_pb2.UpdateJobRequest) -> job_pb2.UpdateJobResponse:
        await self._service.edit_job(request.id, edit_of(request))
        return job_pb2.UpdateJobResponse()

    async def delete(self, request: job_pb2.DeleteJobRequest) -> job_pb2.DeleteJobResponse:
        await self._service.delete_job(request.id)
        return job_pb2.DeleteJobResponse()


class Pipelines(Plain):
    """`pipeline.Pipeline`."""

    name = "pipeline.Pipeline"

    def __init__(self, service: JobService) -> None:
        self._service, self._answers = service, Answers(service)

    @property
    def methods(self) -> Methods:
        return {
            "Create": Call(pipeline_pb2.CreatePipelineRequest, Scope.ENQUEUE, self.create),
            "Get": Call(pipeline_pb2.GetPipelineRequest, Scope.READ, self.get),
            "GetPipelines": Call(pipeline_pb2.GetPipelinesRequest, Scope.READ, self.get_all),
            "GetPipelineJobs": Call(pipeline_pb2.GetPipelineJobsRequest, Scope.READ, self.get_jobs),
            "Update": Call(pipeline_pb2.UpdatePipelineRequest, Scope.MANAGE, self.update),
            "Delete": Call(pipeline_pb2.DeletePipelineRequest, Scope.MANAGE, self.delete),
        }

    async def create(self, request: pipeline_pb2.CreatePipelineRequest) -> pipeline_pb2.CreatePipelineResponse:
        return self._answers.created_pipeline(*await self._service.create_pipeline(pipeline_form(request)))

    async def get(self, request: pipeline_pb2.GetPipelineRequest) -> pipeline_pb2.GetPipelineResponse:
        return self._answers.pipeline(await self._service.pipeline(request.id))

    async def get_all(self, request: pipeline_pb2.GetPipelinesRequest) -> pipeline_pb2.GetPipelinesResponse:
        found = await self._service.pipelines(status_of(request.status))
        return pipeline_pb2.GetPipelinesResponse(pipelines=[self._answers.pipeline(one) for one in found])

    async def get_jobs(self, request: pipeline_pb2.GetPipelineJobsRequest) -> pipeline_pb2.GetPipelineJobsResponse:
        jobs = await self._service.pipeline_jobs(request.id)
        return pipeline_pb2.GetPipelineJobsResponse(jobs=[self._answers.job(job) for job in jobs])

    async def update(self, request: pipeline_pb2.UpdatePipelineRequest) -> pipeline_pb2.UpdatePipelineResponse:
        await self._service.edit_pipeline(request.id, edit_of(request))
        return pipeline_pb2.UpdatePipelineResponse()

    async def delete(self, request: pipeline_pb2.DeletePipelineRequest) -> pipeline_pb2.DeletePipelineResponse:
        await self._service.delete_pipeline(request.id)
        return pipeline_pb2.DeletePipelineResponse()


class Results(Plain):
    """`jobresult.JobResult`."""

    name = "jobresult.JobResult"

    def __init__(self, service: JobService) -> None:
        self._service, self._answers = service, Answers(service)

    @property
    def methods(self) -> Methods:
        return {
            "Get": Call(jobresult_pb2.GetJobResultRequest, Scope.READ, self.get),
            "Delete": Call(jobresult_pb2.DeleteJobResultRequest, Scope.MANAGE, self.delete),
        }

    async def get(self, request: jobresult_pb2.GetJobResultRequest) -> jobresult_pb2.GetJobResultResponse:
        return self._answers.result(await self._service.result(request.job_id))

    async def delete(self, request: jobresult_pb2.DeleteJobResultRequest) -> jobresult_pb2.DeleteJobResultResponse:
        await self._service.delete_result(request.job_id)
        return jobresult_pb2.DeleteJobResultResponse()


class Tasks(Plain):
    """`task.Task`."""

    name = "task.Task"

    def __init__(self, service: JobService) -> None:
        self._service = service

    @property
    def methods(self) -> Methods:
        return {"GetTasks": Call(task_pb2.GetTasksRequest, Scope.READ, self.get_all)}

    async def get_all(self, _: task_pb2.GetTasksRequest) -> task_pb2.GetTasksResponse:
        return task_pb2.GetTasksResponse(tasks=self._service.tasks())
