"""The pages about pipelines: what the records tell of them, in lists and one by one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from faces.visitor import check_page, text_of, visiting
from worksong import Worker
from worksong.domain.job import new_id
from worksong.domain.outcome import Failure
from worksong.domain.record import JobRecord, PipelineRecord
from worksong.domain.result import Result
from worksong.ledger import Ledger
from worksong.testing.clock import FakeClock

T = 1_790_000_000.0
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>"


def keeping(url: str) -> Worker:
    """A worker that keeps records, a little later."""
    return Worker(url, name="shop", records=url, clock=FakeClock(T + 600))


async def create(ledger: Ledger, name: str, *tasks: str, at: float = T) -> list[str]:
    """A pipeline of jobs of these types; the ids of its jobs, and its own behind them."""
    ids, pipeline_id = [f"{name}-{number}" for number, _ in enumerate(tasks)], f"{name}-{new_id()}"
    behind = [*ids[1:], ""]
    jobs = [
        JobRecord(id=job_id, task=task, pipeline_id=pipeline_id, next_id=then, created_at=at)
        for job_id, task, then in zip(ids, tasks, behind, strict=True)
    ]
    await ledger.open_pipeline(PipelineRecord(id=pipeline_id, job_ids=tuple(ids), name=name, created_at=at), jobs)
    return [*ids, pipeline_id]


def ledger_of(worker: Worker) -> Ledger:
    assert worker.ledgers is not None
    return worker.ledgers.here()


@pytest.mark.parametrize("scheme", ["memory", "sqlite", "redis"])
async def test_pipelines_are_listed_with_what_they_have_come_to(
    scheme: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    # Given a pipeline that waits, one on its way, one that is through and one that has failed
    urls = {"memory": "memory://", "sqlite": f"sqlite:///{tmp_path}/jobs.db"}
    worker = keeping(urls.get(scheme) or f"{request.getfixturevalue('redis_url')}?namespace={new_id()}")
    ledger = ledger_of(worker)
    waits = await create(ledger, "waits", "pack", "send")
    going = await create(ledger, "going", "pack", "send", at=T + 1)
    through = await create(ledger, "through", "pack", at=T + 2)
    failed = await create(ledger, "failed", "pack", "send", at=T + 3)
    for job_id in (going[0], through[0], failed[0]):
        await ledger.begin(job_id)
    lost = Result(failed[0], T + 90, failure=Failure("LookupError", "no box at redis://u:hunter2@host/"))
    await ledger.put([Result(going[0], T + 60), Result(through[0], T + 5), lost])
    await ledger.begin(going[1])
    async with visiting(worker) as visitor:
        # Then all are listed, the oldest first, with what they have come to
        page = await visitor.read("/pipelines")
        assert re.findall(r'class="name" href="[^"]+">([^<]+)</a>', page) == ["waits", "going", "through", "failed"]
        assert "going" in text_of(page)
        assert "in progress 1/2" in text_of(page)
        assert "completed 1/1" in text_of(page)
        assert "failed 0/2" in text_of(page)
        # And those of one status by themselves
        some = await visitor.read("/pipelines?status=in+progress")
        assert re.findall(r'class="name" href="[^"]+">([^<]+)</a>', some) == ["going"]
        # And one of them leads to its jobs, in order, and to why it failed
        one = await visitor.read(f"/pipeline?id={failed[-1]}")
        assert re.findall(r'class="name" href="/job\?id=([^"]+)"', one) == failed[:-1]
        assert "no box at redis://***@host/" in text_of(one)
        assert "hunter2" not in one
        assert "pending" in text_of(await visitor.read(f"/pipeline?id={waits[-1]}"))
        # And the way there is on every page
        assert 'href="/pipelines"' in await visitor.read("/queues")
    await ledger.store.close()


async def test_long_lists_of_pipelines_come_in_pages() -> None:
    worker = keeping("memory://")
    for number in range(120):
        await create(ledger_of(worker), f"p{number:03}", "pack", at=T + number // 7)
    async with visiting(worker) as visitor:
        seen, path = [], "/pipelines"
        while path:
            page = await visitor.read(path)
            seen += re.findall(r'class="name" href="[^"]+">([^<]+)</a>', page)
            following = re.search(r'href="([^"]+)" rel="next"', page)
            path = following[1].replace("&amp;", "&") if following else ""
        assert sorted(seen) == [f"p{number:03}" for number in range(120)]


async def test_hostile_texts_of_pipelines_are_only_text() -> None:
    worker = keeping("memory://")
    ledger, pipeline_id = ledger_of(worker), f"p{HOSTILE}"
    job = JobRecord(
        id=f"j{HOSTILE}", task=HOSTILE, name=HOSTILE, pipeline_id=pipeline_id, failure_reason=HOSTILE, created_at=T
    )
    whole = PipelineRecord(id=pipeline_id, job_ids=(job.id,), name=HOSTILE, description=HOSTILE, created_at=T)
    await ledger.open_pipeline(whole, [job])
    async with visiting(worker) as visitor:
        pages = [
            await visitor.read("/pipelines"),
            check_page(await visitor.get("/pipeline", params={"id": pipeline_id})),
        ]
        for page in pages:
            assert "<script>alert" not in page
            assert "<img" not in page
            assert HOSTILE in text_of(page)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/pipelines?status=<b>", 400),
        ("/pipelines?status=gone", 400),
        ("/pipeline", 404),
        ("/pipeline?id=nobody", 404),
        ("/pipeline?id=%00", 404),
        *(
            (f"/pipelines?after={after}", 200)
            for after in ("1", "x:y", "-1:a", "1e999:a", "nan:a", "5:", "%00", "a" * 3000)
        ),
    ],
)
async def test_odd_addresses_of_pipelines_are_brought_into_bounds_or_told(path: str, status: int) -> None:
    worker = keeping("memory://")
    await create(ledger_of(worker), "one", "pack")
    async with visiting(worker) as visitor:
        answer = await visitor.get(path)
        assert answer.status_code == status
        check_page(answer)


async def test_without_records_there_is_no_page_of_pipelines() -> None:
    async with visiting(Worker()) as visitor:
        assert "/pipelines" not in await visitor.read("/queues")
        answer = await visitor.get("/pipelines")
        assert answer.status_code == 404
        assert "This worker keeps no records" in text_of(check_page(answer))


async def test_a_pipeline_is_drawn_with_what_runs_side_by_side() -> None:
    # Given two jobs that run side by side between two others, and of which one has begun
    worker = keeping("memory://")
    names = ("split", "left", "right", "join")
    jobs = [JobRecord(id=f"j-{name}", task=name, pipeline_id="p1", created_at=T) for name in names]
    pipeline = PipelineRecord(
        id="p1", job_ids=tuple(job.id for job in jobs), widths=(1, 2, 1), name="fan", created_at=T
    )
    await ledger_of(worker).open_pipeline(pipeline, jobs)
    await ledger_of(worker).begin("j-split")
    await ledger_of(worker).put([Result("j-split", T + 5)])
    await ledger_of(worker).begin("j-left")
    async with visiting(worker) as visitor:
        page = await visitor.read("/pipeline?id=p1")
    # Then each stage has its jobs, each with its status, and the table counts stages as steps
    drawn = re.search(r'<ol class="graph".*?</ol>', page, re.DOTALL)
    assert drawn
    stages = [text_of(stage) for stage in drawn[0].split("<li><ul>")[1:]]
    assert stages == ["split completed", "left in progress right pending", "join pending"]
    assert [text_of(step) for step in re.findall(r'data-label="Step" class="num">(.*?)</td>', page)] == list("1223")
