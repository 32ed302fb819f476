"""Valet's routes over HTTP: what its clients ask is answered as they know it, without its defects."""

from __future__ import annotations

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from service.browser import asking
from service.player import play
from service.scenarios import DOUBLE, NOBODY, SCENARIOS, Scenario, job
from service.stage import Firm, Where, trouble
from worksong import BackendUnavailable
from worksong.domain.errors import BackendFull
from worksong.domain.record import JobRecord, PipelineRecord, Status
from worksong.faces.http import HttpFace
from worksong.faces.http.views import Viewer

UNDECODABLE = [b"", b"{", b"null", b"[]", b"\xff", b'{"name":1}', b'{"name":"\\ud800"}']


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
async def test_what_clients_ask_is_answered_as_they_know_it(firm: Firm, scenario: Scenario) -> None:
    async with asking(HttpFace(firm.service)) as browser:
        await play(scenario, firm, browser)


@pytest.mark.parametrize("body", [*UNDECODABLE, b'{"name":"a","task_name":"double","timeout":"10"}'])
async def test_a_body_that_cannot_be_read_creates_nothing(firm: Firm, body: bytes) -> None:
    async with asking(HttpFace(firm.service)) as browser:
        answer = await browser.client.post("/api/jobs", content=body)
        assert answer.status_code == 400
        assert answer.headers["content-type"] == "application/json; charset=utf-8"
        assert await firm.service.jobs() == []


@pytest.mark.parametrize("body", UNDECODABLE)
async def test_a_body_that_cannot_be_read_changes_nothing(firm: Firm, body: bytes) -> None:
    async with asking(HttpFace(firm.service)) as browser:
        created = (await browser.post("/api/jobs", dict(DOUBLE.fields))).json()
        assert (await browser.client.patch(f"/api/jobs/{created['id']}", content=body)).status_code == 400
        assert (await firm.service.job(created["id"])).name == "a double"


async def test_an_edit_leaves_alone_what_it_does_not_name(firm: Firm) -> None:
    async with asking(HttpFace(firm.service)) as browser:
        created = (await browser.post("/api/jobs", job(description="why"))).json()
        for edit in ({"description": None}, {"name": "new"}, {}, {"unheard": 1}):
            assert (await browser.client.patch(f"/api/jobs/{created['id']}", json=edit)).status_code == 204
        found = await firm.service.job(created["id"])
        assert (found.name, found.description) == ("new", "why")


@pytest.mark.parametrize("kind", ["text/plain", "application/json", "application/x-www-form-urlencoded", None])
async def test_whatever_a_body_says_it_is_it_is_read_as_json(firm: Firm, kind: str | None) -> None:
    body = b' {"NAME":"a","Task_Name":"double","unheard":{"of":1},"timeout":null} and more'
    headers = {"Content-Type": kind} if kind else {}
    async with asking(HttpFace(firm.service)) as browser:
        answer = await browser.client.post("/api/jobs", content=body, headers=headers)
        assert (answer.status_code, answer.json()["name"]) == (202, "a")


async def test_the_status_is_told_whatever_it_is(firm: Firm, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away() -> None:
        raise ConnectionError

    async with asking(HttpFace(firm.service)) as browser:
        well = (await browser.get("/api/status")).json()
        monkeypatch.setattr(firm.worker.admin, "acounts", away)
        ill = await browser.get("/api/status")
    assert (well["job_queue_healthy"], well["storage_healthy"], set(well)) == (
        True,
        True,
        {"job_queue_healthy", "storage_healthy", "time", "version"},
    )
    assert (ill.status_code, ill.json()["job_queue_healthy"]) == (200, False)


@pytest.mark.parametrize(
    ("method", "path", "status", "where"),
    [
        ("GET", "/api/jobs/?status=failed", 301, "/api/jobs?status=failed"),
        ("POST", "/api/jobs/", 307, "/api/jobs"),
        ("DELETE", f"/api/jobs/{NOBODY}/", 307, f"/api/jobs/{NOBODY}"),
        ("GET", "/api/nowhere", 404, None),
        ("GET", "/api/nowhere/", 404, None),
        ("GET", "/elsewhere", 404, None),
        ("PUT", "/api/jobs", 404, None),
        ("HEAD", "/api/jobs", 404, None),
        ("OPTIONS", "/api/jobs", 404, None),
        ("GET", "/api/jobs/{id}", 404, None),
        ("GET", "/api/jobs//results", 404, None),
    ],
)
async def test_paths_that_lead_nowhere(firm: Firm, method: str, path: str, status: int, where: str | None) -> None:
    async with asking(HttpFace(firm.service)) as browser:
        answer = await browser.client.request(method, path)
    assert (answer.status_code, answer.headers.get("location")) == (status, where)


async def test_it_can_be_mounted_in_another_application(firm: Firm) -> None:
    async with asking(Starlette(routes=[Mount("/jobs", HttpFace(firm.service))])) as browser:
        assert (await browser.get("/jobs/api/tasks")).status_code == 200
        there = await browser.get("/jobs/api/jobs/?status=failed")
        shown = await browser.get("/jobs/api/docs")
    assert (there.status_code, there.headers["location"]) == (301, "/jobs/api/jobs?status=failed")
    assert 'href="docs.css"' in shown.text


@pytest.mark.parametrize("where", ["records", "one place"])
async def test_a_store_that_is_away_is_told_with_when_to_come_back(firm: Firm, where: Where) -> None:
    away = BackendUnavailable("nobody answers at postgresql://me:secret@there")
    async with asking(HttpFace(firm.service)) as browser:
        with trouble(firm, where, away):
            answer = await browser.post("/api/jobs", job())
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert answer.json()["message"] == "nobody answers at postgresql://***@there"
        assert await firm.service.jobs() == []


@pytest.mark.parametrize("where", ["queue", "one place"])
async def test_a_queue_that_is_full_takes_nothing_and_nothing_is_kept(firm: Firm, where: Where) -> None:
    async with asking(HttpFace(firm.service)) as browser:
        with trouble(firm, where, BackendFull()):
            answer = await browser.post("/api/jobs", job())
            batch = await browser.post("/api/v1/records", {"jobs": [job(), job()]})
        assert (answer.status_code, answer.json()["message"]) == (503, "job queue is full - try again later")
        assert (batch.status_code, batch.json()["error"]["type"]) == (503, "busy")
        assert await firm.service.jobs() == []


async def test_what_a_job_type_redacts_is_not_told(firm: Firm) -> None:
    @firm.worker.job(redact=["card"])
    async def charge(card: str, amount: int) -> None: ...

    async with asking(HttpFace(firm.service)) as browser:
        answer = await browser.post("/api/jobs", job("charge", task_params={"card": "4711", "amount": 3}))
    assert answer.json()["task_params"] == {"card": "***", "amount": 3}


def test_durations_are_whole_milliseconds_and_timeouts_in_the_unit_of_the_service() -> None:
    from worksong import Worker

    viewer = Viewer(Worker().registry, unit=0.001)
    record = JobRecord(
        id="j",
        task="t",
        status=Status.COMPLETED,
        timeout=2.5,
        created_at=1_700_000_000.25,
        started_at=1_700_000_000.5,
        completed_at=1_700_000_000.8,
    )
    shown = viewer.job(record)
    assert (shown.duration, shown.timeout) == (300, 2500)
    assert (shown.created_at, shown.completed_at) == ("2023-11-14T22:13:20.25Z", "2023-11-14T22:13:20.8Z")
    never_ran = PipelineRecord(id="p", job_ids=(), status=Status.FAILED, completed_at=1_700_000_000.0)
    assert viewer.pipeline(never_ran).duration == 0
