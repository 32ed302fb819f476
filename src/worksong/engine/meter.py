"""Measures the jobs of one process, whichever engine runs them, one after the other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from worksong.domain.job import new_id
from worksong.engine.annals import Annals
from worksong.engine.attempts import Attempts
from worksong.engine.board import Board
from worksong.engine.firings import Firings
from worksong.engine.lag import Lag
from worksong.engine.lane import Lane
from worksong.engine.measures import Measures, entries
from worksong.engine.scribe import Scribe
from worksong.registry import Periodic


class Meter:
    """May be read in any thread."""

    def __init__(self) -> None:
        self.board = Board()
        self.annals: Annals | None = None
        """Who tells the store of it; None: nobody does."""
        self.scribe = Scribe()
        """Who keeps what handlers log, if a logger has it."""
        self._life = new_id()
        self._lag = Lag()
        self._lane: Lane | None = None
        self._refused = 0
        """Those of the lanes before this one."""

    def keep_history(self, *, queues: bool) -> None:
        """Tell the store what is counted, by job type, and by queue where those are others."""
        self.annals = self.annals or Annals(self.board, queues=queues)

    def keep_notes(self, periodic: Sequence[Periodic]) -> None:
        """Tell the store, beside the history, of each run that failed, of how those fired that fire by themselves, and
        of how this process is. `periodic`: those that there are; some may be added later."""
        self.board.attempts = self.board.attempts or Attempts(self.scribe)
        self.board.firings = self.board.firings or Firings(periodic)
        if self.annals:
            self.annals.lag = self._lag

    def attend(self, lane: Lane) -> None:
        """It begins to run jobs, in this loop."""
        self._lane = lane
        self._lag.start()

    def leave(self) -> None:
        """It has ended."""
        if self._lane:
            self._refused += self._lane.settler.refused
        self._lane = None
        self._lag.stop()

    @property
    def measures(self) -> Measures:
        """This process now."""
        lane = self._lane
        slots = lane.slots.copy() if lane else []
        return Measures(
            life=self._life,
            entries=entries(self.board.tallies()),
            running=Counter(slot.delivery.job.handler for slot in slots if slot),
            slots=len(slots),
            refused=self._refused + (lane.settler.refused if lane else 0),
            lag=self._lag.seconds,
        )
