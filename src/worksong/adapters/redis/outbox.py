"""Plain jobs on their way to the server: what is pushed in one turn of the loop leaves in one command."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import NamedTuple, TypeAlias

from worksong.domain.errors import BackendRefused, EnqueueOutcomeUnknown, WorksongError
from worksong.domain.job import Job

MOST = 1000
"""Jobs per push and per fetch: what a script can hand on in one command."""
HEAVY = 8 << 20
"""Bytes of documents from which on one command carries no more of them."""

Document: TypeAlias = tuple[Job, bytes]
Send: TypeAlias = Callable[[Sequence[Document], float], Awaitable[None]]
"""Push all of them, or none and raise what refused it."""


def portions(documents: Sequence[Document]) -> Iterator[Sequence[Document]]:
    """As many at a time as one command should carry."""
    first = size = 0
    for place, (_, raw) in enumerate(documents):
        size += len(raw)
        if place > first and (place - first == MOST or size > HEAVY):
            yield documents[first:place]
            first, size = place, len(raw)
    if first < len(documents):
        yield documents[first:]


class Outbox:
    """Gathers the pushes of many callers; each hears its own fate, and no one's mistake is another's."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._waiting: list[_Parcel] = []
        self._under_way: set[asyncio.Task[None]] = set()

    async def put(self, documents: Sequence[Document], now: float) -> None:
        """Push what one command can carry: all of it, or none."""
        loop = asyncio.get_running_loop()
        if not self._waiting or self._waiting[0].fate.get_loop() is not loop:  # one that ended left them behind
            self._waiting = []
            loop.call_soon(self._leave)
        parcel = _Parcel(documents, now, loop.create_future())
        self._waiting.append(parcel)
        await parcel.fate

    def _leave(self) -> None:
        waiting, self._waiting = self._waiting, []
        load: list[_Parcel] = []
        count = size = 0
        for parcel in waiting:
            if parcel.fate.done():
                continue  # who gave up in time has pushed nothing
            weight = sum([len(raw) for _, raw in parcel.documents])
            if load and (count + len(parcel.documents) > MOST or size + weight > HEAVY):
                self._send_off(load)
                load, count, size = [], 0, 0
            load.append(parcel)
            count, size = count + len(parcel.documents), size + weight
        if load:
            self._send_off(load)

    def _send_off(self, load: Sequence[_Parcel]) -> None:
        task = asyncio.get_running_loop().create_task(self._carry(load))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def _carry(self, load: Sequence[_Parcel]) -> None:
        failure: Exception | None = None
        try:
            await self._send([document for parcel in load for document in parcel.documents], load[-1].now)
        except BackendRefused as refusal:
            if len(load) > 1:
                for parcel in load:  # one of them is to blame, and none was taken in
                    await self._carry([parcel])
                return
            failure = refusal
        except asyncio.CancelledError:  # the loop ends
            for parcel in load:
                parcel.fate.cancel()
            raise
        except Exception as other:
            failure = other
        for parcel in load:
            parcel.end(failure)


class _Parcel(NamedTuple):
    documents: Sequence[Document]
    now: float
    fate: asyncio.Future[None]

    def end(self, failure: Exception | None) -> None:
        """Tell the caller, who may be gone: its own ids, and an error of its own, which no one else adds to."""
        if self.fate.done():
            return
        if failure is None:
            self.fate.set_result(None)
        elif isinstance(failure, EnqueueOutcomeUnknown):
            ids = [job.id for job, _ in self.documents]
            self.fate.set_exception(EnqueueOutcomeUnknown(ids, str(failure.__cause__ or "")))
        else:
            self.fate.set_exception(type(failure)(*failure.args) if isinstance(failure, WorksongError) else failure)
