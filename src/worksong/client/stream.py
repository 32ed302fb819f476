"""Streams of events, read to their end: one that breaks off is taken up behind the last event that came."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from typing import Any, NamedTuple, TypeVar

from msgspec.structs import replace

from worksong.blocking import Background
from worksong.client.answers import JobEvent, PipelineEvent, read
from worksong.client.connection import Connection, pause
from worksong.client.requests import Request, place
from worksong.domain.errors import BackendUnavailable
from worksong.perloop import PerLoop

BEAT = 20.0
"""Seconds after which a service has said at the latest that a stream is still there."""
E = TypeVar("E", JobEvent, PipelineEvent)


class _Sent(NamedTuple):
    """An event as it came."""

    id: str
    kind: str
    data: str


def of(kind: str, record_id: str, event: type[E]) -> Request[E]:
    """What is asked to follow a record; `kind`: `jobs` or `pipelines`."""
    return Request("GET", place("api", "v1", kind, record_id, "events"), event, patience=BEAT)


async def events(connections: PerLoop[Connection], request: Request[E]) -> AsyncGenerator[E]:
    """All events until the last one, which ends what is followed; raises what `Connection.send` does."""
    connection, seen, attempt = connections.here(), "", 0
    while True:
        try:
            async with contextlib.aclosing(connection.lines(request, seen)) as lines:
                async for sent in _parsed(lines):
                    attempt = 0
                    if sent is None:
                        continue
                    seen = sent.id
                    yield replace(read(sent.data.encode(), request.answer), kind=sent.kind)
                    if sent.kind == "end":
                        return
            raise BackendUnavailable(f"the stream {request.path} ended before what it tells of had")
        except BackendUnavailable as away:
            attempt += 1
            if attempt >= connection.attempts:
                raise
            await asyncio.sleep(pause(attempt, away))


def each(found: AsyncGenerator[E], background: Background) -> Iterator[E]:
    """The same for code without an event loop."""
    waiting = set[asyncio.Task[Any]]()
    try:
        while (event := background.call(_next(found, waiting))) is not None:
            yield event
    finally:
        background.call(_closed(found, waiting))


async def _next(found: AsyncGenerator[E], waiting: set[asyncio.Task[Any]]) -> E | None:
    """`waiting`: has this task meanwhile."""
    task = asyncio.current_task()
    assert task is not None
    waiting.add(task)
    try:
        return await anext(found, None)
    finally:
        waiting.discard(task)


async def _closed(found: AsyncGenerator[E], waiting: set[asyncio.Task[Any]]) -> None:
    """Also while the next one is waited for still, for somebody who was interrupted, as by Ctrl-C."""
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    await found.aclose()


async def _parsed(lines: AsyncIterator[str]) -> AsyncGenerator[_Sent | None]:
    """Events as the service writes them: each field in one line, an empty line behind them.

    None: it has said that it is still there.
    """
    fields: dict[str, str] = {}
    async for line in lines:
        name, _, text = line.partition(": ")
        if line.startswith(":"):
            yield None
        elif name:
            fields[name] = text
        elif not line and "data" in fields:
            yield _Sent(fields.get("id", ""), fields.get("event", ""), fields["data"])
            fields = {}
