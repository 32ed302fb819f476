"""One sibling per event loop, of something whose connections belong to a loop."""

from __future__ import annotations

import asyncio
from typing import Any, Generic, Protocol, Self, TypeVar


class Sibling(Protocol):
    """What can be had again for another loop."""

    def sibling(self) -> Self: ...
    async def close(self) -> Any: ...


S = TypeVar("S", bound=Sibling)


class PerLoop(Generic[S]):
    """Gives every loop its own; those of closed loops are forgotten."""

    def __init__(self, origin: S) -> None:
        """`origin` itself is never used, only its siblings."""
        self.origin = origin
        self._all: dict[asyncio.AbstractEventLoop, S] = {}

    @property
    def loops(self) -> int:
        """How many loops have theirs."""
        return len(self._all)

    def here(self) -> S:
        """The running loop's."""
        loop = asyncio.get_running_loop()
        mine = self._all.get(loop)
        if mine is None:
            for other in list(self._all):  # a copy: other threads add theirs meanwhile
                if other.is_closed():
                    self._all.pop(other, None)
            mine = self._all[loop] = self.origin.sibling()
        return mine

    async def close(self) -> None:
        """Close the running loop's."""
        mine = self._all.pop(asyncio.get_running_loop(), None)
        if mine is not None:
            await mine.close()
