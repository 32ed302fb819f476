"""What jobs did over time, kept by the store: charts outlive the processes that counted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from worksong.domain.course import Grain, Slot
from worksong.domain.tally import Tally


class Chronicle(Protocol):
    """Bounded in size: a slot is forgotten once it was kept for as long as its grain says."""

    async def note(self, tallies: Mapping[str, Tally], now: float) -> None:
        """Add what jobs did, by type or whatever else has a name, to the slots of this moment, one of each grain.

        Whoever adds at the same time adds as well. Raises `BackendUnavailable`: then it may be there or not, and who
        notes it again may count it twice. Raises `Unsupported` without `Capability.HISTORY`.
        """
        ...

    async def course(self, grain: Grain, since: float, until: float) -> Sequence[Slot]:
        """The slots that begin from `since` to before `until` and in which something happened, the earliest first."""
        ...
