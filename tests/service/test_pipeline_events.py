"""Whoever follows a pipeline is told what becomes of it and of its jobs, over HTTP and gRPC."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import grpc
import pytest
from msgspec.structs import replace

from service.browser import asking
from service.caller import served
from service.scenarios import LATER, NOBODY, pipe
from service.stage import Firm, a_job, a_pipeline
from service.test_http_additions import a_request, parts
from worksong import current
from worksong.domain.record import Status
from worksong.faces.grpc.wire import events_pb2
from worksong.faces.http import HttpFace, Limits
from worksong.ports.backend import BusyView
from worksong.ports.records import Record, Ref
from worksong.service import following
from worksong.service.forms import StagedForm
from worksong.service.progress import Advance, Progress

WATCH = "worksong.events.Events/WatchPipeline"


@pytest.fixture(autouse=True)
def looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "LOOKS_EVERY", 0.01)


def path(pipeline_id: str) -> str:
    return f"/api/v1/pipelines/{pipeline_id}/events"


def moved(event: Advance) -> list[tuple[str, Status]]:
    return [(one.job.id, one.job.status) for one in event.jobs]


def checkins(event: Advance) -> dict[str, str]:
    return {one.job.id: one.checkin for one in event.jobs if one.checkin}


async def test_what_becomes_of_a_pipeline_is_told_until_it_has_ended(firm: Firm) -> None:
    # Given a pipeline whose first job runs, and somebody who follows it
    pipeline, (first, second) = await firm.service.create_pipeline(a_pipeline("slow", "slow"))
    await firm.ran(1)
    events = firm.service.follow_pipeline(pipeline.id)
    began = await anext(events)
    assert began is not None
    assert (began.kind, began.pipeline.status, began.done) == ("status", Status.IN_PROGRESS, 0)
    assert moved(began) == [(first.id, Status.IN_PROGRESS), (second.id, Status.PENDING)]

    # When it goes on
    firm.may_end.set()
    told = [event async for event in events if event]

    # Then each later event tells of what has moved only, and the last one of the end
    assert [event.kind for event in told[:-1]] == ["progress"] * (len(told) - 1)
    assert (told[-1].kind, told[-1].pipeline.status, told[-1].done) == ("end", Status.COMPLETED, 2)
    last = {job_id: status for event in told for job_id, status in moved(event)}
    assert last == {first.id: Status.COMPLETED, second.id: Status.COMPLETED}


async def test_who_comes_back_is_told_what_is_new(firm: Firm) -> None:
    # Given a pipeline that has ended
    async with asking(HttpFace(firm.service)) as browser:
        created = (await browser.post("/api/pipelines", pipe("double", "fail", "double"))).json()
        await firm.ended(created["jobs"][1]["id"])
        whole = await browser.get(path(created["id"]))
        ((event_id, kind, data),) = parts(whole.text)[-1:]
        # When somebody comes back who has seen the end, an event before it, or nothing that there was
        seen = await browser.get(path(created["id"]), headers={"Last-Event-ID": event_id})
        before = await browser.get(path(created["id"]), headers={"Last-Event-ID": "1"})
        odd = await browser.get(path(created["id"]), headers={"Last-Event-ID": "nonsense"})
    # Then he is told nothing, or how it has ended
    assert (whole.status_code, whole.headers["content-type"], kind) == (200, "text/event-stream", "end")
    assert (data["pipeline"]["status"], data["done"], data["total"]) == ("FAILED", 1, 3)
    assert [one["job"]["status"] for one in data["jobs"]] == ["COMPLETED", "FAILED", "PENDING"]
    assert (seen.status_code, seen.content) == (204, b"")
    assert parts(before.text)[-1] == parts(odd.text)[-1] == (event_id, kind, data)


async def test_who_comes_back_while_it_goes_on_is_not_told_again_what_he_knows(firm: Firm) -> None:
    pipeline, jobs = await firm.service.create_pipeline(a_pipeline("slow", "slow"))
    await firm.ran(1)
    events = firm.service.follow_pipeline(pipeline.id)
    began = await anext(events)
    assert began is not None
    await events.aclose()
    # When he comes back, then nothing is told until something is new
    again = firm.service.follow_pipeline(pipeline.id, began.id)
    assert await anext(again) is None
    firm.may_end.set()
    told = [event async for event in again if event]
    assert ({event.kind for event in told[:-1]} <= {"progress"}, told[-1].kind) == (True, "end")
    assert jobs[0].id in dict(moved(told[0]))


async def test_what_handlers_say_of_their_progress_is_told(firm: Firm) -> None:
    @firm.worker.task("walk")
    async def walk(params: dict[str, Any]) -> None:
        current().progress(params["step"], 9)
        await firm.may_end.wait()

    # Given jobs side by side that say how far they are, and one that says nothing
    steps = [a_job("walk", task_params={"step": number}) for number in (1, 2)]
    form = StagedForm(name="p", jobs=[[*steps, a_job("slow")], a_job()])
    pipeline, jobs = await firm.service.create_pipeline(form)
    said: dict[str, str] = {}
    ids: list[str] = []
    # When somebody follows them
    async for event in firm.service.follow_pipeline(pipeline.id):
        said |= checkins(event) if event else {}
        ids += [event.id] if event else []
        if len(said) == len(steps):
            firm.may_end.set()
    # Then each is told once, and no two events are the same one
    assert said == {jobs[0].id: "1/9", jobs[1].id: "2/9"}
    assert len(set(ids)) == len(ids)


async def test_what_is_heard_late_is_told_too_and_once_more_to_who_comes_back(firm: Firm) -> None:
    # Given jobs side by side of two processes, of which one tells late what they have said
    pipeline, jobs = await firm.service.create_pipeline(
        StagedForm(name="p", jobs=[[a_job("slow"), a_job("slow")], a_job()])
    )
    await firm.ran(2)
    heard = dict[str, BusyView]()

    def hear(number: int, checkin: str, at: float) -> None:
        job_id = jobs[number].id
        running = BusyView(worker_id="w", pool_id="p", handler="slow", job_id=job_id, started_at=1.0, args="")
        heard[job_id] = replace(running, checkin=checkin, checkin_at=at)

    async def said() -> dict[str, BusyView]:
        return heard

    assert firm.worker.ledgers is not None
    ledger = firm.worker.ledgers.here()
    hear(0, "a", 10.0)
    progress = Progress(ledger, said, pipeline.id, "")
    began = await progress.look()
    hear(1, "b", 9.5)
    later = await progress.look()
    assert await progress.look() is None
    # Then each is told, in an event of its own
    assert began is not None
    assert later is not None
    assert (checkins(began), checkins(later)) == ({jobs[0].id: "a"}, {jobs[1].id: "b"})
    assert began.id != later.id

    # And who comes back has missed nothing
    for seen in (began, later):
        progress = Progress(ledger, said, pipeline.id, seen.id)
        again = await progress.look()
        assert again is not None
        assert checkins(again) == {jobs[0].id: "a", jobs[1].id: "b"}
        assert again.id not in (began.id, seen.id)
        assert await progress.look() is None


@pytest.mark.parametrize("seen", ["7-nan", "7-inf", "7--1", "-", "7-" + "9" * 5000, "9" * 5000])
async def test_an_id_that_is_none_is_no_harm(firm: Firm, seen: str) -> None:
    pipeline, jobs = await firm.service.create_pipeline(a_pipeline("double", "double"))
    for followed in (firm.service.follow_pipeline(pipeline.id, seen), firm.service.follow(jobs[1].id, seen)):
        told = [event async for event in followed if event]
        assert told[-1].kind == "end"


async def test_a_pipeline_that_is_deleted_or_not_there_is_not_followed(firm: Firm) -> None:
    pipeline, _ = await firm.service.create_pipeline(a_pipeline("double", "double", run_at=LATER))
    events = firm.service.follow_pipeline(pipeline.id)
    assert await anext(events)
    async with asking(HttpFace(firm.service)) as browser:
        missing = [await browser.get(path(one)) for one in (NOBODY, "42")]
        streaming = asyncio.ensure_future(browser.get(path(pipeline.id)))
        await firm.service.delete_pipeline(pipeline.id)
        answer = await streaming
    assert [one.status_code for one in missing] == [404, 404]
    assert missing[1].json()["error"]["message"] == "pipeline with ID: 42 not found"
    # Its stream ends as streams do, or had not begun
    assert answer.status_code in (200, 404)
    with pytest.raises(following.refusals.Missing):
        while await anext(events) is None:
            pass


async def test_its_streams_are_counted_with_those_of_jobs_and_end_with_the_process(firm: Firm) -> None:
    # Given room for one stream, and somebody who follows a pipeline
    face = HttpFace(firm.service, limits=Limits(streams=1))
    pipeline, (first, _) = await firm.service.create_pipeline(a_pipeline("slow", "slow"))
    await firm.ran(1)
    begun, said = asyncio.Event(), list[bytes]()

    async def receive() -> Any:
        await asyncio.Event().wait()

    async def send(message: Any) -> None:
        said.append(message.get("body", b""))
        if message.get("body"):
            begun.set()

    streaming = asyncio.ensure_future(face(a_request(path(pipeline.id)), receive, send))
    await begun.wait()
    # When somebody else wants to follow one of its jobs, then there is no room
    async with asking(face) as browser:
        second = await browser.get(f"/api/v1/jobs/{first.id}/events")
        # And when the process is about to end, the stream ends
        face.leave()
        await streaming
    assert (second.status_code, second.json()["error"]["type"]) == (503, "busy")
    assert said[-1] == b""


async def test_who_follows_many_jobs_reads_what_goes_on_only(firm: Firm, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a long pipeline, somebody who follows it, and who counts what is read
    form = StagedForm(name="p", jobs=[a_job("slow"), *(a_job() for _ in range(300))])
    pipeline, jobs = await firm.service.create_pipeline(form)
    await firm.ran(1)
    events = firm.service.follow_pipeline(pipeline.id)
    assert await anext(events)
    assert firm.worker.ledgers is not None
    store = firm.worker.ledgers.here().store
    read, looks = store.read, list[int]()

    async def counted(refs: Sequence[Ref]) -> list[Record | None]:
        looks.append(len(refs))
        return await read(refs)

    monkeypatch.setattr(store, "read", counted)
    # When nothing happens for some looks
    for _ in range(20):
        assert await anext(events) is None
    # Then each has read the pipeline and the one job that runs, and not those behind it
    assert max(looks) == 1
    monkeypatch.undo()
    firm.may_end.set()
    told = [event async for event in events if event]
    assert (told[-1].kind, told[-1].done) == ("end", len(jobs))


async def test_over_grpc_it_is_told_too(firm: Firm) -> None:
    pipeline, jobs = await firm.service.create_pipeline(a_pipeline("slow", "slow"))
    await firm.ran(1)
    async with served(firm.service) as call:
        request = events_pb2.WatchPipelineRequest(pipeline_id=pipeline.id)
        events = call.stream(WATCH, request, events_pb2.PipelineEvent)
        began = await anext(events)
        firm.may_end.set()
        told = [event async for event in events]
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await anext(call.stream(WATCH, events_pb2.WatchPipelineRequest(pipeline_id="42"), events_pb2.PipelineEvent))
    assert (began.pipeline_id, began.status, began.done, began.total) == (pipeline.id, 3, 0, 2)
    assert [(one.job_id, one.status) for one in began.jobs] == [(jobs[0].id, 3), (jobs[1].id, 1)]
    assert (told[-1].status, told[-1].done) == (4, 2)
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND


async def test_jobs_of_groups_are_told_in_order(firm: Firm) -> None:
    form = StagedForm(name="p", jobs=[a_job(), [a_job(), a_job()], a_job("double")])
    pipeline, _ = await firm.service.create_pipeline(form)
    told = [event async for event in firm.service.follow_pipeline(pipeline.id) if event]
    assert (told[-1].kind, told[-1].done) == ("end", 4)
    places = [pipeline.job_ids.index(job_id) for job_id, _ in moved(told[0])]
    assert places == sorted(places)
