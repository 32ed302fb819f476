"""A client of the service over gRPC, as the generated ones of any language call it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import combinations
from typing import Any, TypeVar

import grpc
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import Struct

from patience import PATIENCE
from worksong.faces.grpc import GrpcServer, Options
from worksong.faces.grpc.wire import job_pb2, jobresult_pb2, pipeline_pb2, task_pb2
from worksong.service.access import Access, Scope, accepted
from worksong.service.jobservice import JobService

M = TypeVar("M", bound=Message)

ANSWERS: dict[str, type[Message]] = {
    "job.Job/Create": job_pb2.CreateJobResponse,
    "job.Job/Get": job_pb2.GetJobResponse,
    "job.Job/GetJobs": job_pb2.GetJobsResponse,
    "job.Job/Update": job_pb2.UpdateJobResponse,
    "job.Job/Delete": job_pb2.DeleteJobResponse,
    "pipeline.Pipeline/Create": pipeline_pb2.CreatePipelineResponse,
    "pipeline.Pipeline/Get": pipeline_pb2.GetPipelineResponse,
    "pipeline.Pipeline/GetPipelines": pipeline_pb2.GetPipelinesResponse,
    "pipeline.Pipeline/GetPipelineJobs": pipeline_pb2.GetPipelineJobsResponse,
    "pipeline.Pipeline/Update": pipeline_pb2.UpdatePipelineResponse,
    "pipeline.Pipeline/Delete": pipeline_pb2.DeletePipelineResponse,
    "jobresult.JobResult/Get": jobresult_pb2.GetJobResultResponse,
    "jobresult.JobResult/Delete": jobresult_pb2.DeleteJobResultResponse,
    "task.Task/GetTasks": task_pb2.GetTasksResponse,
}
"""Every method, with the message it answers."""


SCOPES = tuple(scope for scope in Scope if scope is not Scope.ADMIN)
TOKENS = {
    "+".join(held): accepted("+".join(held).replace("+", "."), held, f"token-of-who-may-{'+'.join(held)}")
    for size in (1, 2, 3)
    for held in combinations(SCOPES, size)
}
"""A token for each combination of scopes, and one for all: `token-of-who-may-read+manage`."""


class Caller:
    """Calls over one connection."""

    def __init__(self, channel: grpc.aio.Channel, port: int) -> None:
        self.channel, self.port = channel, port

    async def __call__(self, method: str, request: Message, token: str = "") -> Any:
        call = self.channel.unary_unary(
            f"/{method}",
            request_serializer=type(request).SerializeToString,
            response_deserializer=ANSWERS[method].FromString,
        )
        return await call(request, metadata=bearer(token), timeout=PATIENCE)

    async def stream(self, method: str, request: Message, answer: type[M], token: str = "") -> AsyncIterator[M]:
        call = self.channel.unary_stream(
            f"/{method}", request_serializer=type(request).SerializeToString, response_deserializer=answer.FromString
        )
        async for message in call(request, metadata=bearer(token), timeout=PATIENCE):
            yield message

    async def refused(self, method: str, request: Message, token: str = "") -> tuple[grpc.StatusCode, str]:
        """How a call ends that must not be answered."""
        try:
            answer = await self(method, request, token)
        except grpc.aio.AioRpcError as error:
            return error.code(), error.details() or ""
        raise AssertionError(f"{method} was answered: {answer}")

    async def result(self, job_id: str) -> Any:
        """The result of a job, as soon as it is there."""
        async with asyncio.timeout(PATIENCE):
            while True:
                try:
                    return await self("jobresult.JobResult/Get", jobresult_pb2.GetJobResultRequest(job_id=job_id))
                except grpc.aio.AioRpcError as error:
                    assert error.code() is grpc.StatusCode.NOT_FOUND, error
                await asyncio.sleep(0.01)


def bearer(token: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {token}"),) if token else ()


def params(**given: Any) -> Struct:
    made = Struct()
    made.update(given)
    return made


@asynccontextmanager
async def served(
    service: JobService,
    access: Access | None = None,
    *,
    credentials: grpc.ChannelCredentials | None = None,
    **options: Any,
) -> AsyncIterator[Caller]:
    """A server on a port of its own, and a connection to it, over TLS where there are credentials."""
    server = GrpcServer(service, access or Access(), Options(patience=0.2, **options))
    await server.start()
    where = f"{'localhost' if credentials else '127.0.0.1'}:{server.port}"
    channel = grpc.aio.secure_channel(where, credentials) if credentials else grpc.aio.insecure_channel(where)
    try:
        async with channel:
            yield Caller(channel, server.port)
    finally:
        await server.stop()
