"""What is measured in which order: worksong and another system in turn, so that a drifting machine meets both."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple, TypeVar

from msgspec.structs import replace

from bench.peer import EQUAL
from bench.results import Cell, Pair, Subject
from bench.system import Description, Failed, System
from bench.tables import cell_title

Answer = TypeVar("Answer")


class Plan(NamedTuple):
    """How much to measure."""

    peers: Sequence[str]
    rounds: int
    seconds: float
    """About how long a run lasts."""
    quick: bool


class Match(NamedTuple):
    """One thing that both do."""

    what: str
    ours: Cell
    theirs: Cell


def matches(ours: Description, theirs: Description, *, quick: bool) -> list[Match]:
    """All that is measured in a round of a system beside worksong."""
    native = next(iter(theirs.kinds))
    slots, best = 1 if theirs.one_at_a_time else EQUAL, ours.best_of(native)
    kinds = [native] if quick else list(theirs.kinds)
    drains = [(Cell(kind=kind, slots=EQUAL), Cell(kind=kind, slots=slots)) for kind in kinds]
    if (best, theirs.best) != (EQUAL, slots) and not quick:
        drains.append((Cell(kind=native, slots=best), Cell(kind=native, slots=theirs.best)))
    if theirs.two_processes:
        two = Cell(kind=native, slots=best, processes=2), Cell(kind=native, slots=theirs.best, processes=2)
        drains.append(two)
    if not quick and theirs.one_core:
        pinned = Cell(kind=native, slots=EQUAL, pinned=True), Cell(kind=native, slots=slots, pinned=True)
        drains.append(pinned)
    if not quick:
        there = Cell(kind=native, slots=theirs.best)
        drains += [
            (Cell(kind=kind, slots=ours.best_of(kind), processes=number), there) for kind, number in theirs.beside
        ]
        drains = [(replace(here, jobs=theirs.jobs), replace(there, jobs=theirs.jobs)) for here, there in drains]
    ways = [way for way in theirs.ways if way in ours.ways]
    one = Cell(kind=native, slots=EQUAL)
    return [Match("drain", *drain) for drain in drains] + [Match(f"enqueue {way}", one, one) for way in ways]


class Measuring:
    """Carries out matches, keeps what they gave, and says how far it is."""

    def __init__(self, worksong: System, others: Sequence[System], subjects: Sequence[Subject], *, quick: bool) -> None:
        self._worksong, self._others = worksong, others
        self._subjects = {subject.name: subject for subject in subjects}
        self._matches = {
            system.name: matches(worksong.description, system.description, quick=quick) for system in others
        }
        self._pairs: dict[tuple[str, Match], Pair] = {}
        self._given_up: set[tuple[str, Match]] = set()
        self._begun = time.monotonic()

    def carry_out(self, rounds: int, idle: Sequence[System] | None = None) -> list[Pair]:
        """So many rounds of everybody, then what an idle worker costs, of all or of these; no figure, no entry."""
        for number in range(rounds):
            for system in self._others:
                for match in self._matches[system.name]:
                    if (system.name, match) not in self._given_up:
                        self._attempt(system, match, number, rounds)
        for system in [self._worksong, *self._others] if idle is None else idle:
            quiet = self._try(system, "idle", system.idle)
            if quiet is not None:
                self._subjects[system.name].quiet = quiet
                half, most = quiet.pick_up_ms[50], quiet.pick_up_ms[99]
                self._say(
                    f"{system.name}, idle: half of the jobs picked up within {half:.2f} ms, 99 % in {most:.2f} ms"
                )
        return list(self._pairs.values())

    def _attempt(self, system: System, match: Match, number: int, rounds: int) -> None:
        """One run of each; who is first changes from round to round."""
        label = _label(match)
        turns = [(system, match.theirs), (self._worksong, match.ours)]
        rates: dict[str, float] = {}
        for who, cell in turns if number % 2 else turns[::-1]:
            rate = self._try(system, label, partial(self._rate, who, match.what, cell))
            if rate is None:
                self._given_up.add((system.name, match))
                return
            rates[who.name] = rate
        pair = self._pairs.setdefault(
            (system.name, match),
            Pair(system=system.name, what=match.what, our_cell=match.ours, their_cell=match.theirs, ours=[], theirs=[]),
        )
        pair.ours.append(rates[self._worksong.name])
        pair.theirs.append(rates[system.name])
        self._say(
            f"round {number + 1}/{rounds}  {system.name}, {label}: {pair.theirs[-1]:,.0f} jobs/s, "
            f"worksong {pair.ours[-1]:,.0f}"
        )

    def _rate(self, who: System, what: str, cell: Cell) -> float:
        if what != "drain":
            return who.enqueue(what.removeprefix("enqueue "), cell.kind)
        drained = who.drain(cell)
        if drained.memory_mb is not None and cell.processes == 1 and cell.slots in {1, EQUAL}:
            self._subjects[who.name].memory_mb.append(round(drained.memory_mb, 1))
        return drained.rate

    def _try(self, system: System, label: str, action: Callable[[], Answer]) -> Answer | None:
        """What it gave; a failure is noted and stops nobody else."""
        try:
            return action()
        except Failed as failed:
            self._subjects[system.name].failures.append(f"{label}: {failed}")
            self._say(f"{system.name}, {label}: FAILED, {failed}")
            return None

    def _say(self, line: str) -> None:
        took = time.monotonic() - self._begun
        print(f"{took // 60:3.0f}:{took % 60:02.0f}  {line}", file=sys.stderr, flush=True)


def _label(match: Match) -> str:
    if match.what != "drain":
        return match.what
    alike = (match.ours.kind, match.ours.processes) == (match.theirs.kind, match.theirs.processes)
    return f"drain, {cell_title(match.theirs)}" + ("" if alike else f", beside {cell_title(match.ours)}")
