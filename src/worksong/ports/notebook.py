"""Lines that people read, kept by the store for a time: who ordered what, what became of each try of a job."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple, Protocol

FOR_GOOD = math.inf
"""Kept so, a page is never forgotten, and a line on it is there to stay once it is written."""


class Line(NamedTuple):
    """A line, and the page that it is written on."""

    page: str
    text: str
    most: int
    """So many lines stay on the page, the latest ones."""
    kept: float
    """Seconds for which the page is kept after this line; or `FOR_GOOD`."""


class Notebook(Protocol):
    """Pages of lines, each bounded by whoever writes there. What must not be lost is on none that is forgotten."""

    async def jot(self, lines: Sequence[Line], now: float) -> None:
        """Write each line on its page, in this order; several of one page agree in `most` and `kept`.

        Whoever writes at the same time writes as well. Raises `BackendUnavailable`: then the lines may be there or not,
        and who writes them again may have them twice. Raises `Unsupported` without `Capability.NOTES`.
        """
        ...

    async def lines(self, page: str) -> list[str]:
        """What is on the page, the latest line first; nothing on one that was never written, or is kept no more."""
        ...
