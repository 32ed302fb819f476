"""Streams of server-sent events: so many at once, until what is followed has ended, or the process does."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from typing import TypeAlias, TypeVar

import msgspec

from worksong.faces.asgi.refused import Refused
from worksong.faces.http.answers import Answer, Asked
from worksong.ports.clock import Clock
from worksong.service.following import Event
from worksong.service.progress import Advance
from worksong.service.refusals import Missing

EVENTS = "text/event-stream"
BEAT = 15.0
"""Seconds without an event after which a stream says that it is still there."""
STILL_HERE = b": still here\n\n"

E = TypeVar("E", Event, Advance)
Follow: TypeAlias = Callable[[str, str], AsyncGenerator[E | None]]
"""Takes an id, and the last event that was seen."""
Show: TypeAlias = Callable[[E], msgspec.Struct]
"""The data of an event."""

_encode = msgspec.json.Encoder().encode


class Streams:
    """Answers those who follow something. Belongs to an event loop."""

    def __init__(self, clock: Clock, most: int, leaving: asyncio.Event) -> None:
        """`most`: streams that are open at once. `leaving`: set when the process is about to end."""
        self._clock, self._most, self._leaving = clock, most, leaving
        self._open = 0

    async def answer(self, asked: Asked, follow: Follow[E], show: Show[E]) -> Answer:
        """A stream of what is new to whoever asks, or 204 where the end was seen; raises `Refused` for one too many."""
        if self._open >= self._most:
            raise Refused(503, "busy", "too many streams of events at once", wait=1.0)
        seen = asked.header(b"last-event-id") or ""
        stream = self._streamed(follow(asked.id, seen), seen, show)
        first = await anext(stream, None)  # it has begun, so however it is closed, it is counted no more
        if first is None:
            return Answer(204)  # a browser asks again after every end, until it is told this
        return Answer(200, first, EVENTS, stream=stream)

    async def _streamed(self, events: AsyncGenerator[E | None], seen: str, show: Show[E]) -> AsyncGenerator[bytes]:
        """The events as they are sent; none at all where the end was seen."""
        self._open += 1
        try:
            async with contextlib.aclosing(events):
                first = await anext(events)
                if first and first.kind == "end" and first.id == seen:
                    return
                yield _written(first, show) if first else b""
                async with contextlib.aclosing(self._later(events, show)) as later:
                    with contextlib.suppress(Missing):  # somebody deletes it: whoever asks again is told so
                        async for text in later:
                            yield text
        finally:
            self._open -= 1

    async def _later(self, events: AsyncGenerator[E | None], show: Show[E]) -> AsyncGenerator[bytes]:
        told_at = self._clock.monotonic()
        async for event in events:
            if self._leaving.is_set():
                return
            late = self._clock.monotonic() - told_at >= BEAT
            text = _written(event, show) if event else STILL_HERE if late else b""
            told_at = self._clock.monotonic() if text else told_at
            yield text


def _written(event: E, show: Show[E]) -> bytes:
    return b"id: %b\nevent: %b\ndata: %b\n\n" % (event.id.encode(), event.kind.encode(), _encode(show(event)))
