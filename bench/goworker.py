"""goworker, which works Resque's queues in Go: the program of the tests, where its modules can be had."""

from __future__ import annotations

from pathlib import Path

from msgspec.structs import replace

from bench import goprogram
from bench.goprogram import GoProgram
from bench.results import Cell, Quiet
from bench.server import RedisServer
from bench.system import Description, Drained, Failed, whole

SOURCE = Path(__file__).parents[1] / "tests" / "resque" / "go"
PACE = 10_000
"""Jobs per second that it does about."""


class Goworker:
    """Measured by its own account, in draining alone."""

    name = "goworker"

    def __init__(self, program: Path, server: RedisServer, *, seconds: float) -> None:
        self._go, self._seconds = GoProgram(program, server), seconds
        self.description = Description(
            versions={"goworker": goprogram.version(SOURCE, "github.com/benmanns/goworker")},
            kinds={"async": PACE},
            best=25,
            one_at_a_time=False,
            own_processes=True,
            two_processes=False,
            promise="Takes a job out of Redis before it runs: what a killed worker held is lost.",
            setup=(
                "As many connections as jobs at once, instead of two. Its logger and its pool of connections are "
                "small ones of our own: theirs can no longer be had. Best: 25 at once, the default."
            ),
            ways=[],
            beside=[("async", 1)],
        )

    def drain(self, cell: Cell) -> Drained:
        known = replace(cell, jobs=cell.jobs or whole(PACE * self._seconds))
        return self._go.drained(known, "-connections", str(cell.slots))

    def enqueue(self, how: str, kind: str) -> float:
        raise Failed("it is measured in draining alone")

    def idle(self) -> Quiet:
        raise Failed("it is measured in draining alone")


def build(directory: Path) -> Path:
    """The program, in this directory; `Refused` where it cannot be had."""
    return goprogram.build(SOURCE, directory / "goresque")
