"""What is offered under /api/v1: pages, batches, keys, waiting, following, cancelling and retrying."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from service.browser import Browser, asking
from service.scenarios import NOBODY, job, pipe
from service.stage import Firm, a_job
from worksong import BackendUnavailable, current
from worksong.domain.record import Status
from worksong.faces.http import HttpFace, Limits
from worksong.service import following, lookup
from worksong.service.health import Health, Lookout
from worksong.testing import FakeClock

LATER = {"run_at": "2027-01-02T03:04:05Z"}


async def pages(browser: Browser, path: str, **query: Any) -> list[list[str]]:
    """The names on every page."""
    found: list[list[str]] = []
    cursor: str | None = ""
    while cursor is not None:
        answer = (await browser.get(path, params={**query, "cursor": cursor})).json()
        found.append([one["name"] for one in answer.get("jobs", answer.get("pipelines"))])
        cursor = answer["next"]
    return found


async def test_jobs_come_in_pages_sought_by_status_task_and_words(firm: Firm, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given more jobs than a page shows, and than are read at once
    monkeypatch.setattr(lookup, "CHUNK", 3)
    async with asking(HttpFace(firm.service)) as browser:
        batch = [
            {"name": f"n{number}", "task_name": "fail" if number % 2 else "double", "description": f"kind-{number % 3}"}
            for number in range(10)
        ]
        created = (await browser.post("/api/v1/records", {"jobs": batch})).json()["jobs"]
        for one in created:
            await firm.ended(one["id"])

        # When they are asked for in all ways
        every = await pages(browser, "/api/v1/records", limit=4)
        failed = await pages(browser, "/api/v1/records", status="failed", limit=200)
        doubles = await pages(browser, "/api/v1/records", task="dou*", q="Kind-0")
        reason = await pages(browser, "/api/v1/records", q="such customer n3")

    # Then each is told once
    names = {f"n{number}" for number in range(10)}
    assert {name for page in every for name in page} == names
    assert [len(page) for page in every[:2]] == [4, 4]
    assert {name for page in failed for name in page} == {"n1", "n3", "n5", "n7", "n9"}
    assert {name for page in doubles for name in page} == {"n0", "n6"}
    assert reason == [["n3"]]


async def test_a_page_that_had_to_look_at_too_many_says_where_it_goes_on(
    firm: Firm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookup, "CHUNK", 2)
    monkeypatch.setattr(lookup, "LOOKED_AT", 4)
    async with asking(HttpFace(firm.service)) as browser:
        batch = [job(**LATER) | {"name": f"n{number}"} for number in range(7)]
        created = (await browser.post("/api/v1/records", {"jobs": batch})).json()["jobs"]
        sought = sorted(created, key=lambda one: one["id"])[-1]["name"]  # of one instant, the last is the last by id
        found = await pages(browser, "/api/v1/records", q=sought)
    assert found == [[], [sought]]


async def test_pipelines_come_in_pages_and_one_with_its_jobs(firm: Firm) -> None:
    async with asking(HttpFace(firm.service)) as browser:
        for number in range(3):
            await browser.post("/api/pipelines", pipe("double", "double", **LATER) | {"name": f"p{number}"})
        found = await pages(browser, "/api/v1/pipelines", limit=2, status="pending")
        one = (await browser.get("/api/v1/pipelines")).json()["pipelines"][0]
        whole = (await browser.get(f"/api/v1/pipelines/{one['id']}")).json()
    assert sorted(name for page in found for name in page) == ["p0", "p1", "p2"]
    assert "jobs" not in one
    assert [step["pipeline_id"] for step in whole["jobs"]] == [one["id"]] * 2


@pytest.mark.parametrize(
    "query",
    [
        "limit=many",
        "cursor=nonsense",
        "cursor=%F0",
        "cursor=W10",
        "cursor=WzEuMCwiYVx1MDAwMCJd",
        "status=napping",
        "q=" + "x" * 501,
        "task=" + "x" * 9000,
    ],
)
async def test_what_no_page_can_be_of_is_refused(firm: Firm, query: str) -> None:
    async with asking(HttpFace(firm.service)) as browser:
        answer = await browser.get(f"/api/v1/records?{query}")
    assert (answer.status_code, answer.json()["error"]["type"]) == (400, "bad_request")


@pytest.mark.parametrize("limit", ["0", "-3", "999999999999", "1"])
async def test_a_limit_out_of_range_is_brought_into_it(firm: Firm, limit: str) -> None:
    async with asking(HttpFace(firm.service)) as browser:
        assert (await browser.get(f"/api/v1/records?limit={limit}")).status_code == 200


# batches and keys


@pytest.mark.parametrize(
    ("jobs", "text"),
    [
        (None, "jobs required"),
        ([], "jobs required"),
        ([job(), {"name": "x"}], "jobs[1]: task_name required"),
        ([job(), job(run_at="soon")], 'jobs[1]: parsing time "soon"'),
        ([job()] * 1001, "a batch has at most 1000 jobs, 1001 given"),
        ([None], "the body does not fit"),
    ],
)
async def test_of_a_batch_that_cannot_be_nothing_is_created(firm: Firm, jobs: Any, text: str) -> None:
    async with asking(HttpFace(firm.service)) as browser:
        answer = await browser.post("/api/v1/records", {"jobs": jobs})
    assert answer.status_code == 400
    assert text in answer.json()["error"]["message"]
    assert await firm.service.jobs() == []


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/jobs", job()),
        ("/api/pipelines", pipe("double", "double")),
        ("/api/v1/records", {"jobs": [job(), job()]}),
    ],
)
async def test_of_equal_requests_with_one_key_one_creates(firm: Firm, path: str, body: dict[str, Any]) -> None:
    async with asking(HttpFace(firm.service)) as browser:
        asked = [browser.post(path, body, headers={"Idempotency-Key": "k"}) for _ in range(50)]
        answers = await asyncio.gather(*asked)
        other = await browser.post(path, body | {"description": "x", "name": "y"}, headers={"Idempotency-Key": "k"})
        if path == "/api/v1/records":
            other = await browser.post(path, {"jobs": [job()]}, headers={"Idempotency-Key": "k"})
    assert {answer.status_code for answer in answers} == {202}
    created = [answer.json().get("jobs", [answer.json()]) for answer in answers]
    assert len({tuple(one["id"] for one in jobs) for jobs in created}) == 1
    assert len(await firm.service.jobs()) == len(created[0])
    assert other.status_code == 409


@pytest.mark.parametrize("key", ["", "x" * 256, "a\tb"])
async def test_a_key_is_a_short_text(firm: Firm, key: str) -> None:
    async with asking(HttpFace(firm.service)) as browser:
        answer = await browser.post("/api/jobs", job(), headers={"Idempotency-Key": key})
    assert (answer.status_code, len(await firm.service.jobs())) == (400, 0)


# one job


async def test_a_result_is_waited_for(firm: Firm) -> None:
    async with asking(HttpFace(firm.service)) as browser:
        created = (await browser.post("/api/jobs", job("slow"))).json()["id"]
        at_once = await browser.get(f"/api/v1/jobs/{created}/result")
        waiting = asyncio.ensure_future(browser.get(f"/api/v1/jobs/{created}/result?wait=60"))
        await firm.ran(1)
        firm.may_end.set()
        answer = await waiting
    assert (at_once.status_code, at_once.json()["error"]["type"]) == (404, "not_found")
    assert (answer.status_code, answer.json()["metadata"]) == (200, "done")


@pytest.mark.parametrize("wait", ["soon", "-1", "nan", ""])
async def test_a_wait_is_a_number_of_seconds(firm: Firm, wait: str) -> None:
    async with asking(HttpFace(firm.service)) as browser:
        assert (await browser.get(f"/api/v1/jobs/{NOBODY}/result?wait={wait}")).status_code == 400


async def test_who_waits_when_the_process_ends_is_told_to_ask_again(firm: Firm) -> None:
    face = HttpFace(firm.service)
    async with asking(face) as browser:
        created = (await browser.post("/api/jobs", job("slow"))).json()["id"]
        waiting = asyncio.ensure_future(browser.get(f"/api/v1/jobs/{created}/result?wait=60"))
        await firm.ran(1)
        face.leave()
        answer = await waiting
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")


async def test_who_waits_leaves_room_for_others_and_waits_no_longer_than_somebody_listens(firm: Firm) -> None:
    # Given room for one who waits, and a client that waits
    face = HttpFace(firm.service, limits=Limits(waits=1))
    created = await firm.service.create_job(a_job("slow"))
    path = f"/api/v1/jobs/{created.id}/result"
    waits, leaves, status = asyncio.Event(), asyncio.Event(), 0

    async def receive() -> Any:
        waits.set()
        await leaves.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        nonlocal status
        status = message.get("status", status)

    waiting = asyncio.ensure_future(face(a_request(path, b"wait=60"), receive, send))
    await waits.wait()
    async with asking(face) as browser:
        # When another one wants to wait, and then the first one leaves
        second = await browser.get(f"{path}?wait=60")
        others = await browser.get(f"/api/jobs/{created.id}")
        leaves.set()
        await waiting
        third = asyncio.ensure_future(browser.get(f"{path}?wait=60"))
        firm.may_end.set()
        answer = await third
    # Then the one is told to come back, and the other's wait is over
    assert (second.status_code, second.headers["retry-after"]) == (503, "1")
    assert (others.status_code, status, answer.status_code) == (200, 503, 200)


async def test_a_job_is_cancelled_and_one_that_failed_is_retried(firm: Firm) -> None:
    async with asking(HttpFace(firm.service)) as browser:
        running = (await browser.post("/api/jobs", job("slow"))).json()["id"]
        failing = (await browser.post("/api/jobs", job("fail"))).json()["id"]
        await firm.ran(2)
        await firm.ended(failing)
        cancelled = await browser.post(f"/api/v1/jobs/{running}/cancel")
        retried = await browser.post(f"/api/v1/jobs/{failing}/retry")
        await firm.ran(3)
        ended = await firm.ended(running)
        again = await browser.post(f"/api/v1/jobs/{running}/cancel")
        unfit = await browser.post(f"/api/v1/jobs/{NOBODY}/retry")
    assert (cancelled.status_code, cancelled.json()["id"]) == (200, running)
    assert (retried.status_code, retried.json()["id"]) == (200, failing)
    assert ended.status is Status.FAILED
    assert (again.status_code, again.json()["error"]["type"]) == (409, "conflict")
    assert unfit.status_code == 404


async def test_a_pipeline_is_cancelled(firm: Firm) -> None:
    async with asking(HttpFace(firm.service)) as browser:
        created = (await browser.post("/api/pipelines", pipe("slow", "double"))).json()
        await firm.ran(1)
        answer = await browser.post(f"/api/v1/pipelines/{created['id']}/cancel")
        await firm.ended(created["jobs"][0]["id"])
        ended = (await browser.get(f"/api/pipelines/{created['id']}")).json()
    assert (answer.status_code, answer.json()["id"]) == (200, created["id"])
    assert ended["status"] == "FAILED"


# events


def parts(text: str) -> list[tuple[str, str, dict[str, Any]]]:
    """(id, kind, data) of each event."""
    found: list[tuple[str, str, dict[str, Any]]] = []
    for block in text.split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if lines:
            found.append((lines["id"], lines["event"], json.loads(lines["data"])))
    return found


async def test_what_becomes_of_a_job_is_told_until_it_has_ended(firm: Firm, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a job that runs, and somebody who follows it
    monkeypatch.setattr(following, "LOOKS_EVERY", 0.01)
    service = firm.service
    created = await service.create_job(a_job("slow"))
    await firm.ran(1)
    events = service.follow(created.id)
    began = await anext(events)
    assert began is not None
    assert (began.kind, began.job.status) == ("status", Status.IN_PROGRESS)

    # When it ends
    firm.may_end.set()
    told = [event async for event in events if event]

    # Then that is told last, and whoever has seen it is told nothing any more
    assert (told[-1].kind, told[-1].job.status) == ("end", Status.COMPLETED)
    async with asking(HttpFace(service)) as browser:
        path = f"/api/v1/jobs/{created.id}/events"
        anew = await browser.get(path)
        seen = await browser.get(path, headers={"Last-Event-ID": told[-1].id})
        odd = await browser.get(path, headers={"Last-Event-ID": "nonsense"})
    ((event_id, kind, data),) = parts(anew.text)
    assert (anew.status_code, anew.headers["content-type"]) == (200, "text/event-stream")
    assert (event_id, kind, data["job"]["status"]) == (told[-1].id, "end", "COMPLETED")
    assert (seen.status_code, seen.content) == (204, b"")
    assert parts(odd.text) == parts(anew.text)


async def test_progress_is_told_as_the_handler_says_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "LOOKS_EVERY", 0.01)
    firm = Firm()

    @firm.worker.task("walk")
    async def walk(params: dict[str, Any]) -> None:
        current().progress(1, 2)
        await firm.may_end.wait()

    async with firm.worker:
        created = await firm.service.create_job(a_job("walk"))
        told: list[Any] = []
        async for event in firm.service.follow(created.id):
            if event:
                told.append(event)
            if event and event.kind == "progress":
                firm.may_end.set()
        await firm.service.stop()
    (progress,) = [event for event in told if event.kind == "progress"]
    assert progress.checkin == "1/2"


async def test_an_outage_of_the_store_ends_no_stream(firm: Firm, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given somebody who follows a job
    monkeypatch.setattr(following, "LOOKS_EVERY", 0.01)
    created = await firm.service.create_job(a_job("slow"))
    await firm.ran(1)
    events = firm.service.follow(created.id)
    assert await anext(events)
    ledgers = firm.worker.ledgers
    assert ledgers is not None
    store = ledgers.here().store

    # When the store is away for two looks
    looks = 0
    read = store.read

    async def sometimes(refs: Any) -> Any:
        nonlocal looks
        looks += 1
        if looks <= 2:
            raise BackendUnavailable("away")
        return await read(refs)

    monkeypatch.setattr(store, "read", sometimes)
    while looks <= 2:
        assert await anext(events) is None
    monkeypatch.undo()
    firm.may_end.set()

    # Then the end is told all the same
    assert [event.kind for event in [one async for one in events] if event][-1] == "end"


async def test_streams_are_counted_and_end_with_the_process(firm: Firm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "LOOKS_EVERY", 0.01)
    face = HttpFace(firm.service, limits=Limits(streams=1))
    created = await firm.service.create_job(a_job("slow"))
    await firm.ran(1)
    path = f"/api/v1/jobs/{created.id}/events"
    begun = asyncio.Event()
    said: list[bytes] = []

    async def receive() -> Any:
        await asyncio.Event().wait()

    async def send(message: Any) -> None:
        said.append(message.get("body", b""))
        if message.get("body"):
            begun.set()

    streaming = asyncio.ensure_future(face(a_request(path), receive, send))
    await begun.wait()
    async with asking(face) as browser:
        second = await browser.get(path)
        face.leave()
        await streaming
    assert (second.status_code, second.json()["error"]["type"]) == (503, "busy")
    assert said[-1] == b""


async def test_a_stream_whose_client_has_left_before_it_began_is_counted_no_more(firm: Firm) -> None:
    # Given room for one stream, and a client whose connection breaks before anything is sent
    face = HttpFace(firm.service, limits=Limits(streams=1))
    created = await firm.service.create_job(a_job("slow"))
    path = f"/api/v1/jobs/{created.id}/events"

    async def receive() -> Any:
        await asyncio.Event().wait()

    async def send(message: Any) -> None:
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await face(a_request(path), receive, send)

    # When others follow, one after the other, what has ended and what is not there
    firm.may_end.set()
    await firm.ended(created.id)
    async with asking(face) as browser:
        last = parts((await browser.get(path)).text)[-1][0]
        seen = await browser.get(path, headers={"Last-Event-ID": last})
        missing = await browser.get(f"/api/v1/jobs/{NOBODY}/events")
        again = await browser.get(path)

    # Then there is room for each
    assert (seen.status_code, missing.status_code, again.status_code) == (204, 404, 200)


async def test_many_who_follow_at_once_are_counted_before_they_are_answered(
    firm: Firm, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given room for two streams, and a store that takes its time
    face = HttpFace(firm.service, limits=Limits(streams=2))
    created = await firm.service.create_job(a_job("slow"))
    await firm.ran(1)
    assert firm.worker.ledgers is not None
    store = firm.worker.ledgers.here().store
    read = store.read

    async def slowly(refs: Any) -> Any:
        await asyncio.sleep(0)
        return await read(refs)

    monkeypatch.setattr(store, "read", slowly)
    answered: asyncio.Queue[int] = asyncio.Queue()

    async def receive() -> Any:
        await asyncio.Event().wait()

    async def send(message: Any) -> None:
        if "status" in message:
            answered.put_nowait(message["status"])

    # When five ask for one at the same time, then two are told how it ends
    request = a_request(f"/api/v1/jobs/{created.id}/events")
    asked = [asyncio.ensure_future(face(request, receive, send)) for _ in range(5)]
    assert sorted([await answered.get() for _ in asked]) == [200, 200, 503, 503, 503]
    firm.may_end.set()
    await asyncio.gather(*asked)


async def test_a_stream_ends_when_its_job_is_deleted(firm: Firm, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given somebody who follows a job for later
    monkeypatch.setattr(following, "LOOKS_EVERY", 0.01)
    created = await firm.service.create_job(a_job(**LATER))
    events = firm.service.follow(created.id)
    assert await anext(events)
    await events.aclose()
    said: list[Any] = []
    begun = asyncio.Event()

    async def receive() -> Any:
        await asyncio.Event().wait()

    async def send(message: Any) -> None:
        said.append(message)
        if message.get("body"):
            begun.set()

    path = f"/api/v1/jobs/{created.id}/events"
    streaming = asyncio.ensure_future(HttpFace(firm.service)(a_request(path), receive, send))
    await begun.wait()

    # When it is deleted, then the stream ends as streams do
    await firm.service.delete_job(created.id)
    await streaming
    assert said[-1] == {"type": "http.response.body", "body": b""}


def a_request(path: str, query: bytes = b"") -> dict[str, Any]:
    return {
        "type": "http",
        "method": "GET",
        "path": path,
        "query_string": query,
        "headers": [(b"host", b"localhost")],
        "client": ("127.0.0.1", 1),
    }


@pytest.mark.parametrize("job_id", [NOBODY, "42"])
async def test_nobody_is_followed_who_is_not_there(firm: Firm, job_id: str) -> None:
    async with asking(HttpFace(firm.service)) as browser:
        answer = await browser.get(f"/api/v1/jobs/{job_id}/events")
    assert (answer.status_code, answer.json()["error"]["message"]) == (404, f"job with ID: {job_id} not found")


# probes


async def test_the_service_is_ready_while_queue_and_store_answer(firm: Firm, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away() -> None:
        raise ConnectionError("nobody answers")

    async with asking(HttpFace(firm.service)) as browser:
        assert (await browser.get("/healthz")).text == "ok\n"
        assert (await browser.get("/readyz")).json() == {"ready": True}
        assert (await browser.client.head("/readyz")).content == b""
    async with asking(HttpFace(firm.service)) as browser:
        monkeypatch.setattr(firm.worker.admin, "acounts", away)
        answer = await browser.get("/readyz")
        again = await browser.get("/readyz")
    assert (answer.status_code, answer.json()) == (503, {"ready": False, "queue": "nobody answers"})
    assert again.json() == answer.json()


async def test_of_many_who_ask_at_once_one_look_is_told_also_when_the_first_one_leaves() -> None:
    # Given a look that takes longer than its answer is kept
    clock, looks, began, may_end = FakeClock(), 0, asyncio.Event(), asyncio.Event()

    async def look() -> Health:
        nonlocal looks
        looks += 1
        began.set()
        await may_end.wait()
        clock.advance(2.0)
        return Health()

    lookout = Lookout(look, clock)
    asked = [asyncio.ensure_future(lookout.look()) for _ in range(5)]
    await began.wait()

    # When the first one who asked leaves before it is over
    asked[0].cancel()
    await asyncio.wait(asked[:1])
    may_end.set()

    # Then all others are told, and who comes then, of one look
    assert len(await asyncio.gather(*asked[1:], lookout.look())) == 5
    assert looks == 1


async def test_a_worker_that_fetches_nothing_is_not_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = FakeClock()
    firm = Firm(clock=clock)
    async with firm.worker, asking(HttpFace(firm.service)) as browser:
        backend = firm.worker.backend()

        async def away(*_: object) -> None:
            raise BackendUnavailable("away")

        monkeypatch.setattr(backend, "fetch", away)
        answer = await browser.get("/readyz")
        while answer.status_code == 200:  # the fetch that was under way may still be answered
            clock.advance(60.0)
            answer = await browser.get("/readyz")
    assert answer.status_code == 503
    assert "no fetch was answered for" in answer.json()["worker"]
