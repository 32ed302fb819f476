"""What was measured, as it is kept: JSON from which tables, chart and page are made."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import NamedTuple

import msgspec


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """A way to drain."""

    kind: str
    """`async` or `plain`."""
    slots: int
    """Jobs at once, per process."""
    processes: int = 1
    pinned: bool = False
    """Worker and server on one core."""
    jobs: int = 0
    """So many are drained; 0: as many as take about the time that a run shall last."""


class Ratio(NamedTuple):
    """How many times faster."""

    middle: float
    """The median of one by the median of the other."""
    least: float
    most: float
    """Of the rounds taken one by one."""


class Pair(msgspec.Struct, kw_only=True):
    """A system and worksong, measured in turn."""

    system: str
    what: str
    """`drain`, or `enqueue` with how: `enqueue one`, `enqueue concurrent`, `enqueue bulk`."""
    ours: list[float]
    theirs: list[float]
    """Jobs per second, round by round."""
    our_cell: Cell
    their_cell: Cell

    def ratio(self) -> Ratio:
        rounds = [our / their for our, their in zip(self.ours, self.theirs, strict=True)]
        return Ratio(self.our_rate() / self.their_rate(), min(rounds), max(rounds))

    def our_rate(self) -> float:
        return statistics.median(self.ours)

    def their_rate(self) -> float:
        return statistics.median(self.theirs)


class Quiet(msgspec.Struct, kw_only=True):
    """A worker with nothing to do: what it costs, and how fast it is there."""

    pick_up_ms: dict[int, float]
    """Percent -> so many of the jobs were picked up within so many milliseconds."""
    same_process_ms: dict[int, float] | None = None
    """The same for jobs that the worker's own process enqueued."""
    fed_ms: dict[str, dict[int, float]] = {}
    """Another library -> the same for jobs that it enqueued."""
    commands_per_second: float | None = None
    """Of the server; of a database, transactions or statements."""
    cpu_percent: float | None = None
    server_cpu_percent: float | None = None


class Subject(msgspec.Struct, kw_only=True):
    """A system that was to be measured."""

    name: str
    absent: str = ""
    """Why it was not."""
    versions: dict[str, str] = {}
    promise: str = ""
    setup: str = ""
    memory_mb: list[float] = []
    """After draining, in one process."""
    quiet: Quiet | None = None
    failures: list[str] = []


class Alone(msgspec.Struct, kw_only=True):
    """worksong without anybody beside it."""

    engine_cpu_us: float
    """The engine's own cost of a job on `memory://`."""
    engine_rate: float
    start_ms: dict[str, float]


class Backlog(msgspec.Struct, kw_only=True):
    """What a million jobs that wait cost those that do not, on one server."""

    name: str
    jobs: int
    """So many are queued, and as many scheduled."""
    claim_ms: dict[str, dict[int, float]]
    """`empty` and `full` -> percent -> so many fetches of 25 jobs took so many milliseconds at most."""
    memory_mb: dict[str, float] = {}
    """`empty` and `full` -> of a worker that rests."""


class Field(msgspec.Struct, kw_only=True):
    """worksong on one server, and those beside it."""

    name: str
    """Of the server."""
    subjects: list[Subject]
    pairs: list[Pair]
    backlog: Backlog | None = None
    """Of Redis; those of databases are told together."""

    def subject(self, name: str) -> Subject:
        return next(subject for subject in self.subjects if subject.name == name)

    def peers(self) -> list[Subject]:
        """Those that were measured beside worksong, fastest first."""
        best = {pair.system: 0.0 for pair in self.pairs}
        for pair in self.pairs:
            if pair.what == "drain":
                best[pair.system] = max(best[pair.system], pair.their_rate())
        return [self.subject(name) for name in sorted(best, key=lambda name: -best[name])]

    def pairs_of(self, system: str, what: str) -> list[Pair]:
        return [pair for pair in self.pairs if (pair.system, pair.what) == (system, what)]


class Sql(msgspec.Struct, kw_only=True):
    """On databases."""

    software: str
    fields: list[Field]
    backlogs: list[Backlog]


class Pages(msgspec.Struct, kw_only=True):
    """How long the pages of the console take on one backend."""

    name: str
    """Of the backend."""
    jobs: int
    """In its store."""
    looks: int
    """At each page."""
    took_ms: dict[str, dict[int, float]]
    """Page -> percent -> so many of the looks took so many milliseconds at most."""


class Results(msgspec.Struct, kw_only=True):
    """One run of the bench; None is what it was not asked for."""

    date: str
    machine: str
    software: str
    quick: bool
    seconds: float
    rounds: int
    load: float
    """Of the machine before the start, as `uptime` tells it: more than a little, and others were in the way."""
    alone: Alone | None = None
    redis: Field | None = None
    sql: Sql | None = None
    foreign: list[Field] = []
    """In the formats of others, beside their own workers."""
    console: list[Pages] = []

    def fields(self) -> list[Field]:
        """All there are."""
        return [*([self.redis] if self.redis else []), *(self.sql.fields if self.sql else []), *self.foreign]


def percentile(values: Sequence[float], percent: int) -> float:
    """The smallest value that so many percent of all do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]
