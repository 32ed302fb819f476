"""What is asked, what is answered, and which function answers what."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias
from urllib.parse import parse_qsl

import msgspec
from starlette.types import Scope as Request

from worksong.faces.asgi.refused import Refused
from worksong.service.access import Caller, Scope

JSON = "application/json; charset=utf-8"
TEXT = "text/plain; charset=utf-8"
LONGEST_QUERY = 8192
"""Bytes of a query that are read."""

_encode = msgspec.json.Encoder().encode


class Asked:
    """A request that was let in."""

    __slots__ = ("body", "caller", "gone", "headers", "id", "query_string")

    def __init__(
        self,
        caller: Caller,
        request: Request,
        headers: Mapping[bytes, bytes],
        id: str,
        gone: Callable[[], Awaitable[None]],
    ) -> None:
        """`gone`: returns when nobody is there any more who could read an answer."""
        self.caller, self.headers, self.id, self.gone = caller, headers, id, gone
        self.query_string: bytes = request["query_string"]
        self.body = b""

    def header(self, name: bytes) -> str | None:
        """A header, as text; None: it was not sent."""
        found = self.headers.get(name)
        return None if found is None else found.decode("latin-1")

    @property
    def query(self) -> dict[str, str]:
        """The fields of the query; of those that are there twice the first counts, as with gin."""
        if not self.query_string:
            return {}
        if len(self.query_string) > LONGEST_QUERY:
            raise Refused(400, "bad_request", f"the query is longer than {LONGEST_QUERY:,} bytes")
        pairs = parse_qsl(self.query_string.decode("latin-1"), keep_blank_values=True)
        return dict(reversed(pairs))


class Answer(NamedTuple):
    """What goes back."""

    status: int
    body: bytes = b""
    kind: str = JSON
    headers: tuple[tuple[str, str], ...] = ()
    stream: AsyncGenerator[bytes] | None = None
    """What goes on to come behind the body; nothing now and then, so that it can be ended. It has begun already."""
    about: tuple[str, ...] = ()
    """The ids of what was changed or created."""


Handler: TypeAlias = Callable[[Asked], Awaitable[Answer]]
Bodies: TypeAlias = Mapping[int, Any]
"""By status: the type of the body; None: there is none; a str: the media type of one that is no JSON."""


class Parameter(NamedTuple):
    """A field of a query, or a header."""

    name: str
    schema: Mapping[str, Any]
    text: str
    place: str = "query"


class Route(NamedTuple):
    """A function, what it answers, and who may ask it."""

    method: str
    path: str
    """`{id}` stands for one part of it."""
    scope: Scope | None
    """None: anybody."""
    answer: Handler
    text: str
    """In a sentence."""
    answers: Bodies
    takes: Any = None
    """The type of the body that is sent."""
    asks: Sequence[Parameter] = ()

    @property
    def is_write(self) -> bool:
        return self.method not in ("GET", "HEAD")


def route(
    where: str,
    scope: Scope | None,
    answer: Handler,
    text: str,
    answers: Bodies,
    *,
    takes: Any = None,
    asks: Sequence[Parameter] = (),
) -> Route:
    """A route; `where`: its method and path, as in `GET /api/jobs/{id}`."""
    method, _, path = where.partition(" ")
    return Route(method, path, scope, answer, text, answers, takes, asks)


class Routes:
    """Finds them by method and path."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self.all = tuple(routes)
        self._found = {(route.method, route.path): route for route in routes}
        assert len(self._found) == len(routes), "two routes answer the same"
        self._places = sorted({route.path.split("/").index("{id}") for route in routes if "{id}" in route.path})

    def find(self, method: str, path: str) -> tuple[Route, str] | None:
        """The route, and the id in its path."""
        route = self._found.get((method, path))
        if route:
            return (route, "") if "{id}" not in path else None
        parts = path.split("/")
        for place in self._places:
            if place < len(parts) and parts[place]:
                named = "/".join([*parts[:place], "{id}", *parts[place + 1 :]])
                if route := self._found.get((method, named)):
                    return route, parts[place]
        return None


def json(status: int, content: Any, *, about: tuple[str, ...] = ()) -> Answer:
    """An answer in JSON."""
    return Answer(status, _encode(content), about=about)


def nothing(*about: str) -> Answer:
    """It was done, and there is nothing to say."""
    return Answer(204, about=about)
