"""Who may do what: tokens and their scopes, and the sign that a browser keeps after a token was given once.

One for all faces of a process: the console, the service over HTTP, and the service over gRPC.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Callable, Sequence
from enum import IntEnum, StrEnum
from typing import Protocol

import msgspec

from worksong.domain.errors import ConfigError

SHORTEST = 16
"""Characters of a token; fewer could be guessed."""
_SIGN = b"worksong console, signed in"
_SECRET = secrets.token_bytes(32)
"""Of this process: what a configuration holds, a digest, is not enough to make a sign."""
NAME = re.compile(r"[A-Za-z0-9_.@-]{1,64}")
"""How tokens and users are called."""
_MAKE_ONE = 'make one: python -c "import secrets; print(secrets.token_urlsafe(32))"'


class Scope(StrEnum):
    """A kind of thing that can be done. Whoever may do the last one may do all."""

    ENQUEUE = "enqueue"
    """Create jobs and pipelines."""
    READ = "read"
    """See them, and their results."""
    MANAGE = "manage"
    """Change, cancel, retry and delete them."""
    ADMIN = "admin"


class Role(IntEnum):
    """What somebody may do at the console; each includes those before it."""

    NOBODY = 0
    VIEWER = 1
    """Looks."""
    OPERATOR = 2
    """Acts on jobs and groups of them, and pauses queues."""
    ADMIN = 3
    """Empties queues and states, ends worker processes, and sees who ordered what."""


class Caller(msgspec.Struct, frozen=True):
    """Somebody who was recognized."""

    name: str
    """As logs call him."""
    scopes: frozenset[Scope]

    def may(self, scope: Scope) -> bool:
        return scope in self.scopes or Scope.ADMIN in self.scopes

    @property
    def role(self) -> Role:
        if self.may(Scope.ADMIN):
            return Role.ADMIN
        if self.may(Scope.MANAGE):
            return Role.OPERATOR
        return Role.VIEWER if self.may(Scope.READ) else Role.NOBODY


class Token(msgspec.Struct, frozen=True):
    """A token that is accepted. Only its digest is kept."""

    digest: bytes
    caller: Caller
    until: float = 0.0
    """Unix seconds when it ends; 0: never."""
    key: bytes = b""
    """What signs are made from that other processes know as well; empty where only the digest is known."""


class Person(Protocol):
    """Somebody who signs in with a name and a password; see `worksong.service.passwords`."""

    @property
    def caller(self) -> Caller: ...
    @property
    def key(self) -> bytes:
        """What signs of his are made from, together with a secret of the process."""
        ...

    def proves(self, password: str) -> bool:
        """Whether it is his; takes its time, so call it in a thread."""
        ...


ANYBODY = Caller("anybody", frozenset({Scope.ADMIN}))
"""Who comes where no token is asked for."""


class Access:
    """The tokens that are accepted; without any, whoever reaches the process may do everything."""

    def __init__(
        self,
        token: str | None = None,
        viewer_token: str | None = None,
        *,
        operator_token: str | None = None,
        tokens: Sequence[Token] = (),
        users: Sequence[Person] = (),
        read_only: bool = False,
        now: Callable[[], float] = time.time,
    ) -> None:
        """`token`, `operator_token` and `viewer_token`: of who may do everything at the console, who only operates and
        who only looks, beside `tokens`. `users`: who signs in there with a password."""
        given = (("admin", Scope.ADMIN, token), ("operator", Scope.MANAGE, operator_token))
        named = [one for one in (*given, ("viewer", Scope.READ, viewer_token)) if one[2] is not None]
        if len({text for *_, text in named}) < len(named):
            raise ConfigError("admins, operators and viewers of the console need different tokens")
        own = [accepted(name, [scope], text) for name, scope, text in named if text is not None]
        self._tokens, self.users = (*own, *tokens), {user.caller.name: user for user in users}
        if len({one.digest for one in self._tokens}) < len(self._tokens):
            raise ConfigError("two of the tokens are equal: each has its own scopes, so each must be another one")
        self._most, self._now = Role.VIEWER if read_only else Role.ADMIN, now

    @property
    def is_open(self) -> bool:
        """Whether neither a token nor a password is asked for."""
        return not self._tokens and not self.users

    @property
    def has_tokens(self) -> bool:
        return bool(self._tokens)

    def caller_of(self, token: str) -> Caller | None:
        """Whose token it is. All are compared, by digests, so that the time taken tells nothing."""
        found = self._found(digest_of(token), lambda one: one.digest)
        return found.caller if found else None

    def role_of(self, token: str) -> Role:
        """What its owner may do at the console."""
        return self.role_for(self.caller_of(token))

    def caller_of_sign(self, sign: str) -> Caller | None:
        """Whose sign it is."""
        given = digest_of(sign)
        found = self._found(given, lambda one: digest_of(_sign_of(one)))
        caller = found.caller if found else None
        for user in self.users.values():
            if hmac.compare_digest(given, digest_of(_sign(_SECRET + user.key))):
                caller = user.caller
        return caller

    def role_of_sign(self, sign: str) -> Role:
        """What who has the sign may do at the console."""
        return self.role_for(self.caller_of_sign(sign))

    def role_for(self, caller: Caller | None) -> Role:
        """What somebody may do at the console; None: who was not recognized."""
        return min(caller.role, self._most) if caller else Role.NOBODY

    def sign_for(self, token: str) -> str | None:
        """What a browser keeps instead of the token; it holds as long as the token does, or where only its digest is
        known, as this process does. None: no such token."""
        found = self._found(digest_of(token), lambda one: one.digest)
        return _sign_of(found) if found else None

    def sign_for_user(self, user: Person) -> str:
        """The same of somebody whose password was right; it holds until this process ends."""
        return _sign(_SECRET + user.key)

    @property
    def anybody(self) -> Role:
        """What those may do at the console who show nothing."""
        return self._most if self.is_open else Role.NOBODY

    def at_most(self, role: Role) -> Role:
        """What is left of a role at a console that may be for looking only."""
        return min(role, self._most)

    def _found(self, given: bytes, expected: Callable[[Token], bytes]) -> Token | None:
        found: Token | None = None
        for one in self._tokens:
            if hmac.compare_digest(given, expected(one)):
                found = one
        return found if found and not 0 < found.until <= self._now() else None


def accepted(name: str, scopes: Sequence[Scope], text: str, *, until: float = 0.0) -> Token:
    """A token that is accepted, from the token itself; raises `ConfigError` for one that is none."""
    if not (len(text) >= SHORTEST and text.isascii() and text.isprintable() and " " not in text):
        raise ConfigError(
            f"a token has {SHORTEST} printable characters at least, without spaces, and that of {name!r} has not; "
            f"{_MAKE_ONE}"
        )
    known = accepted_digest(name, scopes, hashlib.sha256(text.encode()).hexdigest(), until=until)
    return msgspec.structs.replace(known, key=hmac.digest(text.encode(), _SIGN, "sha256"))


def accepted_digest(name: str, scopes: Sequence[Scope], digest: str, *, until: float = 0.0) -> Token:
    """The same from the SHA-256 of the token, in 64 hex digits; `sha256:` may stand before them."""
    if not NAME.fullmatch(name):
        raise ConfigError(f"{name!r} is no name of a token: 1 to 64 letters, digits and the characters _ . @ - are")
    if not scopes:
        raise ConfigError(f"the token {name!r} may do nothing: give it scopes, of {', '.join(Scope)}")
    try:
        known = bytes.fromhex(digest.removeprefix("sha256:"))
    except ValueError:
        known = b""
    if len(known) != hashlib.sha256().digest_size:
        raise ConfigError(f"the digest of the token {name!r} is not a SHA-256 in 64 hex digits; `sha256sum` prints one")
    return Token(known, Caller(name, frozenset(scopes)), until)


def new_token() -> str:
    """256 bits of chance."""
    return secrets.token_urlsafe(32)


def digest_of(text: str) -> bytes:
    """What is kept of a token instead of the token."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def _sign_of(token: Token) -> str:
    return _sign(token.key or _SECRET + token.digest)


def _sign(key: bytes) -> str:
    return hmac.new(key, _SIGN, hashlib.sha256).hexdigest()
