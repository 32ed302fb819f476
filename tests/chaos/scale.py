"""How large the chaos is (CHAOS_SCALE; 1: the figures that are certified), and by which seed (CHAOS_SEED)."""

from __future__ import annotations

import os
import random

SCALE = float(os.environ.get("CHAOS_SCALE", "0.1"))
FULL = SCALE >= 1
"""Whether the figures asked for are measured and asserted; below, what must be right is, and time is generous."""
SILENT = 0.0 if FULL else 3.0
"""Seconds after which workers take a silent pool for dead; 0: the default. The other timers go with it."""
CALM = 0.0 if FULL else 120.0
"""The same where nobody dies without a word: however busy the machine is, nobody is taken for dead."""
UNSTORED = 1.0 if FULL else 60.0
"""Seconds before a kill, of which an ending may not be stored yet: how soon it is depends on machine and disk."""
SEED = int(os.environ.get("CHAOS_SEED") or random.SystemRandom().randrange(1_000_000))


def sized(full: int, least: int = 1) -> int:
    """So many at this scale, of `full` at scale 1."""
    return max(least, round(full * SCALE))


def timeout(full: float) -> float:
    """Seconds until a test that takes `full` at scale 1 is given up; below, a machine may be as slow as it is."""
    return max(400.0, full * SCALE)
