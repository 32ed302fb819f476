"""A running worker: its parts, started and stopped in order."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeAlias, TypeVar

from msgspec.structs import replace

from worksong.domain.capability import INSTEAD, Capability
from worksong.domain.errors import BackendUnavailable, Unsupported, WorksongError
from worksong.domain.job import Delivery, new_id
from worksong.domain.names import is_pattern
from worksong.domain.outcome import Buried, Discarded, Done, Released, Retried, Snoozed
from worksong.domain.turns import Sampled, Strict
from worksong.engine.beside import Beside
from worksong.engine.children import contain_children
from worksong.engine.compile import Route, compile_route, in_loop, in_thread, is_coroutine, plain_call
from worksong.engine.isolation import Isolation
from worksong.engine.lane import Lane
from worksong.engine.meter import Meter
from worksong.engine.onward import Onward
from worksong.engine.place import Ended, run_in_place
from worksong.engine.servertime import ServerTime
from worksong.engine.stats import Stats
from worksong.engine.threads import Caller, Threads
from worksong.engine.upkeep import Upkeep
from worksong.ports import chance
from worksong.ports.backend import SILENT_FOR, Backend, Beat, Orders, Pool
from worksong.ports.clock import Clock
from worksong.ports.context import Context
from worksong.ports.handler import Middleware
from worksong.ports.results import Results, ResultStore
from worksong.registry import JobSpec, Registry

CANCEL_PATIENCE = 2.0
"""Seconds for cancelled handlers to come to an end, and for their endings to be carried out."""

LEAVE_PATIENCE = 1.0
"""Seconds for the farewell of a pool that holds nothing: a server that does not answer may as well reap it."""

TRUST = SILENT_FOR - 3.0
"""Seconds without a beat that arrived after which nothing more is fetched: well before others reap."""

T = TypeVar("T")
Function: TypeAlias = Callable[..., Any]

log = logging.getLogger("worksong")


class Engine:
    """One pool of slots on one backend. Start and stop it in the same loop, once."""

    def __init__(
        self,
        backend: Backend,
        registry: Registry,
        *,
        clock: Clock,
        concurrency: int = 25,
        queues: Mapping[str, int] | Sequence[str] | None = None,
        context: type[Context] = Context,
        middleware: Callable[[JobSpec], Sequence[Middleware]] = lambda _: (),
        results: ResultStore | None = None,
        meter: Meter | None = None,
        scheduler: bool = True,
        on_pool: Callable[[str], None] = lambda _: None,
        on_dismissed: Callable[[], None] = lambda: None,
        enclose: Callable[[Function], Function] = lambda function: function,
    ) -> None:
        """`queues`: names in strict order, or with weights; None: all. `middleware` answers what stands around a job
        type, outermost first. `results` keeps what handlers return, unless the backend does. `meter` counts what is
        run; None: nobody does. `on_pool` hears every pool id in use, `on_dismissed` that the server wants this process
        to end. `enclose` puts something around a handler, in the thread or the loop that it runs in; around one in a
        process of its own it cannot."""
        self._backend, self._registry, self._clock = backend, registry, ServerTime(clock)
        self._concurrency, self._queues, self._context = concurrency, queues, context
        self._middleware, self._scheduler, self._on_pool = middleware, scheduler, on_pool
        self._results, self._on_dismissed, self._meter, self._enclose = results, on_dismissed, meter, enclose
        self._upkeep: Upkeep | None = None
        self._upkeep_task: asyncio.Task[None] | None = None
        self._upkeep_thread: Beside | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        """The one that it runs in; None: it has not begun, and whatever is registered is seen when it does."""
        self._began = self._stopped = self._quiet = self._fetches = self._dismissed = False
        self.finished = asyncio.Event()
        """Set when a burst has nothing left to do."""

    async def start(self, *, burst: bool = False) -> None:
        """Register the pool, then fetch. With `burst`, stop fetching when nothing is left (see `finished`)."""
        self._refuse_what_it_lacks()
        self._loop = asyncio.get_running_loop()
        contain_children(self._loop)
        self._threads, self._isolation = Threads(self._concurrency), Isolation(self._concurrency)
        pool = self._new_pool()
        self._lane = Lane(
            self._backend,
            pool,
            self._routes(),
            turns=Sampled(self._weights(), chance.random),
            queues=self._queue_turns(),
            clock=self._clock,
            context=self._context,
            results=self._results,
            threads=self._threads,
            board=self._meter.board if self._meter else None,
        )
        self._began = True
        try:
            await self._backend.enlist(pool, self._clock.now())
        except asyncio.CancelledError:  # it may be registered, and nobody would say so
            await self._leave()
            raise
        if self._stopped:  # while the server was asked
            await self._leave()
            return
        self._on_pool(pool.id)
        self._start_upkeep(pool)
        if self._meter:
            self._meter.attend(self._lane)
        self._lane.start(burst=self.finished.set if burst else None)
        self._fetches = True
        if self._quiet:  # asked while the server was
            self.quiet()

    def renew(self) -> None:
        """Work also on job types, and through middleware, added since the start. May be called from any thread."""
        if loop := self._loop:
            loop.call_soon_threadsafe(self._renew)

    def _renew(self) -> None:
        pool = replace(self._lane.pool, handlers=self._registry.names(), limits=self._registry.limits())
        self._lane.learn(pool, self._routes(), Sampled(self._weights(), chance.random))

    def quiet(self) -> None:
        """Fetch nothing more; what runs goes on. One that is still starting will fetch nothing at all."""
        self._quiet = True
        if self._fetches:
            self._lane.quiet()
            log.info("quiet: fetching nothing more; %d jobs run on", sum(1 for running in self._lane.slots if running))

    @property
    def silence(self) -> float:
        """Seconds since a fetch was answered, as far as one was needed."""
        return self._lane.fetcher.silence if self._fetches else 0.0

    async def stop(self, grace: float) -> None:
        """Fetch nothing more, wait `grace` seconds for running jobs, hand back the rest, strike the pool off."""
        self._stopped = True
        if not self._began:
            return
        self._lane.quiet()
        if not await _within(grace, self._lane.idle()):
            self._lane.release_running()
            if not await _within(CANCEL_PATIENCE, self._lane.idle()):
                self._tell_stuck()
        await _within(CANCEL_PATIENCE, self._lane.settler.drained())
        await self._stop_upkeep()
        if self._meter and self._meter.annals:
            await self._meter.annals.conclude(self._backend, self._clock.now())
        await self._lane.stop()
        if self._meter:
            self._meter.leave()
        await self._leave()
        self._threads.close()
        await self._isolation.close()

    @property
    def stats(self) -> Stats:
        """What was done so far."""
        if not self._began:
            return Stats()
        endings = self._lane.settler.endings
        return Stats(
            done=endings[Done],
            retried=endings[Retried],
            snoozed=endings[Snoozed],
            buried=endings[Buried],
            discarded=endings[Discarded],
            released=endings[Released],
            refused=self._lane.settler.refused,
        )

    async def run_once(self, delivery: Delivery, caller: Caller, results: Results) -> Ended:
        """Run a job in place, outside any slot and pool: the same middleware, the same verdict, and nothing settled.

        `results`: where those of the other jobs of its pipeline are.
        """
        spec = self._registry.find(delivery.job.handler)
        assert spec is not None, f"no handler for {delivery.job}"
        coroutine = spec.options.isolate is None and is_coroutine(spec.function)
        enclosed = self._enclosed(spec)
        call = in_loop(enclosed) if coroutine else in_thread(plain_call(enclosed), caller)
        route = compile_route(spec, call, self._middleware(spec), onward=self._onward(results))
        return await run_in_place(delivery, route, self._context(), self._clock.now)

    # parts

    def _routes(self) -> dict[str, Route]:
        specs = {name: spec for name in self._registry.names() if (spec := self._registry.find(name))}
        return {name: self._route(spec) for name, spec in specs.items()}

    def _new_pool(self) -> Pool:
        return Pool(
            id=new_id(),
            handlers=self._registry.names(),
            limits=self._registry.limits(),
            queues=tuple(self._queues or ()),
            concurrency=self._concurrency,
            worker_ids=tuple(new_id() for _ in range(self._concurrency)),
            host=socket.gethostname(),
            pid=os.getpid(),
            started_at=self._clock.now(),
        )

    def _refuse_what_it_lacks(self) -> None:
        """A limit that nobody keeps, or a pattern that is taken for a name, would show much later."""
        asked = {
            Capability.LIMIT: bool(self._registry.limits()),
            Capability.PATTERNS: any(map(is_pattern, self._queues or ())),
        }
        for capability, wanted in asked.items():
            if wanted and capability not in self._backend.capabilities:
                what = f"promise that {capability.value}"
                raise Unsupported(what, self._backend.name, INSTEAD[capability])

    def _weights(self) -> dict[str, int]:
        """Where a job type is the queue, the queues asked for choose and weigh the types."""
        weights = self._registry.weights()
        if self._queues is None or Capability.QUEUES in self._backend.capabilities:
            return weights
        unknown = [name for name in self._queues if name not in weights]
        if unknown:
            log.warning("queues %s are no job types of this worker: on this backend a job type is its queue", unknown)
        if isinstance(self._queues, Mapping):
            return {name: weight for name, weight in self._queues.items() if name in weights}
        return {name: weights[name] for name in self._queues if name in weights}

    def _queue_turns(self) -> Sampled | Strict | None:
        if self._queues is None or Capability.QUEUES not in self._backend.capabilities:
            return None
        if isinstance(self._queues, Mapping):
            return Sampled(self._queues, chance.random)
        return Strict(list(self._queues))

    def _route(self, spec: JobSpec) -> Route:
        middleware, onward = self._middleware(spec), self._onward(self._results or self._backend)
        match spec.options.isolate:
            case "process":
                return compile_route(spec, self._isolation.handler(spec), middleware, onward=onward)
            case None if is_coroutine(spec.function):
                return compile_route(spec, in_loop(self._enclosed(spec)), middleware, onward=onward)
            case _:
                plain = plain_call(self._enclosed(spec))
                return compile_route(spec, in_thread(plain, self._threads), middleware, plain=plain, onward=onward)

    def _enclosed(self, spec: JobSpec) -> JobSpec:
        return replace(spec, function=self._enclose(spec.function))

    def _onward(self, results: Results) -> Onward:
        effects = Capability.EFFECT in self._backend.capabilities
        return Onward(results, self._clock, apart=self._results is not None and not effects)

    # upkeep

    def _start_upkeep(self, pool: Pool) -> None:
        """Where others watch our beats, they come from a thread that no handler can block."""
        if Capability.SHARED not in self._backend.capabilities:
            self._upkeep_task = asyncio.get_running_loop().create_task(self._new_upkeep(self._backend, pool).run())
            return

        async def main() -> None:
            backend = self._backend.sibling()
            try:
                await self._new_upkeep(backend, pool).run()
            finally:
                await backend.close()

        self._lane.trusted = self._trusted
        self._upkeep_thread = Beside("worksong-upkeep", main)
        self._upkeep_thread.start()

    def _new_upkeep(self, backend: Backend, pool: Pool) -> Upkeep:
        self._upkeep = Upkeep(
            backend,
            pool,
            self._clock,
            look=self._look,
            obey=lambda orders: self._post(self._obey, orders),
            move_to=lambda moved: self._post(self._move_to, moved),
            periodic=self._registry.periodic if self._scheduler else (),
            annals=self._meter.annals if self._meter else None,
        )
        return self._upkeep

    def _trusted(self) -> bool:
        """Whether the last beat that arrived is recent: without beats others take this pool for dead.

        Before the first one, nobody has told the store's time.
        """
        beaten = self._upkeep.beaten if self._upkeep else None
        return beaten is not None and self._clock.monotonic() - beaten < TRUST

    async def _stop_upkeep(self) -> None:
        if self._upkeep_thread:
            await self._upkeep_thread.stop()
        elif self._upkeep_task:
            self._upkeep_task.cancel()
            await asyncio.wait([self._upkeep_task])

    def _look(self) -> Beat:
        """May be called from the upkeep's thread: each copy is one step of the interpreter."""
        lane = self._lane
        oldest, begun = lane.fetcher.oldest, lane.fetcher.begun  # first: what is read from now on is held
        running = [slot for slot in lane.slots.copy() if slot]
        held = tuple(lane.held.copy().values())
        return Beat(lane.pool, tuple(running), held, oldest, begun, self._quiet)

    def _post(self, do: Callable[[T], None], what: T) -> None:
        assert self._loop is not None
        self._loop.call_soon_threadsafe(do, what)

    def _obey(self, orders: Orders) -> None:
        for job_id in orders.cancel:
            self._lane.cancel_job(job_id)
        if orders.lost:
            self._lane.lose({delivery.fence for delivery in orders.lost})
        if (orders.quiet or orders.stop) and not self._quiet:
            self.quiet()
        if orders.stop and not self._dismissed:
            self._dismissed = True
            self._on_dismissed()

    def _move_to(self, pool: Pool) -> None:
        self._lane.move_to(pool)
        self._on_pool(pool.id)

    # end

    def _tell_stuck(self) -> None:
        stuck = [f"{slot.delivery.job.handler} {slot.delivery.job.id}" for slot in self._lane.slots if slot]
        log.error("handlers that would not stop are left behind, their jobs run again elsewhere: %s", ", ".join(stuck))

    async def _leave(self) -> None:
        try:
            async with asyncio.timeout(None if self._lane.held else LEAVE_PATIENCE):
                back = await self._backend.leave(self._lane.pool, self._clock.now())
        except TimeoutError:
            log.warning("stopped without an answer of the server: the pool will be reaped")
        except BackendUnavailable as away:
            log.warning("stopped without the server (%s): what was running runs again when the pool is reaped", away)
        except WorksongError:
            log.exception("striking off the pool failed: it will be reaped")
        else:
            if back:
                log.info("%d jobs went back to their queues", back)


async def _within(seconds: float, wait: Awaitable[object]) -> bool:
    """Whether it came to its end in time."""
    try:
        async with asyncio.timeout(seconds):
            await wait
    except TimeoutError:
        return False
    return True
