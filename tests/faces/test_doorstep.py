"""The door of a server: who says nothing does not keep others out."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from patience import PATIENCE
from worksong.faces.doorstep import LARGEST, on

SHORT = 0.05


class Door:
    """A server's side of its connections."""

    def __init__(self, protocol: type[asyncio.Protocol]) -> None:
        self._protocol: Any = on(protocol, SHORT)
        self.asked = list[str]()

    def connected(self) -> tuple[Any, Line]:
        """That side of a new connection, and the line."""
        config = uvicorn.Config(
            self.app, http=self._protocol, interface="asgi3", lifespan="off", log_level="error", ws="none"
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
