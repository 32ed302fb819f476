"""A run of a job that failed, as an operator reads of it afterwards."""

from __future__ import annotations

import msgspec

LONGEST_ERROR = 2_000
"""Characters of an error that are kept: the last ones, where a traceback says what was wrong."""


class Attempt(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Written beside the ending, not with it: of a process that is killed the last ones are missing."""

    at: float
    """When it ended, in Unix seconds."""
    began_at: float
    number: int
    """Which try it was, from 1."""
    worker: str
    """The machine, and the process there."""
    error: str
    dead: bool = False
    """Whether it was the last one."""
    lines: tuple[str, ...] = ()
    """The last that the handler has logged."""

    @property
    def seconds(self) -> float:
        """How long it took."""
        return max(0.0, self.at - self.began_at)
