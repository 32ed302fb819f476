"""Lines that people read: bounded by whoever writes them, the latest first, forgotten in the end."""

from __future__ import annotations

import asyncio

from worksong.domain.capability import Capability
from worksong.ports.backend import Backend
from worksong.ports.notebook import Line
from worksong.testing.contract.steps import T
from worksong.testing.contract.suite import Suite, needs

WEEK = 7 * 86_400.0
HOSTILE = 'a "b" \\ \x00\r\n\x1b[31m \u202e \U0001f600 ' + "x" * 5_000


def a_line(text: str, page: str = "orders", *, most: int = 5) -> Line:
    """A line that is kept for a week."""
    return Line(page, text, most, WEEK)


class Notebooks(Suite):
    @needs(Capability.NOTES)
    async def test_a_page_has_its_latest_lines_the_latest_first(self, backend: Backend) -> None:
        await backend.jot([], T)
        assert await backend.lines("orders") == []
        await backend.jot([a_line("1"), a_line("other", "try:1"), a_line("2")], T)
        await backend.jot([a_line("3")], T + 1)
        assert await backend.lines("orders") == ["3", "2", "1"]
        assert await backend.lines("try:1") == ["other"]
        # And no more of them than whoever writes there has said
        await backend.jot([a_line(str(number)) for number in range(4, 10)], T + 2)
        assert await backend.lines("orders") == ["9", "8", "7", "6", "5"]

    @needs(Capability.NOTES)
    async def test_whatever_is_written_is_read_as_it_was(self, backend: Backend) -> None:
        await backend.jot([a_line(HOSTILE, "page:with *odd* [name]?"), a_line("", "page:with *odd* [name]?")], T)
        assert await backend.lines("page:with *odd* [name]?") == ["", HOSTILE]

    @needs(Capability.NOTES)
    async def test_who_writes_at_the_same_time_writes_as_well(self, backend: Backend) -> None:
        others = [backend, *(backend.sibling() for _ in range(2))]
        texts = {f"{number}-{turn}" for number in range(len(others)) for turn in range(4)}

        async def write(number: int) -> None:
            for turn in range(4):
                await others[number].jot([a_line(f"{number}-{turn}", most=50)], T)

        await asyncio.gather(*(write(number) for number in range(len(others))))
        assert set(await backend.lines("orders")) == texts
        for other in others[1:]:
            await other.close()

    @needs(Capability.NOTES)
    async def test_a_page_outlives_the_pruning_of_its_time_and_goes_with_the_namespace(self, backend: Backend) -> None:
        await backend.jot([a_line("kept")], T)
        await backend.prune(T + WEEK - 60)
        assert await backend.lines("orders") == ["kept"]
        await backend.erase()
        assert await backend.lines("orders") == []
