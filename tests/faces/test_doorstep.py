"""The door of a server: who says nothing does not keep others out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from patience import PATIENCE
from worksong import Worker
from worksong.faces.asgi.envelope import ENVELOPE, head
from worksong.faces.doorstep import LARGEST, on
from worksong.faces.http import HttpFace
from worksong.service.forms import JobForm
from worksong.service.jobservice import JobService

SHORT = 0.05


class Door:
    """A server's side of its connections."""

    def __init__(self, protocol: type[asyncio.Protocol]) -> None:
        self._protocol: Any = on(protocol, SHORT)
        self.asked = list[str]()

    def connected(self, app: ASGIApp | None = None) -> tuple[Any, Line]:
        """That side of a new connection, and the line. `app`: who answers; itself, unless it is said."""
        config = uvicorn.Config(
            app or self.app, http=self._protocol, interface="asgi3", lifespan="off", log_level="error", ws="none"
        )
        config.load()
        served, line = self._protocol(config=config, server_state=ServerState(), app_state={}), Line()
        served.connection_made(line)
        return served, line

    async def app(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Notes who asks, and answers."""
        self.asked.append(scope["path"])
        await (early if scope["path"] == "/early" else slow)(scope, receive, send)


@pytest.fixture(params=[H11Protocol, HttpToolsProtocol])
def door(request: pytest.FixtureRequest) -> Door:
    return Door(request.param)


async def early(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers before there is a body."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
    await send({"type": "http.response.body", "body": b"early"})


async def slow(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with the whole body, later than anybody may stand at the door."""
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    await asyncio.sleep(3 * SHORT)
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class Line(asyncio.Transport):
    """A connection, as far as the server is told of it."""

    def __init__(self) -> None:
        super().__init__()
        self.closed, self.answered = asyncio.Event(), asyncio.Event()
        self.heard = b""

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default

    def is_closing(self) -> bool:
        return self.closed.is_set()

    def close(self) -> None:
        self.closed.set()

    async def ends_with(self, text: bytes) -> None:
        """Wait until that was answered."""
        async with asyncio.timeout(PATIENCE):
            while not self.heard.endswith(text):
                await self.answered.wait()
                self.answered.clear()

    def write(self, data: Any) -> None:
        self.heard += bytes(data)
        self.answered.set()

    def pause_reading(self) -> None:
        """It is not so much that anybody would have to wait."""

    def resume_reading(self) -> None:
        """The same."""


@pytest.mark.parametrize(
    "said",
    [b"", b"GET / HTTP/1.1\r\nHost: a\r\nX-Slow: ", b"GET / HTTP/1.1\r\nX: " + b"a" * LARGEST],
    ids=["nothing", "half a head", "a head without an end"],
)
async def test_whoever_does_not_come_to_the_point_is_shut_out(door: Door, said: bytes) -> None:
    served, line = door.connected()
    if said:
        served.data_received(said)
    async with asyncio.timeout(PATIENCE):
        await line.closed.wait()


async def test_one_who_has_asked_may_wait_for_the_answer_and_ask_again(door: Door) -> None:
    served, line = door.connected()
    for body in (b"first", b"second"):
        served.data_received(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body))
        await asyncio.sleep(3 * SHORT)  # a slow body is not the door's business
        served.data_received(body)
        await line.ends_with(body)
        assert not line.closed.is_set()


async def test_a_head_that_is_too_large_is_not_taken_in_though_it_came_at_once(door: Door) -> None:
    served, line = door.connected()
    served.data_received(b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * LARGEST + b"\r\n\r\n")
    await asyncio.sleep(0)
    assert line.closed.is_set()
    assert door.asked == []


async def test_who_was_answered_early_may_bring_the_rest_of_the_body_and_ask_again(door: Door) -> None:
    # Given one who was answered before the body came
    served, line = door.connected()
    body = b"b" * (3 * LARGEST)
    served.data_received(b"POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body))
    await line.ends_with(b"early")
    # When the body comes, in parts and slowly, then it is no head
    for start in range(0, len(body), LARGEST // 2):
        served.data_received(body[start : start + LARGEST // 2])
    assert not line.closed.is_set()
    # And another request is answered
    served.data_received(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nagain")
    await line.ends_with(b"again")
    assert not line.closed.is_set()


# answers in one piece


class Told:
    """An application whose answers are there as soon as they are asked for, sent in one piece or in parts."""

    def __init__(self) -> None:
        self.ways = list[str]()
        self.asked = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.asked.set()
        body = scope["path"].encode()
        envelope = scope.get("extensions", {}).get(ENVELOPE)
        if envelope and envelope(head(200, "text/plain", len(body)), body):
            self.ways.append("one piece")
            return
        self.ways.append("parts")
        headers = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Told:
    told = Told()
    monkeypatch.setattr(Door, "app", told)
    return told


def asking(path: bytes, *more: bytes, version: bytes = b"1.1") -> bytes:
    lines = [b"GET %b HTTP/%b" % (path, version), b"Host: a", *more]
    return b"".join(b"%b\r\n" % line for line in lines) + b"\r\n"


async def test_who_asks_several_things_at_once_is_answered_in_their_order(told: Told) -> None:
    served, line = Door(HttpToolsProtocol).connected()
    served.data_received(asking(b"/first") + asking(b"/second"))
    await line.ends_with(b"/second")
    served.data_received(asking(b"/third"))
    await line.ends_with(b"/third")
    assert line.heard.index(b"/first") < line.heard.index(b"/second")
    assert told.ways == ["one piece"] * 3
    assert not line.closed.is_set()


@pytest.mark.parametrize("asked", [asking(b"/last", b"Connection: close"), asking(b"/last", version=b"1.0")])
async def test_who_wants_to_hear_no_more_is_answered_and_hung_up_on(told: Told, asked: bytes) -> None:
    served, line = Door(HttpToolsProtocol).connected()
    served.data_received(asked)
    await line.ends_with(b"/last")
    assert b"connection: close\r\n" in line.heard
    assert told.ways == ["one piece"]
    async with asyncio.timeout(PATIENCE):
        await line.closed.wait()


async def test_who_does_not_read_is_sent_parts_when_there_is_room(told: Told) -> None:
    # Given one who takes nothing more just now
    served, line = Door(HttpToolsProtocol).connected()
    served.pause_writing()
    served.data_received(asking(b"/slowly"))
    async with asyncio.timeout(PATIENCE):
        await told.asked.wait()
    for _ in range(10):  # what it sends goes out a turn of the loop later
        await asyncio.sleep(0)
    assert line.heard == b""
    assert told.ways == ["parts"]
    # When there is room again, then the answer comes
    served.resume_writing()
    await line.ends_with(b"/slowly")
    assert told.ways == ["parts"]


async def test_the_other_protocol_sends_parts(told: Told) -> None:
    served, line = Door(H11Protocol).connected()
    served.data_received(asking(b"/parts"))
    await line.ends_with(b"/parts")
    assert told.ways == ["parts"]


FORM = b'{"name": "a note", "task_name": "note"}'


@pytest.fixture
async def office() -> AsyncIterator[JobService]:
    """A service that creates jobs, which nobody runs."""
    worker = Worker(records="memory://")

    @worker.task("note")
    async def note(params: dict[str, Any]) -> None: ...

    service = JobService(worker)
    try:
        yield service
    finally:
        await service.stop()


@pytest.mark.parametrize(
    ("asks", "host", "said", "status"),
    [
        (b"GET /api/tasks", b"localhost", b"", b"200"),
        (b"GET /api/jobs/1", b"localhost", b"", b"404"),
        (b"GET /api/nowhere", b"localhost", b"", b"404"),
        (b"POST /api/jobs", b"localhost", FORM, b"202"),
        (b"PATCH /api/jobs/JOB", b"localhost", b'{"name": "a word"}', b"204"),
        (b"GET /api/tasks", b"elsewhere", b"", b"421"),
    ],
)
async def test_an_answer_of_the_service_is_the_same_in_one_piece_and_in_parts(
    office: JobService, asks: bytes, host: bytes, said: bytes, status: bytes
) -> None:
    job = await office.create_job(JobForm(name="a note", task_name="note"))
    first = asks.replace(b"JOB", job.id.encode()) + b" HTTP/1.1"
    request = [first, b"Host: " + host, b"Content-Length: %d" % len(said), b"", said]
    whole, parts = [await told_by(office, protocol, request) for protocol in (HttpToolsProtocol, H11Protocol)]
    assert whole == parts
    assert whole[0].split()[1] == status


async def told_by(office: JobService, protocol: type[asyncio.Protocol], request: list[bytes]) -> list[bytes]:
    """The head of an answer, but for the time; a length that is right counts as any other."""
    served, line = Door(protocol).connected(HttpFace(office))
    served.client = ("127.0.0.1", 1)
    served.data_received(b"\r\n".join(request))
    async with asyncio.timeout(PATIENCE):
        while b"\r\n\r\n" not in line.heard:
            await line.answered.wait()
            line.answered.clear()
    head, _, body = line.heard.partition(b"\r\n\r\n")
    first, *lines = head.replace(b"content-length: %d" % len(body), b"content-length: its own").split(b"\r\n")
    return [first, *sorted(one for one in lines if not one.startswith(b"date"))]
