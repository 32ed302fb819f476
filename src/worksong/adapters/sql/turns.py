"""One program at a time on a lent connection: its savepoints have one name, whichever task or thread sets them."""

from __future__ import annotations

import asyncio
import threading
import weakref

_guard = threading.Lock()
_blocking: weakref.WeakValueDictionary[int, threading.Lock] = weakref.WeakValueDictionary()
_awaited: weakref.WeakValueDictionary[int, asyncio.Lock] = weakref.WeakValueDictionary()


def blocking_turn(connection: object) -> threading.Lock:
    """Held by the thread that has its turn; there as long as somebody has or wants it."""
    with _guard:
        return _blocking.setdefault(id(connection), threading.Lock())


def awaited_turn(connection: object) -> asyncio.Lock:
    """Held by the task that has its turn, in the one loop that the connection belongs to."""
    with _guard:
        return _awaited.setdefault(id(connection), asyncio.Lock())
