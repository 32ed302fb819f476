"""The metrics of a worker that really runs, read by Prometheus' own parser."""

from __future__ import annotations

import builtins
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

import patience
from engine_bench import until
from metrics.scrape import Scrape
from worksong import ConfigError, Discard, Job, Snooze, Worker
from worksong.domain.job import new_id
from worksong.domain.tally import BOUNDS
from worksong.metrics import Metrics, metrics_app
from worksong.metrics import stock as stocks
from worksong.testing.clock import FakeClock
from worksong.testing.flaky import FlakyBackend, error


def scrape(metrics: Metrics) -> Scrape:
    return Scrape(metrics.text()[0].decode())


def a_worker(url: str = "memory://", **options: Any) -> Worker:
    """A worker with job types that end in every way."""
    worker = Worker(url, name=f"test-{new_id()}", **options)

    @worker.job()
    async def greet(name: str) -> None: ...

    @worker.job()
    def plain() -> None: ...

    @worker.job(max_fails=2, backoff=lambda _: 0.0)
    async def fail() -> None:
        raise ValueError("no")

    @worker.job()
    async def drop() -> None:
        raise Discard("not wanted any more")

    @worker.job()
    async def doze() -> Snooze:
        return Snooze(3600)

    return worker


@pytest.fixture(params=["memory", "redis"])
def worker(request: pytest.FixtureRequest) -> Worker:
    return a_worker("memory://" if request.param == "memory" else request.getfixturevalue("redis_url"))


def test_a_run_is_counted_by_type_queue_and_outcome(worker: Worker) -> None:
    # Given a worker whose jobs end in every way
    metrics = Metrics(worker)
    for number in range(5):
        worker.perform(Job("greet", {"name": str(number)}))
    for name in ("plain", "fail", "drop", "doze"):
        worker.perform(Job(name))

    # When it has run them
    worker.start()
    seen = waited_for(metrics, lambda seen: seen("worksong_jobs_total") == 10 and settled(seen))
    worker.stop()

    # Then each run is counted as it ended
    assert seen("worksong_jobs_total", handler="greet", outcome="done") == 5
    assert seen("worksong_jobs_total", handler="plain", outcome="done") == 1
    assert seen("worksong_jobs_total", handler="fail", outcome="retried") == 1
    assert seen("worksong_jobs_total", handler="fail", outcome="dead") == 1
    assert seen("worksong_jobs_total", handler="drop", outcome="discarded") == 1
    assert seen("worksong_jobs_total", handler="doze", outcome="snoozed") == 1
    # And so are its time and its wait, in buckets that add up
    assert seen("worksong_job_run_seconds_count", handler="greet", queue="default") == 5
    assert seen("worksong_job_run_seconds_bucket", handler="greet", le="+Inf") == 5
    assert seen("worksong_job_wait_seconds_count", handler="fail") == 2
    # And what the process, and the backend, are at
    assert seen("worksong_slots") == 25
    assert seen("worksong_processes") == 1
    assert seen("worksong_event_loop_lag_seconds") >= 0
    assert seen("worksong_backend_up") == 1
    assert seen("worksong_backend_jobs", state="dead") == 1
    assert seen("worksong_build_info") == 1
    # And the counts of a worker that was stopped stay
    assert scrape(metrics)("worksong_jobs_total") == 10
    worker.start()
    worker.perform(Job("plain"))
    waited_for(metrics, lambda seen: seen("worksong_jobs_total") == 11)
    worker.stop()
    metrics.close()


def settled(seen: Scrape) -> bool:
    """What waits is asked for once in a second: the last endings may be younger than that."""
    return seen("worksong_backend_jobs", state="dead") == seen("worksong_backend_jobs", state="scheduled") == 1


def waited_for(metrics: Metrics, wanted: Callable[[Scrape], bool]) -> Scrape:
    """A scrape that is as wanted, once there is one."""
    return patience.until(
        lambda: scrape(metrics),
        lambda seen: f"a scrape, last was {seen.families}",
        met=lambda seen: seen.has("worksong_jobs_total") and wanted(seen),
    )


def test_what_waits_is_told_without_a_run() -> None:
    # Given jobs in two queues of a worker that does not run, and a clock that is turned
    clock = FakeClock()
    worker = a_worker(clock=clock)
    metrics = Metrics(worker)
    worker.perform(Job("plain", queue="low"))
    worker.perform(Job("plain", queue="low"))
    worker.perform(Job("plain", queue="high"))
    worker.admin.pause("high")
    clock.advance(30)

    # When it is scraped, then it tells how many wait, and for how long
    seen = scrape(metrics)
    assert seen("worksong_queue_jobs", queue="low") == 2
    assert seen("worksong_queue_oldest_seconds", queue="low") == 30
    assert [seen("worksong_queue_paused", queue=name) for name in ("low", "high")] == [0, 1]
    assert seen("worksong_backend_jobs", state="queued") == 3
    assert seen("worksong_slots") == 0

    # And it is not asked again within a second, but afterwards
    worker.perform(Job("plain", queue="low"))
    assert scrape(metrics)("worksong_queue_jobs", queue="low") == 2
    clock.advance(1)
    assert scrape(metrics)("worksong_queue_jobs", queue="low") == 3
    worker.admin.purge("low")
    worker.admin.purge("high")


def test_queues_without_end_become_one_label(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stocks, "QUEUES", 2)
    clock = FakeClock()
    worker = a_worker(clock=clock)
    for number in range(5):
        for _ in range(number + 1):
            worker.perform(Job("plain", queue=f"q{number}"))
    seen = scrape(metrics := Metrics(worker))
    assert {sample.labels["queue"]: sample.value for sample in seen.families["worksong_queue_jobs"].samples} == {
        "q4": 5,
        "q3": 4,
        "(other)": 6,
    }
    # And one that was told apart stays so while it has jobs, though another is longer by now
    for _ in range(9):
        worker.perform(Job("plain", queue="q0"))
    clock.advance(1)
    seen = scrape(metrics)
    assert {sample.labels["queue"] for sample in seen.families["worksong_queue_jobs"].samples} == {
        "q4",
        "q3",
        "(other)",
    }
    for number in range(5):
        worker.admin.purge(f"q{number}")


def test_a_backend_that_is_away_is_told_and_hides_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    worker = a_worker()
    flaky = FlakyBackend(worker._stores.jobs.origin, {"counts": [error]})
    monkeypatch.setattr(worker._stores.jobs, "origin", flaky)
    seen = scrape(Metrics(worker))
    assert seen("worksong_backend_up") == 0
    assert not seen.has("worksong_queue_jobs")
    assert seen("worksong_build_info") == 1


def test_names_and_units_are_those_that_prometheus_asks_for() -> None:
    worker = a_worker()
    families = scrape(Metrics(worker)).families.values()
    for family in families:
        assert family.documentation.endswith(".")
        assert family.name.startswith("worksong_")
        assert not family.name.endswith(("_total", "_ms", "_count"))
    assert {family.name for family in families if family.type == "histogram"} == {
        "worksong_job_run_seconds",
        "worksong_job_wait_seconds",
    }
    assert sorted(BOUNDS) == list(BOUNDS)


def test_a_scraper_may_ask_for_openmetrics() -> None:
    text, kind = Metrics(a_worker()).text("application/openmetrics-text; version=1.0.0")
    assert kind.startswith("application/openmetrics-text")
    assert text.endswith(b"# EOF\n")


def test_a_worker_that_is_not_measured_counts_nothing() -> None:
    worker = a_worker()
    worker.start()
    assert worker.meter is None
    worker.stop()


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *args: Any, **options: Any) -> Any:
        if name.partition(".")[0] == "prometheus_client":
            raise ModuleNotFoundError("no", name="prometheus_client")
        return real(name, *args, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ConfigError, match=r"pip install 'worksong\[metrics\]'"):
        Metrics(Worker())


# mounted


async def ask(app: Callable[..., Awaitable[None]], method: str) -> tuple[int, dict[bytes, bytes], bytes]:
    """What an ASGI application answers."""
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": method, "path": "/metrics", "headers": [(b"accept", b"text/plain")]}
    await app(scope, receive, send)
    return sent[0]["status"], dict(sent[0]["headers"]), sent[1]["body"]


async def test_an_application_can_mount_them() -> None:
    # Given a worker that runs within an application
    worker = a_worker()
    app = metrics_app(worker)
    async with worker:
        await worker.aperform(Job("plain"))
        await until(lambda: worker.stats.done == 1)
        # When they are asked for, then they are there
        status, headers, body = await ask(app, "GET")
        assert (status, headers[b"content-type"].partition(b";")[0]) == (200, b"text/plain")
        assert Scrape(body.decode())("worksong_jobs_total", outcome="done") == 1
        # And nothing is answered but reading
        assert (await ask(app, "HEAD"))[2] == b""
        assert (await ask(app, "POST"))[0] == 405


def test_no_argument_of_a_job_is_in_a_label() -> None:
    worker = a_worker()
    metrics = Metrics(worker)
    worker.perform(Job("greet", {"name": "hunter2"}))
    worker.run(burst=True)
    assert b"hunter2" not in metrics.text()[0]
