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

import msgspec

from worksong.domain.errors import ConfigError

SHORTEST = 16
"""Characters of a token; fewer could be guessed."""
_SIGN = b"worksong console, signed in"
_NAME = re.compile(r"[A-Za-z0-9_.@-]{1,64}")
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
    OPERATOR = 2


class Caller(msgspec.Struct, frozen=True):
    """Somebody who was recognized."""

    name: str
    """As logs call him."""
    scopes: frozenset[Scope]

    def may(self, scope: Scope) -> bool:
        return scope in self.scopes or Scope.ADMIN in self.scopes

    @property
    def role(self) -> Role:
        if self.may(Scope.MANAGE):
            return Role.OPERATOR
        return Role.VIEWER if self.may(Scope.READ) else Role.NOBODY


class Token(msgspec.Struct, frozen=True):
    """A token that is accepted. Only its digest is kept."""

    digest: bytes
    caller: Caller
    until: float = 0.0
    """Unix seconds when it ends; 0: never."""


ANYBODY = Caller("anybody", frozenset({Scope.ADMIN}))
"""Who comes where no token is asked for."""


class Access:
    """The tokens that are accepted; without any, whoever reaches the process may do everything."""

    def __init__(
        self,
        token: str | None = None,
        viewer_token: str | None = None,
        *,
        tokens: Sequence[Token] = (),
        read_only: bool = False,
        now: Callable[[], float] = time.time,
    ) -> None:
        """`token` and `viewer_token`: an operator's and a viewer's of the console, beside `tokens`."""
        if token is not None and token == viewer_token:
            raise ConfigError("operators and viewers of the console need different tokens")
        own = [
            accepted(name, [scope], text)
            for name, scope, text in (("operator", Scope.ADMIN, token), ("viewer", Scope.READ, viewer_token))
            if text is not None
        ]
        self._tokens = (*own, *tokens)
        if len({one.digest for one in self._tokens}) < len(self._tokens):
            raise ConfigError("two of the tokens are equal: each has its own scopes, so each must be another one")
        self._most, self._now = Role.VIEWER if read_only else Role.OPERATOR, now

    @property
    def is_open(self) -> bool:
        """Whether no token is asked for."""
        return not self._tokens

    def caller_of(self, token: str) -> Caller | None:
        """Whose token it is. All are compared, by digests, so that the time taken tells nothing."""
        found = self._found(digest_of(token), lambda one: one.digest)
        return found.caller if found else None

    def role_of(self, token: str) -> Role:
        """What its owner may do at the console."""
        caller = self.caller_of(token)
        return min(caller.role, self._most) if caller else Role.NOBODY

    def role_of_sign(self, sign: str) -> Role:
        """The same of a sign."""
        found = self._found(digest_of(sign), lambda one: digest_of(_sign(one.digest)))
        return min(found.caller.role, self._most) if found else Role.NOBODY

    def sign_for(self, token: str) -> str | None:
        """What a browser keeps instead of the token; it holds as long as the token does. None: no such token."""
        found = self._found(digest_of(token), lambda one: one.digest)
        return _sign(found.digest) if found else None

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
    return accepted_digest(name, scopes, hashlib.sha256(text.encode()).hexdigest(), until=until)


def accepted_digest(name: str, scopes: Sequence[Scope], digest: str, *, until: float = 0.0) -> Token:
    """The same from the SHA-256 of the token, in 64 hex digits; `sha256:` may stand before them."""
    if not _NAME.fullmatch(name):
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


def _sign(key: bytes) -> str:
    return hmac.new(key, _SIGN, hashlib.sha256).hexdigest()
