"""The garbage collector of a process that serves: it leaves alone what lives as long as the process."""

from __future__ import annotations

import gc

YOUNG, MIDDLE, OLD = 20_000, 1_000, 100
"""Python's own thresholds suit programs that end soon. Here they had it look through all records and connections again
and again, while requests waited. What is young is looked through as ever, in pieces that hold up nobody for long. What
was in use then is, where records are kept in memory, in use for a week: to look through that is put off until there are
millions."""


def settle() -> None:
    """Once everything stands that serves: what is there now is not looked through again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, MIDDLE, OLD)
