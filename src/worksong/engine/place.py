"""One run of a job in place: no slot, no pool, nothing to settle."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from typing import NamedTuple

from worksong.domain.job import Delivery
from worksong.domain.outcome import Outcome
from worksong.domain.verdict import of_failure, of_value
from worksong.engine.compile import Route
from worksong.engine.current import CURRENT
from worksong.engine.deeds import Nobody
from worksong.engine.stepping import step_in
from worksong.ports.backend import Running
from worksong.ports.context import LENDER, Context

NOBODY = Nobody("a run in place", "test it with worksong.testing.drain, which runs jobs as a worker does")


class Ended(NamedTuple):
    """How a run ended."""

    outcome: Outcome
    failure: BaseException | None
    """What it raised."""


async def run_in_place(delivery: Delivery, route: Route, context: Context, now: Callable[[], float]) -> Ended:
    """Run the job through its route; the lane does the same, and more of it."""
    context.begin(Running(delivery, 0, now()), now)
    variables = contextvars.Context()
    variables.run(CURRENT.set, context)
    variables.run(LENDER.set, NOBODY)
    try:
        value = await step_in(variables, route.of(delivery.job)(context))
    except asyncio.CancelledError:
        raise
    except BaseException as failure:  # SystemExit and the like end a job, as in the lane
        return Ended(of_failure(delivery.job, failure, route.policy, now()), failure)
    return Ended(of_value(delivery.job, value, route.policy, now()), None)
