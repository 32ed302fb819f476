"""What became of a job, kept for a while for whoever enqueued it."""

from __future__ import annotations

import msgspec

from worksong.domain.outcome import Failure


class Result(msgspec.Struct, frozen=True):
    """The final ending of one job: a value, a failure, or a value that could not be kept."""

    job_id: str
    at: float
    """When it ended."""
    value: bytes = b"null"
    """What the handler returned, as JSON."""
    failure: Failure | None = None
    lost: str = ""
    """Why the value of a job that succeeded is not here."""
