"""Worker processes under fire: started, killed, frozen, stopped, and each stroke noted for the verdict."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from chaos.ledger import Ledger, Stroke
from chaos.scale import SILENT, UNSTORED
from patience import PATIENCE, auntil

APP = "chaos.app:worker"
TESTS = Path(__file__).parents[1]


class Member:
    """One `worksong run`."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path, *, plain: bool) -> None:
        self._process, self.log = process, log
        self.pid = process.pid
        self.plain = plain
        """It is a worker itself, and no supervisor."""

    @property
    def name(self) -> str:
        """How the ledger calls it."""
        return str(self.pid)

    @property
    def alive(self) -> bool:
        return self._process.returncode is None

    @property
    def stopped(self) -> bool:
        """Whether it stands still: a signal takes effect a moment after it was sent."""
        return Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"

    @property
    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def signal(self, number: int) -> None:
        if self.alive:
            self._process.send_signal(number)

    async def ended(self, within: float = PATIENCE) -> int:
        """Wait for its end; answers the exit code."""
        try:
            async with asyncio.timeout(within):
                return await self._process.wait()
        except TimeoutError:
            raise AssertionError(
                f"process {self.pid} did not end within {within:.0f} s; it said: {self.said}"
            ) from None


class Fleet:
    """Workers on one store; every process that is still there at the end is killed."""

    def __init__(self, url: str, directory: Path, chance: random.Random) -> None:
        """`directory` is where the ledger and the logs are."""
        self.url, self.directory, self.chance = url, directory, chance
        self.members: list[Member] = []
        self.strokes: list[Stroke] = []
        self._started = 0

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str, directory: Path, chance: random.Random) -> AsyncIterator[Fleet]:
        fleet = cls(url, directory, chance)
        try:
            yield fleet
        finally:
            await fleet.end()

    @property
    def alive(self) -> list[Member]:
        return [member for member in self.members if member.alive]

    @property
    def ledger(self) -> Ledger:
        return Ledger.read(self.directory)

    async def launch(self, *options: str, silent: float = SILENT, url: str = "") -> Member:
        """Start a process, and do not wait for it."""
        self._started += 1
        log = self.directory / f"worker-{self._started}.log"
        environment = {
            **os.environ,
            "CHAOS_LEDGER": str(self.directory),
            "CHAOS_SILENT": str(silent),
            "PYTHONPATH": os.pathsep.join(filter(None, [str(TESTS), os.environ.get("PYTHONPATH", "")])),
            "WORKSONG_URL": url or self.url,
        }
        with log.open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "worksong", "run", APP, *options),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self.directory,
                env=environment,
            )
        member = Member(process, log, plain="--processes" not in options)
        self.members.append(member)
        return member

    async def start(self, count: int = 1, *options: str, silent: float = SILENT) -> list[Member]:
        """Start processes, and wait until each has formed its pool."""
        members = [await self.launch(*options, silent=silent) for _ in range(count)]
        await self.until(lambda ledger: all(self._at_work(ledger, member) for member in members))
        return members

    @staticmethod
    def _at_work(ledger: Ledger, member: Member) -> bool:
        assert member.alive, f"process {member.pid} ended: {member.said}"
        return bool(ledger.of("P", process=member.name))

    async def until(
        self, reached: Callable[[Ledger], bool], member: Member | None = None, within: float = PATIENCE
    ) -> Ledger:
        """Wait until the ledger says so; answers it. With `member`, that one must live so long."""

        def met(ledger: Ledger) -> bool:
            has_come = reached(ledger)
            assert has_come or member is None or member.alive, f"process {member.pid} ended: {member.said}"
            return has_come

        return await auntil(lambda: self.ledger, lambda _: f"the ledger; {self.report()}", met=met, within=within)

    async def kill(self, member: Member) -> None:
        """SIGKILL. Nothing is told to anybody; what it ran and had not told is noted."""
        member.signal(signal.SIGKILL)
        await member.ended()
        self.strokes.append(Stroke(member.name, time.monotonic(), within=UNSTORED))

    async def kill_in_turn(self, kills: int, *, every: float, silent: float = SILENT) -> None:
        """Kill somebody, and start another one at once, so often; `every`: how many seconds pass before each."""
        for _ in range(kills):
            await asyncio.sleep(every)
            await self.kill(self.any())
            await self.launch(silent=silent)

    def kill_process(self, pid: int) -> None:
        """SIGKILL a supervised process, whose parent will see to it."""
        os.kill(pid, signal.SIGKILL)
        self.strokes.append(Stroke(str(pid), time.monotonic(), within=UNSTORED))

    def any(self) -> Member:
        """One of those that live, by chance."""
        return self.chance.choice(self.alive)

    async def stop(self, member: Member, within: float = PATIENCE) -> tuple[int, float]:
        """SIGTERM; answers exit code and seconds."""
        begun = time.monotonic()
        member.signal(signal.SIGTERM)
        code = await member.ended(within)
        return code, time.monotonic() - begun

    async def stop_all(self) -> None:
        """Stop everybody, in order: one that has not heard yet of signals would just end by them."""
        plain = [member for member in self.alive if member.plain]
        await self.until(lambda ledger: all(self._at_work(ledger, member) for member in plain))
        ends = await asyncio.gather(*(self.stop(member) for member in self.alive))
        assert all(code == 0 for code, _ in ends), f"exit codes {[code for code, _ in ends]}; {self.report()}"

    async def end(self) -> None:
        """Leave nothing running."""
        for member in self.alive:
            member.signal(signal.SIGKILL)
            await member.ended()

    def report(self) -> str:
        """What the processes said last, for a failure."""
        return "\n".join(f"--- {member.pid}, {member.log.name}:\n{member.said[-2000:]}" for member in self.members)
