"""Steps of a pipeline: what a step returns goes on to the jobs of the next stage, in the same step as its ending."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec
from msgspec.structs import replace

from worksong.domain import pipeline
from worksong.domain.errors import InvalidArguments
from worksong.domain.job import Job, new_id
from worksong.domain.outcome import Done
from worksong.domain.pipeline import Way
from worksong.domain.record import stamped
from worksong.domain.result import Result
from worksong.domain.verdict import Verdict
from worksong.engine.deeds import Nobody
from worksong.ports.clock import Clock
from worksong.ports.context import LENDER, Context
from worksong.ports.handler import Handler
from worksong.ports.insistence import insist
from worksong.ports.results import Results
from worksong.wire import result as wire

AT_ONCE = 32
"""Results of a group that are asked for together: as long as many of its jobs run, the first few tell."""
NOBODY = Nobody("a step that runs side by side with others", "write in the step behind them")
"""What a step returned is kept before its ending, so what it wrote could not be committed together with that."""


class Onward:
    """Stands around the handlers of steps, outside of everything else."""

    def __init__(self, results: Results, clock: Clock, *, apart: bool) -> None:
        """`apart`: results are kept before the job is gone, and nothing else is kept with its ending."""
        self._results, self._clock, self._apart = results, clock, apart

    async def __call__(self, context: Context, call_next: Handler) -> object:
        way = pipeline.way_of(context.job)
        if way is None:
            return await call_next(context)
        if way.width > 1:
            LENDER.set(NOBODY)
        known = await self._known(context.job.id) if self._apart or way.width > 1 else None
        if known:  # it was through, and its worker died before anybody heard of it
            return await self._end(context.job, way, msgspec.json.decode(known.value))
        value = await call_next(context)
        if isinstance(value, Verdict):
            return value
        done = await self._end(context.job, way, value)
        return _handing_on(done, context) if context.handed_on else done

    async def _known(self, job_id: str) -> Result | None:
        """What the job returned, if that is kept."""
        found = await insist(lambda: self._results.result(job_id), self._clock)
        return found if found and not found.failure and not found.lost else None

    async def _end(self, job: Job, way: Way, value: object) -> Done:
        """Done, and the jobs of the next stage behind it: the last one of a group sends them."""
        if not way.rest:
            return Done(value)
        carried = wire.of(job.id, Done(value), self._clock.now())
        if carried is None or (carried.lost and pipeline.wants_previous(way)):
            lost = carried.lost if carried else "it has none"
            raise InvalidArguments(f"what step {job.handler!r} returned cannot be handed on: {lost}")
        if way.width == 1:
            previous = msgspec.json.decode(carried.value)
            return Done(value, self._next(way, [previous] if way.alone else previous))
        # Kept before anybody is asked: of two that end at the same time, at least one sees that all are through.
        await insist(lambda: self._results.put([carried]), self._clock)
        values = await insist(lambda: self._together(way.siblings), self._clock)
        if values is None:
            return Done(value)
        ordered = [values[pipeline.step_id(way.id, way.stage, member)] for member in range(way.width)]
        return Done(value, self._next(way, ordered))

    def _next(self, way: Way, previous: object) -> tuple[Job, ...]:
        """The jobs of the next stage; a run that comes again sends messages of its own."""
        return tuple(stamped(job, new_id()) for job in pipeline.following(way, previous, self._clock.now()))

    async def _together(self, job_ids: Sequence[str]) -> dict[str, object] | None:
        """What all of these jobs returned; None: not all of them are through."""
        values: dict[str, object] = {}
        for start in range(0, len(job_ids), AT_ONCE):
            part = job_ids[start : start + AT_ONCE]
            for job_id, found in zip(part, await asyncio.gather(*map(self._results.result, part)), strict=True):
                if found is None or found.failure:
                    return None
                values[job_id] = msgspec.json.decode(found.value)
        return values


def _handing_on(done: Done, context: Context) -> Done:
    """What this run hands on, with each of the jobs behind it."""
    return replace(done, then=tuple(replace(job, meta={**job.meta, **context.handed_on}) for job in done.then))
