"""The dashboard as its operator has it: keys go in, and what is on the screen comes out."""

from __future__ import annotations

import html
import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from msgspec.structs import replace
from textual.pilot import Pilot
from textual.widgets import Static

from patience import PATIENCE
from worksong.domain.job import Delivery, Job, new_id
from worksong.domain.outcome import Buried, Outcome, Retried, Settlement
from worksong.domain.turns import Share
from worksong.faces.cli.target import Target
from worksong.faces.cli.top.dashboard import Dashboard
from worksong.faces.cli.top.table import Table
from worksong.ports.backend import Backend, Beat, Pool, Running, Want
from worksong.ports.clock import Clock

NEVER = 3600.0
CELL = 12.2
"""How wide a column is in a picture of the screen."""
TARGET = Target("redis://admin:hunter2@redis.example:6379/0", "shop")

_TEXT = re.compile(r'<text[^>]* x="(?P<x>[\d.]+)" y="(?P<y>[\d.]+)" textLength[^>]*>(?P<text>[^<]*)</text>')


class Console:
    """A running dashboard that looks only when it is told to."""

    def __init__(self, app: Dashboard, pilot: Pilot[None]) -> None:
        self.app, self._pilot = app, pilot

    async def look(self) -> str:
        """Look at the backend; what is on the screen then."""
        await self.app.look()
        await self._pilot.pause()
        return self.screen

    async def press(self, *keys: str) -> str:
        await self._pilot.press(*keys)
        await self._pilot.pause()
        return self.screen

    async def sees(self, text: str) -> str:
        """Wait until the text is on the screen."""
        await self._until(lambda: text in self.screen)
        return self.screen

    async def misses(self, text: str) -> str:
        """Wait until it no longer is."""
        await self._until(lambda: text not in self.screen)
        return self.screen

    async def hears(self, text: str) -> None:
        """Wait for a message with the text."""
        await self._until(lambda: any(text in told.message for told in self.app._notifications))

    async def is_asked(self, text: str) -> None:
        """Wait for a question with the text."""
        await self._until(lambda: text in self.question)

    @property
    def question(self) -> str:
        """What is asked; empty when nothing is."""
        asked = self.app.screen.query("#question").results(Static)
        return "".join(str(each.content) for each in asked)

    async def _until(self, done: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not done():
            assert time.monotonic() < deadline, self.screen
            await self._pilot.pause(0.01)

    @property
    def screen(self) -> str:
        """The texts on the screen, line by line."""
        lines: dict[float, str] = {}
        for found in _TEXT.finditer(self.app.export_screenshot()):
            line, column = lines.get(float(found["y"]), ""), round(float(found["x"]) / CELL)
            lines[float(found["y"])] = line.ljust(column) + html.unescape(found["text"]).replace("\xa0", " ")
        return "\n".join(lines[y].rstrip() for y in sorted(lines))

    @property
    def row(self) -> str:
        """What the row under the cursor says."""
        chosen = self.app.query_one(Table).chosen
        return " ".join(cell.text for cell in chosen.cells) if chosen else ""


@asynccontextmanager
async def dashboard(
    backend: Backend,
    *,
    size: tuple[int, int] = (120, 40),
    read_only: bool = False,
    clock: Clock | None = None,
    target: Target = TARGET,
) -> AsyncIterator[Console]:
    """The dashboard of a backend, after its first look."""
    app = Dashboard(backend, target, interval=NEVER, read_only=read_only, clock=clock)
    async with app.run_test(size=size) as pilot:
        console = Console(app, pilot)
        await console.look()
        yield console


class Yard:
    """Jobs and a pool, put there by hand."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.pool = Pool(id=new_id(), handlers=(), host="web-1", pid=4711, started_at=time.time() - 90)

    async def push(self, *jobs: Job) -> None:
        now = time.time()
        filled = [_filled(job, now) for job in jobs]
        await self.backend.push(filled, now)

    async def run(self, job: Job, checkin: str = "") -> None:
        """The job runs in a pool that has just beaten."""
        (delivery,) = await self._lend(job)
        running = Running(delivery, 0, time.time() - 5, checkin=checkin, checkin_at=time.time(), hidden=("card",))
        await self.backend.beat(Beat(self.pool, (running,), (delivery,)), time.time())

    async def bury(self, error: str, *jobs: Job) -> None:
        await self._end(Buried(error), jobs)

    async def fail(self, error: str, *jobs: Job) -> None:
        await self._end(Retried(time.time() + 600, error), jobs)

    async def _end(self, outcome: Outcome, jobs: tuple[Job, ...]) -> None:
        for job in jobs:
            (delivery,) = await self._lend(job)
            await self.backend.settle([Settlement(delivery, outcome)], time.time())

    async def _lend(self, job: Job) -> list[Delivery]:
        self.pool = replace(self.pool, handlers=(job.handler,), worker_ids=("worker-1",))
        await self.backend.enlist(self.pool, time.time())
        await self.push(job)
        want = Want(self.pool.id, 1, 0.0, (Share(job.handler, 1),))
        return await self.backend.fetch(want, time.time())


def _filled(job: Job, now: float) -> Job:
    return replace(job, id=job.id or new_id(), enqueued_at=job.enqueued_at or now)
