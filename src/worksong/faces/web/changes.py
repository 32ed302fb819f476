"""Open pages are told when to look again: one watcher asks the backend, however many pages there are."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Generator, Hashable

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from worksong.domain.capability import Capability
from worksong.domain.errors import WorksongError
from worksong.faces.web.doing import WHOLE
from worksong.service.desk import Desk
from worksong.service.glance import Glance

EVERY = 1.0
"""Seconds between two looks of the watcher."""
SELDOM = 5.0
"""Seconds after which a page looks again though the watcher saw no change: it sees counts, and not every job."""
LONGEST = 20.0
"""Seconds of a stream; a browser opens the next one by itself. A server that stops waits for no page longer."""
MOST = 50
"""Pages that are told; more of them ask by the clock."""
LOOK = b"event: look\ndata: now\n\n"


class Changes:
    """One for a console."""

    def __init__(self, desk: Desk, patience: float) -> None:
        self._desk, self._patience = desk, patience
        self._bells: set[asyncio.Event] = set()
        self._watcher: asyncio.Task[None] | None = None
        self._over = False

    def leave(self) -> None:
        """End the streams, as the process is about to end."""
        self._over = True
        self._ring()

    async def answer(self, request: Request) -> Response:
        """A stream of server-sent events, each of which asks the page to look; nothing where there can be none."""
        if self._over or len(self._bells) >= MOST or request.scope.get(WHOLE):
            return Response(status_code=204)  # for a browser this is the end of the matter: it asks by the clock
        return StreamingResponse(self._stream(), media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})

    async def _stream(self) -> AsyncIterator[bytes]:
        now = asyncio.get_running_loop().time
        end, pause = now() + LONGEST, EVERY  # the first look soon: what changed before this began was told to others
        with self._listening() as bell:
            yield b"retry: 1000\n\n"
            while not self._over and (left := end - now()) > 0:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(min(left, pause)):
                        await bell.wait()
                bell.clear()
                pause = SELDOM
                yield LOOK

    @contextlib.contextmanager
    def _listening(self) -> Generator[asyncio.Event]:
        """The first one has the watcher begin, the last one has it end."""
        bell = asyncio.Event()
        self._bells.add(bell)
        if self._watcher is None or self._watcher.done():
            self._watcher = asyncio.ensure_future(self._watch())
        try:
            yield bell
        finally:
            self._bells.discard(bell)
            if not self._bells and self._watcher:
                self._watcher.cancel()
                self._watcher = None  # whoever listens next has another one begin, though this one has not ended yet

    async def _watch(self) -> None:
        before = await self._seen()
        while True:
            await asyncio.sleep(EVERY)
            now = await self._seen()
            if now != before:
                before = now
                self._ring()

    def _ring(self) -> None:
        for bell in self._bells:
            bell.set()

    async def _seen(self) -> Hashable:
        """What there is, as far as a change of it is worth a look; that the backend is away is one, too."""
        if Capability.BROWSE not in self._desk.capabilities:
            return None
        try:
            async with asyncio.timeout(self._patience):
                return _sight(await self._desk.glance())
        except (WorksongError, TimeoutError) as failure:
            return type(failure).__name__


def _sight(glance: Glance) -> Hashable:
    """Without what changes by itself: ages and beats."""
    counts = tuple(sorted(glance.counts.items()))
    queues = tuple((view.name, view.count, view.paused, view.running, view.limit) for view in glance.queues)
    pools = None if glance.pools is None else tuple((view.id, view.told) for view in glance.pools)
    busy = tuple((view.worker_id, view.job_id, view.checkin) for view in glance.busy)
    return counts, queues, pools, busy
