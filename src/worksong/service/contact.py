"""Whether the server answers, since when, and why not; pure."""

from __future__ import annotations


class Contact:
    """Times are readings of one monotonic clock."""

    def __init__(self) -> None:
        self.away = False
        self.since = 0.0
        """When it was first seen to be away."""
        self.error = ""
        self.answered_at: float | None = None
        """When it last answered; None: never so far."""

    def lost(self, error: str, now: float) -> None:
        """It did not answer."""
        if not self.away:
            self.away, self.since = True, now
        self.error = error

    def made(self, now: float) -> float | None:
        """It answered; for how long it had been away, if it had."""
        absence = now - self.since if self.away else None
        self.away, self.error, self.answered_at = False, "", now
        return absence
