"""Verdicts: the status and the words with which a call ends that cannot be answered."""

from __future__ import annotations

import logging
from typing import NamedTuple

from grpc import StatusCode

from worksong.domain.errors import BackendUnavailable, Unsupported
from worksong.domain.names import one_line
from worksong.service.redaction import without_logins
from worksong.service.refusals import Busy, Conflict, Invalid, Missing, TooLarge


class Crowded(Busy):
    """too many do this already; nothing was done"""


LATE = "the call took longer than it may"
_STATUS: tuple[tuple[type[Exception], StatusCode], ...] = (
    (Invalid, StatusCode.INVALID_ARGUMENT),
    (Missing, StatusCode.NOT_FOUND),
    (Conflict, StatusCode.PERMISSION_DENIED),  # as Valet has it for the job of a pipeline
    (Crowded, StatusCode.RESOURCE_EXHAUSTED),  # is Busy, too
    (Busy, StatusCode.UNAVAILABLE),
    (TooLarge, StatusCode.RESOURCE_EXHAUSTED),
    (BackendUnavailable, StatusCode.UNAVAILABLE),
    (Unsupported, StatusCode.FAILED_PRECONDITION),
    (OverflowError, StatusCode.UNKNOWN),  # a number in the record that the wire cannot carry
)

log = logging.getLogger("worksong")


class Verdict(NamedTuple):
    """How a call ends."""

    status: StatusCode
    text: str


def verdict_of(failure: Exception) -> Verdict:
    """What the caller is told; what nobody foresaw is logged, and he is told no more than that."""
    if isinstance(failure, TimeoutError) and not isinstance(failure, BackendUnavailable):
        return Verdict(StatusCode.DEADLINE_EXCEEDED, LATE)
    for kind, status in _STATUS:
        if isinstance(failure, kind):
            return Verdict(status, _shown(failure))
    log.error("a call could not be answered", exc_info=failure)
    return Verdict(StatusCode.INTERNAL, "internal error")


def _shown(failure: Exception) -> str:
    """Valet's own texts hold line ends, and keep them."""
    text = without_logins(str(failure))
    return text if isinstance(failure, Conflict) else one_line(text)
