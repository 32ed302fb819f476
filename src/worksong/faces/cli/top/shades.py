"""The colours by night and by day."""

from __future__ import annotations

import os

from textual.theme import Theme

NIGHT = Theme(
    name="night",
    dark=True,
    primary="#5aa9e6",
    secondary="#8fa8bd",
    success="#7cc48f",
    warning="#e6b450",
    error="#e0707e",
    accent="#e6b450",
    foreground="#d6dde6",
    background="#10141a",
    surface="#151a21",
    panel="#1f2731",
)
DAY = Theme(
    name="day",
    dark=False,
    primary="#1f6fb2",
    secondary="#4d6b85",
    success="#2e7d46",
    warning="#9a6700",
    error="#b3261e",
    accent="#9a6700",
    foreground="#1f2933",
    background="#ffffff",
    surface="#f6f8fa",
    panel="#e6ebf1",
)


def light_terminal() -> bool:
    """Many terminals tell their background in COLORFGBG; 7 and 15 are light ones."""
    return os.environ.get("COLORFGBG", "").rpartition(";")[2] in ("7", "15")
