"""What a worker did since it started, in numbers."""

from __future__ import annotations

import msgspec


class Stats(msgspec.Struct, frozen=True, kw_only=True):
    """Endings that were carried out, by kind."""

    done: int = 0
    retried: int = 0
    snoozed: int = 0
    buried: int = 0
    discarded: int = 0
    released: int = 0
    refused: int = 0
    """Endings that came too late: the job was somebody else's by then."""

    @property
    def ran(self) -> int:
        """How many runs came to an end."""
        return self.done + self.retried + self.snoozed + self.buried + self.discarded
