"""Envelopes: an answer whose head and body are there already goes out in one piece, where the server offers that."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from http import HTTPStatus
from typing import TypeAlias

from worksong.faces.asgi.headers import head_of

ENVELOPE = "worksong.envelope"
"""Among the extensions of a request: who sends an answer so. Only our own server offers it, around which there is no
middleware that would have to see what is sent."""
Envelope: TypeAlias = Callable[[bytes, bytes], bool]
"""Takes the head, but for the server's own headers and the line that ends it, and the body; False: nothing was sent,
and it is to be sent in parts."""


def head(status: int, kind: str, length: int) -> bytes:
    """That of an answer with no headers of its own; 204 has no body."""
    return _head(status, kind) if status == 204 else b"%bcontent-length: %d\r\n" % (_head(status, kind), length)


@lru_cache(64)
def _head(status: int, kind: str) -> bytes:
    """All but its length: there are few of them, and each request is answered with one."""
    first = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}".encode()
    return b"".join(b"%b\r\n" % line for line in (first, *(b"%b: %b" % header for header in head_of(status, kind))))
