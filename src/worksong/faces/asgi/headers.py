"""The headers that keep a browser from doing with an answer what nobody meant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    # Not no-referrer: with that, browsers send "Origin: null" with the forms of the console itself.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "X-Frame-Options": "DENY",
    "Cache-Control": "no-store",
}


@lru_cache(64)
def head_of(status: int, kind: str) -> Sequence[tuple[bytes, bytes]]:
    """What every answer of the service with this status says but for its length; 204 has no body."""
    lines = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
    return lines if status == 204 else [*lines, (b"content-type", kind.encode())]
