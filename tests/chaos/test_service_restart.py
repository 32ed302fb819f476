"""The job service killed while it is asked: what it has answered for is there when it is back, once, and runs."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from chaos.certificates import Certify
from chaos.fleet import APP, TESTS
from chaos.ledger import Ledger
from chaos.scale import FULL, SILENT, sized, timeout
from chaos.theatre import EVERYWHERE, Theatre, on
from faces.stage import Program
from patience import PATIENCE, auntil
from worksong.client import Client, Step
from worksong.domain.errors import BackendUnavailable

ASKED = sized(400, 24)
"""Requests to create something, every fourth of them a pipeline."""
KILLS = sized(8, 1)
CALLERS = 8
SLOTS = 10
"""Of the worker inside; so many jobs at most run again after a kill."""
LONG = 5 * PATIENCE

pytestmark = pytest.mark.timeout(timeout(400))


class Service:
    """`worksong serve` on one store; each start is on another port."""

    def __init__(self, url: str, directory: Path) -> None:
        self._store, self.directory = url, directory
        self._program: Program | None = None
        self.url = ""

    async def start(self) -> None:
        environment = {
            "CHAOS_LEDGER": str(self.directory),
            "CHAOS_SILENT": str(SILENT),
            "PYTHONPATH": os.pathsep.join(filter(None, [str(TESTS), os.environ.get("PYTHONPATH", "")])),
        }
        words = ("serve", APP, "--http", "127.0.0.1:0", "--grpc", "off")
        self._program = Program(words, cwd=self.directory, url=self._store, env=environment)
        line = await asyncio.to_thread(self._program.line, "worksong service:")
        self.url = next(word for word in line.split() if word.startswith("http://")).rstrip("/,")

    async def kill(self) -> None:
        assert self._program
        self._program.send(signal.SIGKILL)
        await asyncio.to_thread(self._program.end)

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str, directory: Path) -> AsyncIterator[Service]:
        service = cls(url, directory)
        try:
            await service.start()
            yield service
        finally:
            await service.kill()


class Callers:
    """Programs that ask until they are answered, with the same key each time."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._left = iter(range(ASKED))
        self.jobs: list[str] = []
        self.pipelines: list[str] = []

    @property
    def answered(self) -> int:
        return len(self.jobs) + len(self.pipelines)

    async def ask(self) -> None:
        """One of them, as long as there is something to ask for."""
        for number in self._left:
            await auntil(lambda number=number: self._asked(number), within=LONG)

    async def _asked(self, number: int) -> bool:
        async with Client(self._service.url, attempts=1) as client:
            try:
                if number % 4:
                    self.jobs.append((await client.acreate_job("count", {"ms": 5}, key=f"job {number}")).id)
                else:
                    steps = [Step("count", {"ms": 5}), Step("count", previous=True)]
                    made = await client.acreate_pipeline("p", steps, key=f"pipeline {number}")
                    self.pipelines.append(made.id)
            except BackendUnavailable:
                return False
        return True


@on(*EVERYWHERE, small=("sqlite",))
async def test_what_the_service_has_answered_for_outlives_it(
    theatre: Theatre, tmp_path: Path, certify: Certify
) -> None:
    async with Service.open(theatre.url, tmp_path) as service:
        # Given programs that create jobs and pipelines
        callers = Callers(service)
        asking = asyncio.gather(*(callers.ask() for _ in range(CALLERS)))

        # When the service is killed again and again while they ask, and comes back
        for kill in range(1, KILLS + 1):
            reached = ASKED * kill // (KILLS + 1)
            await auntil(lambda reached=reached: callers.answered >= reached, within=LONG)
            await service.kill()
            await service.start()
        await asking

        # Then all that it has answered for comes to its end, with what it returned
        async with Client(service.url) as client:
            results = [await client.aresult(one, timeout=LONG) for one in callers.jobs]
            piped = [await client.apipeline_result(one, timeout=LONG) for one in callers.pipelines]
            kept = [job.id async for job in client.ajobs()]
    assert results == [1] * len(callers.jobs)
    assert piped == [2] * len(callers.pipelines)
    # And there is each once, whoever asked again
    assert (len(set(callers.jobs)), len(set(callers.pipelines))) == (len(callers.jobs), len(callers.pipelines))
    assert len(kept) == len(callers.jobs) + 2 * len(callers.pipelines)
    # And all of them have run, again only what ran at a kill
    runs = Ledger.read(tmp_path).count("S")
    again = sum(count - 1 for count in runs.values())
    assert set(runs) == set(kept)
    if FULL:  # below, a process that stood still for some seconds may be taken for dead as well
        assert again <= KILLS * SLOTS
    certify("G-restart", requests=ASKED, kills=KILLS, lost=0, twice=len(kept) - len(set(kept)), jobs_run_again=again)
