"""A process that is killed, and one that cannot beat: what they ran is run by others, and soon."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from patience import until
from worksong import Job, Worker
from worksong.domain.job import new_id

SOON = 60.0
"""Seconds after a kill within which its job runs again; on a machine with nothing else to do it takes 8 to 14."""
PATIENCE = 90.0


class Line(NamedTuple):
    """One line of the ledger."""

    what: str
    pid: int
    at: float


class Fleet:
    """Worker processes on one namespace, and their ledger."""

    def __init__(self, url: str, directory: Path) -> None:
        self.url, self.namespace, self.directory = url, new_id(), directory
        self.ledger = directory / "ledger"
        self.ledger.touch()
        self.gate = directory / "gate"
        os.mkfifo(self.gate)
        self.processes: list[subprocess.Popen[str]] = []
        self.worker = Worker(url, name=self.namespace)

    def start(self, concurrency: int) -> subprocess.Popen[str]:
        script = Path(__file__).with_name("recovery_worker.py")
        command = [sys.executable, str(script), self.url, self.namespace, str(self.ledger), str(self.gate)]
        with (self.directory / f"log-{len(self.processes)}").open("w") as log:
            process = subprocess.Popen([*command, str(concurrency)], stdin=subprocess.PIPE, stderr=log, text=True)
        self.processes.append(process)
        self.noted("ready", process)
        return process

    def log(self, process: subprocess.Popen[str]) -> str:
        return (self.directory / f"log-{self.processes.index(process)}").read_text()

    def noted(self, what: str, process: subprocess.Popen[str]) -> Line:
        """The line, as soon as it is there."""
        found: list[Line] = []

        def look() -> bool:
            lines = [line.split() for line in self.ledger.read_text().splitlines()]
            found[:] = [Line(w, int(p), float(a)) for w, p, a in lines if w == what and int(p) == process.pid]
            return bool(found)

        until(look, within=PATIENCE)
        return found[0]

    def run(self, handler: str, process: subprocess.Popen[str]) -> None:
        """Enqueue a job that this process, the only one with a free slot, begins."""
        self.worker.perform(Job(handler=handler, args={}))
        self.noted(handler, process)

    def pools(self) -> dict[int, str]:
        """Process -> its pool."""
        return {pool.pid: pool.id for pool in self.worker.admin.pools()}

    def let_go(self) -> None:
        """Whoever holds the interpreter's lock."""
        os.write(os.open(self.gate, os.O_RDWR), b"x")

    def end(self) -> None:
        self.let_go()
        for process in self.processes:
            assert process.stdin is not None
            process.stdin.close()
        for process in self.processes:
            process.wait(PATIENCE)
        self.worker.stop()


@pytest.fixture
def fleet(redis_url: str, tmp_path: Path) -> Iterator[Fleet]:
    fleet = Fleet(redis_url, tmp_path)
    yield fleet
    fleet.end()


def test_jobs_of_a_killed_process_and_of_one_that_cannot_beat_run_again(fleet: Fleet) -> None:
    # Given a process with a job, which watches over all, another whose handler keeps the interpreter's lock, and one
    # that has nothing to do
    killed = fleet.start(1)
    fleet.run("waits", killed)
    blocked = fleet.start(1)
    pool = fleet.pools()[blocked.pid]
    fleet.run("holds_the_lock", blocked)
    idle = fleet.start(5)

    # When the first is killed
    died = time.monotonic()
    killed.kill()

    # Then its job runs again soon, and that of the one that does not beat
    took = fleet.noted("waits", idle).at - died
    assert took < SOON
    fleet.noted("holds_the_lock", idle)

    # And when that one can beat again, it hears that it was taken for dead, ends nothing, and goes on as a new pool
    fleet.let_go()
    until(lambda: fleet.pools().get(blocked.pid, pool) != pool, within=PATIENCE)
    assert f"pool {pool} was taken for dead" in fleet.log(blocked)
    until(lambda: not fleet.worker.admin.busy(), within=PATIENCE)
    assert sum(queue.count + queue.running for queue in fleet.worker.admin.queues()) == 0
    assert not fleet.worker.admin.dead()
    assert not fleet.worker.admin.retries()
    assert set(fleet.pools()) == {blocked.pid, idle.pid}
