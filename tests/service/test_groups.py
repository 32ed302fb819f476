"""Jobs side by side in pipelines that the service creates: a list among the jobs, and a final step behind it."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from interop.fleet import eventually
from service.browser import Browser, asking
from service.scenarios import LATER, job, pipe
from service.stage import Firm, a_pipeline
from service.test_client import answering
from worksong.client import Client, Step
from worksong.domain.record import Status
from worksong.faces.http import HttpFace
from worksong.ledger import Edit
from worksong.service.refusals import Conflict

PATH = "/api/v1/pipelines"


class Team(Firm):
    """A firm in which somebody adds up what the others returned."""

    def _register(self) -> None:
        super()._register()
        self.forgives = False
        self.over = asyncio.Event()

        @self.worker.task("wait")
        async def wait(params: dict[str, Any]) -> None:
            await self._note(params)
            await self.over.wait()

        @self.worker.task("total")
        async def total(params: dict[str, Any], previous: list[int] | None = None) -> int:
            await self._note(previous)
            return sum(previous or [])

        @self.worker.task("stumble")
        async def stumble(params: dict[str, Any]) -> int:
            await self._note(params)
            if not self.forgives:
                raise ValueError("no such customer")
            return 100


def spread(*group: str, **fields: Any) -> dict[str, Any]:
    """A job, some side by side that are given what it returned, and one that is given what all of them did."""
    members = [job(task, use_previous_results=task == "double") for task in group]
    last = job("total", use_previous_results=True)
    return {"name": "a report", "jobs": [job(task_params={"n": 4}), members, last], **fields}


@pytest.fixture
async def team() -> AsyncIterator[Team]:
    team = Team()
    async with at_work(team):
        yield team


@asynccontextmanager
async def at_work(team: Team) -> AsyncIterator[Browser]:
    async with team.worker, asking(HttpFace(team.service)) as browser:
        await team.service.start()
        try:
            yield browser
        finally:
            team.may_end.set()
            team.over.set()
            await team.service.stop()


async def created(browser: Browser, body: object) -> tuple[str, list[str]]:
    """A pipeline, and its jobs in order: their ids."""
    answer = await browser.post(PATH, body)
    assert answer.status_code == 202, answer.text
    return answer.json()["id"], [one["id"] for one in answer.json()["jobs"]]


@pytest.mark.parametrize("scheme", ["memory", "sqlite", "redis"])
async def test_a_list_among_the_jobs_runs_side_by_side_and_the_next_is_given_all(
    scheme: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    # Given a service with queue and records in one place
    urls = {"memory": "memory://", "sqlite": f"sqlite:///{tmp_path}/jobs.db?synchronous=NORMAL"}
    url = urls.get(scheme) or request.getfixturevalue("redis_url")
    team = Team(url, url, name=f"test-{uuid.uuid4().hex}")
    async with at_work(team) as browser:
        # When a pipeline is created of which three jobs run side by side
        answer = await browser.post(PATH, spread("double", "double", "double"))
        told = answer.json()
        jobs = [one["id"] for one in told["jobs"]]
        await team.ended(jobs[-1])

        # Then the last one adds up what they returned, and all of it is told as of any pipeline
        found = (await browser.get(f"{PATH}/{told['id']}")).json()
        result = (await browser.get(f"/api/jobs/{jobs[-1]}/results")).json()
        listed = (await browser.get(PATH)).json()["pipelines"]
        plain = (await browser.get(f"/api/pipelines/{told['id']}/jobs")).json()["jobs"]
    assert (answer.status_code, told["stages"], told["status"]) == (202, [1, 3, 1], "PENDING")
    assert [one.get("next_job_id") for one in told["jobs"]] == [jobs[1], *[jobs[4]] * 3, None]
    assert result["metadata"] == 48
    assert (found["status"], found["stages"]) == ("COMPLETED", [1, 3, 1])
    assert [one["status"] for one in found["jobs"]] == ["COMPLETED"] * 5
    assert [(one["id"], one["stages"]) for one in listed] == [(told["id"], [1, 3, 1])]
    assert [one["id"] for one in plain] == jobs


async def test_a_list_of_one_job_is_a_list(team: Team) -> None:
    async with asking(HttpFace(team.service)) as browser:
        body = {"name": "p", "jobs": [[job(task_params={"n": 5})], [job("total", use_previous_results=True)]]}
        pipeline, jobs = await created(browser, body)
        answer = await browser.get(f"{PATH}/{pipeline}/result?wait=60")
    assert answer.json() == {"job_id": jobs[1], "metadata": [10]}


async def test_a_pipeline_may_begin_and_end_with_a_group(team: Team) -> None:
    async with asking(HttpFace(team.service)) as browser:
        group = [job(task_params={"n": number}) for number in (1, 2)]
        pipeline, jobs = await created(browser, {"name": "p", "jobs": [group, [job("total"), job("double")]]})
        for last in jobs[2:]:
            await team.ended(last)
        found = (await browser.get(f"{PATH}/{pipeline}")).json()
    assert (found["status"], found["stages"]) == ("COMPLETED", [2, 2])


async def test_a_pipeline_without_a_group_is_one_as_any_other(team: Team) -> None:
    async with asking(HttpFace(team.service)) as browser:
        told = (await browser.post(PATH, pipe("double", "double", description="etl", run_at=LATER))).json()
        same = (await browser.post("/api/pipelines", pipe("double", "double", description="etl", run_at=LATER))).json()
    assert "stages" not in told
    assert [told[name] for name in ("name", "description", "run_at")] == ["a pipeline", "etl", LATER]
    assert [one.get("run_at") for one in told["jobs"]] == [LATER, None]
    assert set(told) == set(same)


async def test_one_of_several_that_fails_stops_it_and_it_goes_on_when_that_is_retried(team: Team) -> None:
    async with asking(HttpFace(team.service)) as browser:
        # Given a pipeline of which one job side by side with others fails, when all of them have ended
        pipeline, jobs = await created(browser, spread("double", "stumble", "double"))
        for one in jobs[1:4]:
            await team.ended(one)
        broken = (await browser.get(f"{PATH}/{pipeline}")).json()

        # When that one is retried, and succeeds
        team.forgives = True
        await eventually(lambda: browser.post(f"/api/v1/jobs/{jobs[2]}/retry"), lambda said: said.status_code == 200)
        await team.ended(jobs[-1])
        mended = (await browser.get(f"{PATH}/{pipeline}")).json()
        result = (await browser.get(f"/api/jobs/{jobs[-1]}/results")).json()

    # Then those that were through have run once, and the last one is given what all of them returned
    assert broken["status"] == "FAILED"
    assert [one["status"] for one in broken["jobs"]] == ["COMPLETED", "COMPLETED", "FAILED", "COMPLETED", "PENDING"]
    assert mended["status"] == "COMPLETED"
    assert result["metadata"] == 16 + 100 + 16
    assert len(team.runs) == 1 + 2 + 2 + 1


async def test_cancelling_ends_all_that_run_side_by_side(team: Team) -> None:
    async with asking(HttpFace(team.service)) as browser:
        # Given a pipeline of which two jobs run, and a third one beside them is through
        pipeline, jobs = await created(browser, spread("slow", "double", "slow"))
        await team.ended(jobs[2])
        await team.ran(4)

        # When it is cancelled
        answer = await browser.post(f"{PATH}/{pipeline}/cancel")
        for one in (jobs[1], jobs[3]):
            assert (await team.ended(one)).status is Status.FAILED
        found = (await browser.get(f"{PATH}/{pipeline}")).json()
        again = await browser.post(f"{PATH}/{pipeline}/cancel")

    # Then it goes no further, and has ended
    assert answer.status_code == 200
    assert found["status"] == "FAILED"
    assert found["jobs"][-1]["status"] == "PENDING"
    assert (again.status_code, again.json()["error"]["type"]) == (409, "conflict")


async def test_what_still_runs_beside_one_that_failed_can_be_cancelled(team: Team) -> None:
    async with asking(HttpFace(team.service)) as browser:
        # Given a pipeline that has failed, while a job beside the one that did runs on
        pipeline, jobs = await created(browser, spread("slow", "fail"))
        await team.ended(jobs[2])
        await team.ran(3)
        assert (await team.service.pipeline(pipeline)).status is Status.FAILED

        # When it is cancelled, then that one is stopped
        await team.service.cancel_pipeline(pipeline)
        assert (await team.ended(jobs[1])).failure_reason == "cancelled"
        with pytest.raises(Conflict, match="has ended: it is FAILED"):
            await team.service.cancel_pipeline(pipeline)


async def test_what_ends_while_it_is_cancelled_takes_nobody_with_it(
    team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a pipeline whose first job ends just before it is cancelled
    pipeline, jobs = await team.service.create_pipeline(a_pipeline("slow", "wait"))
    await team.ran(1)
    cancel = team.worker.admin.acancel

    async def too_late(job_id: str) -> bool:
        if job_id == jobs[0].id:
            team.may_end.set()
            await team.ended(job_id)
        return await cancel(job_id)

    monkeypatch.setattr(team.worker.admin, "acancel", too_late)

    # When it is cancelled, then that holds for the job behind it
    await team.service.cancel_pipeline(pipeline.id)
    assert (await team.ended(jobs[1].id)).failure_reason == "cancelled"


async def test_a_pipeline_is_deleted_with_all_that_wait_side_by_side(team: Team) -> None:
    async with asking(HttpFace(team.service)) as browser:
        group = [job(), job()]
        body = {"name": "later", "jobs": [group, job("total")], "run_at": LATER}
        pipeline, jobs = await created(browser, body)
        assert (await browser.client.delete(f"/api/pipelines/{pipeline}")).status_code == 204
    assert [await team.worker.admin.ajob(one) for one in jobs] == [None] * 3
    assert await team.service.jobs() == []


async def test_one_key_creates_one_of_them(team: Team) -> None:
    async with asking(HttpFace(team.service)) as browser:
        headers = {"Idempotency-Key": "report-7"}
        asked = [browser.post(PATH, spread("double", "double"), headers=headers) for _ in range(50)]
        answers = await asyncio.gather(*asked)
        other = await browser.post(PATH, spread("double", "fail"), headers=headers)
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert other.status_code == 409
    assert len(await team.service.jobs()) == 4


@pytest.mark.parametrize(
    ("jobs", "text"),
    [
        (None, "jobs required"),
        ([], "jobs required"),
        ([[]], "jobs required"),
        ([job()], "pipeline shoud have at least 2 jobs, 1 given"),
        ([[job()]], "pipeline shoud have at least 2 jobs, 1 given"),
        ([job(), [], job()], "jobs[1] has no jobs: leave it out, or say what is to run side by side"),
        ([job(), [job(), {"name": "x"}]], "jobs[1][1]: task_name required"),
        ([job(), {"task_name": "double"}], "jobs[1]: name required"),
        ([job(), job("fail", use_previous_results=True)], "jobs[1]: task_params of fail"),
        ([[job(use_previous_results=True), job()]], "nothing comes before jobs[0] whose results it could use"),
        ([[job()] * 600, [job()] * 401], "pipeline should have at most 1000 jobs, 1001 given"),
        ([job(), [[job()]]], "the body does not fit"),
        ([job(), "double"], "the body does not fit"),
    ],
)
async def test_what_cannot_be_is_refused_and_nothing_is_kept(team: Team, jobs: object, text: str) -> None:
    async with asking(HttpFace(team.service)) as browser:
        answer = await browser.post(PATH, {"name": "p", "jobs": jobs})
    assert (answer.status_code, answer.json()["error"]["type"]) == (400, "bad_request")
    assert answer.json()["error"]["message"].startswith(text)
    assert await team.service.pipelines() == []
    assert await team.service.jobs() == []


async def test_keys_are_read_in_any_case_in_groups_too(team: Team) -> None:
    body = b'{"Name":"p","JOBS":[[{"NAME":"a","Task_Name":"double","why":1},{"name":"b","task_name":"double"}]]} more'
    async with asking(HttpFace(team.service)) as browser:
        answer = await browser.client.post(PATH, content=body)
    assert [one["name"] for one in answer.json()["jobs"]] == ["a", "b"]


async def test_valets_own_path_takes_no_groups(team: Team) -> None:
    async with asking(HttpFace(team.service)) as browser:
        answer = await browser.post("/api/pipelines", spread("double"))
    assert (answer.status_code, answer.json()["error"]) == (400, True)
    assert await team.service.pipelines() == []


async def test_a_queue_that_knows_no_ids_refuses_what_it_could_double(
    team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    from worksong.domain.capability import Capability

    # Given a queue that takes a job twice whose answer was lost
    backend: Any = team.worker.backend()
    monkeypatch.setattr(type(backend), "capabilities", backend.capabilities - {Capability.DEDUP})
    async with asking(HttpFace(team.service)) as browser:
        # When jobs are to run side by side in front of another, then that is refused, and at the end it is not
        refused = await browser.post(PATH, spread("double", "double"))
        taken = await browser.post(PATH, {"name": "p", "jobs": [job(), [job(), job()]]})
    assert (refused.status_code, refused.json()["error"]["type"]) == (409, "unsupported")
    assert "run them one after the other" in refused.json()["error"]["message"]
    assert taken.status_code == 202


async def test_the_client_creates_them_too(team: Team) -> None:
    async with answering(HttpFace(team.service)) as url, Client(url) as client:
        group = [Step("double", {"n": number}) for number in (1, 2, 3)]
        pipeline = await client.acreate_pipeline("sum", [group, Step("total", previous=True)], key="sum")
        assert pipeline.stages == (3, 1)
        assert await client.aresult(pipeline.jobs[-1].id, timeout=60) == 12
        assert (await client.apipeline(pipeline.id)).stages == (3, 1)


async def test_a_group_whose_records_are_edited_is_still_one(team: Team) -> None:
    async with asking(HttpFace(team.service)) as browser:
        pipeline, _ = await created(browser, spread("double", "double", run_at=LATER))
        await team.service.edit_pipeline(pipeline, Edit(name="anew"))
        found = (await browser.get(f"{PATH}/{pipeline}")).json()
    assert (found["name"], found["stages"]) == ("anew", [1, 2, 1])
