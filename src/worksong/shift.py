"""A worker's shift: an engine at work in the event loop in which it was started, until it is stopped."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from typing import Protocol, cast

from worksong.domain.capability import Capability
from worksong.engine.engine import Engine
from worksong.engine.releases import announce
from worksong.engine.signals import listen
from worksong.engine.stats import Stats
from worksong.outage import Buffer, Patient
from worksong.ports.backend import Backend
from worksong.ports.clock import Clock
from worksong.stores import Stores

log = logging.getLogger("worksong")


class Owner(Protocol):
    """The worker, as far as its shifts go."""

    clock: Clock
    scheduler: bool
    release: str
    warns: bool
    on_dismissed: Callable[[], None]

    def backend(self) -> Backend: ...
    def new_engine(self, *, scheduler: bool) -> Engine: ...
    async def astart(self, *, burst: bool) -> None: ...
    async def astop(self, grace: float) -> None: ...


class Shift:
    """One after the other: what was stopped can be started again, in another loop as well."""

    def __init__(self, owner: Owner, stores: Stores, kept: Patient | Buffer | None) -> None:
        """`kept`: what waits to be enqueued while the server is away."""
        self._owner, self._stores, self._kept = owner, stores, kept
        self.engine: Engine | None = None
        """What runs the jobs; None: nothing does."""
        self.ended = False
        """Whether it was stopped, and not started again."""
        self.ever = False
        """Whether this process ever ran jobs."""
        self._home: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Future[None] | None = None
        self._last, self._pid = Stats(), os.getpid()
        self._end_run: Callable[[], object] = lambda: None

    async def start(self, *, burst: bool) -> None:
        """Start running jobs in the running loop. Started already: nothing happens."""
        if self.engine and self._home and not self._home.is_closed() and self._pid == os.getpid():
            return
        self._pid, owner = os.getpid(), self._owner
        engine = owner.new_engine(scheduler=owner.scheduler)
        self.engine, self._home = engine, asyncio.get_running_loop()
        try:
            await self._begin(engine, burst=burst)
        except BaseException:
            if self._goes_on(engine):
                self.engine = None
            raise
        if self._goes_on(engine):
            self.ended, self.ever = False, True
        elif self.home is None:  # what was opened since it was stopped is nobody's
            await self._stores.close()

    def _goes_on(self, engine: Engine) -> bool:
        """Whether nobody has stopped it meanwhile."""
        return self.engine is engine

    async def _begin(self, engine: Engine, *, burst: bool) -> None:
        """Step by step."""
        owner = self._owner
        await be_admitted(owner.backend(), warns=owner.warns)
        if self._goes_on(engine):
            await self._stores.try_out()
        if self._goes_on(engine):
            await engine.start(burst=burst)
        if self._goes_on(engine) and owner.release and Capability.NOTES in self._stores.jobs.origin.capabilities:
            await announce(owner.backend(), owner.release, owner.clock.now())

    async def stop(self, grace: float) -> None:
        """Fetch nothing more, wait `grace` seconds for running jobs, hand back the rest; from any loop."""
        engine, home, here = self.engine, self._home, asyncio.get_running_loop()
        if self._pid != os.getpid():
            engine = self.engine = None  # a forked child has started nothing
        if engine and home and home is not here:
            await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self._owner.astop(grace), home))
        elif engine:
            # A task of its own: a caller that is cancelled, or a handler that stops its own worker, cuts nothing short.
            self._stopping = self._stopping or asyncio.ensure_future(self._end(engine, grace))
            await asyncio.shield(self._stopping)
        else:
            await self._close(grace)

    async def _end(self, engine: Engine, grace: float) -> None:
        """Until the running jobs have ended, handlers may still enqueue."""
        try:
            await engine.stop(grace)
        finally:
            self._last, self.engine, self.ended, self._stopping = engine.stats, None, True, None
            await self._close(grace)

    async def _close(self, grace: float) -> None:
        if isinstance(self._kept, Buffer):
            await self._kept.drained(grace)
        await self._stores.close()

    async def run(self, grace: float, *, burst: bool) -> Stats:
        """Start, and stop when a signal or the server says so; with `burst`, when nothing is left to do."""
        stop = asyncio.Event()
        listen(stop.set, self.quiet)
        self._end_run = stop.set
        stopping = asyncio.ensure_future(stop.wait())
        starting = asyncio.ensure_future(self._owner.astart(burst=burst))
        try:
            await asyncio.wait([starting, stopping], return_when=asyncio.FIRST_COMPLETED)
            if await has_started(starting) and (engine := self.engine):  # which somebody else may have stopped
                finished = asyncio.ensure_future(engine.finished.wait())
                await asyncio.wait([stopping, finished], return_when=asyncio.FIRST_COMPLETED)
                finished.cancel()
        finally:
            starting.cancel()
            stopping.cancel()
            await self._owner.astop(grace)
        return self.stats

    def quiet(self) -> None:
        """Fetch nothing more; what runs goes on until it is stopped. For any thread."""
        if (engine := self.engine) and self._home:
            self._home.call_soon_threadsafe(engine.quiet)

    def renew(self) -> None:
        """Tell the engine what was registered while it runs."""
        if engine := self.engine:
            engine.renew()

    def dismiss(self) -> None:
        """The server wants this process to end."""
        log.warning("told from outside to end: finishing what runs")
        self._end_run()
        self._owner.on_dismissed()

    @property
    def home(self) -> asyncio.AbstractEventLoop | None:
        """The loop that it runs in, if it runs."""
        return self._home if self.engine else None

    @property
    def silence(self) -> float | None:
        """Seconds since a fetch was answered, as far as one was needed; None: nothing runs here."""
        engine = self.engine  # looked at once: another thread may be stopping it
        return engine.silence if engine else None

    @property
    def stats(self) -> Stats:
        """What it did since it was started."""
        engine = self.engine  # looked at once: another thread may be stopping it
        return engine.stats if engine else self._last


async def be_admitted(backend: Backend, *, warns: bool = True) -> None:
    """Hear, and log, what a store warns those of who begin to work there; `ConfigError` when they must not."""
    for finding in await backend.admit():
        if warns:
            log.warning("%s: %s (%s) Mend it: %s", backend.name, finding.title, finding.detail, finding.mend)


async def has_started(starting: asyncio.Future[None]) -> bool:
    """Whether it has started; given up when it is still at it."""
    if not starting.done():
        starting.cancel()
    await asyncio.wait([starting])
    if starting.cancelled():
        return False
    starting.result()
    return True


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop's, where it is installed."""
    try:
        import uvloop
    except ImportError:
        return None
    return cast("Callable[[], asyncio.AbstractEventLoop]", uvloop.new_event_loop)
