"""What jobs did over time: slots of time, how fine they are, and for how long they are kept."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

import msgspec

from worksong.domain.tally import Tally

DAY = 86_400


class Grain(Enum):
    """How long a slot is, in seconds, and for how long it is kept. Everything is counted in a slot of each."""

    MINUTE = 60, 2 * 3600
    TEN_MINUTES = 600, 2 * DAY
    HOUR = 3600, 30 * DAY

    @property
    def seconds(self) -> int:
        return self.value[0]

    @property
    def kept(self) -> int:
        return self.value[1]

    def slot(self, at: float) -> int:
        """When the slot began that this moment belongs to, in Unix seconds."""
        return int(at) // self.seconds * self.seconds


class Slot(msgspec.Struct, frozen=True):
    """What jobs did in a slot of time."""

    at: int
    """When it began, in Unix seconds."""
    tallies: Mapping[str, Tally]
    """By job type."""
