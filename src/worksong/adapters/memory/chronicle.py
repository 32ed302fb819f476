"""What jobs did over time, as long as the process lives; every method is one atomic step of whoever holds the guard."""

from __future__ import annotations

from collections.abc import Mapping

from worksong.domain.course import Grain, Slot
from worksong.domain.tally import Tally


class Chronicle:
    """The slots of each grain by their beginning."""

    def __init__(self) -> None:
        self._slots: dict[Grain, dict[int, dict[str, Tally]]] = {grain: {} for grain in Grain}

    def note(self, tallies: Mapping[str, Tally], now: float) -> None:
        """Add to the slots of this moment, and forget those that were kept long enough."""
        for grain, slots in self._slots.items():
            at = grain.slot(now)
            if at not in slots:
                for old in [other for other in slots if other <= now - grain.kept]:
                    del slots[old]
            slot = slots.setdefault(at, {})
            for handler, tally in tallies.items():
                slot[handler] = slot.get(handler, Tally()) + tally

    def course(self, grain: Grain, since: float, until: float) -> list[Slot]:
        """The earliest first."""
        slots = self._slots[grain]
        return [Slot(at, dict(slots[at])) for at in sorted(slots) if since <= at < until and slots[at]]
