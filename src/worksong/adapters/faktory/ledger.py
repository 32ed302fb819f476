"""Who in this process holds which job: the server knows reservations by jid only, and tells nobody when one ends."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Collection

from worksong.wire.faktory import Found

LATE = 10.0
"""Seconds after a reservation in which nobody else can run the job yet: the server puts it off for 15 at least."""


class Lending:
    """One lending, the receipt of a delivery. It is over once; siblings of the backend share it."""

    __slots__ = ("copied", "copy", "deadline", "fence", "found", "over", "pool", "tried")

    def __init__(self, found: Found, pool: str, fence: int, deadline: float) -> None:
        self.found, self.pool, self.fence = found, pool, fence
        self.deadline = deadline
        """When its reservation runs out, by the ledger's clock."""
        self.over = False
        self.tried = False
        """An ending was sent, and perhaps not answered."""
        self.copy = ""
        """The jid under which it is enqueued anew, or was tried to."""
        self.copied = False
        """It is: only the acknowledgement of the old jid is missing."""


class Ledger:
    """All lendings of a backend and its siblings, which may live in several threads."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """`clock`: seconds that never go back; reservations are measured by it."""
        self.clock = clock
        self._guard = threading.Lock()
        self._lent: defaultdict[str, dict[int, Lending]] = defaultdict(dict)
        self._missing: dict[str, frozenset[int]] = {}
        self._fence = 0

    def lend(self, found: Found, pool: str, asked: float) -> Lending:
        """Note a job that was asked for at this time: its reservation cannot have begun before."""
        with self._guard:
            # Another process may have had it before: its tokens come of the same clock, or travel with the job.
            self._fence = max(self._fence + 1, time.time_ns() // 1000, found.fence + 1)
            lending = Lending(found, pool, self._fence, asked + found.reserve_for)
            self._lent[pool][lending.fence] = lending
        return lending

    def holds(self, lending: Lending) -> bool:
        """Whether an ending may still be carried out: it has none, and nobody else can have the job."""
        return not lending.over and self.clock() < lending.deadline + LATE

    def end(self, lending: Lending) -> bool:
        """It has come to its end, or is nobody's any more; False: it had before."""
        with self._guard:
            first, lending.over = not lending.over, True
            self._lent[lending.pool].pop(lending.fence, None)
        return first

    def of(self, pool: str) -> list[Lending]:
        """What a pool was lent and has not ended, the oldest first."""
        with self._guard:
            return list(self._lent[pool].values())

    def expired(self, pool: str) -> frozenset[int]:
        """The fences of lendings whose reservation has run out."""
        now = self.clock()
        return frozenset(lending.fence for lending in self.of(pool) if now >= lending.deadline)

    def unheld(self, pool: str, held: Collection[int]) -> list[Lending]:
        """Lendings that the pool does not know of, now and when it was asked before: their delivery never arrived."""
        lent = self.of(pool)
        missing = frozenset(lending.fence for lending in lent) - frozenset(held)
        twice, self._missing[pool] = missing & self._missing.get(pool, frozenset()), missing
        return [lending for lending in lent if lending.fence in twice]

    def forget(self, pool: str) -> None:
        """The pool has left."""
        with self._guard:
            self._lent.pop(pool, None)
            self._missing.pop(pool, None)
