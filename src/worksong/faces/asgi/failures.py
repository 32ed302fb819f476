"""Failures as answers: a status, a type for programs, a cause and the next step."""

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
from worksong.service.refusals import Busy, Conflict, Gone, Invalid, Missing, Refusal, TooLarge

log = logging.getLogger("worksong.web")

SOON = 1.0
"""Seconds after which one may ask again what cannot be answered just now."""
KINDS: tuple[tuple[type[Exception], int, str], ...] = (
    (Invalid, 400, "bad_request"),
    (Gone, 410, "gone"),
    (Missing, 404, "not_found"),
    (Conflict, 409, "conflict"),
    (TooLarge, 413, "bad_request"),
    (Busy, 503, "busy"),
    (BackendUnavailable, 503, "unavailable"),
    (Unsupported, 409, "unsupported"),
    (BackendRefused, 502, "refused"),
    (InvalidArguments, 400, "bad_request"),
    (ConfigError, 502, "refused"),
    (WorksongError, 409, "failed"),
)
"""What errors are called here; the first that fits."""


def failure_of(error: BaseException) -> Failure:
    """What an exception means for whoever asked."""
    if isinstance(error, Refused):
        return error.failure
    # What a service refuses, it says in words that clients compare; whatever else comes may hold anything.
    text = str(error) if isinstance(error, Refusal) else " ".join(str(error).split())
    shown = without_logins(text) if isinstance(error, Refusal) else one_line(without_logins(text))
    if isinstance(error, TimeoutError) and not isinstance(error, WorksongError):
        return Failure(503, "unavailable", "the server did not answer in time", SOON)
    for kind, status, name in KINDS:
        if isinstance(error, kind):
            return Failure(status, name, shown, SOON if status == 503 else 0.0)
    log.error("a request failed: %s", type(error).__name__, exc_info=error)
    return Failure(500, "internal", f"{type(error).__name__}; the log says where")
