"""What jobs did, in charts and numbers: on pages that need no script, and for programs."""

from __future__ import annotations

import html
import json
import re
import time
import uuid
import xml.etree.ElementTree as ET
from typing import Any

import pytest

from faces.test_web_pages import Shy
from faces.visitor import text_of, visiting
from worksong import Job, Worker
from worksong.adapters.base import BaseBackend
from worksong.domain.capability import Capability
from worksong.domain.course import DAY
from worksong.domain.job import Delivery
from worksong.domain.outcome import Buried, Done, Retried
from worksong.domain.tally import Spread
from worksong.engine.annals import Annals
from worksong.engine.board import Board
from worksong.engine.releases import announce, releases
from worksong.faces.web.charts import nice
from worksong.ports.backend import Running
from worksong.ports.clock import SystemClock
from worksong.ports.notebook import Line
from worksong.service.course import PERIODS, course_fields, read
from worksong.service.desk import Store
from worksong.testing.clock import FakeClock
from worksong.testing.contract.chronicles import a_tally
from worksong.testing.flaky import FlakyBackend, error

HOUR = 1_700_002_800.0
"""The beginning of an hour."""
NOW = HOUR + 90


@pytest.fixture
def worker() -> Worker:
    return Worker(name="shop", clock=FakeClock(NOW))


async def remember(worker: Worker) -> None:
    """A busy minute, one with failures, and something of yesterday and of last week."""
    store = worker.backend()
    await store.note({"mail": a_tally(Done(), 30, ran=0.02), "charge": a_tally(Done(), 10, ran=2.0)}, NOW - 300)
    await store.note({"charge": a_tally(Retried(0, ""), 4, ran=7.0) + a_tally(Buried(""), 1, ran=7.0)}, NOW)
    await store.note({"mail": a_tally(Done(), 500)}, NOW - 8 * 3600)
    await store.note({"mail": a_tally(Done(), 9000)}, NOW - 7 * DAY)


# pages


async def test_queues_show_how_many_waited_when_somebody_looked(worker: Worker) -> None:
    clock = worker.clock
    assert isinstance(clock, FakeClock)
    worker.register("mail", lambda: None)
    async with visiting(worker) as visitor:
        # Given somebody who looks while jobs come
        for _ in range(3):
            await visitor.json("/counts")
            await worker.aperform_many([Job("mail") for _ in range(10)])
            await clock.aadvance(20)
        # Then the page has the course of the queue, and its pace
        page = await visitor.read("/queues")
        assert 'class="spark"' in page
        assert "default 30 +30/min" in text_of(page)


async def test_queues_show_what_their_jobs_did_and_how_many_failed(worker: Worker) -> None:
    # Given a job type whose jobs come by two queues, of which one fails now and then
    board, store = Board(), worker.backend()
    worker.register("mail", lambda: None)
    for queue, runs, failing in (("bulk", 120, 30), ("letters", 60, 0)):
        await worker.aperform(Job("mail", queue=queue))
        for number in range(runs):
            outcome = Retried(0, "") if number < failing else Done()
            board.note(Running(Delivery(Job("mail", queue=queue), None, 0), 0, NOW - 70), outcome, NOW - 69)
    await Annals(board, queues=True).write(store, NOW - 60)
    async with visiting(worker) as visitor:
        # Then each queue has its own course, pace and share of failures
        page = text_of(await visitor.read("/queues"))
        assert "2/min 25.0 %" in page
        assert "1/min –" in page
        queues = {queue["name"]: queue for queue in await visitor.json("/queues")}
        told = {name: (queue["per_minute"], queue["error_share"]) for name, queue in queues.items()}
        assert told == {"bulk": (2.0, 0.25), "letters": (1.0, 0.0)}
        # And neither is taken for a job type, or counted twice
        assert [handler["handler"] for handler in await visitor.json("/handlers?period=1h")] == ["mail"]
        assert "150 runs did well and 30 failed in the last hour." in await visitor.read("/")


@pytest.mark.parametrize(("without", "told"), [(Capability.QUEUES, (0.5, 0.0)), (Capability.HISTORY, (None, None))])
async def test_a_queue_that_is_a_job_type_has_its_course_and_without_a_history_there_is_none(
    worker: Worker, without: Capability, told: tuple[float | None, float | None]
) -> None:
    await remember(worker)
    worker.register("mail", lambda: None)
    await worker.aperform(Job("mail", queue="mail"))
    backend = Shy(worker.backend(), without)
    async with visiting(Store(lambda: backend, worker.clock, "memory://", "shop")) as visitor:
        (queue,) = await visitor.json("/queues")
        assert (queue["per_minute"], queue["error_share"]) == told
        await visitor.read("/queues")


async def test_the_overview_draws_what_jobs_did(worker: Worker) -> None:
    await remember(worker)
    async with visiting(worker) as visitor:
        # When somebody looks, then there is a picture of the runs and of their times, for screen readers too
        page = await visitor.read("/")
        pictures = [ET.fromstring(found) for found in re.findall(r'<svg class="chart".*?</svg>', page, re.DOTALL)]
        told = [" ".join(picture.itertext()) for picture in pictures]
        assert len(told) == 3
        assert "40 runs did well and 5 failed in the last hour." in told[0]
        assert "99% took at most" in told[1]
        assert all(picture.get("role") == "img" and picture.get("aria-labelledby") for picture in pictures)
        # And each point says what it shows, to whoever points at it
        runs, ran, _ = [json.loads(html.unescape(found)) for found in re.findall(r'data-points="([^"]*)"', page)]
        assert (len(runs), runs[0]) == (60, "59 min ago: 0 done, 0 failed")
        assert (runs[-1], runs[-6]) == ("30 s ago: 0 done, 5 failed", "5 min 30 s ago: 40 done, 0 failed")
        assert ran[0] == "59 min ago: nothing ran"
        assert re.fullmatch(r"30 s ago: p50 [\d.]+ s, p95 [\d.]+ s, p99 [\d.]+ s", ran[-1])
        # And the longer periods have what is older
        assert "540 runs did well and 5 failed" in await visitor.read("/?period=24h")
        assert "9,540 runs did well and 5 failed" in await visitor.read("/?period=30d")


async def test_charts_show_when_a_release_was_started(worker: Worker) -> None:
    # Given a release of a while ago, and workers of the next one that start at about the same time
    clock, backend = worker.clock, worker.backend()
    assert isinstance(clock, FakeClock)
    await remember(worker)
    await announce(backend, "2.4.0", NOW - 7200)
    for name, age in (("2.4.1 <b>", 600), ("2.4.1 <b>", 590), ("2.4.0", 300)):
        await announce(backend, name, NOW - age)
    await backend.jot([Line("releases", "{", 100, 60.0)], NOW)
    async with visiting(worker) as visitor:
        # Then the charts of the hour have a line for each that began in it
        page = await visitor.read("/")
        assert page.count('<g class="release">') == 2 * 3
        assert "Releases: 2.4.1 <b> 10 min ago , 2.4.0 5 min ago" in text_of(page)
        assert (await visitor.json("/history?period=1h"))["releases"] == [
            {"at": NOW - 600, "name": "2.4.1 <b>"},
            {"at": NOW - 300, "name": "2.4.0"},
        ]
    # And a store that is away keeps no worker from its work
    await announce(FlakyBackend(backend, {"lines": [error]}), "2.5.0", NOW)


async def test_a_worker_tells_its_release_when_it_starts() -> None:
    worker = Worker()
    worker.release = "2.4.1"
    for _ in range(2):
        async with worker:
            pass
    assert [release.name for release in await releases(worker.backend())] == ["2.4.1"]


async def test_the_same_is_there_in_numbers(worker: Worker) -> None:
    await remember(worker)
    async with visiting(worker) as visitor:
        page = await visitor.read("/history")
        rows = [text_of(row) for row in re.findall(r"<tr data-row>.*?</tr>", page, re.DOTALL)]
        assert len(rows) == 2
        assert rows[0].split()[-9:][:3] == ["0", "4", "1"] or " 0 4 1 " in rows[0]
        assert " 40 0 0 " in rows[1]


async def test_handlers_are_compared(worker: Worker) -> None:
    await remember(worker)
    async with visiting(worker) as visitor:
        page = text_of(await visitor.read("/handlers"))
        assert page.index("mail") < page.index("charge")  # the busiest first
        assert "33.3 %" in page
        assert "30 took 10 ms to 25 ms" in page
        assert "9,530" in text_of(await visitor.read("/handlers?period=30d"))


async def test_a_period_that_is_none_is_refused_in_words(worker: Worker) -> None:
    async with visiting(worker) as visitor:
        for path in ("/?period=1y", "/handlers?period=%3Cb%3E", "/api/v1/history?period=0"):
            answer = await visitor.get(path)
            assert answer.status_code == 400
            assert "here is no period" in answer.text


async def test_before_anything_ran_the_pages_say_how_to_get_a_history(worker: Worker) -> None:
    async with visiting(worker) as visitor:
        for path in ("/", "/handlers", "/history"):
            assert "Worker(history=True)" in await visitor.read(path)


class Forgetful(BaseBackend):
    """Keeps no history, and can be looked at."""

    capabilities = frozenset({Capability.BROWSE})

    async def queues(self, now: float) -> list[Any]:
        return []

    async def counts(self) -> dict[Any, int]:
        return {}

    async def jobs(self, state: Any, window: Any) -> Any:
        return ()


async def test_a_backend_without_history_says_what_to_use_instead() -> None:
    backend: Any = Forgetful()
    async with visiting(Store(lambda: backend, SystemClock(), "x://", "shop")) as visitor:
        assert "worksong run --metrics" in await visitor.read("/handlers")
        answer = await visitor.get("/api/v1/history")
        assert answer.status_code == 409
        assert "worksong run --metrics" in answer.text


async def test_what_is_drawn_holds_no_markup_of_others(worker: Worker) -> None:
    await worker.backend().note({"<script>x</script>\"'": a_tally()}, NOW)
    async with visiting(worker) as visitor:
        assert "<script>x" not in await visitor.read("/handlers")


# as JSON


async def test_programs_get_the_points_of_a_period(worker: Worker) -> None:
    await remember(worker)
    async with visiting(worker) as visitor:
        hour = await visitor.json("/history")
        assert (hour["period"], hour["step_seconds"], len(hour["points"])) == ("1h", 60, 60)
        last = hour["points"][-1]
        assert (last["done"], last["retried"], last["dead"]) == (0, 4, 1)
        assert 5 < last["ran"]["p50"] <= 10
        assert hour["points"][0]["ran"]["p50"] is None
        assert len((await visitor.json("/history?period=24h"))["points"]) == 144
        assert len((await visitor.json("/history?period=30d"))["points"]) == 180


async def test_programs_get_what_each_handler_did(worker: Worker) -> None:
    await remember(worker)
    async with visiting(worker) as visitor:
        mail, charge = await visitor.json("/handlers")
        assert (mail["handler"], mail["done"], mail["per_minute"]) == ("mail", 30, 0.5)
        assert charge["error_share"] == pytest.approx(1 / 3)
        assert charge["buckets"]["10.0"] == 5
        assert sum(charge["runs"]) == 15


async def test_an_autoscaler_is_told_how_much_waits(worker: Worker) -> None:
    # Given jobs in two queues, of which one is paused
    clock = worker.clock
    assert isinstance(clock, FakeClock)
    worker.register("mail", lambda: None)
    for queue, count in (("high", 3), ("low", 2), ("held", 9)):
        for _ in range(count):
            await worker.aperform(Job("mail", queue=queue))
    await worker.backend().pause("held")
    await clock.aadvance(30)
    async with visiting(worker) as visitor:
        # When it asks, then it gets plain numbers, of all queues or of one
        every = await visitor.json("/scaling")
        assert (every["jobs"], every["oldest_seconds"], every["running"], every["slots"]) == (5, 30.0, 0, 0)
        assert [queue["name"] for queue in every["queues"]] == ["high", "low"]
        assert (await visitor.json("/scaling?queue=low"))["jobs"] == 2
        assert (await visitor.json("/scaling?queue=none"))["jobs"] == 0
    for queue in ("high", "low", "held"):
        await worker.backend().purge(queue)


# from a run to the charts


@pytest.mark.parametrize("scheme", ["memory", "sqlite", "redis"])
async def test_what_workers_did_outlives_them(
    scheme: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> None:
    # Given workers on one store that keep a history: two, unless the store is their own
    places = {"memory": "memory://", "sqlite": f"sqlite:///{tmp_path_factory.mktemp('db')}/jobs.db"}
    url, name = places.get(scheme) or request.getfixturevalue("redis_url"), f"web-{uuid.uuid4().hex}"
    workers = [Worker(url, name=name, history=True) for _ in range(1 if scheme == "memory" else 2)]

    def fail() -> None:
        raise ValueError("no")

    for worker in workers:
        worker.register("plain", lambda: None)
        worker.register("fail", fail, max_fails=1)
    # When each has run some jobs and has ended
    for worker in workers:
        for _ in range(10):
            await worker.aperform(Job("plain"))
        await worker.aperform(Job("fail"))
        await worker.astart(burst=True)
        engine = worker._shift.engine
        assert engine
        await engine.finished.wait()
        await worker.astop()
    # Then the runs of all are in the history
    async with visiting(workers[0]) as visitor:
        found = {one["handler"]: one for one in await visitor.json("/handlers")}
        assert (found["plain"]["done"], found["fail"]["dead"]) == (10 * len(workers), len(workers))
        assert found["plain"]["ran"]["count"] == 10 * len(workers)


async def test_the_last_point_is_the_one_that_runs_now() -> None:
    worker = Worker()
    for name, period in PERIODS.items():
        for now in (HOUR, HOUR + 1, HOUR + 3599.9, time.time()):
            course = await read(worker.backend(), period, now)
            last = course.points[-1].at
            assert last <= now < last + period.step, name
            assert len(course_fields(course)["points"]) == period.points


class Asked:
    """A history that knows from when on it was asked for."""

    def __init__(self, behind: Any) -> None:
        self._behind, self.since = behind, [0.0]

    async def course(self, grain: Any, since: float, until: float) -> Any:
        self.since.append(since)
        return await self._behind.course(grain, since, until)


async def test_a_month_is_read_once_and_then_only_what_may_have_changed() -> None:
    # Given a month that was read, and runs that are told later: of now, and of a moment ago
    worker, period = Worker(), PERIODS["30d"]
    store = worker.backend()
    asked: Any = Asked(store)
    await store.note({"mail": a_tally(Done(), 7)}, HOUR - 20 * DAY)
    before = await read(asked, period, NOW)
    await store.note({"mail": a_tally(Done(), 2)}, NOW - 60)
    await store.note({"mail": a_tally(Done(), 5)}, NOW + 3600)
    # When it is read again an hour later
    course = await read(asked, period, NOW + 3600, before)
    # Then only the end of it is, and the points are those of somebody who reads all
    assert asked.since[-1] > NOW - 3 * period.step
    assert course.points == (await read(store, period, NOW + 3600)).points
    assert course.handlers["mail"].ended() == 14
    # And after a clock was set back, or a long sleep, nothing of it is relied on
    for now in (NOW - 40 * DAY, NOW + 40 * DAY):
        assert (await read(asked, period, now, course)).points == (await read(store, period, now)).points


@pytest.mark.parametrize(
    ("highest", "axis"), [(0, 1), (1, 1), (7, 8), (11, 15), (0.03, 0.03), (500, 500), (501, 600), (1e-7, 1e-7)]
)
def test_an_axis_ends_at_a_number_that_reads_well(highest: float, axis: float) -> None:
    assert nice(highest) == pytest.approx(axis)


def test_a_spread_of_nothing_has_no_mean() -> None:
    assert Spread(0.0, (0,) * 17).mean is None
