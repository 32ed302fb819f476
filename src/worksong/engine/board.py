"""What the jobs of this process did, counted as each of them ends."""

from __future__ import annotations

import logging
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable

from worksong.domain.firing import PREFIX
from worksong.domain.names import one_line
from worksong.domain.outcome import Buried, Outcome, Retried
from worksong.domain.tally import BOUNDS, OTHER, PLACE, QUEUE, RAN, RELEASED, SIZE, UNKNOWN, WAITED, Tally
from worksong.engine.attempts import Attempts
from worksong.engine.firings import Firings
from worksong.ports.backend import Running

MOST = 1000
"""Pairs of job type and queue that are told apart; whoever enqueues may invent queues without end."""
LONGEST_QUEUE = 200 - len(QUEUE)
"""Characters of a queue's name: as it is called beside job types, it must be no longer than their names may be."""
FAILED = PLACE[Retried], PLACE[Buried]
RAN_FROM, WAITED_FROM = RAN + 1, WAITED + 1
SHORTEST = BOUNDS[0]

log = logging.getLogger("worksong")


class Board:
    """Written by the loop that runs the jobs, read by whichever thread likes: each copy is one step of the interpreter.

    Counts from its making on, over all starts and stops of its worker.
    """

    def __init__(self) -> None:
        self._rows: dict[tuple[str, str], list[float]] = {}
        self.attempts: Attempts | None = None
        """Who is told of each run as well; None: nobody."""
        self.firings: Firings | None = None
        """Who is told of the runs of periodic jobs; None: nobody asks."""

    def note(self, running: Running, outcome: Outcome, now: float) -> None:
        """A run has ended. On the way of every job, half a microsecond: what goes wrong here holds up no ending."""
        job, began, place = running.delivery.job, running.started_at, PLACE[type(outcome)]
        try:
            key = job.handler, job.queue
            row = self._rows.get(key) or self._row(key)
            row[place] += 1
            if place == RELEASED:
                self.forget(running)
                return
            ran = now - began if now > began else 0.0  # a clock may be set
            row[RAN] += ran
            row[RAN_FROM if ran <= SHORTEST else RAN_FROM + bisect_left(BOUNDS, ran)] += 1
            if ready := job.enqueued_at:
                waited = began - ready if began > ready else 0.0
                row[WAITED] += waited
                row[WAITED_FROM if waited <= SHORTEST else WAITED_FROM + bisect_left(BOUNDS, waited)] += 1
            attempts, firings = self.attempts, self.firings
            if attempts and (place in FAILED or attempts.scribe.runs):  # most jobs neither fail nor log
                attempts.note(running, outcome, now)
            if firings and job.id.startswith(PREFIX):
                firings.note(running, outcome, now)
        except Exception:
            log.exception("the run of job %s could not be told of", one_line(job.id))

    def forget(self, running: Running) -> None:
        """A run came to no end of its own: what it logged is nobody's."""
        if self.attempts:
            self.attempts.scribe.take(running.delivery.job)

    def note_stray(self, outcome: Outcome) -> None:
        """A job ended that nobody here has a handler for."""
        key = UNKNOWN, ""
        (self._rows.get(key) or self._row(key))[PLACE[type(outcome)]] += 1

    def _row(self, key: tuple[str, str]) -> list[float]:
        if len(self._rows) >= MOST:
            key = key[0], OTHER
        return self._rows.setdefault(key, [0] * SIZE)

    def tallies(self) -> dict[tuple[str, str], Tally]:
        """By job type and queue."""
        return {key: Tally(row.copy()) for key, row in self._rows.copy().items()}

    def by_handler(self) -> dict[str, Tally]:
        """By job type."""
        return _summed((handler, tally) for (handler, _), tally in self.tallies().items())

    def by_queue(self) -> dict[str, Tally]:
        """By queue, each called as `QUEUE` says; what came from no queue that is known is left out, and one whose name
        is too long for that is among the others."""
        return _summed(
            (f"{QUEUE}{queue if len(queue) <= LONGEST_QUEUE else OTHER}", tally)
            for (_, queue), tally in self.tallies().items()
            if queue
        )


def _summed(tallies: Iterable[tuple[str, Tally]]) -> dict[str, Tally]:
    found: defaultdict[str, Tally] = defaultdict(Tally)
    for name, tally in tallies:
        found[name] += tally
    return dict(found)
