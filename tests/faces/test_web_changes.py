"""Open pages are told when to look: by one watcher, for as long as somebody listens, and no longer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
from starlette.types import Message

from faces.console import Yard
from faces.test_web_pages import Shy, stock, store_of
from faces.visitor import visiting
from patience import PATIENCE, auntil
from worksong import Worker
from worksong.domain.capability import Capability
from worksong.domain.job import Job
from worksong.faces.web import Console, WsgiConsole, changes
from worksong.testing.clock import FakeClock
from worksong.testing.flaky import FlakyBackend, error

VIEWER = "viewer-token-0123456789"


class Page:
    """A page that listens, as a browser holds it open."""

    def __init__(self, console: Console, headers: dict[str, str] | None = None, **more: Any) -> None:
        self.status = 0
        self._heard: asyncio.Queue[bytes] = asyncio.Queue()
        given = {"host": "127.0.0.1", **(headers or {})}
        self._gone = asyncio.Event()
        scope = {
            "type": "http",
            "http_version": "1.1",
            "method": "GET",
            "scheme": "http",
            "path": "/changes",
            "query_string": b"",
            "client": ("127.0.0.1", 50000),
            "headers": [(name.lower().encode(), value.encode()) for name, value in given.items()],
            **more,
        }
        self.task = asyncio.ensure_future(console(scope, self._receive, self._send))

    async def _receive(self) -> Message:
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        elif message.get("body"):
            self._heard.put_nowait(message["body"])

    async def hears(self) -> bytes:
        """The next thing that it is told."""
        async with asyncio.timeout(PATIENCE):
            return await self._heard.get()

    async def is_told_to_look(self) -> None:
        assert await self.hears() == changes.LOOK

    async def ends(self) -> None:
        async with asyncio.timeout(PATIENCE):
            await self.task

    async def leave(self) -> None:
        self._gone.set()
        await self.ends()


@asynccontextmanager
async def listening(console: Console, count: int = 1) -> AsyncIterator[list[Page]]:
    """Open pages of which each has heard that it is listened to."""
    pages = [Page(console) for _ in range(count)]
    try:
        for page in pages:
            assert await page.hears() == b"retry: 1000\n\n"
            assert page.status == 200
            await page.is_told_to_look()  # once soon after it began, whatever happens
        yield pages
    finally:
        for page in pages:
            await page.leave()


@pytest.fixture(autouse=True)
def brisk(monkeypatch: pytest.MonkeyPatch) -> None:
    """The watcher looks often, and pages hear of changes only."""
    monkeypatch.setattr(changes, "EVERY", 0.01)
    monkeypatch.setattr(changes, "SELDOM", 3600.0)
    monkeypatch.setattr(changes, "LONGEST", 3600.0)


async def test_a_change_is_told_to_every_page_by_one_watcher() -> None:
    # Given many pages that listen
    worker = Worker()
    backend = FlakyBackend(worker.backend())
    console = Console(store_of(backend))
    async with listening(console, 20) as pages:
        # When a job is enqueued, and the watcher has seen that there was none
        await auntil(partial(_has_looked, backend))
        await Yard(worker.backend()).push(Job("mail", id="q1"))
        # Then all are told to look, and one watcher has asked for all of them
        for page in pages:
            await page.is_told_to_look()
        assert len([task for task in asyncio.all_tasks() if "Changes._watch" in repr(task.get_coro())]) == 1
    # And nobody watches once nobody listens
    await auntil(_no_watcher)
    seen = backend.calls["counts"]
    await asyncio.sleep(0.05)
    assert backend.calls["counts"] == seen


async def test_who_comes_as_the_last_one_leaves_is_told_too() -> None:
    worker = Worker()
    backend = FlakyBackend(worker.backend())
    changing = Console(store_of(backend))._changes
    # Given the last page that leaves, and another that comes before the watcher has ended
    with changing._listening():
        await asyncio.sleep(0)
    seen = backend.calls["counts"]
    with changing._listening() as bell:
        await auntil(partial(_has_looked, backend, seen + 1))
        # When there is a change, then it hears of it
        await Yard(worker.backend()).push(Job("mail", id="q1"))
        async with asyncio.timeout(PATIENCE):
            await bell.wait()


def _has_looked(backend: FlakyBackend, times: int = 0) -> bool:
    return backend.calls["counts"] > times


def _no_watcher() -> bool:
    return not [task for task in asyncio.all_tasks() if "Changes._watch" in repr(task.get_coro())]


async def test_that_the_backend_goes_away_and_comes_back_is_a_change() -> None:
    worker = Worker()
    flaky = FlakyBackend(worker.backend())
    async with listening(Console(store_of(flaky))) as (page,):
        await auntil(partial(_has_looked, flaky))
        flaky.expect("counts", [error])
        await page.is_told_to_look()


async def test_pages_look_now_and_then_where_nothing_can_be_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "SELDOM", 0.01)
    async with listening(Console(store_of(Shy(Worker().backend(), Capability.BROWSE)))) as (page,):
        await page.is_told_to_look()
        await page.is_told_to_look()


async def test_streams_end_with_the_process_and_none_begins_then() -> None:
    console = Console(Worker())
    async with listening(console, 3) as pages:
        console.leave()
        for page in pages:
            await page.ends()
        late = Page(console)
        await late.ends()
        assert late.status == 204


async def test_a_stream_ends_by_itself_and_the_browser_opens_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "LONGEST", 0.05)
    page = Page(Console(Worker()))
    await page.ends()
    assert page.status == 200
    assert await page.hears() == b"retry: 1000\n\n"


async def test_there_are_no_more_streams_than_a_server_bears(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "MOST", 2)
    console = Console(Worker())
    async with listening(console, 2):
        third = Page(console)
        await third.ends()
        assert third.status == 204


async def test_who_may_not_look_is_told_nothing() -> None:
    console = Console(Worker(), viewer_token=VIEWER)
    stranger = Page(console)
    await stranger.ends()
    assert stranger.status in (303, 401)
    viewer = Page(console, {"Authorization": f"Bearer {VIEWER}"})
    assert await viewer.hears() == b"retry: 1000\n\n"
    await viewer.leave()


def test_behind_wsgi_pages_ask_by_the_clock() -> None:
    # Given a server that sends an answer only when it is complete
    environ = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": "/changes",
        "wsgi.url_scheme": "http",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "HTTP_HOST": "127.0.0.1",
        "REMOTE_ADDR": "127.0.0.1",
    }
    console = WsgiConsole(Worker())
    # Then it is not kept waiting, and the page does not even try
    assert console.answer(environ).status == 204
    assert b'data-changes=""' in console.answer({**environ, "PATH_INFO": "/workers"}).body


async def test_pages_that_look_share_what_the_first_of_them_sees() -> None:
    worker, clock = Worker(), FakeClock()
    backend = FlakyBackend(worker.backend())
    await stock(worker)
    store = store_of(backend)._replace(clock=clock)
    async with visiting(store, token="admin-token-0123456789", viewer_token=VIEWER) as visitor:
        look = {"HX-Request": "true", "Authorization": f"Bearer {VIEWER}"}
        # When many look at the same page at the same time
        pages = await asyncio.gather(
            *(visitor.get("/queues", headers={"Accept": "text/html", **look}) for _ in range(20))
        )
        # Then the backend was asked once
        assert backend.calls["counts"] == 1
        assert len({page.text for page in pages}) == 1
        # And somebody with another role, another page, or who comes anew sees for himself
        other = {**look, "Accept": "text/html", "Authorization": "Bearer admin-token-0123456789"}
        assert 'name="act"' in (await visitor.get("/queues", headers=other)).text
        await visitor.get("/workers", headers=look)
        assert backend.calls["counts"] == 3
        await visitor.get("/queues", headers={"Accept": "text/html", "Authorization": look["Authorization"]})
        assert backend.calls["counts"] == 4
        # And a little later it is asked again
        await clock.aadvance(1)
        await visitor.get("/queues", headers={"Accept": "text/html", **look})
        assert backend.calls["counts"] == 5
