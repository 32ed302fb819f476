"""The parent of several worker processes: starts them, restarts them, frees what they held, passes signals on."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import AsyncIterator, Callable, Sequence

from worksong.domain.capability import Capability
from worksong.domain.errors import BackendUnavailable, ConfigError, WorksongError
from worksong.engine.leash import Child, Report
from worksong.engine.stats import Stats
from worksong.ports import chance
from worksong.ports.backend import Backend
from worksong.ports.clock import Clock

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0
"""Seconds before a crashed process is started again; doubling."""
STEADY = 30.0
"""Seconds of life after which the next crash counts as the first."""
ATTEMPTS = 5
"""Starts in a row that may fail while nobody else works."""
PATIENCE = 10.0
"""Seconds beyond the grace until a process that does not stop is killed."""

log = logging.getLogger("worksong")


class Supervisor:
    """Keeps `count` processes of one command running until told to stop or, with `burst`, until they are done."""

    def __init__(
        self,
        command: Sequence[str],
        count: int,
        *,
        backend: Backend,
        clock: Clock,
        grace: float,
        burst: bool = False,
        changes: AsyncIterator[object] | None = None,
        hear: Callable[[Report], None] = lambda _: None,
    ) -> None:
        """`backend` is where they work; `changes` say when to replace all of them; `hear` hears their reports."""
        self._shared = Capability.SHARED in backend.capabilities
        if count > 1 and not self._shared:
            raise ConfigError(_alone(backend.name, count))
        self._command, self._backend, self._clock = command, backend, clock
        self._grace, self._burst, self._changes = grace, burst, changes
        self._children = [Child(number, born=self._greet, hear=hear) for number in range(1, count + 1)]
        self._stop, self._changed, self._quiet = asyncio.Event(), asyncio.Event(), False
        self._asked = False
        self.killed_by = 0
        """The second signal, if one cut the end short."""
        self._totals = Stats()
        self._hopeless = ""
        self._recoveries: set[asyncio.Task[None]] = set()

    async def run(self) -> Stats:
        """Start the processes and see to them; answers what they did. `WorksongError` when they do not start."""
        self._hear_signals()
        following = asyncio.create_task(self._follow(self._changes)) if self._changes else None
        try:
            async with asyncio.TaskGroup() as places:
                for child in self._children:
                    places.create_task(self._keep(child))
            await self._recovered()
        finally:
            self._tell(signal.SIGTERM)
            if following:
                following.cancel()
        if self._hopeless:
            raise WorksongError(self._hopeless)
        return self._totals

    # one place

    async def _keep(self, child: Child) -> None:
        """Fill the place again and again."""
        pause, failed = FIRST_PAUSE, 0
        while not self._stop.is_set():
            born = self._clock.monotonic()
            trouble = await child.live(self._command)
            self._take_stock(child, trouble)
            if child.dismissed:
                self._leave_empty(child)
                return
            if self._burst and not trouble:
                return
            if self._quiet:
                await self._stop.wait()
            elif trouble and not child.replaced:
                failed = 0 if child.pools else failed + 1
                pause = FIRST_PAUSE if self._clock.monotonic() - born >= STEADY else pause
                self._despair(trouble, failed)
                await self._rest(child, trouble, pause)
                pause = min(LONGEST_PAUSE, pause * 2)

    def _take_stock(self, child: Child, trouble: str) -> None:
        """Count what the process did; what it held when it ended out of order goes to the others at once."""
        if child.stats:
            self._totals = _sum(self._totals, child.stats)
        if trouble and child.pools and self._shared:
            recovery = asyncio.create_task(self._recover(child.number, list(child.pools)))
            self._recoveries.add(recovery)
            recovery.add_done_callback(self._recoveries.discard)

    def _leave_empty(self, child: Child) -> None:
        """Whoever dismissed the process would find a new one in its place otherwise, under an id nobody told."""
        child.pools = []
        if not self._stop.is_set():
            log.warning("process %d was dismissed: it is not started again before `worksong run` is", child.number)

    async def _recover(self, number: int, pools: Sequence[str]) -> None:
        pause = FIRST_PAUSE
        while True:
            try:
                found = await self._backend.reap(self._clock.now(), self._clock.monotonic(), dead=pools)
            except BackendUnavailable:
                await self._clock.sleep(chance.uniform(0, pause))
                pause = min(LONGEST_PAUSE, pause * 2)
            except WorksongError as refusal:
                log.error("the jobs of process %d stay with it until its pool is reaped: %s", number, refusal)
                return
            else:
                if found.recovered or found.crashed:
                    log.warning(
                        "process %d: its jobs run again: %d (too often: %d)", number, found.recovered, found.crashed
                    )
                return

    def _despair(self, trouble: str, failed: int) -> None:
        """Give up when the command cannot be started and nobody works. An app being edited will be mended."""
        if failed >= ATTEMPTS and not self._changes and not any(child.pools for child in self._children):
            self._hopeless = self._hopeless or trouble
            self._end()

    async def _rest(self, child: Child, trouble: str, pause: float) -> None:
        """Wait before the next start; when it cannot get better by itself, for a change of the source."""
        if self._stop.is_set():
            return
        broken = self._changes and not child.pools
        then = "waiting for a change" if broken else f"starting it again in {pause:.1f} s"
        log.warning("process %d: %s; %s", child.number, trouble, then)
        self._changed.clear()
        waits = [asyncio.create_task(event.wait()) for event in (self._stop, self._changed)]
        await asyncio.wait(waits, timeout=None if broken else pause, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()

    async def _recovered(self) -> None:
        if self._recoveries:
            await asyncio.wait(self._recoveries, timeout=0.5 if self.killed_by else PATIENCE)
        for recovery in self._recoveries:
            recovery.cancel()

    # orders from outside

    def _hear_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._asked_to_stop, number)
        for number in (signal.SIGTSTP, signal.SIGUSR1):
            loop.add_signal_handler(number, self._asked_to_be_quiet)

    def _asked_to_stop(self, number: int) -> None:
        if self._asked:
            self.killed_by = number
            log.warning("second signal: killing the processes; the jobs they were running run again")
            self._tell(signal.SIGKILL)
        else:
            log.info("%s: stopping; a second one ends at once", signal.Signals(number).name)
            self._asked = True
            self._end()

    def _asked_to_be_quiet(self) -> None:
        self._quiet = True
        self._tell(signal.SIGUSR1)

    def _end(self) -> None:
        self._stop.set()
        self._tell(signal.SIGTERM)
        asyncio.get_running_loop().call_later(self._grace + PATIENCE, self._tell, signal.SIGKILL)

    def _tell(self, number: int) -> None:
        for child in self._children:
            child.signal(number)

    def _greet(self, child: Child) -> None:
        """Orders that came while it was being started."""
        if self.killed_by:
            child.signal(signal.SIGKILL)
        elif self._stop.is_set():
            child.signal(signal.SIGTERM)
        elif self._quiet:
            child.signal(signal.SIGUSR1)

    async def _follow(self, changes: AsyncIterator[object]) -> None:
        """Replace every process at a change, each by one signal: a second one would cut its jobs short."""
        async for _ in changes:
            log.info("the source changed: starting anew")
            self._changed.set()
            for child in self._children:
                if not child.replaced:
                    child.replaced = True
                    child.signal(signal.SIGTERM)


def _alone(backend: str, count: int) -> str:
    return (
        f"{backend} lives inside one process, so {count} processes would not see each other's jobs: use a backend they "
        "share, such as redis://localhost:6379/0, or one process with more concurrency"
    )


def _sum(one: Stats, other: Stats) -> Stats:
    return Stats(**{name: getattr(one, name) + getattr(other, name) for name in Stats.__struct_fields__})
