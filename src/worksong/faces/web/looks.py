"""Pages that are open look again: what the first of them gets, those beside it get as well."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable

from starlette.requests import Request
from starlette.responses import Response

from worksong.faces.web.doing import guest_of
from worksong.faces.web.replies import base_of, where
from worksong.ports.clock import Clock

KEPT = 0.5
"""Seconds for which an answer serves others that look at the same page."""
MOST = 200
"""Pages that are remembered, each for that long."""


class _Look:
    """The last answer, and who is asking for the next one."""

    def __init__(self) -> None:
        self.asking = asyncio.Lock()
        self.at = float("-inf")
        self.answer: Response | None = None


class Looks:
    """Only looks of open pages are shared; who opens a page, or comes back from an order, sees what is there now."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._looks: dict[Hashable, _Look] = {}

    async def shared(self, request: Request, write: Callable[[], Awaitable[Response]]) -> Response:
        """The page."""
        if "hx-request" not in request.headers:
            return await write()
        look = self._look(request)
        async with look.asking:
            if look.answer is None or self._clock.monotonic() - look.at >= KEPT:
                look.answer = await write()
                look.at = self._clock.monotonic()
            return look.answer

    def _look(self, request: Request) -> _Look:
        """Those of one role, at one address of the console, see the same."""
        key = (guest_of(request).role, base_of(request), where(request.scope), request.url.query)
        if key not in self._looks and len(self._looks) >= MOST:
            now = self._clock.monotonic()
            self._looks = {
                key: look for key, look in self._looks.items() if look.asking.locked() or now - look.at < KEPT
            }
        return self._looks.setdefault(key, _Look())
