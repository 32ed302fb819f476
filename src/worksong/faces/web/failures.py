"""What pages about failures are called."""

from __future__ import annotations

from worksong.faces.asgi.refused import Failure

TITLES = {
    "unavailable": "The server is away",
    "unsupported": "Not on this backend",
    "refused": "The server refused",
    "not_found": "Not found",
    "bad_request": "That cannot be asked",
    "forbidden": "Not allowed",
    "unauthorized": "Sign in",
    "too_many": "Too many attempts",
    "misdirected": "Unknown name",
    "internal": "Something is wrong with the console",
}


def title_of(failure: Failure) -> str:
    """What a page about it is called."""
    return TITLES.get(failure.kind, "That did not work")
