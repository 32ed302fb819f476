"""The job service over gRPC, as Valet's clients call it."""

from __future__ import annotations

import asyncio
import json
import logging
import math
import secrets
import socket
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import uuid4

import grpc
import pytest
from google.protobuf import descriptor_pool
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest, ServerReflectionResponse

import servers
from patience import PATIENCE
from service.caller import TOKENS, Caller, bearer, params, served
from service.grpc_driver import GrpcDriver
from service.leave import GRPC
from service.player import play
from service.scenarios import SCENARIOS, Scenario
from service.stage import Firm, Where, a_job, trouble
from worksong.domain.errors import BackendFull, BackendUnavailable, ConfigError
from worksong.faces.grpc import GrpcServer, Options
from worksong.faces.grpc.health import WATCHERS
from worksong.faces.grpc.wire import events_pb2, job_pb2, jobresult_pb2, pipeline_pb2, task_pb2
from worksong.service.access import Access
from worksong.service.forms import StagedForm
from worksong.service.health import Health
from worksong.service.rates import WRONG_TOKENS, Rate
from worksong.testing import FakeClock

NOBODY = str(uuid4())


@pytest.fixture
async def call(firm: Firm) -> AsyncIterator[Caller]:
    async with served(firm.service) as caller:
        yield caller


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
async def test_it_answers_as_every_face_does(scenario: Scenario, firm: Firm, call: Caller) -> None:
    await play(scenario, firm, GrpcDriver(call))


async def created(call: Caller, task: str = "double", **fields: object) -> job_pb2.CreateJobResponse:
    request = job_pb2.CreateJobRequest(name=f"a {task}", task_name=task)
    request.MergeFrom(job_pb2.CreateJobRequest(**fields))
    answer: job_pb2.CreateJobResponse = await call("job.Job/Create", request)
    return answer


async def test_a_job_that_is_created_runs(firm: Firm, call: Caller) -> None:
    # When a job is created that is to run at once
    job = await created(call, description="of two", task_params=params(n=21, deep={"list": [1, 2.5, None]}), timeout=7)
    assert (job.status, job.timeout, job.description) == (1, 7, "of two")

    # Then it runs, and whole numbers are whole again
    result = await call.result(job.id)
    assert result.metadata.number_value == 42
    assert firm.runs == [{"n": 21, "deep": {"list": [1, 2.5, None]}}]
    assert isinstance(firm.runs[0]["n"], int)

    # And its record tells all about it
    ended = await call("job.Job/Get", job_pb2.GetJobRequest(id=job.id))
    assert (ended.status, ended.failure_reason, ended.name) == (4, "", "a double")
    times = [ended.created_at, ended.started_at, ended.completed_at]
    assert all(before.ToNanoseconds() <= after.ToNanoseconds() for before, after in pairwise(times))
    assert not ended.HasField("run_at")


async def test_a_pipeline_hands_results_on(firm: Firm, call: Caller) -> None:
    steps = [
        job_pb2.CreateJobRequest(name="first", task_name="double", task_params=params(n=3)),
        job_pb2.CreateJobRequest(name="second", task_name="double", use_previous_results=True),
    ]
    request = pipeline_pb2.CreatePipelineRequest(name="twice", jobs=steps)
    pipeline = await call("pipeline.Pipeline/Create", request)
    assert [job.name for job in pipeline.jobs] == ["first", "second"]
    assert (await call.result(pipeline.jobs[1].id)).metadata.number_value == 12
    ended = await call("pipeline.Pipeline/Get", pipeline_pb2.GetPipelineRequest(id=pipeline.id))
    assert ended.status == 4
    jobs = await call("pipeline.Pipeline/GetPipelineJobs", pipeline_pb2.GetPipelineJobsRequest(id=pipeline.id))
    assert [job.status for job in jobs.jobs] == [4, 4]


async def test_a_pipeline_with_jobs_side_by_side_is_told_as_any_other(firm: Firm, call: Caller) -> None:
    # Given one that was created over HTTP: the messages have no place for it
    form = StagedForm(name="spread", jobs=[[a_job(task_params={"n": 1}), a_job(task_params={"n": 2})], a_job()])
    pipeline, made = await firm.service.create_pipeline(form)
    await firm.ended(made[-1].id)
    # Then it is listed, and told with all its jobs in order
    listed = await call("pipeline.Pipeline/GetPipelines", pipeline_pb2.GetPipelinesRequest(status="completed"))
    jobs = await call("pipeline.Pipeline/GetPipelineJobs", pipeline_pb2.GetPipelineJobsRequest(id=pipeline.id))
    assert [(one.id, one.name) for one in listed.pipelines] == [(pipeline.id, "spread")]
    assert [(job.id, job.status) for job in jobs.jobs] == [(one.id, 4) for one in made]


async def test_a_queue_that_is_full_and_a_store_that_is_away_are_told_and_nothing_is_kept(
    firm: Firm, call: Caller
) -> None:
    away = BackendUnavailable("nobody answers at postgresql://me:secret@there")
    troubles: list[tuple[Where, Exception, str]] = [
        ("queue", BackendFull(), "job queue is full - try again later"),
        ("records", away, "nobody answers at postgresql://***@there"),
        ("one place", BackendFull(), "job queue is full - try again later"),
        ("one place", away, "nobody answers at postgresql://***@there"),
    ]
    job = job_pb2.CreateJobRequest(name="a", task_name="double")
    pipeline = pipeline_pb2.CreatePipelineRequest(name="p", jobs=[job, job])
    for where, failure, text in troubles:
        with trouble(firm, where, failure):
            for method, request in (("job.Job/Create", job), ("pipeline.Pipeline/Create", pipeline)):
                assert await call.refused(method, request) == (grpc.StatusCode.UNAVAILABLE, text)
    assert (await firm.service.jobs(), await firm.service.pipelines()) == ([], [])


async def test_a_failure_says_why(call: Caller) -> None:
    job = await created(call, "fail")
    result = await call.result(job.id)
    assert (result.error, result.metadata.WhichOneof("kind")) == ("no such customer", "null_value")
    assert (await call("job.Job/Get", job_pb2.GetJobRequest(id=job.id))).failure_reason == "no such customer"


async def test_what_a_job_type_redacts_is_not_shown(firm: Firm, call: Caller) -> None:
    # Given a task whose card numbers nobody shall see
    @firm.worker.task("charge", redact=("params",))
    async def charge(params: dict[str, str]) -> None:
        raise ValueError("redis://shop:canary@host is away")

    job = await created(call, "charge", task_params=params(card="canary"))
    result = await call.result(job.id)
    shown = await call("job.Job/Get", job_pb2.GetJobRequest(id=job.id))
    # Then neither its parameters are shown, nor a login in its error
    assert shown.task_params["card"] == "***"
    assert "canary" not in f"{job}{result}{shown}"


async def test_an_edit_changes_what_was_sent_alone(firm: Firm, call: Caller) -> None:
    job = await created(call, description="of two")
    await call("job.Job/Update", job_pb2.UpdateJobRequest(id=job.id, description="very"))
    edited = await call("job.Job/Get", job_pb2.GetJobRequest(id=job.id))
    assert (edited.name, edited.description) == ("a double", "very")


async def test_a_number_that_json_cannot_say_is_refused(firm: Firm, call: Caller) -> None:
    request = job_pb2.CreateJobRequest(name="a", task_name="double", task_params=params(n=math.inf))
    status, text = await call.refused("job.Job/Create", request)
    assert (status, text) == (grpc.StatusCode.INVALID_ARGUMENT, "task_params: inf is no number in JSON")
    assert await firm.service.jobs() == []


async def test_a_request_that_is_too_large_is_refused(firm: Firm) -> None:
    async with served(firm.service, body=4096) as call:
        large = job_pb2.CreateJobRequest(name="a", task_name="double", task_params=params(text="x" * 5000))
        status, _ = await call.refused("job.Job/Create", large)
    assert status is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert firm.runs == []


async def test_a_call_that_takes_too_long_ends(firm: Firm, monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(job_id: str) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(firm.service, "job", never)
    async with served(firm.service, deadline=0.05) as call:
        status, text = await call.refused("job.Job/Get", job_pb2.GetJobRequest(id=NOBODY))
    assert (status, text) == (grpc.StatusCode.DEADLINE_EXCEEDED, "the call took longer than it may")


async def test_what_nobody_foresaw_is_not_told(firm: Firm, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(job_id: str) -> None:
        raise RuntimeError("canary")

    monkeypatch.setattr(firm.service, "job", broken)
    async with served(firm.service) as call:
        assert await call.refused("job.Job/Get", job_pb2.GetJobRequest(id=NOBODY)) == (
            grpc.StatusCode.INTERNAL,
            "internal error",
        )


async def test_a_job_is_watched_until_its_end(firm: Firm, call: Caller) -> None:
    # Given somebody who watches a job that runs
    job = await created(call, "slow")
    await firm.ran(1)
    events = call.stream("worksong.events.Events/Watch", events_pb2.WatchRequest(job_id=job.id), events_pb2.Event)
    assert (await anext(events)).status == 3
    # When it ends
    firm.may_end.set()
    # Then he hears of it, with what it returned, and of nothing more
    last = [event async for event in events]
    assert [(event.status, event.result.string_value) for event in last] == [(4, "done")]


async def test_a_job_that_there_is_not_cannot_be_watched(call: Caller) -> None:
    events = call.stream("worksong.events.Events/Watch", events_pb2.WatchRequest(job_id=NOBODY), events_pb2.Event)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await anext(events)
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND


async def test_every_method_asks_for_a_token_that_allows_it(firm: Firm) -> None:
    for method, needed in GRPC.items():
        async with served(firm.service, Access(tokens=list(TOKENS.values())), reflection=True) as call:
            for token in ("", "wrong", "Bearer", "x" * 5000):
                refused = await ended(call, method, token) is grpc.StatusCode.UNAUTHENTICATED
                assert refused == (needed is not None), (method, token)
            for held in TOKENS:
                status = await ended(call, method, f"token-of-who-may-{held}")
                may = needed is None or needed in held.split("+")
                assert (status is grpc.StatusCode.PERMISSION_DENIED) is not may, (method, held)
                assert status is not grpc.StatusCode.UNAUTHENTICATED


async def test_each_method_has_a_row_in_the_table_of_who_may_call_it(firm: Firm) -> None:
    # Given what the server tells of itself
    async with served(firm.service, reflection=True) as call:
        services = await reflected(call)
    # Then it offers nothing that is not in the table, but what newer versions of the health service have beside it
    methods = {
        f"{service.full_name}/{method.name}"
        for name in services
        for service in [descriptor_pool.Default().FindServiceByName(name)]
        for method in service.methods
    }
    assert methods - {"grpc.health.v1.Health/List"} == set(GRPC)


async def test_callers_may_need_a_certificate(firm: Firm, tmp_path: Path) -> None:
    certificate = servers.self_signed(tmp_path)
    if certificate is None:
        pytest.skip("openssl is not installed")
    # Given a server that asks callers for a certificate of an authority, which is its own one here
    shown, key = certificate.read_bytes(), (tmp_path / "key.pem").read_bytes()
    files = {"certificate": str(certificate), "key": str(tmp_path / "key.pem"), "ca": str(certificate)}
    request = task_pb2.GetTasksRequest()
    # Then who has one is answered, and who has none is not
    known = grpc.ssl_channel_credentials(shown, key, shown)
    async with served(firm.service, credentials=known, **files) as call:
        assert (await call("task.Task/GetTasks", request)).tasks
    async with served(firm.service, credentials=grpc.ssl_channel_credentials(shown), **files) as call:
        assert (await call.refused("task.Task/GetTasks", request))[0] is grpc.StatusCode.UNAVAILABLE


async def test_a_tls_file_that_is_missing_is_named(firm: Firm) -> None:
    with pytest.raises(ConfigError, match=r"the TLS file missing\.pem cannot be read"):
        async with served(firm.service, certificate="missing.pem", key="missing.pem"):
            pass


async def test_every_write_is_noted_in_the_audit_log(firm: Firm, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="worksong.audit")
    async with served(firm.service, Access(tokens=list(TOKENS.values()))) as call:
        request = job_pb2.CreateJobRequest(name="a", task_name="double")
        # When one call is refused, one cannot be answered, and one is
        await call.refused("job.Job/Create", request, "token-of-who-may-read")
        await call.refused("job.Job/Delete", job_pb2.DeleteJobRequest(id=NOBODY), "token-of-who-may-manage")
        job = await call("job.Job/Create", request, "token-of-who-may-enqueue")
        await call.refused("job.Job/Create", request)
        await call("task.Task/GetTasks", task_pb2.GetTasksRequest(), "token-of-who-may-read")
    # Then it is written who did what, how it ended, and what it was about
    lines = [json.loads(record.message) for record in caplog.records if record.name == "worksong.audit"]
    assert [(line["who"], line["did"], line["status"], line["ids"]) for line in lines] == [
        ("read", "/job.Job/Create", "PERMISSION_DENIED", []),
        ("manage", "/job.Job/Delete", "NOT_FOUND", [NOBODY]),
        ("enqueue", "/job.Job/Create", "OK", [job.id]),
        ("nobody", "/job.Job/Create", "UNAUTHENTICATED", []),
    ]


async def test_one_token_cannot_call_without_end(firm: Firm) -> None:
    # Given a caller who may call twice, and once more in an hour
    tokens, rate = list(TOKENS.values()), Rate(1 / 3600, 2)
    async with served(firm.service, Access(tokens=tokens), rate=rate) as call:
        request = task_pb2.GetTasksRequest()
        for _ in range(2):
            await call("task.Task/GetTasks", request, "token-of-who-may-read")
        # Then the third call is too much, and others are still answered
        status, text = await call.refused("task.Task/GetTasks", request, "token-of-who-may-read")
        assert status is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "too many calls" in text
        assert (await call("task.Task/GetTasks", request, "token-of-who-may-read+manage")).tasks


async def ended(call: Caller, method: str, token: str) -> grpc.StatusCode:
    """How the first answer to an empty request ends, of any kind of method."""
    answers = call.channel.unary_stream(f"/{method}")(b"", metadata=bearer(token), timeout=PATIENCE)
    try:
        await answers.read()
    except grpc.aio.AioRpcError as error:
        return error.code()
    answers.cancel()
    return grpc.StatusCode.OK


async def test_a_stranger_is_not_told_what_there_is(firm: Firm) -> None:
    async with served(firm.service, Access(tokens=list(TOKENS.values())), reflection=True) as call:
        for method in ("no.Service/Method", "grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"):
            unknown = call.channel.unary_unary(f"/{method}")
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await unknown(b"")
            assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_health_is_told_to_everybody(firm: Firm) -> None:
    async with served(firm.service, Access(tokens=list(TOKENS.values()))) as call:
        check = call.channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=HealthCheckRequest.SerializeToString,
            response_deserializer=HealthCheckResponse.FromString,
        )
        for name in ("", "job.Job"):
            assert (await check(HealthCheckRequest(service=name))).status == HealthCheckResponse.SERVING
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await check(HealthCheckRequest(service="nobody"))
        assert refused.value.code() is grpc.StatusCode.NOT_FOUND
        watched = call.stream("grpc.health.v1.Health/Watch", HealthCheckRequest(), HealthCheckResponse)
        assert (await anext(watched)).status == HealthCheckResponse.SERVING


async def test_reflection_tells_what_there_is_when_it_is_on(firm: Firm) -> None:
    async with served(firm.service, reflection=True) as call:
        assert {"job.Job", "pipeline.Pipeline", "worksong.events.Events"} <= set(await reflected(call))
    async with served(firm.service) as call:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await reflected(call)
        assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def reflected(call: Caller) -> list[str]:
    """The services that the server tells of."""
    ask = call.channel.stream_stream(
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
        request_serializer=ServerReflectionRequest.SerializeToString,
        response_deserializer=ServerReflectionResponse.FromString,
    )
    answers = ask(iter([ServerReflectionRequest(list_services="")]))
    return [one.name async for answer in answers for one in answer.list_services_response.service]


async def test_frames_that_are_none_do_no_harm(firm: Firm) -> None:
    async with served(firm.service) as call:
        # When connections bring garbage, before and after the preface of HTTP/2, and break off anywhere
        for number in range(60):
            garbage = secrets.token_bytes(200)
            preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" if number % 2 else b""
            frame = len(garbage).to_bytes(3) + bytes([number % 12, number % 256]) + (number % 3).to_bytes(4)
            await asyncio.to_thread(throw, call.port, preface + (frame if number % 3 else b"") + garbage)
        # Then the next caller is answered
        assert (await call("task.Task/GetTasks", task_pb2.GetTasksRequest())).tasks
        broken = call.channel.unary_unary("/job.Job/Create")
        with pytest.raises(grpc.aio.AioRpcError):
            await broken(b"\xff\xff\xff\xff")
        assert (await call("task.Task/GetTasks", task_pb2.GetTasksRequest())).tasks
    assert firm.runs == []


def throw(port: int, garbage: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(garbage)


NUMBERS = {
    "job.CreateJobRequest": "name description task_name timeout task_params run_at use_previous_results",
    "job.CreateJobResponse": "id name task_name task_params timeout description status - run_at - created_at",
    "job.GetJobRequest": "id",
    "job.GetJobResponse": (
        "id name task_name task_params timeout description status failure_reason run_at scheduled_at created_at "
        "started_at completed_at duration"
    ),
    "job.GetJobsRequest": "status",
    "job.GetJobsResponse": "jobs",
    "job.UpdateJobRequest": "id name description",
    "job.UpdateJobResponse": "",
    "job.DeleteJobRequest": "id",
    "job.DeleteJobResponse": "",
    "pipeline.CreatePipelineRequest": "name description run_at jobs",
    "pipeline.CreatePipelineResponse": "id name description jobs status run_at created_at",
    "pipeline.GetPipelineRequest": "id",
    "pipeline.GetPipelineResponse": ("id name description status run_at created_at started_at completed_at duration"),
    "pipeline.GetPipelinesRequest": "status",
    "pipeline.GetPipelinesResponse": "pipelines",
    "pipeline.GetPipelineJobsRequest": "id",
    "pipeline.GetPipelineJobsResponse": "jobs",
    "pipeline.UpdatePipelineRequest": "id name description",
    "pipeline.UpdatePipelineResponse": "",
    "pipeline.DeletePipelineRequest": "id",
    "pipeline.DeletePipelineResponse": "",
    "jobresult.GetJobResultRequest": "job_id",
    "jobresult.GetJobResultResponse": "job_id metadata error",
    "jobresult.DeleteJobResultRequest": "job_id",
    "jobresult.DeleteJobResultResponse": "",
    "task.GetTasksRequest": "",
    "task.GetTasksResponse": "tasks",
}
"""The fields of Valet's messages, from number 1 on."""


def test_the_messages_are_valets_field_for_field() -> None:
    found = {
        kind.full_name: {field.number: field.name for field in kind.fields}
        for file in (job_pb2, pipeline_pb2, jobresult_pb2, task_pb2)
        for kind in file.DESCRIPTOR.message_types_by_name.values()
    }
    wanted = {
        name: {number: field for number, field in enumerate(fields.split(), start=1) if field != "-"}
        for name, fields in NUMBERS.items()
    }
    assert found == wanted
    assert {
        service.full_name
        for file in (job_pb2, pipeline_pb2, jobresult_pb2, task_pb2)
        for service in file.DESCRIPTOR.services_by_name.values()
    } == {"job.Job", "pipeline.Pipeline", "jobresult.JobResult", "task.Task"}


# what strangers may cost


async def test_many_who_ask_for_the_health_cost_one_look(monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a clock that stands still, and a service that counts how often it is examined
    firm = Firm(clock=FakeClock())
    examine, looks = firm.service.health, list[float]()

    async def counted() -> Health:
        looks.append(firm.worker.clock.monotonic())
        return await examine()

    monkeypatch.setattr(firm.service, "health", counted)
    async with firm.worker, served(firm.service, Access(tokens=list(TOKENS.values()))) as call:
        check = call.channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=HealthCheckRequest.SerializeToString,
            response_deserializer=HealthCheckResponse.FromString,
        )
        # When many ask, then the store is asked once
        for answer in await asyncio.gather(*(check(HealthCheckRequest()) for _ in range(20))):
            assert answer.status == HealthCheckResponse.SERVING
    assert len(looks) == 1


async def test_a_few_may_watch_the_health_and_no_more(firm: Firm) -> None:
    async with served(firm.service, Access(tokens=list(TOKENS.values()))) as call:
        watch = call.channel.unary_stream(
            "/grpc.health.v1.Health/Watch",
            request_serializer=HealthCheckRequest.SerializeToString,
            response_deserializer=HealthCheckResponse.FromString,
        )
        # Given as many watchers as there may be
        watching = [watch(HealthCheckRequest()) for _ in range(WATCHERS)]
        for one in watching:
            assert (await one.read()).status == HealthCheckResponse.SERVING
        # Then one more is refused
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await watch(HealthCheckRequest()).read()
        assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        # And when one leaves, there is a place again
        watching[0].cancel()
        async with asyncio.timeout(PATIENCE):
            while await is_refused(watch(HealthCheckRequest())):
                pass


async def is_refused(call: Any) -> bool:
    try:
        await call.read()
    except grpc.aio.AioRpcError as refused:
        assert refused.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        return True
    return False


async def test_who_guesses_tokens_is_not_told_which_one_is_right() -> None:
    # Given a clock that stands still, and somebody who has tried some tokens
    clock = FakeClock()
    firm = Firm(clock=clock)
    async with firm.worker, served(firm.service, Access(tokens=list(TOKENS.values()))) as call:
        ask, request = "task.Task/GetTasks", task_pb2.GetTasksRequest()
        for number in range(WRONG_TOKENS.burst):
            assert (await call.refused(ask, request, f"guess-{number}"))[0] is grpc.StatusCode.UNAUTHENTICATED
        # Then he is told nothing more, whatever he tries and asks
        right = "token-of-who-may-enqueue"
        for method, token in ((ask, "another"), (ask, right), ("task.Task/GetTasks", "token-of-who-may-read")):
            assert (await call.refused(method, request, token))[0] is grpc.StatusCode.RESOURCE_EXHAUSTED
        unknown = call.channel.unary_unary("/no.Service/Method")
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await unknown(b"", metadata=bearer(right))
        assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        # And after a while who has a token comes in again
        clock.advance(60.0)
        assert (await call(ask, request, "token-of-who-may-read")).tasks


async def test_who_guesses_locks_out_nobody_who_was_let_in_before_from_the_same_address() -> None:
    firm = Firm(clock=FakeClock())
    async with firm.worker, served(firm.service, Access(tokens=list(TOKENS.values()))) as call:
        # Given somebody who was let in
        ask, request = "task.Task/GetTasks", task_pb2.GetTasksRequest()
        known, new = "token-of-who-may-read", "token-of-who-may-read+manage"
        assert (await call(ask, request, known)).tasks
        # When somebody else at the same address has tried some tokens
        for number in range(WRONG_TOKENS.burst):
            await call.refused(ask, request, f"guess-{number}")
        # Then the first one is let in all the same, and a good guess never is
        assert (await call(ask, request, known)).tasks
        for _ in range(2):
            assert (await call.refused(ask, request, new))[0] is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_a_stop_does_not_wait_for_those_who_watch_a_job(firm: Firm) -> None:
    # Given a server with all the patience, and somebody who watches a job that does not end
    server = GrpcServer(firm.service, Access(), Options(patience=600.0))
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        call = Caller(channel, server.port)
        job = await created(call, "slow")
        await firm.ran(1)
        events = call.stream("worksong.events.Events/Watch", events_pb2.WatchRequest(job_id=job.id), events_pb2.Event)
        assert (await anext(events)).status == 3
        # When it stops, then it does so, and he is told to ask again
        async with asyncio.timeout(PATIENCE):
            await server.stop()
        with pytest.raises(grpc.aio.AioRpcError) as ended:
            await anext(events)
    assert ended.value.code() is grpc.StatusCode.UNAVAILABLE
