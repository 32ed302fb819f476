"""Who may do what: tokens, roles, and the sign that a browser keeps after a token was given once."""

from __future__ import annotations

import hashlib
import hmac
from enum import IntEnum

from worksong.domain.errors import ConfigError

SHORTEST = 16
"""Characters of a token; fewer could be guessed."""
_SIGN = b"worksong console, signed in"


class Role(IntEnum):
    """What somebody may do; each includes those before it."""

    NOBODY = 0
    VIEWER = 1
    OPERATOR = 2


class Access:
    """The tokens of a console; without any, whoever reaches it is an operator. Tokens themselves are not kept."""

    def __init__(self, token: str | None = None, viewer_token: str | None = None, *, read_only: bool = False) -> None:
        for given in (token, viewer_token):
            if given is not None and not _is_sound(given):
                raise ConfigError(
                    f"a token of the console has {SHORTEST} printable characters at least, without spaces; "
                    'make one: python -c "import secrets; print(secrets.token_urlsafe(32))"'
                )
        if token is not None and token == viewer_token:
            raise ConfigError("operators and viewers of the console need different tokens")
        roles = ((token, Role.OPERATOR), (viewer_token, Role.VIEWER))
        self._keys = [(_digest(text), role) for text, role in roles if text]
        self._most = Role.VIEWER if read_only else Role.OPERATOR

    @property
    def is_open(self) -> bool:
        """Whether no token is asked for."""
        return not self._keys

    def role_of(self, token: str) -> Role:
        """Whose token it is. All are compared, by digests, so that the time taken tells nothing."""
        given, found = _digest(token), Role.NOBODY
        for key, role in self._keys:
            if hmac.compare_digest(given, key):
                found = role
        return min(found, self._most)

    def role_of_sign(self, sign: str) -> Role:
        """Whose sign it is."""
        given, found = _digest(sign), Role.NOBODY
        for key, role in self._keys:
            if hmac.compare_digest(given, _digest(_sign(key))):
                found = role
        return min(found, self._most)

    def sign_for(self, token: str) -> str | None:
        """What a browser keeps instead of the token; it holds as long as the token does. None: no such token."""
        given, found = _digest(token), None
        for key, _ in self._keys:
            if hmac.compare_digest(given, key):
                found = _sign(key)
        return found

    @property
    def anybody(self) -> Role:
        """What those may do who show nothing."""
        return self._most if self.is_open else Role.NOBODY


def _is_sound(token: str) -> bool:
    return len(token) >= SHORTEST and token.isascii() and token.isprintable() and " " not in token


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def _sign(key: bytes) -> str:
    return hmac.new(key, _SIGN, hashlib.sha256).hexdigest()
