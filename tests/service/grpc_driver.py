"""Plays scenarios over gRPC: verbs become calls, and what comes back becomes Valet's JSON keys."""

from __future__ import annotations

from typing import Any, NamedTuple

import grpc
from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.message import Message

from service.caller import Caller
from service.scenarios import LATER, Ask, Code, Reply, Verb
from worksong.domain.record import Status
from worksong.faces.grpc.wire import job_pb2, jobresult_pb2, pipeline_pb2, task_pb2
from worksong.wire import gotime


class Method(NamedTuple):
    """What a verb is over gRPC."""

    path: str
    request: type[Message]
    id: str = "id"
    """The field that says which record is meant."""


METHODS = {
    Verb.TASKS: Method("task.Task/GetTasks", task_pb2.GetTasksRequest),
    Verb.CREATE_JOB: Method("job.Job/Create", job_pb2.CreateJobRequest),
    Verb.JOBS: Method("job.Job/GetJobs", job_pb2.GetJobsRequest),
    Verb.JOB: Method("job.Job/Get", job_pb2.GetJobRequest),
    Verb.EDIT_JOB: Method("job.Job/Update", job_pb2.UpdateJobRequest),
    Verb.DELETE_JOB: Method("job.Job/Delete", job_pb2.DeleteJobRequest),
    Verb.RESULT: Method("jobresult.JobResult/Get", jobresult_pb2.GetJobResultRequest, "job_id"),
    Verb.DELETE_RESULT: Method("jobresult.JobResult/Delete", jobresult_pb2.DeleteJobResultRequest, "job_id"),
    Verb.CREATE_PIPELINE: Method("pipeline.Pipeline/Create", pipeline_pb2.CreatePipelineRequest),
    Verb.PIPELINES: Method("pipeline.Pipeline/GetPipelines", pipeline_pb2.GetPipelinesRequest),
    Verb.PIPELINE: Method("pipeline.Pipeline/Get", pipeline_pb2.GetPipelineRequest),
    Verb.PIPELINE_JOBS: Method("pipeline.Pipeline/GetPipelineJobs", pipeline_pb2.GetPipelineJobsRequest),
    Verb.EDIT_PIPELINE: Method("pipeline.Pipeline/Update", pipeline_pb2.UpdatePipelineRequest),
    Verb.DELETE_PIPELINE: Method("pipeline.Pipeline/Delete", pipeline_pb2.DeletePipelineRequest),
}
CODES = {
    grpc.StatusCode.INVALID_ARGUMENT: Code.INVALID,
    grpc.StatusCode.NOT_FOUND: Code.MISSING,
    grpc.StatusCode.PERMISSION_DENIED: Code.CONFLICT,
}


class GrpcDriver:
    """A client of Valet's services."""

    def __init__(self, call: Caller) -> None:
        self._call = call

    async def ask(self, ask: Ask) -> Reply:
        method = METHODS[ask.verb]
        request = ParseDict({**ask.fields, **({method.id: ask.id} if ask.id else {})}, method.request())
        try:
            answer = await self._call(method.path, request)
        except grpc.aio.AioRpcError as refused:
            return Reply(CODES[refused.code()], refused.details())
        return Reply(Code.DONE, told(answer))


def told(message: Message) -> dict[str, Any]:
    """What a message says: lists even when they are empty, and of the rest what is set."""
    said = MessageToDict(message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
    nested = {"jobs", "pipelines"} & said.keys()
    body = {
        name: value for name, value in said.items() if name in nested or name == "tasks" or value not in ("", {}, None)
    }
    for name in nested:
        body[name] = [told(one) for one in getattr(message, name)]
    if "status" in body:
        body |= {"status": Status(body["status"]).name, "duration": body.get("duration")}
        body = {name: value for name, value in body.items() if _is_set(name, value, body["status"])}
    if "run_at" in body and gotime.parse(body["run_at"]).at == gotime.parse(LATER).at:
        body["run_at"] = LATER  # the instant is all that the wire carries
    return body


def _is_set(name: str, value: Any, status: str) -> bool:
    """Numbers that are 0 were not said; but what has ended took some time."""
    if name == "duration":
        return status in ("COMPLETED", "FAILED") and value is not None
    return name != "timeout" or value != 0
