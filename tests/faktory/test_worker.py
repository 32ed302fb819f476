"""Whole workers: jobs of other languages, failures, orders, kills and restarts."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner

import patience
from faktory.conftest import MakesWorkers
from faktory.real import Real
from faktory.standin import Standin
from gotool import BUILT
from patience import PATIENCE, auntil
from worksong import Job, Unsupported, Worker
from worksong.adapters.faktory import pulse
from worksong.faces.cli import worksong as commands

Server = Standin | Real
HERE = Path(__file__).parent
pytestmark = pytest.mark.timeout(BUILT + 400)  # the first one waits for the server to be built


async def until(true: Callable[[], bool]) -> None:
    """Wait for it; to look is to ask the server, which may take its time."""
    await auntil(partial(asyncio.to_thread, true))


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers that beat without a pause, so that orders reach them at once."""
    monkeypatch.setattr(pulse, "BEAT_EVERY", 0.0)


async def test_jobs_run_and_those_of_other_languages_too(server: Server, new_worker: MakesWorkers) -> None:
    # Given handlers, our own jobs, and jobs as fwa and Ruby write them
    seen: list[object] = []
    worker = new_worker(concurrency=3)
    worker.register("named", lambda user_id, subject="hi": seen.append((user_id, subject)))

    @worker.job()
    def raw(args: dict[str, object]) -> None:
        seen.append(args)

    worker.register("bare", lambda: seen.append("bare"))
    foreign = {"queue": "default", "retry": 25}
    for number, (name, args) in enumerate([("named", [{"user_id": 2}]), ("bare", [None]), ("named", [3, "hey"])]):
        job = {"jid": f"foreign-{number}", "jobtype": name, "args": args, **foreign}
        server.do(lambda job=job: server.store.push(job))
    await worker.aperform_many([Job("named", {"user_id": 1}), Job("raw", {"any": 1}), Job("named", [4])])
    # When a worker runs
    async with worker:
        await until(lambda: len(seen) == 6)
        await until(lambda: not server.store.working)
    # Then all were understood, and nothing is left
    assert Counter(map(str, seen)) == Counter(
        map(str, [(1, "hi"), (2, "hi"), (3, "hey"), (4, "hi"), {"any": 1}, "bare"])
    )
    assert not any(server.store.queues.values())


async def test_the_server_tries_again_as_often_as_the_job_type_allows(server: Server, new_worker: MakesWorkers) -> None:
    worker = new_worker()
    attempts: list[int] = []

    @worker.job(max_fails=3)
    async def fail(job: Job) -> None:
        attempts.append(job.attempt)
        raise ValueError("boom")

    async with worker:
        await fail.aperform()
        for tries in (1, 2):
            await until(lambda tries=tries: len(server.store.sets["retries"]) == 1 and len(attempts) == tries)
            server.turn(200)
        await until(lambda: len(server.store.sets["dead"]) == 1)
    assert attempts == [1, 2, 3]
    ((_, dead),) = server.store.sets["dead"]
    assert (dead["failure"]["errtype"], dead["failure"]["message"], dead["retry"]) == ("ValueError", "boom", 2)
    assert "raise ValueError" in "\n".join(dead["failure"]["backtrace"])


@pytest.mark.usefixtures("hasty")
async def test_a_quiet_worker_fetches_nothing_more_and_lives_on(server: Server, new_worker: MakesWorkers) -> None:
    worker, seen = new_worker(), list[int]()
    worker.register("note", seen.append)
    async with worker:
        await worker.aperform(Job("note", [1]))
        await until(lambda: seen == [1])
        server.tell("quiet")
        engine = worker._shift.engine
        assert engine
        await until(lambda: engine._quiet)
        await worker.aperform(Job("note", [2]))
        beats = server.seen["BEAT"]
        await until(lambda: server.seen["BEAT"] > beats)
        assert seen == [1]
    ((job,),) = [list(queue) for queue in server.store.queues.values()]
    assert job["args"] == [2]


@pytest.mark.usefixtures("hasty")
def test_a_worker_that_the_server_ends_comes_to_its_end(server: Server, a_worker: MakesWorkers) -> None:
    worker, begun = a_worker(), threading.Event()
    heard = threading.Event()
    worker.on_dismissed = heard.set

    @worker.job()
    def work() -> None:
        begun.set()
        server.tell("terminate")

    work.perform()
    stats = worker.run()
    assert begun.is_set()
    assert heard.is_set()
    assert stats.done == 1


@pytest.mark.usefixtures("hasty")
async def test_a_worker_within_another_program_goes_quiet_and_tells_it(
    server: Server, new_worker: MakesWorkers
) -> None:
    worker, heard = new_worker(), asyncio.Event()
    loop = asyncio.get_running_loop()
    worker.on_dismissed = lambda: loop.call_soon_threadsafe(heard.set)
    async with worker:
        server.tell("terminate")
        async with asyncio.timeout(PATIENCE):
            await heard.wait()
        assert await worker.aperform(Job("later", id="still-enqueues"))


async def test_a_stop_hands_running_jobs_back_with_nothing_counted(server: Server, new_worker: MakesWorkers) -> None:
    worker, begun = new_worker(), asyncio.Event()

    @worker.job()
    async def hang() -> None:
        begun.set()
        await asyncio.Event().wait()

    await worker.astart()
    handle = await hang.aperform()
    assert handle
    async with asyncio.timeout(PATIENCE):
        await begun.wait()
    await worker.astop(grace=0.0)
    (back,) = server.store.queues["default"]
    assert back["custom"]["worksong"]["as"] == handle.id
    assert "failure" not in back
    assert not server.store.working
    await until(lambda: not server.workers)


def test_the_job_of_a_killed_process_runs_again(server: Server, a_worker: MakesWorkers) -> None:
    # Given a worker process in the middle of a job
    environment = {**os.environ, "FAKTORY_URL": server.url.replace("faktory", "tcp"), "PYTHONPATH": str(HERE)}
    environment.pop("FAKTORY_PROVIDER", None)
    environment.pop("WORKSONG_URL", None)
    command = [sys.executable, "-m", "worksong.faces.cli", "run", "killed_app:worker"]
    with subprocess.Popen(command, env=environment, cwd=HERE, stdout=subprocess.PIPE, text=True) as process:
        try:
            producer = a_worker()
            producer.perform(Job("hold", {"n": 7}))
            assert process.stdout
            assert any("holding 7" in line for line in process.stdout)
        finally:
            process.send_signal(signal.SIGKILL)
    # When its reservation has run out, and the server's back-off; a FETCH of the dead would take the job once more
    producer.stop()
    patience.until(lambda: server.crowd == 0)
    assert len(server.store.working) == 1
    server.turn(1801, silent=True)
    server.turn(60)
    # Then another worker runs it
    other, ran = a_worker(), threading.Event()
    other.register("hold", lambda n: ran.set())
    other.start()
    assert ran.wait(PATIENCE)
    other.stop()
    assert not server.store.working


async def test_a_server_that_is_killed_and_comes_back_loses_no_job(server: Server, new_worker: MakesWorkers) -> None:
    worker, seen = new_worker(concurrency=5, patience=PATIENCE), Counter[int]()

    @worker.job()
    async def note(n: int) -> None:
        await asyncio.sleep(0.001)
        seen[n] += 1

    await worker.aperform_many([Job("note", {"n": n}) for n in range(300)])
    async with worker:
        for share in (50, 150):
            await until(lambda share=share: len(seen) >= share)
            server.kill()
            server.start()
        # What was lent and whose answer was lost waits for the end of its reservation.
        await until(
            lambda: not any(server.store.queues.values()) and worker.stats.done + len(server.store.working) >= 300
        )
        await until(lambda: len(seen) + len(server.store.working) >= 300)
        while len(seen) < 300:
            server.turn(2000)
            await asyncio.sleep(0.05)
    assert set(seen) == set(range(300))


def test_the_command_line_shows_what_the_server_tells(server: Server) -> None:
    def asked(*words: str) -> str:
        result = CliRunner().invoke(
            commands, [*words, "--url", server.url], env={"NO_COLOR": "1"}, prog_name="worksong"
        )
        assert result.exit_code == 0, result.output
        return result.output

    server.store.push({"jid": "waiting-1", "jobtype": "send", "args": [], "queue": "low"})
    status = json.loads(asked("status", "--json"))
    assert (status["queued"], status["dead"], status["queues"]) == (1, 0, 1)
    assert "low" in asked("queues")
    findings = {finding["id"]: finding["severity"] for finding in json.loads(asked("doctor", "--json"))["findings"]}
    assert findings["faktory.workers.none"] == "warning"
    assert "1" in asked("purge", "low")


async def erase(worker: Worker) -> None:
    await worker.backend().erase()


def test_what_faktory_cannot_do_is_refused_with_what_to_do_instead(server: Server, a_worker: MakesWorkers) -> None:
    worker = a_worker()
    with pytest.raises(Unsupported, match="use the server's own tools"):
        worker.admin.dead()
    with pytest.raises(Unsupported, match="namespace"):
        worker.background.call(erase(worker))
    worker.stop()
