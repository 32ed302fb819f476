"""Enqueueing while the server is away: to wait for it, or to keep the jobs in memory meanwhile."""

from __future__ import annotations

import asyncio
import itertools
import logging
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from engine_bench import Hasty, Ledger, on
from patience import PATIENCE
from worksong import (
    BackendRefused,
    BackendUnavailable,
    ConfigError,
    EnqueueOutcomeUnknown,
    Handle,
    Job,
    PayloadTooLarge,
    Worker,
)
from worksong.domain.lifecycle import State
from worksong.ports.backend import Window
from worksong.testing.clock import FakeClock
from worksong.testing.flaky import FlakyBackend, error, execute_then_error


@pytest.fixture
def flaky() -> FlakyBackend:
    return FlakyBackend(Ledger())


@pytest.fixture
def made(flaky: FlakyBackend, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Worker]:
    """Makes a worker on the flaky backend, that knows the job type `x`."""

    def make(**options: Any) -> Worker:
        worker: Worker = on(flaky, monkeypatch, **options)
        worker.register("x", lambda: None)
        return worker

    return make


async def queued(flaky: FlakyBackend) -> list[str]:
    return [view.id for view in (await flaky.inner.jobs(State.QUEUED, Window(limit=1000))).jobs]


# patience


async def test_who_has_patience_enqueues_when_the_server_is_back(
    flaky: FlakyBackend, made: Callable[..., Worker]
) -> None:
    worker = made(patience=20, clock=Hasty())
    flaky.expect("push", [error] * 3)
    handle = await worker.aperform(Job("x"))
    assert handle and await queued(flaky) == [handle.id]


async def test_patience_ends_with_the_same_error(flaky: FlakyBackend, made: Callable[..., Worker]) -> None:
    # Given a server that does not come back, and 20 seconds of patience
    clock = FakeClock()
    worker = made(patience=20, clock=clock)
    flaky.expect("push", itertools.repeat(error))
    enqueueing = asyncio.ensure_future(worker.aperform(Job("x")))
    # When less than that has passed, then it still waits
    for _ in range(19):
        await clock.aadvance(1)
    assert not enqueueing.done()
    # And when it has, the error is raised
    for _ in range(3):
        await clock.aadvance(1)
    with pytest.raises(BackendUnavailable, match="push was planned to fail"):
        await enqueueing


async def test_a_push_whose_answer_was_lost_is_not_repeated(flaky: FlakyBackend, made: Callable[..., Worker]) -> None:
    for options in ({"patience": 20}, {"buffer": 10}):
        worker = made(clock=Hasty(), **options)
        flaky.expect("push", [execute_then_error])
        with pytest.raises(EnqueueOutcomeUnknown) as lost:
            await worker.aperform(Job("x"))
        assert lost.value.job_id in await queued(flaky)
    assert len(await queued(flaky)) == 2


# a buffer


async def test_kept_jobs_leave_in_order_when_the_server_is_back(
    flaky: FlakyBackend, made: Callable[..., Worker], caplog: pytest.LogCaptureFixture
) -> None:
    # Given a server that is away, then loses an answer, and then is back
    worker = made(buffer=100, clock=Hasty())
    flaky.expect("push", [error] * 5 + [execute_then_error, error])
    # When jobs are enqueued meanwhile, some by the loop and some by a thread
    ids = [handle.id for _ in range(10) if (handle := await worker.aperform(Job("x")))]
    ids += [handle.id for handle in await asyncio.to_thread(worker.perform_many, [Job("x")] * 5) if handle]
    await worker.astop(grace=PATIENCE)
    # Then each is there once, in their order
    assert await queued(flaky) == ids
    assert [record.levelname for record in caplog.records] == ["WARNING"]


async def test_a_kept_job_that_cannot_be_enqueued_takes_no_other_with_it(
    flaky: FlakyBackend, made: Callable[..., Worker], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given kept jobs, one of which the backend refuses as too large, and one that the server refuses for a while
    worker = made(buffer=100, clock=Hasty())
    push, refusals = FlakyBackend.push, [BackendRefused("not now")] * 3

    async def picky(self: FlakyBackend, jobs: Sequence[Job], now: float, *, once: bool = False) -> list[bool]:
        if once and any(job.args == ["large"] for job in jobs):
            raise PayloadTooLarge
        if once and refusals and any(job.args == ["later"] for job in jobs):
            raise refusals.pop()
        return await push(self, jobs, now, once=once)

    monkeypatch.setattr(FlakyBackend, "push", picky)
    flaky.expect("push", itertools.repeat(error))
    args = ["first"]
    handles = await worker.aperform_many([Job("x", args)])
    args[0] = "changed by the caller afterwards"
    handles += await worker.aperform_many([Job("x", [text]) for text in ("large", "later", "last")])
    flaky.expect("push", [])
    # When the server is back
    await worker.astop(grace=PATIENCE)
    # Then all the others are there, as they were when they were enqueued
    found = [view.job.args for view in (await flaky.inner.jobs(State.QUEUED, Window(limit=10))).jobs if view.job]
    assert sorted(found, key=str) == [["first"], ["last"], ["later"]]
    (line,) = [text for text in caplog.messages if "cannot be enqueued" in text]
    assert handles[1] and handles[1].id in line


async def test_a_full_buffer_raises(flaky: FlakyBackend, made: Callable[..., Worker]) -> None:
    # Given room for three, and a server that is away
    worker = made(buffer=3, clock=Hasty())
    flaky.expect("push", itertools.repeat(error))
    kept = await worker.aperform_many([Job("x"), Job("x")])
    # When more are enqueued than there is room for, then none of these is kept
    with pytest.raises(BackendUnavailable, match="2 jobs are kept already of 3 allowed: 2 more were not taken in"):
        await worker.aperform_many([Job("x"), Job("x")])
    kept += await worker.aperform_many([Job("x")])
    with pytest.raises(BackendUnavailable, match="3 jobs are kept already of 3 allowed: 1 more were not taken in"):
        await worker.aperform(Job("x"))
    assert all(isinstance(handle, Handle) for handle in kept)
    flaky.expect("push", [])
    await worker.astop(grace=PATIENCE)


async def test_a_unique_job_is_not_kept(flaky: FlakyBackend, made: Callable[..., Worker]) -> None:
    worker = made(buffer=3, clock=Hasty())
    flaky.expect("push", itertools.repeat(error))
    with pytest.raises(BackendUnavailable, match="push was planned to fail"):
        await worker.aperform(Job("x", unique=True))


async def test_a_stop_says_which_jobs_are_still_in_memory(
    flaky: FlakyBackend, made: Callable[..., Worker], caplog: pytest.LogCaptureFixture
) -> None:
    # Given kept jobs, and a server that does not come back
    worker = made(buffer=100, clock=Hasty())
    flaky.expect("push", itertools.repeat(error))
    handles = await worker.aperform_many([Job("x")] * 12)
    # When the worker is stopped
    await worker.astop(grace=0.01)
    # Then it says how many, and the first of their ids
    (line,) = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert line.startswith("12 jobs were enqueued while the server was away, and are still in memory only: ")
    assert handles[0] and handles[0].id in line and line.endswith(" and 2 more")
    flaky.expect("push", [])
    await worker.astop(grace=PATIENCE)


def test_a_program_that_ends_says_what_is_lost_with_it() -> None:
    # Given a program that enqueues on a server that is not there, and just ends
    program = (
        "import worksong; from worksong import outage, Job; outage.AT_EXIT = 0.01;"
        "print(worksong.Worker('redis://127.0.0.1:1', buffer=5).perform(Job('x')).id)"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True)
    # Then it says so
    assert f"1 jobs were enqueued while the server was away, and are still in memory only: {ran.stdout.strip()}; " in (
        ran.stderr
    )


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"patience": -1}, "patience is a number of seconds, not -1"),
        ({"patience": float("inf")}, "patience is a number of seconds"),
        ({"patience": True}, "patience is a number of seconds"),
        ({"buffer": 1.5}, "buffer is a number of jobs, not 1.5"),
        ({"buffer": -1}, "buffer is a number of jobs"),
        ({"buffer": 5, "patience": 5}, "two ways through an outage: choose one"),
    ],
)
def test_options_that_cannot_work_are_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        Worker(**options)
