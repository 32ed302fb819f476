"""Worker: Buffalo's six verbs and the decorators; puts the parts together and decides nothing else."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import inspect
import logging
import os
import sys
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager, nullcontext
from datetime import datetime
from types import TracebackType
from typing import Any, Literal, Self, TypeAlias, TypeVar, cast, overload

from worksong import enqueueing, outage
from worksong.adapters import connect, connect_records, connect_results
from worksong.admin import Admin
from worksong.blocking import Background
from worksong.domain import cron
from worksong.domain.capability import Capability
from worksong.domain.errors import (
    BackendUnavailable,
    ConfigError,
    InvalidArguments,
    RegistrationError,
    Stopped,
    UnknownHandler,
)
from worksong.domain.job import Args, Job, Unique
from worksong.domain.lifecycle import State
from worksong.engine.compile import check_middleware
from worksong.engine.engine import Engine
from worksong.engine.isolation import check_importable
from worksong.engine.meter import Meter
from worksong.engine.releases import announce
from worksong.engine.signals import listen
from worksong.engine.stats import Stats
from worksong.enqueueing import Delay
from worksong.handle import Handle
from worksong.jobtype import Decorate, DecorateUnique, Enqueuer, JobType
from worksong.ledger import RETENTION, Ledger
from worksong.lifespan import lifespan
from worksong.middleware import expiring, limited
from worksong.perloop import PerLoop
from worksong.ports.backend import Backend, Broker, Intake
from worksong.ports.clock import Clock, SystemClock
from worksong.ports.context import Context
from worksong.ports.handler import Middleware
from worksong.ports.results import Results, ResultStore
from worksong.reader import ResultReader
from worksong.recording import Recording
from worksong.registry import JobSpec, Periodic, Registry, check_name, check_queues, options_of
from worksong.signature import Signature, check_task
from worksong.wire import gojson
from worksong.within import Within

GRACE = 25.0
"""Seconds that running jobs have to finish at a stop."""

F = TypeVar("F", bound=Callable[..., Any])
Sending: TypeAlias = Callable[[Sequence[Job]], AbstractContextManager[Sequence[Job]]]
"""Stands around an enqueueing, and gives the jobs as they go out."""

log = logging.getLogger("worksong")


class Worker:
    """Job types, and the queue they are enqueued to and run from."""

    release = ""
    """Which release of the application this is: charts show when its first worker was started; empty: not told."""

    def __init__(
        self,
        url: str = "memory://",
        *,
        name: str = "worksong",
        concurrency: int = 25,
        queues: Mapping[str, int] | Sequence[str] | None = None,
        context: type[Context] = Context,
        results: str | None = None,
        records: str | None = None,
        patience: float = 0.0,
        buffer: int = 0,
        history: bool | None = None,
        clock: Clock | None = None,
    ) -> None:
        """`name` keeps applications on a server apart. `queues`: names in strict order, or with weights; None: all.

        `results`: the URL of a store for what handlers return; None: the backend keeps it, where it can.
        `records`: the URL of a store for what the job service knows of the jobs it created, their results included.
        `patience`: how many seconds enqueueing waits for a server that is away before it raises `BackendUnavailable`.
        `buffer`: how many jobs are kept in memory instead, while it is away; those are lost if the process dies.
        `history`: whether the backend, where it can, is told each second what jobs did, for charts of 30 days; that
        costs a microsecond per job. None: when `worksong run` or `serve` runs it.
        """
        _check(name, concurrency, queues, context)
        self.name: str = name
        self.url, self.concurrency, self.queues = url, concurrency, queues
        self.registry = Registry()
        self.clock = clock or SystemClock()
        self.scheduler = True
        """Whether this process puts periodic jobs on the schedule."""
        self.on_pool: Callable[[str], None] = lambda _: None
        """Hears the id of every pool this worker forms."""
        self.on_dismissed: Callable[[], None] = lambda: None
        """Hears that the server wants this process to end. `run` ends by itself; one that was started within another
        program has gone quiet, and leaves the rest to it."""
        self._end_run: Callable[[], object] = lambda: None
        self.enclose: Callable[[Callable[..., Any]], Callable[..., Any]] = lambda function: function
        """What a framework puts around every handler, in the thread or the loop that it runs in."""
        self.warns = True
        """Whether to log what the store warns of at the start."""
        self.history = history
        """Whether what jobs did is kept over time; to be changed before the start only."""
        self.meter: Meter | None = None
        """Counts what is run; None: nobody has asked for that."""
        self._context = context
        self._middleware: list[Callable[..., Any]] = []
        self._outermost: list[Middleware] = []
        self._sending: Sending = nullcontext
        self.background = Background()
        """Runs the blocking verbs."""
        self.broker: Callable[[], Broker] = self.backend
        """Where enqueued jobs go; `worksong.testing.inline` lends another one."""
        self._outage = outage.chosen(patience, buffer, self.backend, self.clock, self.background.send)
        self.results: Callable[[], Results] = self._results
        """Where results come from; `worksong.testing.inline` lends another one."""
        self._engine: Engine | None = None
        self._stopping: asyncio.Future[None] | None = None
        self._last, self._pid = Stats(), os.getpid()
        self._home: asyncio.AbstractEventLoop | None = None
        self._stopped = False
        self.was_started = False
        """Whether this process ever ran jobs."""
        self.admin = Admin(
            self.backend, self.background, self.clock, lambda: self.ledgers.here() if self.ledgers else None
        )
        self._reader = ResultReader(self)
        self._backends = self._connected(url, name)
        self._results_url, self._records_url = results, ""
        self._stores = self._storing(name)
        self.ledgers: PerLoop[Ledger] | None = None
        """What the job service knows of its jobs, by event loop; None: this worker keeps no records."""
        if records is not None:
            self.keep_records(records)
        atexit.register(_warn_of_waiting, weakref.ref(self))

    def connect(self, url: str, *, name: str | None = None) -> None:
        """Take another backend, and another name; only before anything was enqueued or run."""
        apart = self._kept_apart
        if self._backends.loops or (apart and apart.loops):
            used = (self._backends if self._backends.loops else apart or self._backends).origin.name
            raise ConfigError(f"this worker already uses {used}: connect it before it does anything")
        called: str = name or self.name
        check_name(called, "worker name")
        self._backends = self._connected(url, called)
        is_new = called != self.name
        self.url, self.name = url, called
        if is_new:  # results and records are kept apart by it as well
            self._stores = self._storing(self.name)
            if self.ledgers:
                self.keep_records(self._records_url, retention=self.ledgers.origin.retention)

    def keep_records(self, url: str, *, retention: float = RETENTION) -> None:
        """Keep records of jobs that the job service creates, and all results with them; only before the start.

        `retention`: how many seconds those of ended jobs are kept.
        """
        if self._stores:
            raise ConfigError("results are kept together with records: give results= or records=, not both")
        self.ledgers = PerLoop(Ledger(connect_records(url, namespace=self.name), self.clock, retention=retention))
        self._records_url = url

    def _storing(self, name: str) -> PerLoop[ResultStore] | None:
        return None if self._results_url is None else PerLoop(connect_results(self._results_url, namespace=name))

    def _connected(self, url: str, name: str) -> PerLoop[Backend]:
        backend = connect(url, namespace=name)
        backend.advise(self.registry.allowance)
        return PerLoop(backend)

    # registration

    def register(self, name: str, function: Callable[..., Any], **options: Any) -> JobType[..., Any, ..., Any]:
        """Make `function` run the jobs called `name`; see `Options` for the options."""
        return self._registered(function, name, options, _scope())

    @overload
    def job(self, *, unique: Unique | Literal[True], name: str | None = None, **options: Any) -> DecorateUnique: ...
    @overload
    def job(self, *, unique: Literal[False] | None = None, name: str | None = None, **options: Any) -> Decorate: ...
    def job(self, *misplaced: object, name: str | None = None, **options: Any) -> Any:
        """Register the decorated function, under its own name unless another is given."""
        if misplaced:
            shown = getattr(misplaced[0], "__name__", None) or repr(misplaced[0])
            raise RegistrationError(
                f"@worker.job takes options by name only, not {shown}: write @worker.job() above it"
            )
        scope = _scope()

        def decorate(function: Callable[..., Any]) -> JobType[..., Any, ..., Any]:
            return self._registered(function, _named(function) if name is None else name, options, scope)

        return decorate

    def task(self, name: str | None = None, **options: Any) -> Decorate:
        """Register the decorated function in Valet's form: `def f(params)` or `def f(params, previous=None)`.

        `params`: the job's parameters; `previous`: what the step before returned, in a pipeline that asks for it.
        As with Valet, one that fails is not tried again, unless `max_fails` says so.
        """
        scope = _scope()

        def decorate(function: Callable[..., Any]) -> JobType[..., Any, ..., Any]:
            check_task(function)
            given = {"max_fails": 1, **options}
            return self._registered(function, _named(function) if name is None else name, given, scope)

        return cast("Decorate", decorate)

    def middleware(self, layer: F) -> F:
        """Stand around every handler, those registered before included; the first one given is outermost."""
        self._middleware.append(check_middleware(layer))
        self._renew()
        return layer

    def instrument(self, *, sending: Sending, around: Middleware) -> None:
        """Stand around every enqueueing, and around every run outside of everything else, limits in time included."""
        if self._outermost:
            raise ConfigError("this worker is instrumented already")
        self._sending = sending
        self._outermost.append(check_middleware(around))
        self._renew()

    def periodic(
        self, spec: str, name: str | None = None, *, args: Args = None, tz: str | None = None, queue: str | None = None
    ) -> Callable[[F], F]:
        """Run a job whenever the cron expression says so, once per tick in the whole cluster; UTC unless `tz`.

        Give the job's name, or decorate a job type (or a function, which becomes one).
        """
        schedule = cron.parse(f"CRON_TZ={tz} {spec}" if tz else spec)
        if schedule.never:
            raise cron.CronError(f"{spec!r} never fires")
        if name is not None:
            self._add_periodic(schedule, name, args, queue)

        def decorate(function: F) -> F:
            job = cast(
                "JobType[..., Any, ..., Any]", function if isinstance(function, JobType) else self.job()(function)
            )
            self._add_periodic(schedule, job.name, args, queue)
            return cast("F", job)

        return decorate

    def _registered(
        self, function: Callable[..., Any], name: str, options: Mapping[str, Any], scope: Mapping[str, Any]
    ) -> JobType[..., Any, ..., Any]:
        spec = self._spec(name, function, options, scope)
        return JobType(spec, self, Job(handler=spec.name, queue=spec.options.queue, unique=spec.options.unique))

    def _spec(
        self, name: str, function: Callable[..., Any], given: Mapping[str, Any], scope: Mapping[str, Any]
    ) -> JobSpec:
        if not callable(function):
            raise RegistrationError(f"handler {name!r} must be callable, not {function!r}")
        function = function.function if isinstance(function, JobType) else function
        options = options_of(name, given)
        spec = JobSpec(name, function, options, Signature(function, self._context, scope))
        if options.isolate == "process":
            check_importable(function)
        self.registry.add(spec)
        self._renew()
        return spec

    def _add_periodic(self, schedule: cron.Schedule, name: str, args: Args, queue: str | None) -> None:
        check_name(name, "periodic job")
        gojson.encode(args)
        spec = self.registry.find(name)
        if spec:
            try:
                spec.signature.call(args)
            except InvalidArguments as wrong:
                raise RegistrationError(f"periodic job {name!r} could not run with args={args!r}: {wrong}") from wrong
        chosen = queue or (spec.options.queue if spec else "default")
        self.registry.add_periodic(Periodic(schedule, name, args, chosen))

    def _renew(self) -> None:
        """Tell the engine what was registered while it runs."""
        if engine := self._engine:
            engine.renew()

    # enqueueing

    def perform(self, job: Job) -> Handle[Any] | None:
        """Enqueue the job, to run as soon as a slot is free. None: it is unique and an equal one waits already."""
        return self.background.call(self.aperform(job))

    async def aperform(self, job: Job) -> Handle[Any] | None:
        """`perform` for async code."""
        return (await self.aperform_many([job]))[0]

    def perform_in(self, job: Job, delay: Delay) -> Handle[Any] | None:
        """Enqueue the job, to run after `delay` (a timedelta or seconds)."""
        return self.background.call(self.aperform_in(job, delay))

    async def aperform_in(self, job: Job, delay: Delay) -> Handle[Any] | None:
        """`perform_in` for async code."""
        return await self.aperform(enqueueing.run_in(job, delay, self.clock.now()))

    def perform_at(self, job: Job, when: datetime) -> Handle[Any] | None:
        """Enqueue the job, to run at `when` (with a time zone); at once if that is past."""
        return self.background.call(self.aperform_at(job, when))

    async def aperform_at(self, job: Job, when: datetime) -> Handle[Any] | None:
        """`perform_at` for async code."""
        return await self.aperform(enqueueing.run_at(job, when, self.clock.now()))

    def perform_many(self, jobs: Sequence[Job]) -> list[Handle[Any] | None]:
        """Enqueue all of them, a thousand or 8 MiB per round trip; none when one of them cannot be enqueued."""
        return self.background.call(self.aperform_many(jobs))

    async def aperform_many(self, jobs: Sequence[Job]) -> list[Handle[Any] | None]:
        """`perform_many` for async code."""
        return await self.enqueue(jobs)

    def within(self, connection: object) -> Enqueuer:
        """The verbs, `perform_many` included, within the transaction of a connection of the application to the
        backend's database; raises `Unsupported` for any other connection."""
        if self.broker != self.backend:  # it was lent by `worksong.testing.inline`: jobs run at once
            return self
        return Within(self, self._backends.origin.within(connection))

    async def enqueue(self, jobs: Sequence[Job], into: Intake | None = None) -> list[Handle[Any] | None]:
        """What all verbs come down to. None: into the backend."""
        if self._stopped:
            raise Stopped
        if isinstance(jobs, Job) or not isinstance(jobs, Iterable):
            raise InvalidArguments(f"perform_many takes several jobs, not {type(jobs).__name__}; perform takes one")
        jobs = list(jobs)
        if Capability.SHARED not in self.capabilities:
            self._refuse_unknown(jobs)
        with self._sending(jobs) as outgoing:
            enqueued = await enqueueing.enqueue(into or self._intake(), outgoing, self.clock.now())
        return [None if job is None else Handle(job, self._reader) for job in enqueued]

    def _intake(self) -> Intake:
        return self._outage if self._outage and self.broker == self.backend else self.broker()

    def _refuse_unknown(self, jobs: Sequence[Job]) -> None:
        """Nobody but this process could run them."""
        for job in jobs:
            named = isinstance(job, Job) and isinstance(job.handler, str) and job.handler  # or refused as no job
            if named and self.registry.find(job.handler) is None:
                known = ", ".join(sorted(self.registry.names())) or "none"
                raise UnknownHandler(f"no handler mapped for name {job.handler!r}; registered are: {known}")

    @property
    def keeps_results(self) -> bool:
        """Whether anybody does."""
        return self._kept_apart is not None or Capability.RESULTS in self.capabilities

    def backend(self) -> Backend:
        """The backend for the running event loop: connections belong to a loop."""
        return self._backends.here()

    def handle(self, job_id: str, handler: str = "") -> Handle[Any]:
        """The handle of a job enqueued earlier, here or elsewhere; with `handler` its result is converted as there."""
        return Handle(Job(handler, id=job_id), self._reader)

    @property
    def _kept_apart(self) -> PerLoop[ResultStore] | PerLoop[Ledger] | None:
        """Who keeps results, if it is not the backend."""
        return self.ledgers or self._stores

    @property
    def rolls(self) -> PerLoop[Ledger] | None:
        """Where pipelines that a program sends are kept; None: nowhere, as while `testing.inline` keeps results."""
        return self.ledgers if self.results == self._results else None

    def _results(self) -> Results:
        return (self._kept_apart or self._backends).here()

    # life

    def start(self) -> None:
        """Start running jobs in the background and return. Started already: nothing happens."""
        self.background.call(self.astart())

    async def astart(self, *, burst: bool = False) -> None:
        """Start running jobs in the running loop. Started already: nothing happens."""
        if self._engine and self._home and not self._home.is_closed() and self._pid == os.getpid():
            return
        self._pid = os.getpid()
        engine = self.new_engine(scheduler=self.scheduler)
        self._engine, self._home = engine, asyncio.get_running_loop()
        try:
            await be_admitted(self.backend(), warns=self.warns)
            await self._try_store()
            await engine.start(burst=burst)
            if self.release and Capability.NOTES in self.capabilities:
                await announce(self.backend(), self.release, self.clock.now())
        except BaseException:
            self._engine = None
            raise
        self._stopped, self.was_started = False, True

    async def _try_store(self) -> None:
        """One that refuses what it is asked is met now, not by the first ending; one that is away may come back."""
        if self._kept_apart:
            with contextlib.suppress(BackendUnavailable):
                await self._kept_apart.here().wait_result("", 0.0)

    def new_engine(self, *, scheduler: bool) -> Engine:
        """What runs this worker's jobs in the running loop, not started yet."""
        if self.history and Capability.HISTORY in self.capabilities:
            self.measured().keep_history()
            if Capability.NOTES in self.capabilities:
                self.measured().keep_attempts()
        return Engine(
            self.backend(),
            self.registry,
            clock=self.clock,
            concurrency=self.concurrency,
            queues=self.queues,
            context=self._context,
            middleware=self._layers,
            results=self._kept_apart.here() if self._kept_apart else None,
            meter=self.meter,
            scheduler=scheduler,
            on_pool=self.on_pool,
            on_dismissed=self._dismissed,
            enclose=self.enclose,
        )

    def measured(self) -> Meter:
        """What counts the jobs of this process from now on; call it before `start`."""
        self.meter = self.meter or Meter()
        return self.meter

    def _dismissed(self) -> None:
        log.warning("told from outside to end: finishing what runs")
        self._end_run()
        self.on_dismissed()

    def _layers(self, spec: JobSpec) -> list[Callable[..., Any]]:
        """What stands around a job type: its own limits in time, then the user's middleware."""
        options = spec.options
        limits: list[Callable[..., Any]] = []
        if options.expires is not None:
            limits.append(expiring(options.expires, self.clock.now))
        if options.timeout is not None:
            limits.append(limited(options.timeout))
        noted = [Recording(self.ledgers, self.clock)] if self.ledgers else []
        return [*self._outermost, *noted, *limits, *self._middleware]

    def stop(self, grace: float = GRACE) -> None:
        """Fetch nothing more, wait `grace` seconds for running jobs, hand back the rest."""
        self.background.call(self.astop(grace), waits_for=self._home if self._engine else None)

    async def astop(self, grace: float = GRACE) -> None:
        """`stop` for async code."""
        engine, home, here = self._engine, self._home, asyncio.get_running_loop()
        if self._pid != os.getpid():
            engine = self._engine = None  # a forked child has started nothing
        if engine and home and home is not here:
            await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self.astop(grace), home))
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
            self._last, self._engine, self._stopped, self._stopping = engine.stats, None, True, None
            await self._close(grace)

    async def _close(self, grace: float) -> None:
        if isinstance(self._outage, outage.Buffer):
            await self._outage.drained(grace)
        await self._backends.close()
        if self._kept_apart:
            await self._kept_apart.close()

    async def __aenter__(self) -> Self:
        await self.astart()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.astop()

    def lifespan(
        self, app: object = None, *, worker_off: bool | None = None, grace: float = GRACE
    ) -> AbstractAsyncContextManager[None]:
        """Live as long as an ASGI application: `FastAPI(lifespan=worker.lifespan)`, or within a lifespan of its own.

        It starts before the first request and stops after the last one is answered, with `grace` seconds for running
        jobs. `worker_off`: this process only enqueues; None: as the variable WORKSONG_WORKER_OFF says.
        """
        return lifespan(self, worker_off=worker_off, grace=grace)

    def quiet(self) -> None:
        """Fetch nothing more; what runs goes on until `stop`."""
        if (engine := self._engine) and self._home:
            self._home.call_soon_threadsafe(engine.quiet)

    def run(self, *, grace: float = GRACE, burst: bool = False) -> Stats:
        """Run jobs until a signal says stop; with `burst`, until nothing is left to do. What the command line calls."""
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            return runner.run(self._run(grace, burst=burst))

    async def _run(self, grace: float, *, burst: bool) -> Stats:
        stop = asyncio.Event()
        listen(stop.set, self.quiet)
        self._end_run = stop.set
        stopping = asyncio.ensure_future(stop.wait())
        starting = asyncio.ensure_future(self.astart(burst=burst))
        try:
            await asyncio.wait([starting, stopping], return_when=asyncio.FIRST_COMPLETED)
            if await has_started(starting):
                engine = self._engine
                assert engine is not None
                finished = asyncio.ensure_future(engine.finished.wait())
                await asyncio.wait([stopping, finished], return_when=asyncio.FIRST_COMPLETED)
                finished.cancel()
        finally:
            starting.cancel()
            stopping.cancel()
            await self.astop(grace)
        return self.stats

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What its backend promises."""
        return self._backends.origin.capabilities

    @property
    def silence(self) -> float | None:
        """Seconds since a fetch was answered, as far as one was needed; None: it does not run in this process."""
        engine = self._engine  # looked at once: another thread may be stopping it
        return engine.silence if engine else None

    @property
    def stats(self) -> Stats:
        """What this worker did since it was started."""
        engine = self._engine  # looked at once: another thread may be stopping it
        return engine.stats if engine else self._last


def _check(
    name: str, concurrency: int, queues: Mapping[str, int] | Sequence[str] | None, context: type[Context]
) -> None:
    """Refuse what callers without types may give."""
    check_queues(queues)
    check_name(name, "worker name")
    if isinstance(concurrency, bool) or not isinstance(concurrency, int) or not 1 <= concurrency <= 10_000:
        raise ConfigError(f"concurrency must be a whole number from 1 to 10000, not {concurrency!r}")
    if not isinstance(context, type) or not issubclass(context, Context):
        raise ConfigError(f"context must be a subclass of worksong.Context, not {context!r}")


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


def _named(function: object) -> str:
    return getattr(function, "__name__", "")


def _scope() -> dict[str, Any]:
    """The local names where a handler is registered: annotations of a function made in a function may use them."""
    frame = inspect.currentframe()
    while frame and frame.f_globals.get("__name__", "").partition(".")[0] == "worksong":
        frame = frame.f_back
    return dict(frame.f_locals) if frame else {}


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop's, where it is installed."""
    try:
        import uvloop
    except ImportError:
        return None
    return cast("Callable[[], asyncio.AbstractEventLoop]", uvloop.new_event_loop)


def _warn_of_waiting(reference: weakref.ref[Worker]) -> None:
    """At exit: jobs in memory that nobody will run."""
    worker = reference()
    if worker is None or worker.was_started or Capability.SHARED in worker.capabilities:
        return
    counts = asyncio.run(worker.admin.acounts())
    waiting = counts[State.QUEUED] + counts[State.SCHEDULED] + counts[State.RETRY]
    if waiting:
        sys.stderr.write(
            f"worksong: {waiting} jobs in memory:// end with this process and were never run; "
            "start the worker in it, or use a backend that keeps them\n"
        )
