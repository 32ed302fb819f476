"""Jobs between Go and Python over the real Faktory: none lost, none altered, failures and retries in both languages."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import random
import subprocess
import time
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import gotool
import servers
from chaos.scale import SEED, sized
from interop.test_amqp_go import canonical, random_args
from patience import auntil
from worksong import ConfigError, Job, Worker
from worksong.domain.job import new_id
from worksong.domain.lifecycle import State

JOBS = sized(5000)
PATIENCE = 120.0
PASSWORD = "s3cret & word"
LINE = 1 << 24
LABEL = '<span class="badge bg-primary">worksong</span>'
"""How the server's page shows a worker of ours."""

pytestmark = pytest.mark.timeout(gotool.BUILT + 900)  # the first one waits for the server to be built


class Go:
    """The program of `interop/faktory`, as a client of the server."""

    def __init__(self, program: Path, server: servers.Faktory) -> None:
        self._program = program
        self._environment = {**os.environ, "FAKTORY_URL": server.url.replace("faktory://", "tcp://"), "TZ": "UTC"}
        self._environment.pop("FAKTORY_PROVIDER", None)

    def push(self, jobs: list[dict[str, Any]], *flags: str) -> None:
        """Enqueue them in Go."""
        lines = "".join(f"{json.dumps(job)}\n" for job in jobs).encode()
        command = [self._program, "push", *flags]
        subprocess.run(command, input=lines, env=self._environment, check=True, timeout=PATIENCE)

    @asynccontextmanager
    async def working(self, *flags: str) -> AsyncIterator[list[dict[str, Any]]]:
        """A worker in Go; the list grows by what it ran."""
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            self._program, "work", *flags, stdin=pipe, stdout=pipe, env=self._environment, limit=LINE
        )
        ran: list[dict[str, Any]] = []
        reading = asyncio.create_task(_read(process, ran))
        try:
            yield ran
        finally:
            await _end(process)
            await reading


async def _end(process: asyncio.subprocess.Process) -> None:
    """Let it finish what it runs; a FETCH of it may wait for two seconds more."""
    assert process.stdin
    process.stdin.close()
    try:
        async with asyncio.timeout(PATIENCE):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
        raise


async def _read(process: asyncio.subprocess.Process, ran: list[dict[str, Any]]) -> None:
    assert process.stdout
    async for line in process.stdout:
        ran += [json.loads(line)]


async def until(happened: Callable[[], object], what: str) -> None:
    """Wait for it."""
    await auntil(happened, what, within=PATIENCE)


@pytest.fixture(scope="module")
def server(faktory_program: Path) -> Iterator[servers.Faktory]:
    """One with a password, and a clock of its own."""
    with servers.faktory(faktory_program, password=PASSWORD) as server:
        yield server


@pytest.fixture
def still(faktory_program: Path, faktory_server: servers.Faktory | None) -> servers.Faktory:
    """One on which nothing is tried again unless somebody says so, however slow the machine."""
    assert faktory_server, f"{faktory_program} does not start"
    faktory_server.order("empty")
    return faktory_server


@pytest.fixture
async def producer(still: servers.Faktory) -> AsyncIterator[Worker]:
    """One of ours that runs nothing."""
    producer = Worker(f"{still.url}?timeout=60", patience=PATIENCE)
    yield producer
    await producer.astop()


@pytest.fixture
def peer(faktory_program: Path, server: servers.Faktory) -> Go:
    return Go(faktory_program, server)


@pytest.fixture
async def worker(server: servers.Faktory) -> AsyncIterator[Worker]:
    """One of ours, on a queue that no other test uses; it knows the job type "send"."""
    worker = Worker(f"{server.url}?timeout=60", concurrency=10, patience=PATIENCE, queues=(f"here.{new_id()}",))
    yield worker
    await worker.astop(grace=1.0)


def arguments(chance: random.Random) -> list[Any]:
    """A list, as of any library, or one object, as fwa has it."""
    given = random_args(chance)
    return [given] if chance.random() < 0.5 else [*given.values(), "and more"]


async def test_jobs_of_go_run_here(worker: Worker, server: servers.Faktory, peer: Go) -> None:
    # Given jobs that Go enqueued, some by themselves and most in batches
    chance, ran = random.Random(SEED), dict[str, Job]()
    (queue,) = worker.queues or ()
    jobs = [{"jid": new_id(), "jobtype": "send", "queue": queue, "args": arguments(chance)} for _ in range(JOBS)]
    jobs[0]["args"] = [None]  # how fwa writes no arguments
    jobs[1]["custom"] = {"locale": "de"}
    jobs[2]["at"] = datetime.fromtimestamp(time.time() + 1.0, UTC).isoformat()  # which the server has to wait for
    peer.push(jobs[:20])
    peer.push(jobs[20:], "-many", "200")

    # When a worker of ours runs
    @worker.job(name="send")
    async def send(job: Job) -> None:
        ran[job.id] = job

    async with worker:
        await until(lambda: len(ran) == JOBS, f"{JOBS} jobs of Go (seed {SEED})")
        await until(lambda: stats(server)["sets"]["working"] == 0, "all acknowledged")

    # Then none was lost, and none altered
    expected = {job["jid"]: canonical(job["args"]) for job in jobs} | {jobs[0]["jid"]: canonical(None)}
    assert {job_id: canonical(job.args) for job_id, job in ran.items()} == expected
    assert ran[jobs[1]["jid"]].meta == {"locale": "de"}
    assert stats(server)["queues"][queue] == 0


async def test_jobs_of_ours_run_there(worker: Worker, server: servers.Faktory, peer: Go) -> None:
    # Given jobs of ours, with names or without, and one for a second from now, which the server has to wait for
    chance, queue = random.Random(SEED + 1), f"there.{new_id()}"
    jobs = {new_id(): _as_ours(arguments(chance)) for _ in range(JOBS)}
    late = await worker.aperform_in(Job("send", {"late": True}, queue=queue), 1.0)
    await worker.aperform_many([Job("send", args, id=job_id, queue=queue) for job_id, args in jobs.items()])
    assert late
    jobs[late.id] = {"late": True}

    # When a worker in Go runs
    async with peer.working("-queues", queue) as ran:
        await until(lambda: len(ran) == JOBS + 1, f"{JOBS} jobs of ours (seed {SEED})")

    # Then none was lost, and none altered
    expected = {job_id: canonical(args if isinstance(args, list) else [args]) for job_id, args in jobs.items()}
    assert {one["job"]["jid"]: canonical(one["job"]["args"]) for one in ran} == expected
    assert stats(server)["queues"][queue] == 0


def _as_ours(args: list[Any]) -> Any:
    """One object is named arguments."""
    return args[0] if len(args) == 1 and isinstance(args[0], dict) else args


async def test_what_fails_in_one_language_is_tried_again_in_the_other(
    still: servers.Faktory, producer: Worker, faktory_program: Path
) -> None:
    # Given a job that fails here, and one that fails there
    worker, ran = Worker(f"{still.url}?timeout=60", patience=PATIENCE), list[Job]()

    @worker.job(name="once", max_fails=5, timeout=900)
    async def once(job: Job) -> None:
        ran.append(job)
        if job.args == {"fails": "here"}:
            raise ValueError("Python says no")

    async with worker:
        here = await worker.aperform(Job("once", {"fails": "here"}))
        await until(lambda: stats(still)["sets"]["retries"] == 1, "the failure here")
        assert LABEL in web(still, "/busy")
    there = await producer.aperform(Job("once", {"fails": "there"}))
    assert here
    assert there
    async with Go(faktory_program, still).working() as gone:
        await until(lambda: stats(still)["sets"]["retries"] == 2, "the failure there")

        # When an operator, who sees both on the server's page, has the one of ours tried again: then Go runs it
        shown = web(still, "/retries")
        assert all(words in shown for words in ("ValueError", "Python says no", "Go says no"))
        assert await producer.backend().requeue(State.RETRY, [here.id], time.time()) == 1
        await until(lambda: len(gone) == 2, "the second try there")
    first, second = gone
    assert (first["failed"], second["failed"]) == (True, False)
    assert (second["job"]["jid"], second["job"]["retry"], second["job"]["reserve_for"]) == (here.id, 4, 960)
    failure = second["job"]["failure"]
    assert (failure["errtype"], failure["message"], failure["retry_count"]) == ("ValueError", "Python says no", 0)

    # And the other one runs here, with what Go said of it
    assert await producer.backend().requeue(State.RETRY, [there.id], time.time()) == 1
    async with worker:
        await until(lambda: len(ran) == 2, "the second try here")
        await until(lambda: stats(still)["sets"]["working"] == 0, "all acknowledged")
    assert (ran[1].id, ran[1].attempt, ran[1].error) == (there.id, 2, "Go says no")
    assert stats(still)["sets"]["retries"] == 0


async def test_a_wrong_password_is_told(server: servers.Faktory) -> None:
    wrong = Worker(server.url.replace("s3cret", "wrong"), patience=PATIENCE)
    try:
        with pytest.raises(ConfigError, match="refused the login"):
            await wrong.aperform(Job("send"))
    finally:
        await wrong.astop()


def stats(server: servers.Faktory) -> dict[str, Any]:
    """What the server's own page counts."""
    found: dict[str, Any] = json.loads(web(server, "/stats"))["faktory"]
    return found


def web(server: servers.Faktory, path: str) -> str:
    """The server's own page."""
    login = base64.b64encode(f":{server.password}".encode()).decode()
    url = f"http://127.0.0.1:{server.web_port}{path}"
    request = urllib.request.Request(url, headers={"Authorization": f"Basic {login}"})
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
        text: str = answer.read().decode()
    return text
