"""Who waits in a loop may be gone with it when the word comes: that must not hurt whoever gives it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from worksong.adapters.bells import Bells
from worksong.adapters.memory import MemoryResults
from worksong.domain.result import Result

LONG = 600.0


class Closing(asyncio.SelectorEventLoop):
    """Is closed by another thread right after it was asked whether it is."""

    closes = False

    def is_closed(self) -> bool:
        closed = super().is_closed()
        if self.closes:
            self.closes = False
            self.close()
        return closed


def bells() -> tuple[Coroutine[Any, Any, object], Callable[[], object]]:
    rung = Bells()
    return rung.hear(LONG, 0), rung.ring


def results() -> tuple[Coroutine[Any, Any, object], Callable[[], object]]:
    store = MemoryResults()
    return store.wait_result("a", LONG), lambda: store.keep(Result("a", 0.0))


@pytest.mark.parametrize("kind", [bells, results])
@pytest.mark.parametrize("closed", [True, False], ids=["closed", "closing"])
def test_a_loop_that_is_closed_hurts_nobody_who_wakes_its_waiters(
    kind: Callable[[], tuple[Coroutine[Any, Any, object], Callable[[], object]]], *, closed: bool
) -> None:
    # Given a loop in which somebody waits, and which is closed, or is about to be
    waiting, wake = kind()
    loop = Closing()

    async def begin() -> None:
        waiting.send(None)

    loop.run_until_complete(begin())
    if closed:
        loop.close()
    loop.closes = not closed
    # When word comes, then it does no harm
    wake()
    waiting.close()
    loop.closes = False
    loop.close()
