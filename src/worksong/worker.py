"""Worker: Buffalo's six verbs and the decorators; puts the parts together and decides nothing else."""

from __future__ import annotations

import asyncio
import atexit
import sys
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from types import TracebackType
from typing import Any, Literal, Self, TypeVar, cast, overload

from worksong import enqueueing, outage
from worksong.admin import Admin
from worksong.blocking import Background
from worksong.domain import cron
from worksong.domain.capability import Capability
from worksong.domain.errors import ConfigError, InvalidArguments, RegistrationError, Stopped
from worksong.domain.job import Args, Job, Unique
from worksong.domain.lifecycle import State
from worksong.engine.engine import Engine
from worksong.engine.meter import Meter
from worksong.engine.stats import Stats
from worksong.enqueueing import Delay
from worksong.handle import Handle
from worksong.jobtype import Decorate, DecorateUnique, Enqueuer, JobType
from worksong.ledger import RETENTION, Ledger
from worksong.lifespan import lifespan
from worksong.perloop import PerLoop
from worksong.ports.backend import Backend, Beside, Broker, Intake
from worksong.ports.clock import Clock, SystemClock
from worksong.ports.context import Context
from worksong.ports.handler import Middleware
from worksong.ports.results import Results
from worksong.reader import ResultReader
from worksong.recording import Recording
from worksong.registry import JobSpec, Registry, check_name, check_queues
from worksong.repertoire import Repertoire, Sending, name_of, scope_of_caller
from worksong.shift import Shift, loop_factory
from worksong.signature import check_task
from worksong.stores import Stores
from worksong.within import Within

GRACE = 25.0
"""Seconds that running jobs have to finish at a stop."""

F = TypeVar("F", bound=Callable[..., Any])


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
        `history`: whether the backend, where it can, is told every ten seconds what jobs did, for charts of 30 days;
        that costs a microsecond per job. None: when `worksong run` or `serve` runs it.
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
        self.enclose: Callable[[Callable[..., Any]], Callable[..., Any]] = lambda function: function
        """What a framework puts around every handler, in the thread or the loop that it runs in."""
        self.warns = True
        """Whether to log what the store warns of at the start."""
        self.history = history
        """Whether what jobs did is kept over time; to be changed before the start only."""
        self.meter: Meter | None = None
        """Counts what is run; None: nobody has asked for that."""
        self.background = Background()
        """Runs the blocking verbs."""
        self.broker: Callable[[], Broker] = self.backend
        """Where enqueued jobs go; `worksong.testing.inline` lends another one."""
        self._stores = Stores(url, name, results=results, clock=self.clock, allowance=self.registry.allowance)
        self._outage = outage.chosen(patience, buffer, self.backend, self.clock, self.background.send)
        self.results: Callable[[], Results] = self._stores.results
        """Where results come from; `worksong.testing.inline` lends another one."""
        self._shift = Shift(self, self._stores, self._outage)
        self._repertoire = Repertoire(self.registry, context, self._shift.renew)
        self.admin = Admin(
            self.backend, self.background, self.clock, lambda: self.ledgers.here() if self.ledgers else None
        )
        self._reader = ResultReader(self)
        if records is not None:
            self.keep_records(records)
        atexit.register(_warn_of_waiting, weakref.ref(self))

    def connect(self, url: str, *, name: str | None = None) -> None:
        """Take another backend, and another name; only before anything was enqueued or run."""
        self._stores.check_unused()
        called: str = name or self.name
        check_name(called, "worker name")
        self._stores.connect(url, called)
        is_new = called != self.name
        self.url, self.name = url, called
        if is_new:
            self._stores.rename(called)

    def keep_records(self, url: str, *, retention: float = RETENTION) -> None:
        """Keep records of jobs that the job service creates, and all results with them; only before the start.

        `retention`: how many seconds those of ended jobs are kept.
        """
        self._stores.keep_records(url, self.name, retention=retention)

    # registration

    def register(self, name: str, function: Callable[..., Any], **options: Any) -> JobType[..., Any, ..., Any]:
        """Make `function` run the jobs called `name`; see `Options` for the options."""
        return self._registered(function, name, options, scope_of_caller())

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
        scope = scope_of_caller()

        def decorate(function: Callable[..., Any]) -> JobType[..., Any, ..., Any]:
            return self._registered(function, name_of(function) if name is None else name, options, scope)

        return decorate

    def task(self, name: str | None = None, **options: Any) -> Decorate:
        """Register the decorated function in Valet's form: `def f(params)` or `def f(params, previous=None)`.

        `params`: the job's parameters; `previous`: what the step before returned, in a pipeline that asks for it.
        As with Valet, one that fails is not tried again, unless `max_fails` says so.
        """
        scope = scope_of_caller()

        def decorate(function: Callable[..., Any]) -> JobType[..., Any, ..., Any]:
            check_task(function)
            given = {"max_fails": 1, **options}
            return self._registered(function, name_of(function) if name is None else name, given, scope)

        return cast("Decorate", decorate)

    def middleware(self, layer: F) -> F:
        """Stand around every handler, those registered before included; the first one given is outermost."""
        self._repertoire.surround(layer)
        return layer

    def instrument(self, *, sending: Sending, around: Middleware) -> None:
        """Stand around every enqueueing, and around every run outside of everything else, limits in time included."""
        self._repertoire.instrument(sending, around)

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
            self._repertoire.add_periodic(schedule, name, args, queue)

        def decorate(function: F) -> F:
            job = cast(
                "JobType[..., Any, ..., Any]", function if isinstance(function, JobType) else self.job()(function)
            )
            self._repertoire.add_periodic(schedule, job.name, args, queue)
            return cast("F", job)

        return decorate

    def _registered(
        self, function: Callable[..., Any], name: str, options: Mapping[str, Any], scope: Mapping[str, Any]
    ) -> JobType[..., Any, ..., Any]:
        return self._repertoire.add(function, name, options, scope=scope, worker=self)

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
        if self.runs_inline:
            return self
        return Within(self, self._stores.jobs.origin.within(connection))

    async def enqueue(self, jobs: Sequence[Job], into: Intake | None = None) -> list[Handle[Any] | None]:
        """What all verbs come down to. None: into the backend."""
        if self._shift.ended:
            raise Stopped
        if isinstance(jobs, Job) or not isinstance(jobs, Iterable):
            raise InvalidArguments(f"perform_many takes several jobs, not {type(jobs).__name__}; perform takes one")
        jobs = list(jobs)
        if Capability.SHARED not in self.capabilities:
            self.registry.check_known(jobs)
        with self._repertoire.sending(jobs) as outgoing:
            enqueued = await enqueueing.enqueue(into or self._intake(), outgoing, self.clock.now())
        return [None if job is None else Handle(job, self._reader) for job in enqueued]

    def _intake(self) -> Intake:
        return self._outage if self._outage and not self.runs_inline else self.broker()

    @property
    def runs_inline(self) -> bool:
        """Whether `worksong.testing.inline` has lent it a broker: jobs run where they are enqueued."""
        return self.broker != self.backend

    def beside(self, ledger: Ledger) -> Beside | None:
        """For records that are kept in the same place as the jobs; None: they are not, or jobs go elsewhere."""
        return self.backend().beside(ledger.store) if self.broker == self.backend else None

    @property
    def keeps_results(self) -> bool:
        """Whether anybody does."""
        return self._stores.apart is not None or Capability.RESULTS in self.capabilities

    def backend(self) -> Backend:
        """The backend for the running event loop: connections belong to a loop."""
        return self._stores.jobs.here()

    def handle(self, job_id: str, handler: str = "") -> Handle[Any]:
        """The handle of a job enqueued earlier, here or elsewhere; with `handler` its result is converted as there."""
        return Handle(Job(handler, id=job_id), self._reader)

    @property
    def ledgers(self) -> PerLoop[Ledger] | None:
        """What the job service knows of its jobs, by event loop; None: this worker keeps no records."""
        return self._stores.ledgers

    @property
    def rolls(self) -> PerLoop[Ledger] | None:
        """Where pipelines that a program sends are kept; None: nowhere, as while `testing.inline` keeps results."""
        return self.ledgers if self.results == self._stores.results else None

    # life

    def start(self) -> None:
        """Start running jobs in the background and return. Started already: nothing happens."""
        self.background.call(self.astart())

    async def astart(self, *, burst: bool = False) -> None:
        """Start running jobs in the running loop. Started already: nothing happens."""
        await self._shift.start(burst=burst)

    def new_engine(self, *, scheduler: bool) -> Engine:
        """What runs this worker's jobs in the running loop, not started yet."""
        if self.history and Capability.HISTORY in self.capabilities:
            self.measured().keep_history(queues=Capability.QUEUES in self.capabilities)
            if Capability.NOTES in self.capabilities:
                self.measured().keep_notes(self.registry.periodic)
        return Engine(
            self.backend(),
            self.registry,
            clock=self.clock,
            concurrency=self.concurrency,
            queues=self.queues,
            context=self._repertoire.context,
            middleware=self._layers,
            results=self._stores.apart.here() if self._stores.apart else None,
            meter=self.meter,
            scheduler=scheduler,
            on_pool=self.on_pool,
            on_dismissed=self._shift.dismiss,
            enclose=self.enclose,
        )

    def measured(self) -> Meter:
        """What counts the jobs of this process from now on; call it before `start`."""
        self.meter = self.meter or Meter()
        return self.meter

    def _layers(self, spec: JobSpec) -> list[Callable[..., Any]]:
        recording = Recording(self.ledgers, self.clock) if self.ledgers else None
        return self._repertoire.layers(spec, self.clock.now, recording)

    def stop(self, grace: float = GRACE) -> None:
        """Fetch nothing more, wait `grace` seconds for running jobs, hand back the rest."""
        self.background.call(self.astop(grace), waits_for=self._shift.home)

    async def astop(self, grace: float = GRACE) -> None:
        """`stop` for async code."""
        await self._shift.stop(grace)

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
        self._shift.quiet()

    def run(self, *, grace: float = GRACE, burst: bool = False) -> Stats:
        """Run jobs until a signal says stop; with `burst`, until nothing is left to do. What the command line calls."""
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            return runner.run(self._shift.run(grace, burst=burst))

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What its backend promises."""
        return self._stores.jobs.origin.capabilities

    @property
    def silence(self) -> float | None:
        """Seconds since a fetch was answered, as far as one was needed; None: it does not run in this process."""
        return self._shift.silence

    @property
    def was_started(self) -> bool:
        """Whether this process ever ran its jobs."""
        return self._shift.ever

    @property
    def stats(self) -> Stats:
        """What this worker did since it was started."""
        return self._shift.stats


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
