"""The service as an ASGI application: alone, or with the console under the same roof."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import AsyncGenerator, Collection
from functools import partial
from urllib.parse import quote

from starlette.types import ASGIApp, Receive, Send
from starlette.types import Scope as Request

from worksong.faces.asgi import audit
from worksong.faces.asgi.body import WHOLE, too_large, whole
from worksong.faces.asgi.envelope import ENVELOPE, Envelope, head
from worksong.faces.asgi.failures import failure_of
from worksong.faces.asgi.headers import head_of
from worksong.faces.asgi.refused import Failure, Refused
from worksong.faces.asgi.roof import with_service
from worksong.faces.http.additions import Additions
from worksong.faces.http.answers import TEXT, Answer, Asked, Route, Routes, json
from worksong.faces.http.door import Door, check_known, check_scope
from worksong.faces.http.handbook import Handbook
from worksong.faces.http.limits import Limits
from worksong.faces.http.probes import Metrics, Probes
from worksong.faces.http.valet import Valet
from worksong.faces.http.views import Cause, Problem, Trouble, Viewer
from worksong.service.access import Access, Caller
from worksong.service.jobservice import JobService

NOWHERE = Answer(404, b"404 page not found", TEXT)
"""As Valet answers what it does not know."""
V1 = "/api/v1/"
STRANGER = Caller("nobody", frozenset())


class HttpFace:
    """Valet's routes, and more under /api/v1.

    `access`: the tokens; without any, only this machine is answered, unless `insecure_no_auth`. `console`: who answers
    everything outside, and what it answers itself under /api/v1. `allowed_hosts`: names under which the service
    answers, beside those of this machine. `allowed_origins`: origins whose pages may ask (CORS), or `*`.
    `metrics`: what `/metrics` tells, to be made before the worker starts.
    """

    def __init__(
        self,
        service: JobService,
        *,
        access: Access | None = None,
        console: ASGIApp | None = None,
        allowed_hosts: Collection[str] = (),
        allowed_origins: Collection[str] = (),
        insecure_no_auth: bool = False,
        limits: Limits | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        self._service, self._console, self._limits = service, console, limits or Limits()
        self._door = Door(
            access or Access(),
            service.worker.clock,
            self._limits,
            hosts=allowed_hosts,
            origins=allowed_origins,
            everybody=insecure_no_auth,
        )
        viewer = Viewer(service.worker.registry, service.unit)
        self._additions = Additions(service, viewer, self._limits)
        handbook = Handbook()
        self.routes = Routes(
            [
                *Valet(service, viewer).routes,
                *self._additions.routes,
                *Probes(service, metrics).routes,
                *handbook.routes,
            ]
        )
        handbook.describe(self.routes.all)
        self._under_way = 0

    def leave(self) -> None:
        """End the streams of events and the waits for results, as the process is about to end."""
        self._additions.leave()

    async def __call__(self, scope: Request, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http":
            await self._answer(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        """The outbox is looked after for as long as the server lives."""
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await self._service.start()
                await send({"type": "lifespan.startup.complete"})
            else:
                self.leave()
                await self._service.stop()
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def _answer(self, scope: Request, receive: Receive, send: Send) -> None:
        method, path = str(scope["method"]), _path(scope)
        found = self.routes.find(method, path)
        if found is None and self._console and not self._is_ours(path):
            await self._console(with_service(scope), receive, send)
            return
        headers: dict[bytes, bytes] = dict(scope["headers"])
        cors: tuple[tuple[str, str], ...] = ()
        who = "nobody"
        self._under_way += 1
        try:
            visit = self._door.admit(scope, headers, anybody=found is not None and found[0].scope is None)
            cors, who = visit.cors, visit.caller.name if visit.caller else who
            answer = await self._let_in(visit.caller, scope, headers, receive, found)
        except Exception as error:
            answer = refusal(failure_of(error), path)
        finally:
            self._under_way -= 1
        if method not in ("GET", "HEAD", "OPTIONS"):
            address = str((scope.get("client") or ("",))[0])
            audit.note(who, f"{method} {path}", answer.status, about=answer.about, address=address)
        bodiless = method == "HEAD"
        if cors or bodiless or not _sent_at_once(answer, scope):
            await _send(answer, cors, receive, send, bodiless=bodiless)

    def _is_ours(self, path: str) -> bool:
        """Whether nobody but the service answers there: the console has its own part of /api/v1."""
        return path.startswith("/api/") and not path.startswith(V1)

    async def _let_in(
        self,
        caller: Caller | None,
        scope: Request,
        headers: dict[bytes, bytes],
        receive: Receive,
        found: tuple[Route, str] | None,
    ) -> Answer:
        if scope["method"] == "OPTIONS" and b"access-control-request-method" in headers:
            return Answer(204)
        if found is None:
            check_known(caller)
            return self._elsewhere(scope, _path(scope))
        route, record_id = found
        check_scope(caller, route.scope)
        # Probes are answered whatever goes on: who takes the process for dead would end it.
        if route.scope is not None and self._under_way > self._limits.at_once:
            raise Refused(503, "busy", "too many requests at once", wait=1.0)
        asked = Asked(caller or STRANGER, scope, headers, record_id, partial(_gone, receive))
        if route.is_write:
            asked.body = await self._body(scope, headers, receive)
        return await route.answer(asked)

    def _elsewhere(self, scope: Request, path: str) -> Answer:
        """Nothing is there; perhaps without the slash at the end."""
        query, bare = scope["query_string"].decode("latin-1"), path.rstrip("/")
        if bare == path or not self.routes.find(str(scope["method"]), bare):
            return NOWHERE
        where = f"{quote(str(scope.get('root_path', '')))}{quote(bare)}{f'?{query}' if query else ''}"
        return Answer(301 if scope["method"] == "GET" else 307, kind=TEXT, headers=(("Location", where),))

    async def _body(self, scope: Request, headers: dict[bytes, bytes], receive: Receive) -> bytes:
        said = headers.get(b"content-length", b"")
        if said.isdigit() and (len(said) > 18 or int(said) > self._limits.body):
            raise too_large(self._limits.body)
        return await whole(receive, self._limits.body, arrived=WHOLE in scope.get("extensions", ()))


def _path(scope: Request) -> str:
    """The path within the service, wherever that is mounted."""
    return str(scope["path"]).removeprefix(str(scope.get("root_path", "")))


def refusal(failure: Failure, path: str) -> Answer:
    """A failure, in the form that clients of the path know: Valet's, or that of /api/v1."""
    if path.startswith(V1):
        answer = json(failure.status, Problem(Cause(failure.kind, failure.text)))
    else:
        answer = json(failure.status, Trouble(failure.status, True, failure.text))
    headers: list[tuple[str, str]] = []
    if failure.status == 401:
        headers.append(("WWW-Authenticate", "Bearer"))
    if failure.wait:
        headers.append(("Retry-After", str(math.ceil(failure.wait))))
    return answer._replace(headers=tuple(headers))


def _sent_at_once(answer: Answer, scope: Request) -> bool:
    """Whether the server takes it in one piece."""
    envelope: Envelope | None = scope.get("extensions", {}).get(ENVELOPE)
    if envelope is None or answer.headers or answer.stream:
        return False
    return envelope(head(answer.status, answer.kind, len(answer.body)), answer.body)


async def _send(
    answer: Answer, cors: tuple[tuple[str, str], ...], receive: Receive, send: Send, *, bodiless: bool
) -> None:
    headers = list(head_of(answer.status, answer.kind))
    if answer.headers or cors:
        headers += ((name.lower().encode(), value.encode()) for name, value in (*answer.headers, *cors))
    if answer.stream is None:
        if answer.status != 204:
            headers.append((b"content-length", b"%d" % len(answer.body)))
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if bodiless else answer.body})
        return
    async with contextlib.aclosing(answer.stream) as parts:
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": answer.body, "more_body": True})
        await _go_on(parts, receive, send)


async def _go_on(parts: AsyncGenerator[bytes], receive: Receive, send: Send) -> None:
    gone = asyncio.ensure_future(_gone(receive))
    try:
        async for part in parts:
            if gone.done():
                return
            if part:
                await send({"type": "http.response.body", "body": part, "more_body": True})
    finally:
        gone.cancel()
    await send({"type": "http.response.body", "body": b""})


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
