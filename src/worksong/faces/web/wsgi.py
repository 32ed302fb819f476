"""The console for programs that speak WSGI, as Flask does, and for views that have such a request in hand."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from typing import Any, NamedTuple, Protocol

from starlette.types import Message, Scope

from worksong.blocking import Background
from worksong.faces.web.bodies import DIGITS
from worksong.faces.web.console import Console
from worksong.faces.web.doing import WHOLE
from worksong.faces.web.guard import LARGEST
from worksong.service.desk import Store
from worksong.worker import Worker

Environ = Mapping[str, Any]
StartResponse = Callable[[str, list[tuple[str, str]]], object]

ENVIRON = "wsgi.environ"
"""Where a scope has the request as it came, for `role_of`."""


class Answer(NamedTuple):
    """What the console answers."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


class WsgiConsole:
    """The console as a WSGI application; `options` are those of `Console`.

    Requests run in the loop that the worker's blocking verbs use, and the thread of the request waits for them.
    """

    def __init__(self, jobs: Worker | Store, **options: Any) -> None:
        self._console = Console(jobs, **options)
        self._background = jobs.background if isinstance(jobs, Worker) else Background()

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        answer = self.answer(environ)
        start_response(f"{answer.status} {HTTPStatus(answer.status).phrase}", answer.headers)
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [answer.body]

    def answer(self, environ: Environ) -> Answer:
        """Wait for the answer to a request."""
        exchange = _Exchange(*body_of(environ))
        self._background.call(self._console(scope_of(environ), exchange.receive, exchange.send))
        return exchange.answer


class _Exchange:
    """One request with its body, and the answer to it."""

    def __init__(self, body: bytes, whole: bool) -> None:
        """`whole`: whether nothing of what was announced is missing."""
        end: Message = {"type": "http.disconnect"}
        self._coming = [end, {"type": "http.request", "body": body, "more_body": not whole}]
        self._status = 500
        self._headers: list[tuple[str, str]] = []
        self._parts: list[bytes] = []

    async def receive(self) -> Message:
        return self._coming.pop() if len(self._coming) > 1 else self._coming[0]

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
            self._headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in message["headers"]]
            if "content-type" not in dict(self._headers):  # redirections have none, and WSGI wants one
                self._headers.append(("content-type", "text/plain"))
        else:
            self._parts.append(message.get("body", b""))

    @property
    def answer(self) -> Answer:
        return Answer(self._status, self._headers, b"".join(self._parts))


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


def scope_of(environ: Environ) -> Scope:
    """The same request in the words of ASGI."""
    root = _text(environ, "SCRIPT_NAME")
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": environ.get("SERVER_PROTOCOL", "HTTP/1.1").removeprefix("HTTP/"),
        "method": environ["REQUEST_METHOD"],
        "scheme": environ["wsgi.url_scheme"],
        "path": root + _text(environ, "PATH_INFO"),
        "root_path": root,
        "query_string": environ.get("QUERY_STRING", "").encode("latin-1"),
        "headers": list(_headers(environ)),
        "client": (environ["REMOTE_ADDR"], 0) if environ.get("REMOTE_ADDR") else None,
        ENVIRON: environ,
        WHOLE: True,
    }


def _text(environ: Environ, name: str) -> str:
    """WSGI hands on bytes, each as a character."""
    return str(environ.get(name, "")).encode("latin-1").decode("utf-8", "replace")


def _headers(environ: Environ) -> Iterable[tuple[bytes, bytes]]:
    for key, value in environ.items():
        name = key.removeprefix("HTTP_") if key.startswith("HTTP_") else ""
        if key in ("CONTENT_TYPE", "CONTENT_LENGTH") and value:
            name = key
        if name:
            yield name.replace("_", "-").lower().encode("latin-1"), str(value).encode("latin-1")


def body_of(environ: Environ) -> tuple[bytes, bool]:
    """The body, as far as it is needed to know that it is too large; and whether all that was announced has come."""
    announced = str(environ.get("CONTENT_LENGTH") or "")
    if announced.isascii() and announced.isdecimal():
        wanted = min(int(announced[:DIGITS]), LARGEST + 1)
        body = _read(environ["wsgi.input"], wanted)
        return body, len(body) == wanted
    if environ.get("wsgi.input_terminated"):  # it came in chunks, and the server knows where it ends
        return _read(environ["wsgi.input"], LARGEST + 1), True
    return b"", True


def _read(stream: _Readable, wanted: int) -> bytes:
    parts: list[bytes] = []
    while wanted > 0 and (part := stream.read(wanted)):
        parts.append(part)
        wanted -= len(part)
    return b"".join(parts)
