"""Jobs run where they are enqueued: for tests of code that enqueues them."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable, Coroutine, Generator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Any, NamedTuple, TypeAlias, TypeVar
from urllib.parse import urlsplit

from msgspec.structs import replace

from worksong.adapters.memory import MemoryBackend
from worksong.blocking import Background
from worksong.domain.errors import JobFailed, UnknownHandler
from worksong.domain.job import Delivery, Job
from worksong.domain.outcome import Buried, Discarded, Done, Outcome, Settlement, following
from worksong.domain.result import Result
from worksong.domain.turns import Share
from worksong.domain.verdict import Verdict, error_text
from worksong.engine.place import Ended
from worksong.ports.backend import Deed, Want
from worksong.worker import Worker

T = TypeVar("T")
Errand: TypeAlias = Callable[[], None]

POOL = "inline"


class Ran(NamedTuple):
    """A job that ran inline, and how it ended."""

    job: Job
    outcome: Outcome


@contextmanager
def inline(worker: Worker, *, scheduled: bool = True) -> Generator[list[Ran]]:
    """In this block `perform` runs the job at once, before it returns; gives the list of what ran.

    Everything between the two is as in a real worker: arguments go through JSON, middleware and limits in time stand
    around the handler, unique jobs are refused while an equal one runs. But there is no second try: what a handler
    raises comes out of `perform`, unless it is Retry, Snooze, Discard or one of `discard_on`, which are only noted.
    Plain functions run in the thread that called `perform`. Jobs for later run at once too; with ``scheduled=False``
    they are enqueued as ever.
    """
    before = worker.broker, worker.background, worker.results
    broker = _InlineBroker(worker, scheduled=scheduled)
    worker.broker, worker.background = lambda: broker, _CallerRuns(worker.background)
    worker.results = lambda: broker
    try:
        yield broker.ran
    finally:
        worker.broker, worker.background, worker.results = before


class _InlineBroker:
    """Takes a job in, lends it to itself, runs it."""

    fetches = 1

    def __init__(self, worker: Worker, *, scheduled: bool) -> None:
        self.ran: list[Ran] = []
        self._worker, self._scheduled = worker, scheduled
        self._taking = threading.Lock()
        self._memory = MemoryBackend()
        self._memory.name, self._memory.capabilities = f"{urlsplit(worker.url).scheme}://", worker.capabilities

    async def push(self, jobs: Sequence[Job], now: float, *, once: bool = False) -> list[bool]:
        return [await self._run(job, now, once=once) for job in jobs]

    async def fetch(self, want: Want, now: float) -> list[Delivery]:
        return await self._memory.fetch(want, now)

    async def settle(self, batch: Sequence[Settlement], now: float) -> list[bool]:
        return await self._memory.settle(batch, now)

    async def begin(self, *, blocks: bool) -> Deed:
        return await self._memory.begin(blocks=blocks)

    async def put(self, results: Sequence[Result]) -> None:
        await self._memory.put(results)

    async def result(self, job_id: str) -> Result | None:
        return await self._memory.result(job_id)

    async def wait_result(self, job_id: str, seconds: float) -> Result | None:
        return await self._memory.wait_result(job_id, seconds)

    async def _run(self, job: Job, now: float, *, once: bool) -> bool:
        if job.run_at and not self._scheduled:
            return (await self._worker.backend().push([job], now, once=once))[0]
        spec = self._worker.registry.find(job.handler)
        if spec is None:
            raise UnknownHandler(f"no handler mapped for name {job.handler!r}, so it cannot run inline")
        delivery = await self._take(job, now, once=once)
        if delivery is None:
            return False
        ending: Outcome = Discarded("it ran inline, without a second try")
        try:
            engine = self._worker.new_engine(scheduler=False)
            ended = await engine.run_once(delivery, _Caller(_ERRANDS.get()), self)
            if isinstance(ended.outcome, (Done, Discarded)):
                ending = ended.outcome
        finally:
            then = following(ending)
            await self.settle([Settlement(delivery, replace(ending, then=()) if then else ending)], now)
        self.ran.append(Ran(job, ended.outcome))
        _raise(ended, forgiven=(Verdict, *spec.options.discard_on))
        await self.push(then, now, once=True)
        return True

    async def _take(self, job: Job, now: float, *, once: bool) -> Delivery | None:
        """The job as it comes out of a store; None: a refused duplicate."""
        with self._taking:  # neither call waits for anything
            new = await self._memory.push([replace(job, run_at=0.0)], now, once=once)
            found = await self.fetch(Want(POOL, 1, 0.0, (Share(job.handler, 1),)), now)
        return found[0] if new[0] else None


def _raise(ended: Ended, forgiven: tuple[type[BaseException], ...]) -> None:
    """Raise in the caller what the handler raised, unless that was its way to choose an ending."""
    failure = ended.failure
    if failure is None or isinstance(failure, forgiven):
        return
    if isinstance(failure, Exception):
        raise failure
    # SystemExit and the like would end the loop that they come out of.
    text = ended.outcome.error if isinstance(ended.outcome, Buried) else error_text(failure)
    raise JobFailed(text) from failure


# plain functions in the thread of the caller

_ERRANDS: contextvars.ContextVar[SimpleQueue[Errand | None] | None] = contextvars.ContextVar(
    "worksong.errands", default=None
)
"""Where the thread that waits for this call takes something to do."""


class _CallerRuns(Background):
    """While a thread waits for the loop, it runs the functions that the loop would need threads for."""

    def __init__(self, background: Background) -> None:
        super().__init__()
        self._background = background

    def submit(
        self, coroutine: Coroutine[Any, Any, T], *, waits_for: asyncio.AbstractEventLoop | None = None
    ) -> Future[T]:
        return self._background.submit(coroutine, waits_for=waits_for)

    def call(self, coroutine: Coroutine[Any, Any, T], *, waits_for: asyncio.AbstractEventLoop | None = None) -> T:
        errands: SimpleQueue[Errand | None] = SimpleQueue()
        token = _ERRANDS.set(errands)
        try:
            future = self.submit(coroutine, waits_for=waits_for)
        finally:
            _ERRANDS.reset(token)
        future.add_done_callback(lambda _: errands.put(None))
        while (errand := errands.get()) is not None:
            errand()
        return future.result()


class _Caller:
    """Calls plain functions in the thread that waits, or in another one when it is a loop that waits."""

    def __init__(self, errands: SimpleQueue[Errand | None] | None) -> None:
        self._errands = errands

    async def call(self, function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        if self._errands is None:
            return await asyncio.to_thread(function, *args, **kwargs)
        loop, variables = asyncio.get_running_loop(), contextvars.copy_context()
        answer: asyncio.Future[Any] = loop.create_future()

        def errand() -> None:
            value, failure = None, None
            try:
                value = variables.run(function, *args, **kwargs)
            except BaseException as raised:  # it is the job's, and comes out of `perform`
                failure = raised
            loop.call_soon_threadsafe(_deliver, answer, value, failure)

        self._errands.put(errand)
        return await answer


def _deliver(answer: asyncio.Future[Any], value: Any, failure: BaseException | None) -> None:
    if answer.done():  # given up: the job took too long
        return
    if failure is None:
        answer.set_result(value)
    elif isinstance(failure, StopIteration):  # a future cannot carry it
        answer.set_exception(RuntimeError(f"handler raised StopIteration: {failure}"))
    else:
        answer.set_exception(failure)
