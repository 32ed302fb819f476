"""How one run of a job ended: a value that the backend carries out in one atomic step."""

from __future__ import annotations

from typing import Any, TypeAlias

import msgspec

from worksong.domain.errors import InvalidArguments
from worksong.domain.job import Delivery, Job


class Done(msgspec.Struct, frozen=True):
    """It ran; `value` is what it returned."""

    value: Any = None
    then: tuple[Job, ...] = ()
    """Jobs that follow it, with ids, and not unique: each is taken in once, with the same step as the ending."""


class Failure(msgspec.Struct, frozen=True):
    """An exception as data."""

    type: str
    message: str
    trace: str = ""


class Retried(msgspec.Struct, frozen=True):
    """It failed and will run again at `run_at`, with one more failure counted."""

    run_at: float
    error: str
    usual: bool = False
    """The time is that of the usual formula: a store that times its retries itself may take its own."""


class Snoozed(msgspec.Struct, frozen=True):
    """It wants to run again at `run_at`; nothing is counted."""

    run_at: float


class Buried(msgspec.Struct, frozen=True):
    """It failed for good and goes to the dead jobs, kept for a human."""

    error: str
    failure: Failure | None = None
    """What its handler raised last, where a handler raised."""


class Discarded(msgspec.Struct, frozen=True):
    """It ends here and is not kept."""

    reason: str
    failure: Failure | None = None


class Released(msgspec.Struct, frozen=True):
    """It was not (completely) run and goes back to the front of its queue as it came."""


Outcome: TypeAlias = Done | Retried | Snoozed | Buried | Discarded | Released


class Settlement(msgspec.Struct, frozen=True, gc=False):
    """What becomes of one lent job."""

    delivery: Delivery
    outcome: Outcome


def following(outcome: Outcome) -> tuple[Job, ...]:
    """The jobs that follow it; refuses those that could be refused as duplicates of others."""
    then = outcome.then if isinstance(outcome, Done) else ()
    for job in then:
        if job.unique:
            raise InvalidArguments(f"job {job.handler!r} follows another one, so it cannot be unique")
    return then
