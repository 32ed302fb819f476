"""Failures as answers: a type, a status, a cause and the next step; the same for pages and for programs."""

from __future__ import annotations

import logging

from worksong.domain.errors import (
    BackendRefused,
    BackendUnavailable,
    ConfigError,
    InvalidArguments,
    Unsupported,
    WorksongError,
)
from worksong.domain.names import one_line
from worksong.faces.asgi.refused import Failure, Refused
from worksong.service.redaction import without_logins

log = logging.getLogger("worksong.web")


KINDS: tuple[tuple[type[Exception], int, str], ...] = (
    (BackendUnavailable, 503, "unavailable"),
    (Unsupported, 409, "unsupported"),
    (BackendRefused, 502, "refused"),
    (InvalidArguments, 400, "bad_request"),
    (ConfigError, 502, "refused"),
    (WorksongError, 409, "failed"),
)
"""What the errors of the backend are called here; the first that fits."""
TITLES = {
    "unavailable": "The server is away",
    "unsupported": "Not on this backend",
    "refused": "The server refused",
    "not_found": "Not found",
    "bad_request": "That cannot be asked",
    "forbidden": "Not allowed",
    "unauthorized": "Sign in",
    "misdirected": "Unknown name",
    "internal": "Something is wrong with the console",
}


def title_of(failure: Failure) -> str:
    """What a page about it is called."""
    return TITLES.get(failure.kind, "That did not work")


def failure_of(error: BaseException) -> Failure:
    """What an exception means for whoever asked."""
    text = one_line(without_logins(" ".join(str(error).split())))
    if isinstance(error, Refused):
        return error.failure
    if isinstance(error, TimeoutError) and not isinstance(error, WorksongError):
        return Failure(503, "unavailable", "the server did not answer in time")
    for kind, status, name in KINDS:
        if isinstance(error, kind):
            return Failure(status, name, text)
    log.error("the console failed: %s", type(error).__name__, exc_info=error)
    return Failure(500, "internal", f"{type(error).__name__}; the log of the console says where")
