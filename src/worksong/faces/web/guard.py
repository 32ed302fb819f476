"""The door: before anything is routed, each request is known by its host, its sender and its size."""

from __future__ import annotations

from collections.abc import Collection

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from worksong.faces.asgi import audit
from worksong.faces.asgi.body import whole
from worksong.faces.asgi.headers import HEADERS
from worksong.faces.asgi.origin import host_of, is_allowed, is_same
from worksong.faces.asgi.refused import Refused
from worksong.faces.asgi.sender import is_local, tell_of_a_proxy
from worksong.faces.web.doing import DEED, GUEST, Deed
from worksong.faces.web.reception import Guest, Reception
from worksong.faces.web.replies import Replies, where
from worksong.faces.web.workwebui import ORDERS
from worksong.ports.clock import Clock
from worksong.service.access import Access, Role
from worksong.service.journal import Journal, Order

LARGEST = 1 << 16
"""Bytes of a body: some thousand ids of jobs."""
SAFE = ("GET", "HEAD")
OPEN = ("/healthz", "/login")
"""What is answered without a token, beside the files of the login page."""
SIGNS = ("/login", "/logout")
"""What changes nothing but who somebody is."""
FORM, JSON = "application/x-www-form-urlencoded", "application/json"
STRANGER = Guest(Role.NOBODY, "nobody")
FAILED = 400
"""From this status on nothing was done."""


class Guard:
    """Stands before the routes, so that no route can forget it."""

    def __init__(
        self,
        app: ASGIApp,
        reception: Reception,
        replies: Replies,
        *,
        access: Access,
        journal: Journal,
        clock: Clock,
        hosts: Collection[str],
        everybody: bool,
        foreign: bool,
    ) -> None:
        """`everybody`: strangers may come in without a token, as whoever started the console has said. `foreign`: the
        application knows its users, and checks the names in requests."""
        self._app, self._access, self._reception, self._replies = app, access, reception, replies
        self._journal, self._clock = journal, clock
        self._hosts = {host.lower() for host in hosts}
        self._everybody, self._foreign = everybody, foreign

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        state = scope["state"] = {**scope.get("state", {}), GUEST: STRANGER}
        status = 0

        async def send_guarded(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            state[GUEST] = await self._admitted(scope)
            if scope["method"] not in SAFE:
                receive = await _replayed(receive)
        except Refused as refused:
            await self._replies.refusal(Request(scope), refused.failure)(scope, receive, send_guarded)
        else:
            await self._app(scope, receive, send_guarded)
        if scope["method"] not in SAFE:
            await self._note(scope, status)

    async def _note(self, scope: Scope, status: int) -> None:
        """What was ordered is told in the log, and written down; that a stranger was refused is only told."""
        guest, deed = scope["state"][GUEST], scope["state"].get(DEED)
        address, path = str((scope.get("client") or ("",))[0]), where(scope)
        did = f"{scope['method']} {path}"
        audit.note(guest.name, f"{did}: {deed.text}" if deed else did, status, address=address)
        is_order = deed is not None or (status >= FAILED and guest.role > Role.NOBODY)
        if is_order and path not in SIGNS:
            text, done = deed or Deed("", 0)
            order = Order(
                at=self._clock.now(), who=guest.name, address=address, did=did, status=status, told=text, done=done
            )
            await self._journal.keep(order, refused=guest.role < Role.OPERATOR)

    async def _admitted(self, scope: Scope) -> Guest:
        """Who the sender is; raises `Refused` for one who may not do that."""
        headers, path = Headers(scope=scope), where(scope)
        if not self._foreign:
            self._check_host(headers)
            self._check_sender(scope, headers)
        is_open = path in OPEN or path.startswith("/static/")
        guest = STRANGER if is_open and scope["method"] in SAFE else await self._reception.receive(scope, headers)
        if guest.role is Role.NOBODY and not is_open:
            raise Refused(401, "unauthorized", "a token is needed: sign in, or send it as Authorization: Bearer TOKEN")
        if scope["method"] in SAFE:
            return guest
        scope["state"][GUEST] = guest  # also of what is refused from here on it is told who wanted it
        _check_form(headers, path)
        if guest.role < Role.OPERATOR and path not in SIGNS:
            raise Refused(403, "forbidden", "this sign-in, or this console, is for looking only")
        return guest

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
        if not is_local(scope, forwarded=tell_of_a_proxy(headers)):
            raise Refused(
                403, "forbidden", "a console without a token answers this machine only; start it with --token"
            )


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
