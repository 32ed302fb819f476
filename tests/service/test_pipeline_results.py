"""What came of a pipeline as a whole: told, and waited for."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from patience import PATIENCE
from service.browser import asking
from service.scenarios import LATER, NOBODY, job, pipe
from service.stage import Firm, a_job, a_pipeline
from service.test_client import answering
from worksong.client import Client, NotFound, Step
from worksong.domain.errors import JobFailed, ResultTimeout
from worksong.domain.outcome import Failure
from worksong.domain.record import PipelineRecord, ResultRecord, Status
from worksong.domain.result import Result
from worksong.faces.http import HttpFace
from worksong.ports.records import Change, Kind, Record, Ref
from worksong.service.forms import PipelineForm
from worksong.service.refusals import Missing
from worksong.wire.record import encode, ref_of

WAITED = "?wait=60"


def path(pipeline_id: str, query: str = WAITED) -> str:
    return f"/api/v1/pipelines/{pipeline_id}/result{query}"


async def test_it_is_what_the_last_job_returned(firm: Firm) -> None:
    async with asking(HttpFace(firm.service)) as browser:
        chain = {"name": "p", "jobs": [job(task_params={"n": 5}), job(use_previous_results=True)]}
        created = (await browser.post("/api/pipelines", chain)).json()
        answer = await browser.get(path(created["id"]))
        again = await browser.get(path(created["id"], ""))
    assert (answer.status_code, answer.json()) == (200, {"job_id": created["jobs"][1]["id"], "metadata": 20})
    assert again.json() == answer.json()


async def test_of_several_in_the_last_stage_it_is_a_list_in_their_order(firm: Firm) -> None:
    async with asking(HttpFace(firm.service)) as browser:
        group = [job(task_params={"n": number}) for number in (3, 1, 2)]
        created = (await browser.post("/api/v1/pipelines", {"name": "p", "jobs": [job(), group]})).json()
        answer = await browser.get(path(created["id"]))
    assert answer.json() == {"job_id": created["jobs"][1]["id"], "metadata": [6, 2, 4]}


async def test_of_one_that_failed_it_is_why_and_where(firm: Firm) -> None:
    async with asking(HttpFace(firm.service)) as browser:
        created = (await browser.post("/api/pipelines", pipe("double", "fail", "double"))).json()
        answer = await browser.get(path(created["id"]))
    assert answer.json() == {"job_id": created["jobs"][1]["id"], "error": "no such customer"}


async def test_while_it_goes_on_there_is_none(firm: Firm) -> None:
    async with asking(HttpFace(firm.service)) as browser:
        created = (await browser.post("/api/pipelines", pipe("slow", "double"))).json()
        waiting = asyncio.ensure_future(browser.get(path(created["id"])))
        await firm.ran(1)
        at_once = await browser.get(path(created["id"], ""))
        soon = await browser.get(path(created["id"], "?wait=0.001"))
        unsound = await browser.get(path(created["id"], "?wait=soon"))
        firm.may_end.set()
        answer = await waiting
    told = f"pipeline result with ID: {created['id']} not found"
    assert [(one.status_code, one.json()["error"]["message"]) for one in (at_once, soon)] == [(404, told)] * 2
    assert unsound.status_code == 400
    assert (answer.status_code, answer.json()["metadata"]) == (200, 2)


async def test_what_is_not_there_has_none(firm: Firm) -> None:
    async with asking(HttpFace(firm.service)) as browser:
        nobody = await browser.get(path(NOBODY))
        created = (await browser.post("/api/pipelines", pipe("double", "double"))).json()
        assert (await browser.get(path(created["id"]))).status_code == 200
        await browser.client.delete(f"/api/jobs/{created['jobs'][1]['id']}/results")
        forgotten = await browser.get(path(created["id"]))
    assert (nobody.status_code, nobody.json()["error"]["message"]) == (404, f"pipeline with ID: {NOBODY} not found")
    assert (forgotten.status_code, forgotten.json()["error"]["type"]) == (410, "gone")


async def test_who_waits_is_told_when_it_is_deleted(firm: Firm) -> None:
    pipeline, _ = await firm.service.create_pipeline(a_pipeline("double", "double", run_at=LATER))
    waiting = asyncio.ensure_future(firm.service.pipeline_result(pipeline.id, wait=60.0))
    await asyncio.sleep(0)
    await firm.service.delete_pipeline(pipeline.id)
    with pytest.raises(Missing, match="pipeline with ID"):
        await waiting


async def test_a_result_of_a_run_before_is_not_taken_for_the_end(firm: Firm, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a pipeline whose first job runs, beside which the failure of a run before is kept still
    form = PipelineForm(name="p", jobs=[a_job("slow"), a_job()])
    pipeline, jobs = await firm.service.create_pipeline(form)
    await firm.ran(1)
    assert firm.worker.ledgers is not None
    store = firm.worker.ledgers.here().store
    stale = ResultRecord(id=jobs[0].id, result=Result(jobs[0].id, 1.0, failure=Failure("ValueError", "before")))
    assert await store.write([Change(ref_of(ResultRecord, jobs[0].id), None, encode(stale))])

    # When somebody waits for what comes of it, and then it goes on
    looks = 0
    read = store.read

    async def counted(refs: Any) -> Any:
        nonlocal looks
        looks += 1
        if looks == 3:
            firm.may_end.set()
        return await read(refs)

    monkeypatch.setattr(store, "read", counted)
    found = await firm.service.pipeline_result(pipeline.id, wait=60.0)

    # Then that is told
    assert found.job_id == jobs[1].id
    assert (await firm.service.pipeline(pipeline.id)).status is Status.COMPLETED


async def test_all_who_wait_look_together_and_at_pipelines_only(monkeypatch: pytest.MonkeyPatch) -> None:
    # Given pipelines for later, and who looks for what, where nobody else does
    firm = Firm()
    pipelines = [(await firm.service.create_pipeline(a_pipeline("double", "double", run_at=LATER)))[0] for _ in "ab"]
    both = {ref_of(PipelineRecord, pipeline.id) for pipeline in pipelines}
    assert firm.worker.ledgers is not None
    store = firm.worker.ledgers.here().store
    read, looks, together = store.read, list[Ref](), asyncio.Event()

    async def noted(refs: Sequence[Ref]) -> list[Record | None]:
        looks.extend(refs)
        if both == set(refs):
            together.set()
        return await read(refs)

    monkeypatch.setattr(store, "read", noted)

    # When several wait for each of them
    waiting = [
        asyncio.ensure_future(firm.service.pipeline_result(pipeline.id, wait=600.0))
        for pipeline in pipelines
        for _ in range(5)
    ]
    async with asyncio.timeout(PATIENCE):
        await together.wait()

    # Then one look is for all, and nobody reads the jobs; and all are told of the end
    assert {ref.kind for ref in looks} == {Kind.PIPELINE}
    for pipeline in pipelines:
        await firm.service.cancel_pipeline(pipeline.id)
    results = await asyncio.gather(*waiting)
    assert {result.failure.message for result in results if result.failure} == {"cancelled"}
    assert {result.job_id for result in results} == {pipeline.job_ids[0] for pipeline in pipelines}
    await firm.service.stop()


async def test_the_client_waits_for_it_too(firm: Firm) -> None:
    async with answering(HttpFace(firm.service)) as url, Client(url) as client:
        good = await client.acreate_pipeline("good", [Step("double", {"n": 3}), Step("double", previous=True)])
        bad = await client.acreate_pipeline("bad", [Step("fail"), Step("double")])
        late = await client.acreate_pipeline("late", [Step("double"), Step("double")], run_at=3600)
        assert await client.apipeline_result(good.id, timeout=60) == 12
        with pytest.raises(JobFailed, match=f"job {bad.jobs[0].id} failed: no such customer"):
            await client.apipeline_result(bad.id, timeout=60)
        with pytest.raises(ResultTimeout, match=f"pipeline {late.id} has no result"):
            await client.apipeline_result(late.id, timeout=0.01)
        with pytest.raises(NotFound):
            await client.apipeline_result(NOBODY, timeout=60)
        assert await asyncio.to_thread(client.pipeline_result, good.id, 60) == 12
        await asyncio.to_thread(client.close)
