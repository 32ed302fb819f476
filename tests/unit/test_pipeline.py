"""Pipelines: what follows what, with which values, once, and what is refused before anything is enqueued."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worksong import (
    BackendUnavailable,
    Context,
    Discard,
    InvalidArguments,
    JobFailed,
    Pipeline,
    RegistrationError,
    Retry,
    Snooze,
    Unsupported,
    Worker,
)
from worksong.domain import pipeline, retry
from worksong.domain.job import Job
from worksong.domain.lifecycle import State
from worksong.domain.pipeline import Step
from worksong.ports.backend import Window
from worksong.testing import FakeClock, drain, inline


class Page(msgspec.Struct):
    url: str
    day: datetime


class Etl:
    """An application with steps."""

    def __init__(self, **settings: Any) -> None:
        self.ran: list[str] = []
        self.fails = 0
        self.worker = worker = Worker(**settings)

        @worker.job()
        async def fetch(url: str) -> Page:
            self.ran.append(f"fetch {url}")
            return Page(url, datetime(2026, 1, 1, tzinfo=UTC))

        @worker.job(max_fails=2, backoff=retry.fixed(0.0))
        def parse(previous: Page, factor: int = 1) -> int:
            self.ran.append(f"parse {previous.url}")
            if self.fails:
                self.fails -= 1
                raise ValueError("no page")
            return len(previous.url) * factor

        @worker.job()
        async def total(previous: list[int]) -> int:
            self.ran.append(f"total {previous}")
            return sum(previous)

        @worker.job()
        async def told(ctx: Context) -> str:
            self.ran.append("told")
            return ctx.job.id

        self.fetch, self.parse, self.total, self.told = fetch, parse, total, told


# which jobs they are

STEPS = st.lists(st.lists(st.just(Step("a")), min_size=1, max_size=4), min_size=1, max_size=6)


@settings(deadline=None)
@given(STEPS)
def test_every_step_comes_once_and_in_order(stages: list[list[Step]]) -> None:
    # When each stage is followed to its end
    jobs, seen = pipeline.first("p", "etl", stages), list[Job]()
    for stage in stages:
        assert len(jobs) == len(stage)
        seen += jobs
        ways = [pipeline.way_of(job) for job in jobs]
        following = [pipeline.following(way, None, 5.0) for way in ways if way]
        assert all(others == following[0] for others in following)  # whoever sends them sends the same
        jobs = list(following[0])
    # Then nothing is left, and no id came twice
    assert jobs == []
    assert len({job.id for job in seen}) == sum(map(len, stages))


def test_the_way_is_carried_through_json() -> None:
    (job,) = pipeline.first("p", "etl", [[Step("a")], [Step("b", {"n": 1}, "low", previous=True), Step("c")]])
    again = Job("a", meta=msgspec.json.decode(msgspec.json.encode(job.meta)))
    way = pipeline.way_of(again)
    assert way is not None
    assert [(one.handler, one.args, one.queue) for one in pipeline.following(way, [7], 5.0)] == [
        ("b", {"n": 1, "previous": [7]}, "low"),
        ("c", None, "default"),
    ]


@pytest.mark.parametrize(
    "meta",
    [{}, {"pipeline": 1}, {"pipeline": {"id": 7}}, {"pipeline": None}, {"pipeline": {"id": "p", "width": 10**12}}],
)
def test_what_others_call_a_pipeline_is_none(meta: dict[str, Any]) -> None:
    assert pipeline.way_of(Job("a", meta=meta)) is None


def test_siblings_are_asked_for_from_the_next_one_on() -> None:
    jobs = pipeline.first("p", "", [[Step("a")] * 3])
    way = pipeline.way_of(jobs[1])
    assert way is not None
    assert way.siblings == [jobs[2].id, jobs[0].id, jobs[1].id]


# run


def test_each_step_is_given_what_the_one_before_returned() -> None:
    etl = Etl()
    handle = Pipeline([etl.fetch.step(url="abc"), etl.parse.step(previous=True, factor=2), etl.told.step()]).perform()
    assert handle.progress() == (0, 3)
    drain(etl.worker)
    assert etl.ran == ["fetch abc", "parse abc", "told"]
    assert handle.result(timeout=60) == handle.stages[2][0].id
    assert [stage[0].result(timeout=60) for stage in handle.stages[:2]] == [
        Page("abc", datetime(2026, 1, 1, tzinfo=UTC)),
        6,
    ]
    assert handle.progress() == (3, 3)


def test_the_stage_behind_several_steps_waits_for_all_of_them() -> None:
    etl = Etl()
    handle = Pipeline(
        [
            etl.fetch.step(url="abc"),
            [etl.parse.step(previous=True, factor=n) for n in range(3)],
            etl.total.step(previous=True),
        ]
    ).perform()
    drain(etl.worker)
    assert etl.ran == ["fetch abc", *["parse abc"] * 3, "total [0, 3, 6]"]
    assert handle.result(timeout=60) == 9


def test_several_last_steps_return_a_list() -> None:
    etl = Etl()
    handle = Pipeline([etl.fetch.step(url="ab"), [etl.parse.step(previous=True, factor=n) for n in (1, 2)]]).perform()
    drain(etl.worker)
    assert handle.result(timeout=60) == [2, 4]


def test_a_step_that_fails_is_tried_again_before_anything_follows() -> None:
    etl = Etl()
    etl.fails = 1
    Pipeline([etl.fetch.step(url="abc"), etl.parse.step(previous=True), etl.told.step()]).perform()
    drain(etl.worker)
    assert etl.ran == ["fetch abc", "parse abc", "parse abc", "told"]


def test_a_dead_step_stops_the_pipeline_until_somebody_retries_it() -> None:
    # Given a step that is dead
    etl = Etl()
    etl.fails = 2
    handle = Pipeline([etl.fetch.step(url="abc"), etl.parse.step(previous=True), etl.told.step()]).perform()
    drain(etl.worker)
    assert etl.ran[-1] == "parse abc"
    with pytest.raises(JobFailed, match="no page"):
        handle.result(timeout=60)
    assert handle.progress() == (1, 3)
    # When it is retried
    assert etl.worker.admin.retry_dead(handle.stages[1][0].id)
    drain(etl.worker)
    # Then the pipeline goes on
    assert etl.ran[-1] == "told"
    assert handle.result(timeout=60) == handle.stages[2][0].id


@pytest.mark.parametrize("verdict", [Discard("not needed"), Snooze(0.0), Retry(0.0)], ids=lambda v: type(v).__name__)
def test_a_verdict_is_none_of_a_step_s_values(verdict: Exception) -> None:
    # Given a step that answers once with a verdict
    etl, answers = Etl(), [verdict]

    @etl.worker.job()
    def undecided() -> object:
        return answers.pop() if answers else 1

    Pipeline([undecided.step(), etl.told.step()]).perform()
    # When all is run, then nothing follows a step that was discarded; the others run again
    drain(etl.worker)
    assert etl.ran == ([] if isinstance(verdict, Discard) else ["told"])


def test_nothing_follows_a_step_that_was_cancelled() -> None:
    etl = Etl()
    handle = Pipeline([etl.told.step(), etl.told.step()]).perform()
    assert handle.cancel()
    drain(etl.worker)
    assert etl.ran == []
    assert not handle.cancel()


def test_a_pipeline_may_begin_later() -> None:
    clock = FakeClock()
    etl = Etl(clock=clock)
    steps = Pipeline([etl.told.step(), etl.told.step()])
    steps.perform_in(60)
    steps.perform_at(datetime.fromtimestamp(clock.now(), UTC) + timedelta(seconds=90))
    scheduled = etl.worker.admin.scheduled()
    assert [round(view.at - clock.now()) for view in scheduled] == [60, 90]


def test_what_cannot_be_handed_on_fails_the_step() -> None:
    # Given a step that returns what no JSON can hold
    etl = Etl()

    @etl.worker.job(max_fails=1)
    def strange() -> object:
        return object()

    Pipeline([strange.step(), etl.total.step(previous=True)]).perform()
    Pipeline([strange.step(), etl.told.step()]).perform()
    # When both are run
    drain(etl.worker)
    # Then only the one whose next step asks for it is dead, and says why
    assert etl.ran == ["told"]
    (dead,) = etl.worker.admin.dead()
    assert "what step 'strange' returned cannot be handed on" in dead.error


def test_a_value_too_large_for_a_job_fails_the_step() -> None:
    etl = Etl()

    @etl.worker.job(max_fails=1)
    def large() -> str:
        return "x" * ((1 << 20) - 100)

    @etl.worker.job()
    def small(previous: str, other: str) -> None:
        etl.ran.append("small")

    Pipeline([large.step(), small.step(previous=True, other="y" * 200)]).perform()
    drain(etl.worker)
    (dead,) = etl.worker.admin.dead()
    assert dead.error.startswith("PayloadTooLarge")
    assert etl.ran == []


def test_the_rest_of_its_way_survives_a_step_that_is_queued_again() -> None:
    etl = Etl()
    handle = Pipeline([etl.told.step(), etl.told.step()], name="twice").perform()

    async def first() -> Any:
        return (await etl.worker.backend().jobs(State.QUEUED, Window()))[0].job

    job = asyncio.run(first())
    assert job.meta["pipeline"]["name"] == "twice"
    assert job.id == handle.stages[0][0].id


def test_middleware_sees_what_the_handler_returned() -> None:
    etl, seen = Etl(), list[object]()

    @etl.worker.middleware
    async def look(ctx: Context, call_next: Callable[[Context], Any]) -> object:
        value = await call_next(ctx)
        seen.append(value)
        return value

    Pipeline([etl.fetch.step(url="ab"), etl.parse.step(previous=True)]).perform()
    drain(etl.worker)
    assert seen == [Page("ab", datetime(2026, 1, 1, tzinfo=UTC)), 2]


def test_a_list_of_one_hands_on_a_list_and_ends_in_one() -> None:
    # Given a pipeline whose lists were as long as there was something to do
    etl = Etl()
    fetched, parsed = etl.fetch.step(url="abc"), etl.parse.step(previous=True)
    whole = Pipeline([fetched, [parsed], [etl.total.step(previous=True)]])

    # When it has run, then what follows each of them was given a list
    handle = whole.perform()
    drain(etl.worker)
    assert handle.result(timeout=60) == [3]
    assert etl.ran == ["fetch abc", "parse abc", "total [3]"]


def test_inline_runs_all_of_it_at_once() -> None:
    etl = Etl()
    with inline(etl.worker) as ran:
        handle = Pipeline(
            [[etl.fetch.step(url="a"), etl.fetch.step(url="bc")], etl.told.step(), etl.fetch.step(url="d"),
             etl.parse.step(previous=True)]
        ).perform()  # fmt: skip
        assert handle.result(timeout=0) == 1
    assert [one.job.handler for one in ran] == ["fetch", "fetch", "told", "fetch", "parse"]


# refused


def test_steps_that_cannot_run_are_refused_at_once() -> None:
    etl, other = Etl(), Etl()
    refused: list[tuple[Callable[[], object], str]] = [
        (etl.fetch.step, "missing argument `url`"),
        (lambda: etl.fetch.step(url="a", previous=True), "takes no argument 'previous'"),
        (etl.parse.step, "missing argument `previous`"),
        (lambda: etl.parse.step(previous=True, factor="many"), "'factor'"),
        (lambda: etl.parse.step(previous=True, fctor=1), "unknown argument `fctor`"),
        (lambda: etl.fetch.with_options(unique=True).step(url="a"), "unique"),
        (lambda: etl.fetch.with_options(id="x").step(url="a"), "its id"),
        (lambda: Pipeline([]), "at least one step"),
        (lambda: Pipeline([etl.fetch.step(url="a"), []]), "no stage of it is empty"),
        (lambda: Pipeline([etl.parse.step(previous=True)]), "nothing previous"),
        (lambda: Pipeline([etl.fetch.step(url="a"), other.told.step()]), "one worker"),
        (lambda: Pipeline([etl.told.step()], name="no/good name"), "cannot be used"),
        (lambda: Pipeline([[etl.told.step()] * 1001]), "at most 1000"),
        (lambda: Pipeline([[etl.told]]), "made of steps"),  # type: ignore[list-item]
    ]
    for build, why in refused:
        with pytest.raises(InvalidArguments, match=why):
            build()


# tasks in Valet's form


def test_a_task_is_given_its_parameters_and_what_came_before() -> None:
    worker = Worker()

    @worker.task("mytask")
    def mine(params: dict[str, Any], previous: Any = None) -> list[Any]:
        return [params, previous]

    @worker.task()
    async def plain(params: dict[str, Any]) -> int:
        return params["n"]

    handle = Pipeline([plain.step(params={"n": 1}), mine.step(params={"a": 2}, previous=True)]).perform()
    alone = mine.perform(params={"a": 3})
    drain(worker)
    assert handle.result(timeout=60) == [{"a": 2}, 1]
    assert alone.result(timeout=60) == [{"a": 3}, None]


def test_a_function_of_another_form_is_no_task() -> None:
    def other(user_id: int) -> None: ...

    with pytest.raises(RegistrationError, match=r"must take \(params\) or \(params, previous=None\), not \(user_id\)"):
        Worker().task()(other)


# what goes wrong between a handler and its ending


async def test_a_store_of_results_that_is_away_is_waited_for() -> None:
    # Given steps side by side, and a store that is away when the first results are to be kept
    etl = Etl()
    backend = etl.worker.backend()
    put, failures = backend.put, 3

    async def away(results: Any) -> None:
        nonlocal failures
        if failures:
            failures -= 1
            raise BackendUnavailable("away")
        await put(results)

    backend.put = away  # type: ignore[method-assign]
    urls = [etl.fetch.step(url=url) for url in ("a", "bc")]
    handle = await Pipeline([urls, etl.told.step()]).aperform()
    # When they are run
    await etl.worker.astart(burst=True)
    assert await handle.aresult(timeout=60) == handle.stages[1][0].id
    await etl.worker.astop()
    # Then each handler was called once
    assert sorted(etl.ran) == ["fetch a", "fetch bc", "told"]


def test_steps_side_by_side_need_results_and_ids_that_are_known_again() -> None:
    for url, why in (("redis://localhost", "whose results tell"), ("amqp://localhost", "whose results tell")):
        etl = Etl(url=url)
        with pytest.raises(Unsupported, match=why):
            Pipeline([[etl.told.step(), etl.told.step()], etl.told.step()]).perform()
    etl = Etl(url="amqp://localhost", results="memory://")
    with pytest.raises(Unsupported, match="does not know ids again"):
        Pipeline([[etl.told.step(), etl.told.step()], etl.told.step()]).perform()
