"""A worker that lives as long as an ASGI application: with FastAPI under a real uvicorn, and step by step."""

from __future__ import annotations

import asyncio
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from starlette.applications import Starlette

from faces.stage import Program, Shop
from frameworks.stage import Python, Site
from patience import until
from worksong import ConfigError, Stopped, Worker
from worksong.domain.lifecycle import State

UVICORN = ("-m", "uvicorn", "--port", "0")
LISTENS = "running on"
ENDED = (0, -signal.SIGTERM)
"""How uvicorn ends when told to, by its version."""


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(f"sqlite:///{tmp_path}/jobs.db?namespace=signups")


def queued(shop: Shop) -> int:
    return shop.do(lambda backend: backend.counts())[State.QUEUED]


def ended(site: Site) -> bool:
    site.program.send(signal.SIGTERM)
    return site.program.wait() in ENDED


# under a server


def test_jobs_run_beside_the_requests_of_an_application(python: Python, shop: Shop) -> None:
    site = Site(python(*UVICORN, "examples.fastapi_app.main:app", url=shop.url), LISTENS)
    # When requests enqueue, from a coroutine and from a thread
    for path, email in (("/signups", "ann@example.com"), ("/signups/plain", "bob@example.com")):
        answer = site.post(path, json={"email": email})
        assert answer.status_code == 202
        # Then the jobs run, and later requests find what became of them
        assert site.get(f"/signups/{answer.json()['job']}?wait=60").json() == {"said": f"welcome, {email}"}
    # And the console that is mounted there shows who ran them
    until(lambda: site.get("/console/workers").status_code == 200, "the page is there")
    assert "No worker runs" not in site.get("/console/workers").text
    assert ended(site), site.program.output
    assert queued(shop) == 0


def test_a_web_process_may_only_enqueue(python: Python, shop: Shop) -> None:
    # Given an application whose worker is off
    site = Site(python(*UVICORN, "examples.fastapi_app.main:app", url=shop.url, WORKSONG_WORKER_OFF="1"), LISTENS)
    for path in ("/signups", "/signups/plain"):
        assert site.post(path, json={"email": "ann@example.com"}).status_code == 202
    assert ended(site), site.program.output
    # Then its jobs wait for others
    assert queued(shop) == 2


def test_requests_that_are_answered_during_the_stop_still_enqueue_and_nothing_is_lost(
    python: Python, shop: Shop, tmp_path: Path
) -> None:
    # Given a request and a job under way
    site = Site(python(*UVICORN, "frameworks.held.fastapi_app:app", url=shop.url), LISTENS)
    journal = tmp_path / "journal"
    site.post("/begin/early")
    with ThreadPoolExecutor() as others:
        late = others.submit(site.post, "/held/late")
        until(
            lambda: {"request began", "job early began"} <= set(journal.read_text().splitlines()), "both are under way"
        )
        # When the server is told to stop, and then the request ends
        site.program.send(signal.SIGTERM)
        site.program.line("Shutting down")
        (tmp_path / "request").touch()
        (tmp_path / "late").touch()
        assert late.result().status_code == 200
    until(lambda: "drained" in journal.read_text(), "the requests have drained")
    assert "job early ended" not in journal.read_text()
    (tmp_path / "early").touch()
    assert site.program.wait() in ENDED, site.program.output
    # Then all came to its end in this order: requests, running jobs, worker
    events = journal.read_text().splitlines()
    order = ["started", "request ended", "drained", "job early ended", "stopped"]
    assert [event for event in events if event in order] == order
    # And what the last request enqueued has run, or waits for whoever comes next
    assert ("job late ended" in events) + queued(shop) == 1
    assert finished(python("-m", "worksong", "run", "frameworks.held.fastapi_app:worker", "--burst", url=shop.url))
    assert journal.read_text().count("job late ended") == journal.read_text().count("job early ended") == 1


def finished(program: Program) -> bool:
    return program.wait() == 0


def test_a_worker_that_cannot_start_ends_the_server_and_says_why(python: Python, tmp_path: Path) -> None:
    server = python(*UVICORN, "examples.fastapi_app.main:app", url=f"sqlite:///{tmp_path}/nowhere/jobs.db")
    assert server.wait() != 0
    assert "Application startup failed" in server.output
    assert "nowhere" in server.output


# step by step


async def test_it_starts_and_stops_with_the_block_and_may_do_so_again() -> None:
    worker = Worker()
    done: list[int] = []

    @worker.job()
    async def note(number: int) -> None:
        done.append(number)

    for number in (1, 2):
        async with worker.lifespan(object()):
            await (await note.aperform(number)).aresult(60)
        with pytest.raises(Stopped):
            await note.aperform(3)
    assert done == [1, 2]


async def test_starlette_takes_it_as_it_is() -> None:
    worker = Worker()
    note = worker.register("note", lambda: 7)
    app = Starlette(lifespan=worker.lifespan)
    async with app.router.lifespan_context(app):
        assert await (await note.aperform()).aresult(60) == 7
    with pytest.raises(Stopped):
        await note.aperform()


@pytest.mark.parametrize("said", ["1", "true", "YES", "on"])
async def test_the_variable_keeps_the_worker_off(said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKSONG_WORKER_OFF", said)
    worker = Worker()
    async with worker.lifespan():
        assert not worker.was_started
    # And what the application says goes before
    async with worker.lifespan(worker_off=False):
        assert worker.was_started


@pytest.mark.parametrize("said", ["", "0", "false", "No", "off"])
async def test_the_variable_leaves_the_worker_on(said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKSONG_WORKER_OFF", said)
    worker = Worker()
    async with worker.lifespan():
        assert worker.was_started


async def test_a_variable_that_says_neither_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKSONG_WORKER_OFF", "perhaps")
    with pytest.raises(ConfigError, match="'perhaps' is neither yes nor no"):
        async with Worker().lifespan():
            pass


async def test_a_worker_that_cannot_start_keeps_the_application_from_starting(tmp_path: Path) -> None:
    worker = Worker(f"sqlite:///{tmp_path}/nowhere/jobs.db")
    with pytest.raises(ConfigError):
        async with worker.lifespan():
            pytest.fail("it has started")


async def test_what_threads_have_enqueued_through_is_closed_as_well(tmp_path: Path) -> None:
    worker = Worker(f"sqlite:///{tmp_path}/jobs.db")
    note = worker.register("note", lambda: None)
    async with worker.lifespan(worker_off=True):
        await asyncio.to_thread(note.perform)
        assert worker._stores.jobs.loops == 1
    assert worker._stores.jobs.loops == 0
