"""Lines that people read, as long as the process lives; every method is one atomic step of whoever holds the guard."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from worksong.ports.notebook import Line


class Page(NamedTuple):
    """Lines, the latest first, and until when they are kept."""

    lines: tuple[str, ...]
    until: float


BLANK = Page((), 0.0)


class Notebook:
    """The pages by their names."""

    def __init__(self) -> None:
        self._pages: dict[str, Page] = {}

    def jot(self, lines: Sequence[Line], now: float) -> None:
        """Write each line on its page."""
        for page, text, most, kept in lines:
            before = self._pages.get(page, BLANK)
            self._pages[page] = Page((text, *before.lines)[:most], now + kept)

    def lines(self, page: str) -> list[str]:
        """The latest first."""
        return list(self._pages.get(page, BLANK).lines)

    def prune(self, now: float) -> int:
        """Forget pages that were kept long enough."""
        over = [name for name, page in self._pages.items() if page.until <= now]
        for name in over:
            del self._pages[name]
        return len(over)
