"""The door of a server: who says nothing does not keep others out."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

from worksong.faces.doorstep import LARGEST, doorstep

SHORT = 0.05
PATIENCE = 60.0


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

    def write(self, data: Any) -> None:
        self.heard += bytes(data)
        self.answered.set()

    def pause_reading(self) -> None:
        """It is not so much that anybody would have to wait."""

    def resume_reading(self) -> None:
        """The same."""


def connected() -> tuple[Any, Line]:
    """The server's side of a new connection, and the line."""
    config = uvicorn.Config(slow, http=doorstep(SHORT), lifespan="off", log_level="error", ws="none")
    config.load()
    protocol: Any = doorstep(SHORT)
    served, line = protocol(config=config, server_state=ServerState(), app_state={}), Line()
    served.connection_made(line)
    return served, line


@pytest.mark.parametrize(
    "said",
    [b"", b"GET / HTTP/1.1\r\nHost: a\r\nX-Slow: ", b"GET / HTTP/1.1\r\nX: " + b"a" * LARGEST],
    ids=["nothing", "half a head", "a head without an end"],
)
async def test_whoever_does_not_come_to_the_point_is_shut_out(said: bytes) -> None:
    served, line = connected()
    if said:
        served.data_received(said)
    async with asyncio.timeout(PATIENCE):
        await line.closed.wait()


async def test_one_who_has_asked_may_wait_for_the_answer_and_ask_again() -> None:
    served, line = connected()
    for body in (b"first", b"second"):
        served.data_received(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body))
        await asyncio.sleep(3 * SHORT)  # a slow body is not the door's business
        served.data_received(body)
        async with asyncio.timeout(PATIENCE):
            while not line.heard.endswith(body):
                await line.answered.wait()
                line.answered.clear()
        assert not line.closed.is_set()
