"""The Python client follows jobs and pipelines to their ends, over streams that break off."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncGenerator, Coroutine
from typing import Any, TypeVar

import pytest

from patience import PATIENCE
from service.scenarios import NOBODY
from service.stage import Firm
from service.test_client import AWAY, JOB, Moody, Said, answering
from worksong.blocking import Background
from worksong.client import Client, Forbidden, NotFound, Status, Step
from worksong.client.answers import JobEvent, read
from worksong.client.stream import each
from worksong.domain.errors import BackendRefused, BackendUnavailable
from worksong.faces.http import HttpFace
from worksong.service.access import Access, Scope, accepted

T = TypeVar("T")
KINDS = ("status", "progress", "end")


def stream(*events: tuple[str, str, str], tail: str = "") -> Said:
    """(id, kind, status) of each; what follows broke off."""
    job = json.loads(JOB)
    told = [
        f"id: {one}\nevent: {kind}\ndata: {json.dumps({'job': job | {'status': status}})}\n\n"
        for one, kind, status in events
    ]
    return 200, {"Content-Type": "text/event-stream"}, ("".join(told) + tail).encode()


async def test_a_job_and_a_pipeline_are_followed_to_their_ends(firm: Firm) -> None:
    async with answering(HttpFace(firm.service)) as url, Client(url) as client:
        job = await client.acreate_job("slow")
        pipeline = await client.acreate_pipeline("p", [Step("slow"), [Step("double"), Step("double", {"n": 3})]])
        await firm.ran(2)
        # When they are let go on as soon as somebody follows them
        told = []
        async for event in client.afollow_job(job.id):
            told.append((event.kind, event.job.status))
            firm.may_end.set()
        moved = [event async for event in client.afollow_pipeline(pipeline.id)]
    # Then the ends are told last
    assert told[0][0] == "status"
    assert told[-1] == ("end", Status.COMPLETED)
    assert (moved[-1].kind, moved[-1].pipeline.status) == ("end", Status.COMPLETED)
    assert (moved[-1].done, moved[-1].total) == (3, 3)
    last = {one.job.id: one.job.status for event in moved for one in event.jobs}
    assert list(last.values()) == [Status.COMPLETED] * 3


async def test_code_without_an_event_loop_follows_them_too(firm: Firm) -> None:
    async with answering(HttpFace(firm.service)) as url:

        def program() -> tuple[list[str], list[int], str]:
            with Client(url) as client:
                job = client.create_job("double")
                kinds = [event.kind for event in client.follow_job(job.id)]
                pipeline = client.create_pipeline("p", [Step("double"), Step("fail")])
                events = list(client.follow_pipeline(pipeline.id))
                for event in client.follow_job(job.id):  # who has heard enough may leave
                    return kinds, [event.done for event in events], event.job.id
                raise AssertionError("nothing was told")

        kinds, done, job_id = await asyncio.to_thread(program)
    assert kinds[-1] == "end"
    assert set(kinds) <= set(KINDS)
    assert done[-1] == 1
    assert (await firm.service.job(job_id)).status.ended


async def test_a_stream_that_breaks_off_is_taken_up_where_it_was() -> None:
    # Given a service that ends its streams too early, also within an event, and that is away in between
    moody = Moody(
        stream(("1", "status", "PENDING"), tail="id: 2\nevent: sta"),
        AWAY,
        stream(("2", "status", "IN_PROGRESS"), ("3-1.5", "progress", "IN_PROGRESS")),
        stream(("4", "end", "COMPLETED")),
    )
    async with answering(moody) as url, Client(url) as client:
        told = [(event.kind, event.job.status) async for event in client.afollow_job("1")]
    # Then each event is told once, and the service hears what was seen
    assert told == [
        ("status", "PENDING"),
        ("status", "IN_PROGRESS"),
        ("progress", "IN_PROGRESS"),
        ("end", "COMPLETED"),
    ]
    assert [headers.get(b"last-event-id") for headers in moody.asked] == [None, b"1", b"1", b"3-1.5"]


async def test_after_some_attempts_without_any_event_it_gives_up() -> None:
    moody = Moody(stream(("1", "status", "PENDING")), stream(), AWAY, stream())
    async with answering(moody) as url, Client(url, attempts=2) as client:
        events = client.afollow_job("1")
        assert (await anext(events)).kind == "status"
        with pytest.raises(BackendUnavailable, match="ended before what it tells of had"):
            await anext(events)
    assert len(moody.asked) == 2


async def test_while_the_service_says_that_it_is_there_it_does_not_give_up() -> None:
    # Given a job that runs for long behind something that ends long answers
    still_here = [stream(tail=": still here\n\n") for _ in range(5)]
    moody = Moody(stream(("1", "status", "IN_PROGRESS")), *still_here, stream(("2", "end", "COMPLETED")))
    async with answering(moody) as url, Client(url, attempts=2) as client:
        told = [event.kind async for event in client.afollow_job("1")]
    # Then its end is told
    assert told == ["status", "end"]
    assert not moody.answers


class Interrupted(Background):
    """Whoever waits here for the first time is interrupted, as by Ctrl-C, as soon as what he waits for goes on."""

    def __init__(self) -> None:
        super().__init__()
        self.lasts = threading.Event()
        self._is_first = True

    def call(self, coroutine: Coroutine[Any, Any, T], **_: Any) -> T:
        waited_for = self.submit(coroutine)
        was_first, self._is_first = self._is_first, False
        if was_first:
            assert self.lasts.wait(PATIENCE)
            raise KeyboardInterrupt
        return waited_for.result(PATIENCE)


def test_who_is_interrupted_while_he_waits_is_told_so_and_leaves_nothing_open() -> None:
    # Given a stream that says nothing, and takes its time to close
    background, closed = Interrupted(), threading.Event()

    async def silent() -> AsyncGenerator[JobEvent]:
        try:
            background.lasts.set()
            await asyncio.Event().wait()
            yield read(b'{"job": %b}' % JOB, JobEvent)
        finally:
            await asyncio.sleep(0.01)
            closed.set()

    # When somebody waits for its first event, and gives up, then it is closed
    with pytest.raises(KeyboardInterrupt):
        next(iter(each(silent(), background)))
    assert closed.is_set()


async def test_what_cannot_be_followed_is_told_at_once(firm: Firm) -> None:
    enqueuer = accepted("shop", [Scope.ENQUEUE], "token-of-the-shop-0123")
    async with answering(HttpFace(firm.service)) as url, Client(url) as client:
        for events in (client.afollow_job(NOBODY), client.afollow_pipeline(NOBODY)):
            with pytest.raises(NotFound, match=NOBODY):
                await anext(events)
    async with (
        answering(HttpFace(firm.service, access=Access(tokens=[enqueuer]))) as url,
        Client(url, token="token-of-the-shop-0123") as client,
    ):
        with pytest.raises(Forbidden):
            await anext(client.afollow_job(NOBODY))
    moody = Moody((200, {}, b"id: 1\nevent: end\ndata: nonsense\n\n"))
    async with answering(moody) as url, Client(url) as client:
        with pytest.raises(BackendRefused, match="is the URL right"):
            await anext(client.afollow_job("1"))
