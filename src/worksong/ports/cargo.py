"""Jobs on their way from one store to another.

A move takes jobs in loads: the source puts some aside (`load`), the target takes them in (`unload`), the source drops
them (`release`). Whenever that is cut short, the next run finds the open load in the source and goes on with it: the
target remembers which loads it took in, so that nothing comes twice, even if it has run meanwhile.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple, Protocol

import msgspec

from worksong.domain.lifecycle import State
from worksong.domain.parcel import Parcel

RECEIPT_KEPT = 400 * 86400.0
"""Seconds for which a target remembers a load: within that time a move can be resumed."""


class Fate(StrEnum):
    """Why a job of a load was not taken in."""

    REFUSED = "the target cannot hold it"
    LOCKED = "an equal unique job is at the target"
    THERE = "the target has a job with this id"
    KNOWN = "the target has taken in a job with this id by itself"


STAYING = frozenset({Fate.REFUSED, Fate.LOCKED, Fate.THERE})
"""Jobs with these fates go back to where they were; the others are dropped from the source."""


class Load(msgspec.Struct, frozen=True):
    """Jobs put aside in a source."""

    id: str
    """Empty: nothing was put aside, and there is only what was passed over."""
    destination: str
    """Who may take it in."""
    parcels: tuple[Parcel, ...] = ()
    passed: int = 0
    """How many jobs were passed over that cannot be read: they stay where they are."""


class Landing(msgspec.Struct, frozen=True):
    """What became of a load in its target."""

    fates: Mapping[str, Fate]
    """Job id -> why it was not taken in; all others were."""
    parcels: tuple[Parcel, ...]
    """What was taken in, as it reads there."""


class Known(NamedTuple):
    """An id that is taken in only once, and until when."""

    id: str
    until: float


class Cargo(Protocol):
    """Jobs out of a store for good, and into another one as they were."""

    async def load(self, state: State, *, passed: int, most: int, destination: str, now: float) -> Load | None:
        """The load that is open, whatever state it came from; else a new one, in one atomic step.

        At most `most` jobs of the state leave their places, locks included, the first `passed` ones passed over; they
        are lent, listed, promoted and pruned no more. None: there are no more. `most` 0: only look for an open one.
        """
        ...

    def carried(self, parcel: Parcel) -> Parcel:
        """The parcel as it would read here; raises `InvalidArguments` for one that cannot be kept."""
        ...

    async def unload(self, load: Load, without: Collection[str], now: float) -> Landing:
        """Take in all of the load but the ids in `without`, each in its state, in one atomic step.

        A load taken in before is not taken in again, whatever became of its jobs; the fates are those of then.
        """
        ...

    async def release(self, load_id: str, staying: Collection[str], now: float) -> int:
        """Close the load, in one atomic step: drop its jobs but those `staying`, which go back to where they were.

        Answers how many were dropped; none when the load is closed already. A job that goes back while another one has
        its lock goes back without; while another one has its id, under a new one. Ids that were pushed once here are
        known on, as others' ids.
        """
        ...

    async def known(self, after: str, most: int) -> tuple[Sequence[Known], str]:
        """Ids that were pushed once, about `most` of them, and where to go on; '' when there are no more."""
        ...

    async def know(self, ids: Sequence[Known], now: float) -> list[bool]:
        """Refuse these ids when they are pushed once, as others' ids; tell for each whether that is new here."""
        ...
