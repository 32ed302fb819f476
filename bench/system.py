"""A system that is measured: filled, drained, enqueued to, watched while it is idle."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import msgspec

from bench import environments
from bench.peer import EQUAL
from bench.processes import Crew, Ended, on_core
from bench.results import Cell, Quiet, Subject, percentile
from bench.server import Server
from bench.tally import PLACE, Tally

ROOT = Path(__file__).parents[1]
LOOK = 0.002
"""Seconds between two looks at the tally: the error of a rate, in the time that a drain takes."""
START = 60.0
"""Seconds a worker may take to run its first job."""
SLOW = 20
"""A drain is given up when it takes so many times longer than expected, and at least a minute."""
WARM = 20
"""Jobs that a worker runs before it counts as idle."""
PER_SECOND = 100.0
"""Of the jobs that find an idle worker."""


class Failed(Exception):
    """A run that gave no figure: why."""


class Description(msgspec.Struct, frozen=True):
    """What a system says of itself: see `bench.peer.Peer`."""

    versions: dict[str, str]
    kinds: dict[str, int]
    best: int
    one_at_a_time: bool
    own_processes: bool
    promise: str
    setup: str
    ways: list[str]
    two_processes: bool = True
    """Can be drained by two processes at once."""
    one_core: bool = True
    """Can be drained on one core, together with its server."""
    works_here: bool = False
    """Can work in the process that enqueues."""
    jobs: int = 0
    """A drain beside it has so many, on both sides; 0: see `bench.results.Cell`."""
    beside: list[tuple[str, int]] = []
    """(kind, processes) of worksong at its best, each measured beside this one at its best in one process."""
    bests: dict[str, int] = {}
    """Of kinds that do best with another number of jobs at once than `best`."""

    def best_of(self, kind: str) -> int:
        """Jobs at once with which it does best."""
        return self.bests.get(kind, self.best)


class Drained(msgspec.Struct, frozen=True):
    """What a drain showed."""

    rate: float
    jobs: int
    memory_mb: float | None = None


class System(Protocol):
    """What the plan asks of a system."""

    name: str
    description: Description

    def drain(self, cell: Cell) -> Drained:
        """Run a full queue empty."""

    def enqueue(self, how: str, kind: str) -> float:
        """Jobs per second."""

    def idle(self) -> Quiet:
        """What a worker with nothing to do costs, and how fast it picks up a job."""


class PythonSystem:
    """A system with a module in `bench.peers`."""

    def __init__(self, name: str, server: Server, *, seconds: float, title: str = "") -> None:
        """`seconds` is about how long a run lasts; `title` what to call it, where that is not its name."""
        self.name = title or name
        self._module, self._server, self._seconds = name, server, seconds
        self._python = sys.executable if name == "worksong" else str(environments.interpreter(name))
        self._blank: Any = None
        self._full: dict[tuple[str, int], Any] = {}
        described = msgspec.json.decode(self._ask("describe"), type=Description)
        self.description = msgspec.structs.replace(described, one_core=server.one_core, two_processes=server.one_core)

    def drain(self, cell: Cell) -> Drained:
        jobs = cell.jobs or self._jobs(cell)
        self._fill(cell.kind, jobs)
        core = max(os.sched_getaffinity(0)) if cell.pinned else None
        self._server.pin(core)
        try:
            with self._working(cell.slots, cell.processes, core=core) as (crew, tally):
                rate = self._rate(crew, tally, jobs, cell.processes)
                memory = crew.memory_mb()
                crew.end()
                ran = tally.total()
        finally:
            self._server.pin(None)
        if ran != jobs:
            raise Failed(f"{ran:,} jobs ran where {jobs:,} were enqueued")
        return Drained(rate=rate, jobs=jobs, memory_mb=memory)

    def enqueue(self, how: str, kind: str) -> float:
        faster = {"one": 1, "concurrent": 2, "bulk": 10}[how]
        self._empty()
        number = whole(max(200.0, min(50_000.0, 2000 * faster * self._seconds)))
        return float(self._ask("enqueue", how, kind, str(number)))

    def idle(self) -> Quiet:
        self._empty()
        slots = 1 if self.description.one_at_a_time else 25
        with self._working(slots, 1) as (crew, tally):
            self._feed(crew, tally, WARM, START)
            time.sleep(1.0)
            used, cpu, begun = self._server.used(), crew.cpu_seconds(), time.monotonic()
            time.sleep(max(2.0, 2 * self._seconds))
            took, cpu, now = time.monotonic() - begun, crew.cpu_seconds() - cpu, self._server.used()
            self._feed(crew, tally, self._stamped, START)
            delays = tally.delays()
        return Quiet(
            pick_up_ms=_pick_up(delays),
            same_process_ms=self._same_process(),
            commands_per_second=_more(now.commands, used.commands, took),
            cpu_percent=cpu / took * 100,
            server_cpu_percent=_more(now.cpu_seconds, used.cpu_seconds, took / 100),
        )

    def fed_by(self, feed: Callable[[int, float], None]) -> dict[int, float]:
        """The pick-up of jobs that another library enqueues: `feed` is told how many, and how many a second."""
        self._empty()
        with self._working(EQUAL, 1) as (crew, tally):
            self._feed(crew, tally, WARM, START)
            time.sleep(1.0)
            feed(self._stamped - WARM, PER_SECOND)
            self._await_stamps(crew, tally, self._stamped, START)
            return _pick_up(tally.delays())

    def resting_memory(self, seconds: float) -> float:
        """Of a worker that ran a few jobs and did nothing for so long after; what is in the store stays there."""
        with self._working(EQUAL, 1) as (crew, tally):
            self._feed(crew, tally, WARM, START)
            time.sleep(seconds)
            return crew.memory_mb()

    def prepared(self) -> None:
        """Nothing but the tables."""
        self._empty()

    def _same_process(self) -> dict[int, float] | None:
        """The pick-up of jobs that the worker's own process enqueues."""
        if not self.description.works_here:
            return None
        self._empty()
        with self._running([self._order("both", str(self._stamped), str(PER_SECOND))]) as (crew, tally):
            self._await_stamps(crew, tally, self._stamped, START)
            return _pick_up(tally.delays())

    @property
    def _stamped(self) -> int:
        """Jobs whose way is timed, and those before them."""
        return WARM + int(PER_SECOND * 2 * self._seconds)

    def _empty(self) -> None:
        """Nothing but the tables that the system needs."""
        if self._blank is None:
            self._server.empty()
            self._ask("prepare")
            self._blank = self._server.keep()
        self._server.put_back(self._blank)

    def _jobs(self, cell: Cell) -> int:
        expected = self.description.kinds[cell.kind] * self._seconds
        return whole(expected * (1.5 if cell.processes > 1 else 1.0))

    def _fill(self, kind: str, jobs: int) -> None:
        """The same jobs as last time, which the system's own client enqueued."""
        if (kind, jobs) not in self._full:
            self._empty()
            ways = self.description.ways
            self._ask("enqueue", next(way for way in ("bulk", "concurrent", "one") if way in ways), kind, str(jobs))
            self._full[kind, jobs] = self._server.keep()
        self._server.put_back(self._full[kind, jobs])

    def _rate(self, crew: Crew, tally: Tally, jobs: int, processes: int) -> float:
        """Jobs per second from when every process has run one, or half are done, until all are."""
        deadline = time.monotonic() + START
        begun, counted = 0.0, 0
        while True:
            counts = tally.counts()
            done, now = sum(counts), time.monotonic()
            if not begun and (len(counts) >= processes or done >= jobs // 2):
                begun, counted = now, done
                deadline = now + max(60.0, SLOW * self._seconds)
            if done >= jobs:
                break
            if now > deadline:
                raise Failed(f"only {done:,} of {jobs:,} jobs ran: {crew.last_words()}")
            crew.check()
            time.sleep(LOOK)
        if counted == done:
            raise Failed(f"{jobs:,} jobs ran in no time: too few to measure")
        return (done - counted) / (now - begun)

    def _feed(self, crew: Crew, tally: Tally, number: int, patience: float) -> None:
        """Let another process send stamped jobs until so many ran in all."""
        more = number - len(tally.delays())
        self._ask("feed", str(more), str(PER_SECOND))
        self._await_stamps(crew, tally, number, patience)

    def _await_stamps(self, crew: Crew, tally: Tally, number: int, patience: float) -> None:
        deadline = time.monotonic() + patience
        while len(tally.delays()) < number:
            crew.check()
            if time.monotonic() > deadline:
                raise Failed(f"only {len(tally.delays())} of {number} jobs ran: {crew.last_words()}")
            time.sleep(0.02)

    @contextmanager
    def _working(self, slots: int, processes: int, *, core: int | None = None) -> Iterator[tuple[Crew, Tally]]:
        """A worker, and what it counts."""
        own = self.description.own_processes
        command = self._order("work", str(slots), str(processes if own else 1))
        with self._running([command] * (1 if own else processes), core=core) as running:
            yield running

    @contextmanager
    def _running(self, commands: Sequence[Sequence[str]], *, core: int | None = None) -> Iterator[tuple[Crew, Tally]]:
        with tempfile.TemporaryDirectory(prefix="worksong-bench-") as name:
            tally, log = Tally(Path(name)), Path(name, "worker.log")
            with on_core(core):
                crew = Crew(commands, {**self._env(), PLACE: name}, log)
            try:
                yield crew, tally
            except Ended as ended:
                raise Failed(str(ended)) from None
            finally:
                crew.end()

    def _ask(self, *order: str) -> bytes:
        with tempfile.TemporaryDirectory(prefix="worksong-bench-") as name:
            env = {**self._env(), PLACE: name}
            asked = subprocess.run(self._order(*order), env=env, cwd=ROOT, capture_output=True, check=False)
        if asked.returncode:
            said = asked.stderr.decode(errors="replace").strip().splitlines() or ["no word of why"]
            raise Failed(f"{order[0]}: {said[-1]}")
        return asked.stdout

    def _order(self, *order: str) -> Sequence[str]:
        return [self._python, "-m", "bench.seat", self._module, *order]

    def _env(self) -> dict[str, str]:
        return {**os.environ, "BENCH_URL": self._server.url, "PYTHONPATH": str(ROOT)}


def subject(system: System) -> Subject:
    """It, as what was measured tells of it."""
    found = system.description
    return Subject(name=system.name, versions=found.versions, promise=found.promise, setup=found.setup)


def _pick_up(delays: Sequence[float]) -> dict[int, float]:
    """Of the jobs after the first few, in milliseconds."""
    found = [round(delay * 1e3, 3) for delay in delays[WARM:]]
    return {percent: percentile(found, percent) for percent in (50, 99)}


def _more(now: float | None, before: float | None, by: float) -> float | None:
    return None if now is None or before is None else (now - before) / by


def whole(number: float) -> int:
    """To hundreds, at least one of them."""
    return max(100, round(number / 100) * 100)
