"""What a service says no with, beside the errors that worksong itself raises.

Those are `InvalidArguments` (400), `PayloadTooLarge` (413), `BackendUnavailable` (the service, its store or its queue
is away) and `BackendRefused` (any other answer). The texts are those of the service.
"""

from __future__ import annotations

from worksong.domain.errors import (
    BackendRefused,
    BackendUnavailable,
    InvalidArguments,
    PayloadTooLarge,
    WorksongError,
)


class NotFound(WorksongError, LookupError):
    """the service knows no such job, pipeline or result"""


class Gone(NotFound):
    """the job or the pipeline has ended, and its result was deleted"""


class Conflict(WorksongError):
    """what was asked does not go together with what is there; nothing was done"""


class Forbidden(WorksongError, PermissionError):
    """the token is missing or wrong, or does not allow it"""


class NotNow(BackendUnavailable):
    """the service cannot do it just now; nothing was done"""

    def __init__(self, message: str = "", retry_after: float = 0.0) -> None:
        """`retry_after`: the seconds that it wants to be left alone."""
        super().__init__(message)
        self.retry_after = retry_after


class TooManyRequests(NotNow):
    """this token has asked too often; nothing was done"""


KINDS: dict[int, type[WorksongError]] = {
    400: InvalidArguments,
    401: Forbidden,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: Gone,
    413: PayloadTooLarge,
}
"""By the status of an answer."""


def error_of(status: int, text: str, retry_after: float) -> WorksongError:
    """The error that an answer means."""
    text = text or f"the service answered {status}, and no more"
    match status:
        case 429:
            return TooManyRequests(text, retry_after)
        case 503:
            return NotNow(text, retry_after)
        case _:
            return KINDS.get(status, BackendRefused)(text)
