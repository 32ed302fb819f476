"""The door of the service: before anything is routed, each request is known by its host, its sender and its token."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import NamedTuple

from starlette.types import Scope as Request

from worksong.faces.asgi.origin import host_of, is_allowed, is_same
from worksong.faces.asgi.refused import Refused
from worksong.faces.asgi.sender import is_local, tell_of_a_proxy
from worksong.faces.asgi.signs import sign_in
from worksong.faces.http.limits import Limits
from worksong.ports.clock import Clock
from worksong.service.access import ANYBODY, Access, Caller, Role, Scope, digest_of
from worksong.service.rates import WRONG_TOKENS, Buckets

SAFE = ("GET", "HEAD")
ALLOWED = {
    "Access-Control-Allow-Methods": "GET,POST,PUT,PATCH,DELETE,HEAD",
    "Access-Control-Allow-Headers": "Origin,Content-Length,Content-Type,Authorization,Idempotency-Key",
    "Access-Control-Max-Age": "43200",
}
"""What a page of another origin may do, where its origin is allowed; as with Valet, and what was added to that."""

Headers = Mapping[bytes, bytes]


class Visit(NamedTuple):
    """Who is at the door."""

    caller: Caller | None
    """None: nobody knows."""
    cors: tuple[tuple[str, str], ...] = ()
    """Headers for a page of another origin that is allowed."""


class Door:
    """Stands before the routes, so that no route can forget it."""

    def __init__(
        self,
        access: Access,
        clock: Clock,
        limits: Limits,
        *,
        hosts: Collection[str],
        origins: Collection[str],
        everybody: bool,
    ) -> None:
        """`origins`: those whose pages may ask, or `*`. `everybody`: strangers may come in without a token, as whoever
        started the service has said."""
        self._access, self._clock, self._everybody = access, clock, everybody
        self._hosts = frozenset(host.lower() for host in hosts)
        self._origins = frozenset(origin.lower().rstrip("/") for origin in origins)
        self._is_ours = lru_cache(256)(self._names_us)
        self._paces = Buckets(limits.rate) if limits.rate else None
        self._guesses = Buckets(WRONG_TOKENS)
        self._known: set[bytes] = set()
        """Digests of tokens that were let in: no guesses, and no more of them than there are tokens."""

    def admit(self, request: Request, headers: Headers, *, anybody: bool) -> Visit:
        """Who it is; raises `Refused` for whoever comes by another name, from elsewhere, or too often.

        `anybody`: what is asked is answered to everybody, also to those whose tokens are not looked at any more.
        """
        host = headers.get(b"host", b"")
        twice = len(headers) < len(request["headers"]) and sum(name == b"host" for name, _ in request["headers"]) > 1
        if twice or not self._is_ours(host):
            raise Refused(421, "misdirected", "this service does not answer to that name; --allow-host adds one")
        cors = self._cors(request, headers, host)
        if self._access.is_open:
            self._check_local(request, headers)
            return Visit(ANYBODY, cors)
        caller = self._caller(request, headers, anybody=anybody)
        if caller and self._paces:
            wait = self._paces.wait(caller.name, self._clock.monotonic())
            if wait:
                raise Refused(429, "too_many", "too many requests with this token", wait=wait)
        return Visit(caller, cors)

    def _names_us(self, host: bytes) -> bool:
        """A name that somebody else's DNS leads here is not ours."""
        return is_allowed(host_of(host.decode("latin-1")), self._hosts)

    def _cors(self, request: Request, headers: Headers, host: bytes) -> tuple[tuple[str, str], ...]:
        """No page of others may ask, unless its origin is allowed."""
        origin, site = headers.get(b"origin"), headers.get(b"sec-fetch-site")
        if origin is None and site is None:
            return ()
        said = origin.decode("latin-1") if origin else None
        same = is_same(host.decode("latin-1"), site.decode("latin-1") if site else None, said)
        if same is not False:
            return ()
        if said and self._allows(said):
            allowed = "*" if "*" in self._origins else said
            preflight = ALLOWED if request["method"] == "OPTIONS" else {}
            return (("Access-Control-Allow-Origin", allowed), *preflight.items(), ("Vary", "Origin"))
        # A link that a human follows sends no origin, and reads nothing that a page could see.
        if request["method"] in SAFE and said is None:
            return ()
        raise Refused(403, "forbidden", "pages of other origins may not ask this service; --allow-origin adds one")

    def _allows(self, origin: str) -> bool:
        return "*" in self._origins or origin.lower() in self._origins

    def _check_local(self, request: Request, headers: Headers) -> None:
        """Without tokens only this machine may ask, and no proxy for others."""
        if not self._everybody and not is_local(request, forwarded=_are_forwarded(tuple(headers))):
            raise Refused(403, "forbidden", "a service without tokens answers this machine only; give it some")

    def _caller(self, request: Request, headers: Headers, *, anybody: bool) -> Caller | None:
        given = headers.get(b"authorization", b"").decode("latin-1")
        kind, _, rest = given.partition(" ")
        if kind.lower() != "bearer":
            return self._signed_in(request, headers)
        token = rest.strip()
        digest = digest_of(token)
        address, now = str((request.get("client") or ("",))[0]), self._clock.monotonic()
        if self._guesses.is_empty(address, now) and digest not in self._known:
            if anybody:
                return None
            raise Refused(429, "too_many", "too many wrong tokens from this address", wait=60.0)
        caller = self._access.caller_of(token)
        if caller:
            self._known.add(digest)
        else:
            self._guesses.wait(address, now)
        return caller

    def _signed_in(self, request: Request, headers: Headers) -> Caller | None:
        """Somebody who has signed in at the console may look, as there: a page of it links to the documentation."""
        if request["method"] not in SAFE or b"cookie" not in headers:
            return None
        role = self._access.role_of_sign(sign_in(headers[b"cookie"].decode("latin-1")))
        return Caller("console", frozenset({Scope.READ})) if role >= Role.VIEWER else None


@lru_cache(256)
def _are_forwarded(headers: tuple[bytes, ...]) -> bool:
    """Programs send headers of the same names again and again."""
    return tell_of_a_proxy(name.decode("latin-1") for name in headers)


def check_scope(caller: Caller | None, scope: Scope | None) -> None:
    """Refuse whoever may not do that."""
    if scope is None:
        return
    known = check_known(caller)
    if not known.may(scope):
        raise Refused(403, "forbidden", f"the token {known.name!r} lacks the scope {str(scope)!r}")


def check_known(caller: Caller | None) -> Caller:
    """Refuse whoever shows no token that is accepted."""
    if caller is None:
        raise Refused(401, "unauthorized", "a token is needed: send it as Authorization: Bearer TOKEN")
    return caller
