"""The Python client of the job service, against a service on a real socket."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
import uvicorn

from service.stage import Firm
from worksong.client import Client, Conflict, Forbidden, NotFound, NotNow, Status, Step, TooManyRequests
from worksong.client import client as client_module
from worksong.domain.errors import (
    BackendRefused,
    BackendUnavailable,
    ConfigError,
    InvalidArguments,
    JobFailed,
    PayloadTooLarge,
    ResultLost,
    ResultTimeout,
)
from worksong.faces.cli.listening import Uvicorn, bound, http_server, listening
from worksong.faces.http import HttpFace, Limits
from worksong.service.access import Access, Scope, accepted
from worksong.settings import Address

TOKEN, LOOKER = "token-of-the-shop-0123", "token-to-look-with-0123"
Asgi = Callable[..., Any]


@asynccontextmanager
async def answering(app: Asgi) -> AsyncIterator[str]:
    """An application on a port of its own; its URL."""
    with listening(Address("127.0.0.1", 0)) as listener:
        server = http_server(uvicorn, app, at_once=100, leave=0.2)
        where = f"http://{bound(Address('127.0.0.1', 0), listener)}"
        face = Uvicorn(server, listener, getattr(app, "leave", lambda: None), where)
        await face.start()
        try:
            yield where
        finally:
            await face.stop()


@pytest.fixture
async def client(firm: Firm) -> AsyncIterator[Client]:
    async with answering(HttpFace(firm.service)) as url, Client(url) as client:
        yield client


async def test_a_job_is_created_and_its_result_waited_for(firm: Firm, client: Client) -> None:
    job = await client.acreate_job("double", {"n": 21}, description="of two")
    assert (job.name, job.status, job.task_params) == ("double", Status.PENDING, {"n": 21})
    assert await client.aresult(job.id, timeout=60) == 42
    ended = await client.ajob(job.id)
    assert ended.status.ended
    assert ended.created_at is not None
    assert ended.created_at.utcoffset() == timedelta(0)
    assert await client.atasks() == ["double", "fail", "greet", "slow"]


async def test_code_without_an_event_loop_does_the_same(firm: Firm, client: Client) -> None:
    def program() -> None:
        job = client.create_job("double", {"n": 4})
        assert client.result(job.id, timeout=60) == 8
        assert [one.id for one in client.jobs(status="completed")] == [job.id]
        pipeline = client.create_pipeline("twice", [Step("double", {"n": 1}), Step("double", previous=True)])
        assert client.result(pipeline.jobs[1].id, timeout=timedelta(seconds=60)) == 4
        assert client.pipeline(pipeline.id).status is Status.COMPLETED
        with pytest.raises(Conflict):
            client.cancel_pipeline(pipeline.id)
        client.delete_pipeline(pipeline.id)
        batch = client.create_jobs([Step("double", {"n": 2}), Step("double", {"n": 3}, name="three")])
        assert [client.result(one.id, timeout=60) for one in batch] == [4, 6]
        client.edit_job(batch[0].id, name="two")
        assert client.job(batch[0].id).name == "two"
        client.delete_job(batch[0].id)
        with pytest.raises(NotFound, match=f"job with ID: {batch[0].id} not found"):
            client.job(batch[0].id)
        with pytest.raises(Conflict):
            client.retry_job(batch[1].id)
        client.close()

    await asyncio.to_thread(program)


async def test_a_failure_is_raised_and_can_be_retried(firm: Firm, client: Client) -> None:
    job = await client.acreate_job("fail")
    with pytest.raises(JobFailed, match="no such customer"):
        await client.aresult(job.id, timeout=60)
    assert (await client.aretry_job(job.id)).id == job.id


async def test_a_result_that_does_not_come_is_not_waited_for_without_end(firm: Firm, client: Client) -> None:
    job = await client.acreate_job("double", run_at=timedelta(days=1))
    with pytest.raises(ResultTimeout, match=r"no result after 0\.01 s"):
        await client.aresult(job.id, timeout=0.01)
    with pytest.raises(NotFound):
        await client.aresult(str(uuid4()), timeout=60)


async def test_a_result_that_was_deleted_is_not_waited_for(firm: Firm) -> None:
    # Given jobs and pipelines that have ended, whose results are deleted
    counted = Counted(HttpFace(firm.service))
    async with answering(counted) as url, Client(url) as client:
        good, bad = await client.acreate_job("double"), await client.acreate_job("fail")
        whole = await client.acreate_pipeline("whole", [Step("double"), Step("double")])
        broken = await client.acreate_pipeline("broken", [Step("fail"), Step("double")])
        for job_id in (good.id, bad.id, whole.jobs[1].id, broken.jobs[0].id):
            await firm.ended(job_id)
            await firm.service.delete_result(job_id)
        counted.asked = 0

        # When somebody waits for them without end, then he is told
        with pytest.raises(ResultLost, match=f"job {good.id} succeeded, but its result was deleted"):
            await client.aresult(good.id)
        with pytest.raises(JobFailed, match=f"job {bad.id} failed: no such customer"):
            await client.aresult(bad.id)
        with pytest.raises(ResultLost, match=f"pipeline {whole.id} succeeded, but its result was deleted"):
            await client.apipeline_result(whole.id)
        with pytest.raises(JobFailed, match=f"pipeline {broken.id} failed: no such customer"):
            await client.apipeline_result(broken.id)

    # And each time the result and the record were asked for twice: it might have ended in between
    assert counted.asked == 4 * 4


class Counted:
    """An application, and how often it was asked."""

    def __init__(self, app: Asgi) -> None:
        self._app, self.asked = app, 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.asked += 1
        await self._app(scope, receive, send)


async def test_a_job_can_be_cancelled_while_it_runs(firm: Firm, client: Client) -> None:
    job = await client.acreate_job("slow")
    await firm.ran(1)
    await client.acancel_job(job.id)
    with pytest.raises(JobFailed):
        await client.aresult(job.id, timeout=60)


async def test_pages_follow_one_another(firm: Firm, client: Client) -> None:
    batch = await client.acreate_jobs([Step("double")] * 100)
    more = await client.acreate_jobs([Step("double")] * 150)
    found = [job.id async for job in client.ajobs(task="dou*")]
    assert sorted(found) == sorted(job.id for job in [*batch, *more])


@pytest.mark.parametrize("form", ["datetime", "timedelta", "seconds"])
async def test_a_time_is_said_in_any_form(firm: Firm, client: Client, form: str) -> None:
    hour = timedelta(hours=1)
    forms: dict[str, Any] = {"datetime": datetime.now(UTC) + hour, "timedelta": hour, "seconds": 3600.0}
    job = await client.acreate_job("double", run_at=forms[form])
    assert job.run_at is not None
    assert timedelta(minutes=30) < job.run_at - datetime.now(UTC) < timedelta(hours=2)


@pytest.mark.parametrize(
    ("task", "options", "says"),
    [
        ("nap", {}, "nap is not a valid task name"),
        ("", {}, "a job needs a task"),
        ("double", {"run_at": datetime(2030, 1, 1)}, "has no time zone"),
        ("double", {"run_at": "soon"}, "run_at is a datetime"),
        ("double", {"run_at": float("inf")}, "no time that can be waited for"),
        ("double", {"params": {"n": object()}}, "cannot be sent as JSON"),
        ("double", {"key": ""}, "a key has 1 to 255 printable ASCII characters"),
        ("double", {"key": "k" * 256}, "a key has 1 to 255 printable ASCII characters"),
        ("double", {"key": "Bestellung für Ann"}, "a key has 1 to 255 printable ASCII characters"),
        ("double", {"key": "order\n7"}, "a key has 1 to 255 printable ASCII characters"),
        ("double", {"key": " order 7"}, "no space at its ends"),
    ],
)
async def test_what_cannot_be_is_refused(
    firm: Firm, client: Client, task: str, options: dict[str, Any], says: str
) -> None:
    with pytest.raises(InvalidArguments, match=says):
        await client.acreate_job(task, **options)
    assert await firm.service.jobs() == []


async def test_tokens_and_limits_are_told(firm: Firm) -> None:
    tokens = [accepted("shop", [Scope.ENQUEUE, Scope.READ], TOKEN), accepted("looker", [Scope.READ], LOOKER)]
    face = HttpFace(firm.service, access=Access(tokens=tokens), limits=Limits(body=2000))
    async with (
        answering(face) as url,
        Client(url, token=TOKEN) as shop,
        Client(url, token=LOOKER) as looker,
        Client(url) as stranger,
    ):
        job = await shop.acreate_job("double")
        assert (await looker.ajob(job.id)).id == job.id
        with pytest.raises(Forbidden, match="'enqueue'"):
            await looker.acreate_job("double")
        with pytest.raises(Forbidden, match="a token is needed"):
            await stranger.ajob(job.id)
        with pytest.raises(PayloadTooLarge):
            await shop.acreate_job("double", {"text": "x" * 3000})


Said = tuple[int, dict[str, str], bytes]


class Moody:
    """A service that is not well: answers by turns."""

    def __init__(self, *answers: Said) -> None:
        self.answers = list(answers)
        self.asked: list[dict[bytes, bytes]] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.asked.append(dict(scope["headers"]))
        status, headers, body = self.answers.pop(0)
        listed = [(name.encode(), value.encode()) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": status, "headers": listed})
        await send({"type": "http.response.body", "body": body})


JOB = b'{"id": "1", "name": "a", "task_name": "double", "status": "PENDING", "more": "than is known"}'
AWAY = (503, {"Retry-After": "0"}, b'{"code": 503, "error": true, "message": "the store is away"}')


async def test_what_carries_a_key_is_sent_again() -> None:
    moody = Moody(AWAY, (429, {}, b""), (202, {}, JOB))
    async with answering(moody) as url, Client(url) as client:
        assert (await client.acreate_job("double", key="order 7")).id == "1"
    assert [headers[b"idempotency-key"] for headers in moody.asked] == [b"order 7"] * 3


async def test_what_carries_none_is_sent_once() -> None:
    moody = Moody(AWAY, (202, {}, JOB))
    async with answering(moody) as url, Client(url) as client:
        with pytest.raises(NotNow, match="the store is away"):
            await client.acreate_job("double")
        assert len(moody.asked) == 1
        # but a question may be repeated
        moody.answers = [AWAY, (200, {}, JOB)]
        assert (await client.ajob("1")).id == "1"


NOTHING: Said = (404, {}, b'{"error": {"type": "not_found", "message": "no result"}}')
SEVEN: Said = (200, {}, b'{"job_id": "1", "metadata": 7}')


def as_it_is(status: str) -> Said:
    return 200, {}, JOB.replace(b"PENDING", status.encode())


async def test_what_ends_between_two_questions_has_its_result() -> None:
    moody = Moody(NOTHING, as_it_is("COMPLETED"), SEVEN)
    async with answering(moody) as url, Client(url) as client:
        assert await client.aresult("1", timeout=0) == 7


async def test_what_is_retried_between_two_questions_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "SHORTEST", 0.001)
    moody = Moody(NOTHING, as_it_is("FAILED"), NOTHING, as_it_is("SCHEDULED"), SEVEN)
    async with answering(moody) as url, Client(url) as client:
        assert await client.aresult("1") == 7


async def test_a_service_that_does_not_wait_is_asked_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "ROUND", 0.001)
    moody = Moody(*[NOTHING, as_it_is("PENDING")] * 1000)
    async with answering(moody) as url, Client(url) as client:
        with pytest.raises(ResultTimeout):
            await client.aresult("1", timeout=0.3)
    assert len(moody.asked) < 10


async def test_after_some_attempts_it_gives_up() -> None:
    moody = Moody(*[(429, {"Retry-After": "0"}, b'{"error": {"type": "too_many", "message": "slowly"}}')] * 2)
    async with answering(moody) as url, Client(url, attempts=2) as client:
        with pytest.raises(TooManyRequests, match="slowly"):
            await client.ajob("1")


async def test_an_answer_of_somebody_else_is_told() -> None:
    moody = Moody((200, {}, b"<html>"), (500, {}, b"<html>"), (200, {}, b'{"id": 1}'))
    async with answering(moody) as url, Client(url) as client:
        with pytest.raises(BackendRefused, match="is the URL right"):
            await client.ajob("1")
        with pytest.raises(BackendRefused, match="the service answered 500"):
            await client.ajob("1")
        with pytest.raises(BackendRefused, match="is the URL right"):
            await client.ajob("1")


async def test_whether_it_was_done_is_said_as_far_as_it_is_known() -> None:
    # Given a port where nobody answers any more
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    async with Client(f"http://127.0.0.1:{port}", attempts=1) as client:
        with pytest.raises(BackendUnavailable, match="nothing was done"):
            await client.acreate_job("double")
    # And a service that breaks off
    breaking = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    port = breaking.sockets[0].getsockname()[1]
    async with breaking, Client(f"http://127.0.0.1:{port}", attempts=1) as client:
        with pytest.raises(BackendUnavailable, match="may or may not have been done: with a key="):
            await client.acreate_job("double")
        with pytest.raises(BackendUnavailable, match="with the same key"):
            await client.acreate_job("double", key="order 7")


@pytest.mark.parametrize("url", ["", "127.0.0.1:8080", "redis://host", "http://", "http://host?x=1", "http://[", 7])
def test_a_url_that_is_none_is_refused(url: Any) -> None:
    with pytest.raises(ConfigError, match="URL"):
        Client(url)


def test_without_its_package_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "httpx2", None)
    with pytest.raises(ConfigError, match=r"worksong\[client\]"):
        Client("http://127.0.0.1:8080")
    with pytest.raises(ConfigError, match="attempts"):
        Client("http://127.0.0.1:8080", attempts=0)
