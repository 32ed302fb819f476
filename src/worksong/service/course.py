"""What jobs did in the last hour, day or month: as charts and tables show it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from worksong.domain.course import DAY, Grain, Slot
from worksong.domain.errors import InvalidArguments
from worksong.domain.tally import BOUNDS, ENDINGS, QUEUE, RELEASED, Spread, Tally, total
from worksong.engine.releases import Release
from worksong.ports.chronicle import Chronicle

QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
LATE = 120.0
"""Seconds after which nobody counts anything in a time that is over: workers tell within ten, clocks may differ."""


class Period(NamedTuple):
    """A stretch of time up to now."""

    name: str
    words: str
    grain: Grain
    seconds: int
    step: int
    """Seconds from one point to the next: one slot, or several."""
    kept: float
    """Seconds for which what was read is shown again."""

    @property
    def points(self) -> int:
        return self.seconds // self.step


PERIODS = {
    period.name: period
    for period in (
        Period("1h", "the last hour", Grain.MINUTE, 3600, 60, 2.0),
        Period("24h", "the last 24 hours", Grain.TEN_MINUTES, DAY, 600, 20.0),
        Period("30d", "the last 30 days", Grain.HOUR, 30 * DAY, 4 * 3600, 60.0),
    )
}
USUAL = PERIODS["1h"]


def period_of(name: str) -> Period:
    """The period of this name; the usual one for none."""
    if name and name not in PERIODS:
        raise InvalidArguments(f"there is no period {name[:40]!r}: there are {', '.join(PERIODS)}")
    return PERIODS.get(name, USUAL)


class Point(msgspec.Struct, frozen=True):
    """What jobs did from `at`, Unix seconds, until the next point."""

    at: int
    tallies: Mapping[str, Tally]
    """By job type."""
    queues: Mapping[str, Tally]
    """By queue, where queues are others than job types."""
    tally: Tally
    """All job types together."""


class Course(msgspec.Struct, frozen=True):
    """The points of a period, the earliest first; those of a time in which nothing happened too."""

    period: Period
    points: Sequence[Point]
    at: float = 0.0
    """When it was read, in Unix seconds."""
    releases: Sequence[Release] = ()
    """Those of the application that began meanwhile, the earliest first."""

    @property
    def handlers(self) -> dict[str, Tally]:
        """What each job type did, the busiest first."""
        found: defaultdict[str, Tally] = defaultdict(Tally)
        for point in self.points:
            for handler, tally in point.tallies.items():
                found[handler] += tally
        return dict(sorted(found.items(), key=lambda pair: (-pair[1].ended(), pair[0])))

    def runs(self, handler: str) -> list[int]:
        """How many runs of a job type ended, point by point."""
        nothing = Tally()
        return [point.tallies.get(handler, nothing).ended() for point in self.points]

    def of_queue(self, queue: str, *, apart: bool) -> list[Tally]:
        """What the jobs of a queue did, point by point; where queues are not `apart`, it is a job type."""
        nothing = Tally()
        return [(point.queues if apart else point.tallies).get(queue, nothing) for point in self.points]


async def read(store: Chronicle, period: Period, now: float, before: Course | None = None) -> Course:
    """The course of things up to now; the last point is not over yet.

    `before`: what was read earlier. Its points that were over by then are taken from there, so that a month, which is
    much to read, is read once.
    """
    end = period.grain.slot(now) + period.grain.seconds
    begin = -(-end // period.step) * period.step - period.seconds
    known = _over(before, begin) if before else []
    since = begin + len(known) * period.step
    slots = await store.course(period.grain, since, end)
    return Course(period, [*known, *_points(slots, since, period, period.points - len(known))], now)


def _over(before: Course, begin: int) -> list[Point]:
    """Its points from `begin` on that nothing is added to any more; none where a clock was set back."""
    done = before.at - LATE - before.period.step
    found = [point for point in before.points if begin <= point.at <= done]
    return found if found and found[0].at == begin else []


def _points(slots: Iterable[Slot], begin: int, period: Period, count: int) -> Iterable[Point]:
    gathered: defaultdict[int, defaultdict[str, Tally]] = defaultdict(lambda: defaultdict(Tally))
    for slot in slots:
        at = begin + (slot.at - begin) // period.step * period.step
        for handler, tally in slot.tallies.items():
            gathered[at][handler] += tally
    for number in range(count):
        at = begin + number * period.step
        found: Mapping[str, Tally] = gathered.get(at, {})
        tallies = {name: tally for name, tally in found.items() if not name.startswith(QUEUE)}
        queues = {name.removeprefix(QUEUE): tally for name, tally in found.items() if name.startswith(QUEUE)}
        yield Point(at, tallies, queues, total(tallies.values()))


def per_minute(tally: Tally, seconds: float) -> float:
    """How many runs ended in a minute, on the average."""
    return tally.ended() * 60.0 / seconds


def error_share(tally: Tally) -> float:
    """Which part of the runs failed, from 0 to 1."""
    return tally.failed / tally.ended() if tally.ended() else 0.0


def tally_fields(tally: Tally) -> dict[str, Any]:
    """A tally for programs: durations in seconds, None where there were none."""
    endings = {kind: tally.ended(kind) for kind in ENDINGS[:RELEASED]}
    return {**endings, "ran": _spread_fields(tally.ran), "waited": _spread_fields(tally.waited)}


def _spread_fields(spread: Spread) -> dict[str, Any]:
    quantiles = {name: spread.quantile(share) for name, share in QUANTILES.items()}
    return {"count": spread.count, "seconds": spread.seconds, "mean": spread.mean, **quantiles}


def pace_fields(done: Tally | None) -> dict[str, Any]:
    """What a queue's jobs did in the usual period, for programs; None where nobody keeps that."""
    if done is None:
        return {"per_minute": None, "error_share": None}
    return {"per_minute": per_minute(done, USUAL.seconds), "error_share": error_share(done)}


def course_fields(course: Course) -> dict[str, Any]:
    """The course of things for programs."""
    points = [{"at": float(point.at), **tally_fields(point.tally)} for point in course.points]
    releases = [{"at": float(release.at), "name": release.name} for release in course.releases]
    return {"period": course.period.name, "step_seconds": course.period.step, "points": points, "releases": releases}


def handler_fields(course: Course) -> list[dict[str, Any]]:
    """What each job type did, for programs; `buckets`: how many runs took up to so many seconds."""
    limits = [*map(str, BOUNDS), "inf"]
    return [
        {
            "handler": handler,
            "per_minute": per_minute(tally, course.period.seconds),
            "error_share": error_share(tally),
            **tally_fields(tally),
            "buckets": dict(zip(limits, tally.ran.counts, strict=True)),
            "runs": course.runs(handler),
        }
        for handler, tally in course.handlers.items()
    ]
