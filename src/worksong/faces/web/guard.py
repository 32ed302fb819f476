"""The door: before anything is routed, each request is known by its host, its sender and its size."""

from __future__ import annotations

from collections.abc import Callable, Collection

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from worksong.faces.asgi import audit
from worksong.faces.asgi.body import whole
from worksong.faces.asgi.headers import HEADERS
from worksong.faces.asgi.origin import host_of, is_allowed, is_same
from worksong.faces.asgi.refused import Refused
from worksong.faces.asgi.sender import is_local
from worksong.faces.asgi.signs import sign_in
from worksong.faces.web.replies import Replies, where
from worksong.faces.web.workwebui import ORDERS
from worksong.service.access import Access, Role

LARGEST = 1 << 16
"""Bytes of a body: some thousand ids of jobs."""
SAFE = ("GET", "HEAD")
OPEN = ("/healthz", "/login")
"""What is answered without a token, beside the files of the login page."""
FORM, JSON = "application/x-www-form-urlencoded", "application/json"
LENT = "worksong.role"
"""Where a scope has what `role_of` answered, which is asked once."""

RoleOf = Callable[[Scope], Role]
"""Who sent a request, as the application knows that the console is a part of."""


class Guard:
    """Stands before the routes, so that no route can forget it."""

    def __init__(
        self,
        app: ASGIApp,
        access: Access,
        replies: Replies,
        *,
        hosts: Collection[str],
        everybody: bool,
        role_of: RoleOf | None = None,
    ) -> None:
        """`everybody`: strangers may come in without a token, as whoever started the console has said. `role_of`: asked
        instead of any token, and no name of a host is checked then."""
        self._app, self._access, self._replies, self._role_of = app, access, replies, role_of
        self._hosts = {host.lower() for host in hosts}
        self._everybody = everybody

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if self._role_of:
            scope = {**scope, LENT: self._access.at_most(self._role_of(scope))}

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                if scope["method"] not in SAFE:
                    self._note(scope, message["status"])
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            role = self._admitted(scope)
            if scope["method"] not in SAFE:
                receive = await _replayed(receive)
        except Refused as refused:
            await self._replies.refusal(Request(scope), refused.failure)(scope, receive, send_guarded)
            return
        scope["state"] = {**scope.get("state", {}), "role": role}
        await self._app(scope, receive, send_guarded)

    def _note(self, scope: Scope, status: int) -> None:
        """What was ordered is told in the log, and by whom, as far as the console knows that."""
        headers, client = Headers(scope=scope), scope.get("client") or ("",)
        kind, token = _credential(headers)
        caller = self._access.caller_of(token) if kind == "bearer" else None
        who = caller.name if caller else self._role(scope, headers).name.lower()
        audit.note(who, f"{scope['method']} {where(scope)}", status, address=str(client[0]))

    def _admitted(self, scope: Scope) -> Role:
        """What the sender may do; raises `Refused`."""
        headers, path = Headers(scope=scope), where(scope)
        if self._role_of is None:
            self._check_host(headers)
            self._check_sender(scope, headers)
        role = self._role(scope, headers)
        if role is Role.NOBODY and path not in OPEN and not path.startswith("/static/"):
            raise Refused(401, "unauthorized", "a token is needed: sign in, or send it as Authorization: Bearer TOKEN")
        if scope["method"] in SAFE:
            return role
        _check_form(headers, path)
        if role < Role.OPERATOR and path not in ("/login", "/logout"):
            raise Refused(403, "forbidden", "this sign-in, or this console, is for looking only")
        return role

    def _check_host(self, headers: Headers) -> None:
        """A name that somebody else's DNS leads here is not ours."""
        given = headers.getlist("host")
        host = host_of(given[0]) if len(given) == 1 else ""
        if not is_allowed(host, self._hosts):
            raise Refused(
                421, "misdirected", f"this console does not answer to {host or 'no'} name; --allow-host adds one"
            )

    def _check_sender(self, scope: Scope, headers: Headers) -> None:
        """Without tokens only this machine may ask, and no proxy for others."""
        if not self._access.is_open or self._everybody:
            return
        if not is_local(scope, headers):
            raise Refused(
                403, "forbidden", "a console without a token answers this machine only; start it with --token"
            )

    def _role(self, scope: Scope, headers: Headers) -> Role:
        if self._role_of:
            return Role(scope[LENT])
        kind, token = _credential(headers)
        if kind == "bearer":
            return self._access.role_of(token)
        if self._access.is_open:
            return self._access.anybody
        return self._access.role_of_sign(sign_in(headers.get("cookie", "")))


def _credential(headers: Headers) -> tuple[str, str]:
    """The scheme, and what is given with it."""
    kind, _, token = headers.get("authorization", "").partition(" ")
    return kind.lower(), token.strip()


def _check_form(headers: Headers, path: str) -> None:
    """No page of others may send it: neither through a form of theirs, nor by a name that leads here."""
    same = is_same(headers.get("host", ""), headers.get("sec-fetch-site"), headers.get("origin"))
    if path.startswith(ORDERS):  # without a body; a program's, which has no cookie
        if same is False or (same is None and "cookie" in headers):
            raise Refused(403, "forbidden", "this was not sent by a page of the console itself")
        return
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    wanted = JSON if path.startswith("/api/") else FORM
    if kind != wanted:
        raise Refused(415, "bad_request", f"the body must be {wanted}")
    # JSON without any word of a browser is a program's: no page can send it without the leave of CORS, which none has.
    if same is False or (same is None and wanted == FORM):
        raise Refused(403, "forbidden", "this was not sent by a page of the console itself")


async def _replayed(receive: Receive) -> Receive:
    """Read the body, and give it again."""
    body: Message | None = {"type": "http.request", "body": await whole(receive, LARGEST), "more_body": False}

    async def replay() -> Message:
        nonlocal body
        message, body = body, None
        return message or await receive()

    return replay
