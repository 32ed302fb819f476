"""gocraft/work, whose format worksong speaks: a Go program of its own in `bench/go`, where its module can be had."""

from __future__ import annotations

from pathlib import Path

from msgspec.structs import replace

from bench import goprogram
from bench.goprogram import GoProgram
from bench.results import Cell, Quiet
from bench.server import RedisServer
from bench.system import Description, Drained, whole

SOURCE = Path(__file__).parent / "go"
PACE = 20_000
"""Jobs per second that it does about."""
JOBS = 100_000
"""Of a drain, here and beside it."""
GOROUTINES = 20
"""That enqueue at the same time, where worksong has 200 coroutines."""
NAMESPACE = "bench"
"""In which worksong is measured."""


class Gocraft:
    """Measured by its own account."""

    name = "gocraft/work"

    def __init__(self, program: Path, server: RedisServer, *, seconds: float) -> None:
        self._go, self._seconds = GoProgram(program, server), seconds
        self.description = Description(
            versions={"gocraft/work": goprogram.version(SOURCE, "github.com/gocraft/work")},
            kinds={"async": PACE},
            best=20,
            one_at_a_time=False,
            own_processes=True,
            two_processes=False,
            promise="Takes a job out of Redis after it ran; a killed pool's jobs are found by the reaper.",
            setup=(
                "Ten job names; one Redis connection per goroutine. Best: 20 at once. Enqueueing: by 20 goroutines; in "
                "bulk by its loop, since it has no call for that."
            ),
            ways=["one", "concurrent", "bulk"],
            jobs=JOBS,
            beside=[("async", 2), ("plain", 1)],
        )

    def drain(self, cell: Cell) -> Drained:
        return self._go.drained(replace(cell, jobs=cell.jobs or whole(PACE * self._seconds)), "-clean")

    def enqueue(self, how: str, kind: str) -> float:
        mode = {"one": "enqueue", "concurrent": "enqueue-concurrent", "bulk": "enqueue"}[how]
        said = self._go.asked(mode, "-clean", jobs=whole(5000 * self._seconds), goroutines=GOROUTINES)
        return float(said["rate"])

    def idle(self) -> Quiet:
        said = self._go.asked("latency", "-clean", jobs=300, concurrency=25)
        return Quiet(pick_up_ms={50: said["p50_ms"], 99: said["p99_ms"]})

    def feed(self, number: int, per_second: float) -> None:
        """Enqueue so many stamped jobs for worksong, evenly."""
        self._go.told("feed", "-ns", NAMESPACE, jobs=number, rate=round(per_second))


def build(directory: Path) -> Path:
    """The program, in this directory; `Refused` where it cannot be had."""
    return goprogram.build(SOURCE, directory / "gobench")
