"""The ledger: what producers and handlers saw happen, written beside the broker under test, and the verdict on it.

One file per process, one line per event, each line one `write` to a file opened for appending, so that a killed process
leaves whole lines:

    A|K|U <job> <ns>                   a producer attempted, got it acknowledged, does not know
    S|F|R <job> <attempt> <pool> <ns>  a handler started, finished, failed (its retry or death is recorded)
    V <job> <value> <pool> <ns>        a step of a pipeline came to this value
    P <pool> <ns>                      a process formed a pool; a second one in a process: the first was taken for dead

Times are of the monotonic clock, which all processes of a machine share.
"""

from __future__ import annotations

import os
import time
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from worksong.engine.settler import BATCH, IN_FLIGHT

SUFFIX = ".ledger"
FLUSH_WITHIN = 0.2
"""Seconds in which an ending reaches a server that answers, on a machine that is busy."""
EVICTED_WITHIN = 20.0
"""Seconds before a process hears that it was taken for dead, in which its endings may have come too late."""


class Journal:
    """The part of the ledger that one process writes."""

    def __init__(self, directory: Path, name: str) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        self._descriptor = os.open(directory / f"{name}{SUFFIX}", flags, 0o644)

    def write(self, *words: object) -> None:
        """One line, with the time at its end."""
        os.write(self._descriptor, f"{' '.join(map(str, words))} {time.monotonic_ns()}\n".encode())

    def close(self) -> None:
        os.close(self._descriptor)


class Line(NamedTuple):
    """One event."""

    kind: str
    subject: str
    """A job's id; of a P line the pool's."""
    process: str
    at: float
    """Monotonic seconds."""
    attempt: int = 0
    pool: str = ""


class Stroke(NamedTuple):
    """A process was killed, or (by mistake or on purpose) taken for dead."""

    process: str
    at: float
    pool: str = ""
    """Only what it did for this pool; empty: everything."""
    within: float = FLUSH_WITHIN
    """An ending of so many seconds before may not have been carried out."""


class Ledger:
    """All lines of a directory, in the order of time."""

    def __init__(self, lines: Iterable[Line]) -> None:
        self.lines = sorted(lines, key=lambda line: line.at)

    @classmethod
    def read(cls, directory: Path) -> Ledger:
        """Everything written so far; a line that is being written is not there yet."""
        return cls(line for file in sorted(directory.glob(f"*{SUFFIX}")) for line in _lines(file))

    def of(self, kind: str, *, process: str = "") -> list[Line]:
        """The lines of one kind, of one process or of all."""
        return [line for line in self.lines if line.kind == kind and process in ("", line.process)]

    def ids(self, kind: str) -> set[str]:
        return {line.subject for line in self.lines if line.kind == kind}

    def count(self, kind: str) -> Counter[str]:
        return Counter(line.subject for line in self.lines if line.kind == kind)

    def running(self, process: str, *, at: float = float("inf"), pool: str = "") -> set[str]:
        """The jobs that the process had begun and not ended at that moment."""
        begun: set[str] = set()
        for line in self.lines:
            if line.at > at or line.process != process or pool not in ("", line.pool):
                continue
            if line.kind == "S":
                begun.add(line.subject)
            elif line.kind in "FR":
                begun.discard(line.subject)
        return begun

    def evictions(self) -> list[Stroke]:
        """Every time that a process which lived heard that it was taken for dead."""
        pools: dict[str, list[Line]] = defaultdict(list)
        for line in self.of("P"):
            pools[line.process].append(line)
        return [
            Stroke(after.process, after.at, before.subject, EVICTED_WITHIN)
            for formed in pools.values()
            for before, after in pairwise(formed)
        ]

    def budget(self, stroke: Stroke, outages: Sequence[tuple[float, float]] = ()) -> int:
        """How many jobs one stroke may cause to run again: those under way, and endings not yet carried out.

        `outages`: (from, until) when no ending could reach the server.
        """
        since = stroke.at - stroke.within
        for begun, ended in outages:
            if begun <= stroke.at and since <= ended:
                since = min(since, begun)
        ended = {
            line.subject
            for line in self.lines
            if line.kind in "FR" and line.process == stroke.process and since <= line.at <= stroke.at
            if stroke.pool in ("", line.pool)
        }
        held = len(self.running(stroke.process, at=stroke.at, pool=stroke.pool))
        unflushed = len(ended) if outages or stroke.pool else min(len(ended), BATCH * IN_FLIGHT)
        return held + unflushed


class Verdict(NamedTuple):
    """What became of the jobs."""

    acked: int
    finished: int
    lost: tuple[str, ...]
    """Acknowledged, and at the end neither finished, nor dead with a reason, nor stored."""
    phantom: tuple[str, ...]
    """Finished, and never attempted by a producer."""
    duplicates: tuple[str, ...]
    """Started once more than the recorded failures explain; twice more, twice here."""
    budget: int
    """How many duplicates the strokes explain at most."""

    @property
    def right(self) -> bool:
        """Whether everything promised was kept."""
        return not self.lost and not self.phantom and len(self.duplicates) <= self.budget

    def __str__(self) -> str:
        return (
            f"{self.acked} acknowledged, {self.finished} finished; lost {len(self.lost)} {_some(self.lost)}, "
            f"phantom {len(self.phantom)} {_some(self.phantom)}, duplicates {len(self.duplicates)} "
            f"{_some(self.duplicates)} of at most {self.budget}"
        )


def judge(
    ledger: Ledger,
    strokes: Iterable[Stroke] = (),
    *,
    kept: Collection[str] = (),
    outages: Sequence[tuple[float, float]] = (),
) -> Verdict:
    """`kept`: the ids of jobs that are dead with a reason, or still stored."""
    acked, finished, failed = ledger.ids("K"), ledger.ids("F"), ledger.count("R")
    again = {job: starts - 1 - failed[job] for job, starts in ledger.count("S").items()}
    return Verdict(
        acked=len(acked),
        finished=len(finished),
        lost=tuple(sorted(acked - finished - set(kept))),
        phantom=tuple(sorted(finished - ledger.ids("A"))),
        duplicates=tuple(job for job, times in sorted(again.items()) for _ in range(times)),
        budget=sum(ledger.budget(stroke, outages) for stroke in strokes),
    )


def _lines(file: Path) -> Iterable[Line]:
    text = file.read_text()
    for row in text[: text.rfind("\n") + 1].splitlines():
        kind, subject, *between, nanoseconds = row.split()
        attempt, pool = (int(between[0]), between[1]) if between else (0, "")
        yield Line(kind, subject, file.name.removesuffix(SUFFIX), int(nanoseconds) / 1e9, attempt, pool)


def _some(ids: Sequence[str]) -> str:
    return f"({', '.join(ids[:5])}{', ...' if len(ids) > 5 else ''})" if ids else ""
