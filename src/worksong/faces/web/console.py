"""The console as an ASGI application: alone, mounted in another one, or behind a base path."""

from __future__ import annotations

import gzip
from collections.abc import Collection, Sequence
from functools import cache
from importlib import resources
from typing import NamedTuple

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from worksong.domain.errors import ConfigError
from worksong.faces.asgi.failures import failure_of
from worksong.faces.asgi.refused import Failure
from worksong.faces.asgi.signs import cookie
from worksong.faces.web.api import Api
from worksong.faces.web.auditpage import AuditPage
from worksong.faces.web.bodies import form_of, text_in
from worksong.faces.web.changes import Changes
from worksong.faces.web.guard import Guard
from worksong.faces.web.notices import Notices
from worksong.faces.web.orders import Orders
from worksong.faces.web.pages import Pages
from worksong.faces.web.reception import Reception, RoleOf
from worksong.faces.web.replies import Replies, base_of, link
from worksong.faces.web.workwebui import Workwebui
from worksong.service.access import Access, Person
from worksong.service.desk import Desk, Store
from worksong.service.journal import Journal
from worksong.service.redaction import shown_url
from worksong.worker import Worker

API = "/api/v1"
PATIENCE = 5.0
"""Seconds that a page waits for the backend."""
TAKEN = ("/api", API, "/static", "/act")
"""No base paths: behind a proxy that takes the base away, what is below them would be taken for pages."""
KINDS = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml", ".txt": "text/plain"}


class Console:
    """Pages about the jobs of a worker, or of a store.

    `token` lets those in who may do everything, `operator_token` those who may neither empty queues nor end workers,
    `viewer_token` those who only look, `users` those who have a password; without any of them, only this machine is
    answered, unless `insecure_no_auth`. `allowed_hosts`: names under which the console answers, beside those of this
    machine. `base_path`: where it is, when whatever stands before it does not say. `patience`: seconds that a page
    waits for the backend.
    `access`: all the tokens there are, instead of those, where it shares them with the job service.
    `role_of`: asked for each request who sent it, in an application that knows its users; there are no tokens then, and
    the names in requests are the application's to check.
    """

    def __init__(
        self,
        jobs: Worker | Store,
        *,
        token: str | None = None,
        viewer_token: str | None = None,
        operator_token: str | None = None,
        users: Sequence[Person] = (),
        read_only: bool = False,
        allowed_hosts: Collection[str] = (),
        base_path: str = "",
        insecure_no_auth: bool = False,
        patience: float = PATIENCE,
        access: Access | None = None,
        role_of: RoleOf | None = None,
    ) -> None:
        self._base = _checked(base_path)
        if role_of and (token or viewer_token or operator_token or users or access):
            raise ConfigError("a console asks either for tokens or the application that it is a part of, by role_of")
        self._access = access or Access(
            token, viewer_token, operator_token=operator_token, users=users, read_only=read_only
        )
        desk, notices = Desk(store_of(jobs) if isinstance(jobs, Worker) else jobs), Notices()
        self._trickles = desk.trickles
        self._replies = Replies(desk, self._access, notices)
        self._reception = Reception(self._access, desk.clock, role_of)
        self._changes = Changes(desk, patience)
        journal = Journal(desk.store.backend, desk.clock)
        peer = Workwebui(desk, patience)
        pages = Pages(desk, self._replies, patience, queues=peer.answering(peer.queues, patience))
        pages.add(AuditPage(journal, self._replies).routes)
        routes = self._routes(pages, Orders(desk, self._replies), Api(desk, self._replies, patience, journal))
        routes += peer.routes
        self._own = frozenset(route.path for route in routes)
        app = Starlette(
            routes=routes,
            exception_handlers={404: self._missing, 405: self._missing},
        )
        self._guard = Guard(
            app,
            self._reception,
            self._replies,
            access=self._access,
            journal=journal,
            clock=desk.clock,
            hosts=allowed_hosts,
            everybody=insecure_no_auth,
            foreign=role_of is not None,
        )

    def leave(self) -> None:
        """End what open pages listen to, and what is being queued some a minute, as the process is about to end."""
        self._changes.leave()
        self._trickles.leave()

    def _routes(self, pages: Pages, orders: Orders, api: Api) -> list[Route]:
        return [
            *(Route(path, page, methods=["GET"]) for path, page in pages.routes.items()),
            Route("/changes", self._changes.answer, methods=["GET"]),
            Route("/act/queue", orders.queue, methods=["POST"]),
            Route("/act/jobs", orders.jobs, methods=["POST"]),
            Route("/act/group", orders.group, methods=["POST"]),
            Route("/act/trickle", orders.trickle, methods=["POST"]),
            Route("/act/pool", orders.pool, methods=["POST"]),
            Route("/act/periodic", orders.periodic, methods=["POST"]),
            *(Route(API + path, question, methods=["GET"]) for path, question in api.questions.items()),
            *(Route(API + path, order, methods=["POST"]) for path, order in api.orders.items()),
            Route("/login", self._login, methods=["GET", "POST"]),
            Route("/logout", self._logout, methods=["POST"]),
            Route("/healthz", _healthy, methods=["GET"]),
            Route("/static/{name}", _static, methods=["GET"]),
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            root = str(scope.get("root_path", ""))
            base, path = root + self._base, str(scope["path"])
            # Where the base is called like a page, a proxy that takes the base away may mean that page.
            within = path.startswith(f"{base}/") or (path == base and self._base not in self._own)
            scope = {
                **scope,
                "root_path": base if within else root,
                "state": {**scope.get("state", {}), "base": base},
            }
        await self._guard(scope, receive, send)

    async def _login(self, request: Request) -> Response:
        """Take a token, or a name and a password, and give the browser a sign for it."""
        if request.method != "POST":
            return self._ask_to_sign_in(request)
        try:
            form = await form_of(request)
            name, token = text_in(form, "name").strip(), text_in(form, "token").strip()
            sign = await self._reception.sign_for(request.scope, name, text_in(form, "password") if name else token)
        except Exception as error:
            return self._replies.refusal(request, failure_of(error))
        if sign is None:
            return self._ask_to_sign_in(request, status=401, wrong=True, named=bool(name))
        return _signed(request, sign, "/")

    def _ask_to_sign_in(
        self, request: Request, *, status: int = 200, wrong: bool = False, named: bool = False
    ) -> Response:
        """`wrong`: what was given was; `named`: it was a name and a password."""
        users, tokens = bool(self._access.users), self._access.has_tokens or not self._access.users
        asked = {"has_users": users, "has_tokens": tokens, "wrong": wrong, "named": named}
        return self._replies.page(request, "login", status=status, title="Sign in", **asked)

    async def _logout(self, request: Request) -> Response:
        return _signed(request, "", "/login")

    async def _missing(self, request: Request, error: Exception) -> Response:
        status: int = getattr(error, "status_code", 404)
        text = "there is no such page" if status == 404 else f"{request.method} is not answered here"
        return self._replies.refusal(request, Failure(status, "not_found", text))


def store_of(worker: Worker) -> Store:
    """What a console needs of an application."""
    return Store(
        backend=worker.backend,
        clock=worker.clock,
        url=shown_url(worker.url),
        namespace=worker.name,
        results=worker.results,
        registry=worker.registry,
        ledger=worker.ledgers.here if worker.ledgers else None,
    )


def _signed(request: Request, sign: str, path: str) -> Response:
    answer = RedirectResponse(link(request, path), 303)
    answer.headers["Set-Cookie"] = cookie(sign, path=base_of(request), secure=request.url.scheme == "https")
    return answer


async def _healthy(request: Request) -> Response:
    """The console answers; it says nothing about the backend, for which it waits itself."""
    return PlainTextResponse("ok\n")


class _File(NamedTuple):
    kind: str
    plain: bytes
    packed: bytes


@cache
def _files() -> dict[str, _File]:
    """All there are, in memory: no path is ever put together."""
    found: dict[str, _File] = {}
    for file in resources.files("worksong.faces.web").joinpath("static").iterdir():
        kind = KINDS.get(f".{file.name.rpartition('.')[2]}")
        if kind:
            content = file.read_bytes()
            found[file.name] = _File(kind, content, gzip.compress(content, mtime=0))
    return found


async def _static(request: Request) -> Response:
    file = _files().get(request.path_params["name"])
    if file is None:
        return PlainTextResponse("there is no such file\n", 404)
    headers = {"Cache-Control": "public, max-age=600", "Vary": "Accept-Encoding"}
    if "gzip" in request.headers.get("accept-encoding", ""):
        return Response(file.packed, headers={**headers, "Content-Encoding": "gzip"}, media_type=file.kind)
    return Response(file.plain, headers=headers, media_type=file.kind)


def _checked(path: str) -> str:
    path = path.rstrip("/")
    if path and not (
        path.startswith("/") and path.isascii() and path.isprintable() and not set(path) & set(" ?#%\"';,")
    ):
        raise ConfigError(f"{path!r} is no base path: write it like /jobs")
    if path in TAKEN:
        raise ConfigError(f"{path!r} is no base path: the console has it itself; write it like /jobs")
    return path
