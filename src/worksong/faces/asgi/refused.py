"""A no that a face says itself, before anybody is asked."""

from __future__ import annotations

from typing import NamedTuple


class Failure(NamedTuple):
    """What went wrong."""

    status: int
    kind: str
    """Stable, for programs."""
    text: str
    wait: float = 0.0
    """Seconds after which it may go; 0: nobody knows."""


class Refused(Exception):
    """The face says no."""

    def __init__(self, status: int, kind: str, text: str, *, wait: float = 0.0) -> None:
        super().__init__(text)
        self.failure = Failure(status, kind, text, wait)
