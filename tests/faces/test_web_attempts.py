"""The failed tries of a job on its page: with the worker, the time, the error and what the handler logged."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from faces.console import Yard
from faces.test_web_pages import Shy, store_of
from faces.visitor import check_page, text_of, visiting
from patience import PATIENCE, auntil
from worksong import Worker
from worksong.adapters.memory import MemoryBackend
from worksong.domain.capability import Capability
from worksong.domain.errors import BackendRefused, BackendUnavailable
from worksong.domain.job import Delivery, Job, new_id
from worksong.domain.lifecycle import State
from worksong.domain.outcome import Buried, Done, Outcome, Released, Retried
from worksong.engine import annals
from worksong.engine.attempts import AT_ONCE, MOST, Attempts
from worksong.engine.board import Board
from worksong.engine.current import CURRENT
from worksong.engine.scribe import LINES, RUNS, Scribe
from worksong.ports.backend import Running
from worksong.ports.context import Context
from worksong.ports.notebook import Line
from worksong.service.attempts import attempts_of
from worksong.testing.flaky import FlakyBackend, error

log = logging.getLogger("shop")


@pytest.fixture
def heard() -> Iterator[logging.Logger]:
    """The application's own logger, which takes everything and loses what a test has added."""
    log.setLevel(logging.INFO)
    yield log
    log.handlers.clear()
    log.setLevel(logging.NOTSET)


@pytest.mark.parametrize("scheme", ["memory", "sqlite", "redis"])
async def test_each_failed_try_is_told_with_what_was_logged(
    scheme: str,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    heard: logging.Logger,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(annals, "PATIENCE", PATIENCE)  # what is told at a stop, however slow the store is
    # Given a job that fails twice, and says something before
    urls = {"memory": "memory://", "sqlite": f"sqlite:///{tmp_path}/jobs.db"}
    url = urls.get(scheme) or f"{request.getfixturevalue('redis_url')}?namespace={new_id()}"
    worker, tries = Worker(url, history=True), 0
    heard.addHandler(worker.measured().scribe)

    def charge(order: int) -> None:
        nonlocal tries
        tries += 1
        log.info("charging order %d at https://shop:hunter2@bank.example, try %d", order, tries)
        raise ValueError(f"no money, try {tries}")

    worker.register("charge", charge, max_fails=2, backoff=lambda job: 0.0)
    # When it is dead
    async with worker:
        handle = await worker.aperform(Job("charge", {"order": 7}))
        assert handle
        await auntil(worker.admin.acounts, "the death", met=lambda counts: counts[State.DEAD])
    # Then its page tells of both, the latest first
    async with visiting(worker) as visitor:
        page = text_of(check_page(await visitor.get("/job", params={"id": handle.id})))
        assert page.index("try 2 ValueError") < page.index("try 1 ValueError")
        assert re.search("Failed, try 1 .* Failed, try 2 .* Died", page)
        assert "ValueError: no money, try 2" in page
        assert "INFO shop: charging order 7 at https://***@bank.example, try 1" in page
        assert "hunter2" not in page
        # And programs are told the same
        last, first = (await visitor.json(f"/job?id={handle.id}"))["attempts"]
        assert [(one["number"], one["dead"]) for one in (first, last)] == [(1, False), (2, True)]
        assert all(one["worker"] and one["at"] >= one["began_at"] for one in (first, last))
        await worker.backend().erase()


async def test_a_backend_that_keeps_none_says_so() -> None:
    worker = Worker()
    yard = Yard(worker.backend())
    await yard.fail("OSError: disk", Job("charge", id="r1"))
    async with visiting(store_of(Shy(worker.backend(), Capability.NOTES))) as visitor:
        assert "the failed tries of a job, are kept: not here; read the logs" in text_of(
            await visitor.read("/job?id=r1")
        )
        assert (await visitor.json("/job?id=r1"))["attempts"] is None


def a_run(job_id: str, *, attempt: int = 1) -> Running:
    return Running(Delivery(Job("charge", id=job_id, attempt=attempt), None, 0), 0, 100.0)


def logged(scribe: Scribe, run: Running, *texts: str, name: str = "shop") -> None:
    """A handler logs that within the run."""
    context = Context()
    context.begin(run, lambda: 0.0)
    token = CURRENT.set(context)
    try:
        for text in texts:
            scribe.handle(logging.LogRecord(name, logging.INFO, "", 0, text, (), None))
    finally:
        CURRENT.reset(token)


async def test_only_the_latest_tries_of_a_job_are_kept() -> None:
    backend, attempts = MemoryBackend(), Attempts(Scribe())
    outcomes: list[Outcome] = [Retried(0.0, "no"), Buried("no"), Done()]
    for outcome in outcomes:
        attempts.note(a_run("j"), outcome, 101.5)
    await attempts.write(backend, 0.0)
    first, second = await attempts_of(backend, "j")
    assert (first["dead"], second["dead"]) == (True, False)
    assert first["seconds"] == 1.5
    for number in range(MOST + 5):
        attempts.note(a_run("j", attempt=number), Retried(0.0, f"error {number}"), 101.0)
    await attempts.write(backend, 0.0)
    assert [one["number"] for one in await attempts_of(backend, "j")] == [*range(MOST + 4, 4, -1)]


async def test_where_more_fail_than_can_be_told_the_last_ones_are() -> None:
    backend, attempts = MemoryBackend(), Attempts(Scribe())
    for number in range(AT_ONCE + 10):
        attempts.note(a_run(f"j{number}"), Buried("no"), 101.0)
    flaky = FlakyBackend(backend, {"jot": [error]})
    with pytest.raises(BackendUnavailable):
        await attempts.write(flaky, 0.0)
    # What could not be told is told the next time, as far as there is room beside what is new
    attempts.note(a_run("late"), Buried("no \ud800 \x00"), 101.0)
    await attempts.write(flaky, 0.0)
    assert await attempts_of(backend, "j9") == []
    assert len(await attempts_of(backend, f"j{AT_ONCE + 9}")) == 1
    assert len(await attempts_of(backend, "late")) == 1


class Full(MemoryBackend):
    """Refuses to keep any line."""

    async def jot(self, lines: Sequence[Line], now: float) -> None:
        raise BackendRefused("out of memory")


async def test_what_the_store_refuses_is_told_once_and_holds_up_nothing() -> None:
    backend, attempts = MemoryBackend(), Attempts(Scribe())
    attempts.note(a_run("j"), Buried("no"), 101.0)
    with pytest.raises(BackendRefused):
        await attempts.write(Full(), 0.0)
    attempts.note(a_run("next"), Buried("no"), 101.0)
    await attempts.write(backend, 0.0)
    assert await attempts_of(backend, "j") == []
    assert len(await attempts_of(backend, "next")) == 1


def test_of_what_a_run_logs_the_last_lines_are_kept_and_only_those() -> None:
    scribe, run = Scribe(), a_run("j")
    logged(scribe, run, *(f"line {number}\x1b[31m" for number in range(LINES + 5)))
    logged(scribe, run, "ours", name="worksong.engine")
    scribe.handle(logging.LogRecord("shop", logging.INFO, "", 0, "outside of any run", (), None))
    lines = scribe.take(run.delivery.job)
    assert len(lines) == LINES
    assert lines[-1].startswith(f"INFO shop: line {LINES + 4}")
    assert "\x1b" not in "".join(lines)
    assert scribe.take(run.delivery.job) == ()


def test_what_a_run_logged_that_came_to_no_end_of_its_own_is_not_told_of_the_next() -> None:
    # Given a board that tells of attempts
    board, scribe = Board(), Scribe()
    board.attempts = Attempts(scribe)
    # When one run is handed back, and another one is somebody else's by then
    for run, end in ((a_run("back"), Released()), (a_run("lost"), None)):
        logged(scribe, run, "a word")
        if end:
            board.note(run, end, 101.0)
        else:
            board.forget(run)
    # Then nothing is left of what they said
    assert not scribe.runs


def test_of_many_runs_that_log_those_that_began_first_are_forgotten() -> None:
    scribe = Scribe()
    for number in range(RUNS + 1):
        logged(scribe, a_run(f"j{number}"), "a word")
    assert scribe.take(a_run("j0").delivery.job) == ()
    assert scribe.take(a_run("j1").delivery.job) == ("INFO shop: a word",)


def test_a_line_that_does_not_fit_its_arguments_is_kept_as_it_is() -> None:
    scribe, run = Scribe(), a_run("j")
    context = Context()
    context.begin(run, lambda: 0.0)
    token = CURRENT.set(context)
    try:
        scribe.handle(logging.LogRecord("shop", logging.INFO, "", 0, "%d of %s", ("x",), None))
    finally:
        CURRENT.reset(token)
    assert scribe.take(run.delivery.job) == ("INFO shop: %d of %s",)
