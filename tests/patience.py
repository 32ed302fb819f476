"""Patience: look again and again until what must come has come; no test waits for a time instead."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

PATIENCE = 60.0
"""Seconds after which it will not come any more; they are for a slow machine: what works comes at once."""
PAUSE = 0.02
"""Seconds between two looks."""


def until(
    look: Callable[[], T],
    what: str | Callable[[T], str] = "",
    *,
    met: Callable[[T], object] = bool,
    within: float = PATIENCE,
    pause: float = PAUSE,
) -> T:
    """Look until what is seen is true, or as `met` wants it, and answer it.

    `what`: names what is waited for, or tells of what was seen last, should it not come.
    """
    end = time.monotonic() + within
    while not met(seen := look()):
        assert time.monotonic() < end, f"waited {within:.0f} s in vain for {_told(what, look, seen)}"
        time.sleep(pause)
    return seen


async def auntil(
    look: Callable[[], Coroutine[Any, Any, T] | T],
    what: str | Callable[[T], str] = "",
    *,
    met: Callable[[T], object] = bool,
    within: float = PATIENCE,
    pause: float = PAUSE,
) -> T:
    """`until` for async code; `look` may be a coroutine function."""
    end = time.monotonic() + within
    while not met(seen := await _seen(look)):
        assert time.monotonic() < end, f"waited {within:.0f} s in vain for {_told(what, look, seen)}"
        await asyncio.sleep(pause)
    return seen


async def _seen(look: Callable[[], Any]) -> Any:
    seen = look()
    return await seen if inspect.iscoroutine(seen) else seen


def _told(what: str | Callable[[Any], str], look: Callable[[], object], seen: object) -> str:
    return what(seen) if callable(what) else f"{what or _source(look)}; last seen: {seen!r}"


def _source(look: Callable[[], object]) -> str:
    """The line in which it was written, for a wait that nobody has named."""
    try:
        return inspect.getsource(look).strip()
    except (OSError, TypeError):
        return repr(look)
