"""Chance of our own: the application's `random` goes on as if there were no worker, seeded or not."""

from __future__ import annotations

import os
from random import Random
from typing import Final

_own: Final = Random()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_own.seed)  # else all children would wait equally long

random: Final = _own.random
"""A number in [0, 1)."""
uniform: Final = _own.uniform
"""A number between two others."""
randrange: Final = _own.randrange
shuffle: Final = _own.shuffle
