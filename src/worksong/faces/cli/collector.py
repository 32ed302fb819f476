"""The garbage collector of a process that serves: it leaves alone what lives as long as the process."""

from __future__ import annotations

import gc

YOUNG, MIDDLE, OLD = 50_000, 20, 100
"""Python's own thresholds suit programs that end soon: here a tenth of all time went by in looking through records and
connections that were still in use, and requests waited for the longest of these looks."""


def settle() -> None:
    """Once everything stands that serves: what is there now is not looked through again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, MIDDLE, OLD)
