"""The hot path: run each job in a slot, hand its ending to the settler."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import inspect
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, cast

from worksong.domain.job import Delivery, Job
from worksong.domain.outcome import Buried, Discarded, Outcome, Released, Settlement
from worksong.domain.turns import Sampled, Strict
from worksong.domain.verdict import DONE, of_value
from worksong.engine.board import Board
from worksong.engine.compile import Plain, Route
from worksong.engine.current import CURRENT
from worksong.engine.deeds import Deeds
from worksong.engine.errand import Errand
from worksong.engine.failures import judged
from worksong.engine.fetcher import Fetcher
from worksong.engine.settler import Settler
from worksong.engine.stepping import step_in, step_on
from worksong.engine.threads import Threads
from worksong.ports.backend import Broker, Pool, Running
from worksong.ports.clock import Clock
from worksong.ports.context import LENDER, Context
from worksong.ports.results import ResultStore


class Lane:
    """A number of slots and the fetch that fills them.

    A runner is a task that runs one job after the other; a job that never waits costs no task switch. The others are
    woken when a job starts to wait, so one runner alone runs whatever needs no waiting. Plain functions with nothing
    around them need none: they go to the threads as errands.
    """

    def __init__(
        self,
        broker: Broker,
        pool: Pool,
        routes: Mapping[str, Route],
        *,
        turns: Sampled,
        queues: Sampled | Strict | None,
        clock: Clock,
        context: Callable[[], Context],
        threads: Threads,
        results: ResultStore | None = None,
        board: Board | None = None,
    ) -> None:
        """`board`: where each run is counted as it ends; None: nowhere."""
        self.pool = pool
        self.held: dict[int, Delivery] = {}
        """Every delivery not yet settled, by fence."""
        self.slots: list[Running | None] = [None] * pool.concurrency
        self.trusted: Callable[[], bool] = lambda: True
        """Whether the pool still counts as alive: one whose beats do not arrive fetches nothing more."""
        self._deeds = Deeds(broker, self.slots, self._judge)
        self.settler = Settler(broker, clock, self.held, self.make_room, results, deeds=self._deeds)
        self.fetcher = Fetcher(broker, self, pool.concurrency, turns=turns, queues=queues, clock=clock)
        self._routes, self._clock, self._now, self._context, self._threads = routes, clock, clock.now, context, threads
        self._board = board
        self._ready: deque[Delivery] = deque()
        self._answered: deque[Errand] = deque()
        """Functions that returned something to await."""
        self._vacant = list(range(pool.concurrency))
        """Slots that no job runs in."""
        self._runners: list[asyncio.Task[None] | Errand | None] = [None] * pool.concurrency
        """Slot -> what runs its job."""
        self._free = pool.concurrency
        self._idle: deque[asyncio.Future[None]] = deque()
        self._room: asyncio.Future[None] | None = None
        self._lately = 0.0
        """When the run ended after which a runner begins the next one at once; 0: it has waited since."""
        self._doomed: dict[int, Outcome | None] = {}
        """Slot -> how its job ends when its cancellation arrives; None: not at all, it is somebody else's."""
        self._tasks: list[asyncio.Task[None]] = []
        self._stopped = False
        self._variables = contextvars.Context()
        self._variables.run(LENDER.set, self._deeds)

    # life

    def start(self, *, burst: Callable[[], object] | None = None) -> None:
        """Start fetching and running; with `burst`, call it once there is nothing left."""
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._run()) for _ in self.slots]
        self.fetcher.start(burst)

    def learn(self, pool: Pool, routes: Mapping[str, Route], turns: Sampled) -> None:
        """The same pool runs these job types from now on."""
        self.pool, self._routes, self.fetcher.turns = pool, routes, turns

    def quiet(self) -> None:
        """Fetch nothing more; what was fetched and not begun goes back."""
        self.fetcher.cancel()
        while self._ready:
            self._end(self._ready.pop(), Released())  # each goes to the front: the last one first

    async def idle(self) -> None:
        """Wait until no slot runs a job."""
        while self._free < len(self.slots):
            await self.next_ending()

    def release_running(self) -> None:
        """Cancel what runs; it goes back to the front of its queue, nothing counted."""
        for slot, running in enumerate(self.slots):
            if running:
                self._cancel(slot, Released())

    async def stop(self) -> None:
        """End the runners; a handler that will not be cancelled is left behind."""
        self._stopped = True
        self.settler.drop()
        self.fetcher.cancel()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait([*self._tasks], timeout=1.0)
        await self._deeds.close()

    # orders from outside

    def cancel_job(self, job_id: str) -> None:
        """Cancel the job if it runs here; it is not run again."""
        for slot, running in enumerate(self.slots):
            if running and running.delivery.job.id == job_id:
                self._cancel(slot, Discarded("cancelled"))

    def lose(self, fences: set[int]) -> None:
        """These deliveries are somebody else's now: stop running them and settle nothing."""
        for fence in fences:
            self.held.pop(fence, None)
            self.settler.fates.pop(fence, None)
        kept = [delivery for delivery in self._ready if delivery.fence not in fences]
        self._ready.clear()
        self._ready.extend(kept)
        for slot, running in enumerate(self.slots):
            if running and running.delivery.fence in fences:
                running.lost = True
                self._cancel(slot, None)
        self._free = len(self.slots) - len(self._ready) - sum(1 for running in self.slots if running)
        self.make_room()

    def move_to(self, pool: Pool) -> None:
        """The pool was taken for dead: what it held is (most likely) lost, and what comes is fetched under a new id.

        Everything is handed back; the backend refuses what is somebody else's by now, and takes what was lent after
        the eviction and before we heard of it.
        """
        self.pool = pool
        while self._ready:
            self._end(self._ready.pop(), Released())  # each goes to the front: the last one first
        for slot, running in enumerate(self.slots):
            if running:
                running.lost = True
                self._cancel(slot, Released())

    def _cancel(self, slot: int, ending: Outcome | None) -> None:
        if slot in self._doomed:
            return
        runner = self._runners[slot]
        if isinstance(runner, Errand):
            runner.given_up = True
            self._threads.replace()
            self._ended(runner.running.delivery, slot, ending)
            return
        self._doomed[slot] = ending
        if runner:  # else it will look when it comes
            runner.cancel()

    # what is fetched

    @property
    def free(self) -> int:
        """Slots that have no job."""
        return self._free

    @property
    def laden(self) -> bool:
        """Too many endings wait for the server."""
        return self.settler.full

    def take(self, found: Sequence[Delivery]) -> bool:
        """Run these; answers whether most of them run in threads."""
        self._free -= len(found)
        return 2 * self._hand_out(found) > len(found)

    def gather_endings(self, plenty: bool, /) -> None:
        """Whether endings come so fast that they may gather for a moment before they are sent."""
        self.settler.patient = plenty

    def refuse(self, found: Sequence[Delivery]) -> None:
        """Hand these back: they were lent to a pool that is no more, or there is no waiting for their turn."""
        for delivery in reversed(found):  # each goes to the front: the last one first
            self.settler.put(Settlement(delivery, Released()))

    def _hand_out(self, found: Sequence[Delivery]) -> int:
        """To the runners, and what needs none to the threads: answers how many."""
        held, routes, ready = self.held, self._routes, self._ready
        errands: list[Errand] = []
        for delivery in found:
            held[delivery.fence] = delivery
            route = routes.get(delivery.job.handler)
            job = delivery.job
            if route is None or route.plain is None or (job.meta and route.of(job) is not route.handle):
                ready.append(delivery)
            elif errand := self._errand(delivery, route, route.plain):
                errands.append(errand)
        if errands:
            self._threads.send(errands)
        self._wake(1)
        return len(errands)

    async def next_ending(self) -> None:
        """Wait until something has ended."""
        self._room = self._room or asyncio.get_running_loop().create_future()
        await asyncio.wait([self._room])  # the future is shared: who is cancelled here must not cancel it

    def make_room(self) -> None:
        """Whoever waits for an ending may look again."""
        if self._room and not self._room.done():
            self._room.set_result(None)
        self._room = None

    # run

    def _wake(self, most: int) -> None:
        """Wake idle runners, so many at most, if there is work for them."""
        idle = self._idle
        count = min(most, len(self._ready) + len(self._answered))
        while count > 0 and idle:
            bell = idle.popleft()
            if not bell.done():
                bell.set_result(None)
                count -= 1

    async def _run(self) -> None:
        ready, answered = self._ready, self._answered
        loop, task = asyncio.get_running_loop(), cast("asyncio.Task[None]", asyncio.current_task())
        while not self._stopped:
            self._lately = 0.0
            while ready or answered:
                if answered:
                    await self._await_answer(answered.popleft(), task)
                    self._lately = 0.0
                else:
                    delivery = ready.popleft()
                    waiting = self._begin(delivery, task)
                    if waiting:
                        await self._go_on(delivery, waiting)
                        self._lately = 0.0
                if task.cancelling():
                    if self._ends:
                        return
                    await _forgive(task)
                    self._lately = 0.0
            bell: asyncio.Future[None] = loop.create_future()
            self._idle.append(bell)
            try:
                await bell
            except asyncio.CancelledError:
                if self._ends:
                    raise
                await _forgive(task)

    @property
    def _ends(self) -> bool:
        """Whether the end of a runner is meant: fetching has ended too, or is about to, as when the loop closes."""
        return self._stopped or self.fetcher.ended

    def _begin(self, delivery: Delivery, runner: asyncio.Task[None]) -> _Waiting | None:
        """Run the job until it waits for something; None: it came to its end without."""
        job = delivery.job
        route = self._routes.get(job.handler)
        if route is None:
            stray = Buried(f"stray job: no handler (unknown_handler: {job.handler!r})")
            if self._board:
                self._board.note_stray(stray)
            self._end(delivery, stray)
            return None
        now, variables, slot = self._now, self._variables.copy(), self._vacant.pop()
        self.slots[slot] = running = Running(delivery, slot, self._lately or now(), hidden=route.hidden)
        self._runners[slot] = runner
        try:
            context = self._context()
            context.begin(running, now)
            variables.run(CURRENT.set, context)
            handle = route.of(job) if job.meta else route.handle
            coroutine = cast("Coroutine[Any, Any, object]", handle(context))
            try:
                return _Waiting(slot, route, variables, coroutine, variables.run(coroutine.send, None))
            except StopIteration as finished:
                outcome = _outcome(job, finished.value, route, now)
        except BaseException as failure:  # SystemExit and the like end a job, not the worker
            outcome = self._failed(delivery, slot, failure, route)
        self._ended(delivery, slot, outcome)
        return None

    async def _go_on(self, delivery: Delivery, waiting: _Waiting) -> None:
        """Run to its end a job that waits; other runners may begin theirs meanwhile."""
        slot, route, variables, coroutine, waits_for = waiting
        try:
            self._wake(len(self._ready))
            value = await step_on(variables, coroutine, waits_for)
            outcome = _outcome(delivery.job, value, route, self._now)
        except BaseException as failure:
            outcome = self._failed(delivery, slot, failure, route)
        self._ended(delivery, slot, outcome)

    def _errand(self, delivery: Delivery, route: Route, plain: Plain) -> Errand | None:
        """The job as work for a thread, in a slot of its own; None: it came to its end before."""
        slot = self._vacant.pop()
        self.slots[slot] = running = Running(delivery, slot, self._now(), hidden=route.hidden)
        try:
            context = self._context()
            context.begin(running, self._now)
        except BaseException as failure:
            self._ended(delivery, slot, self._failed(delivery, slot, failure, route))
            return None
        errand = Errand(running, route, plain, context, self._variables.copy(), returned=self._returned)
        self._runners[slot] = errand
        return errand

    def _returned(self, errand: Errand) -> None:
        """A thread is through with it."""
        delivery, slot, route = errand.running.delivery, errand.running.slot, errand.route
        value, failure = errand.value, errand.failure
        try:
            if failure:
                outcome = self._failed(delivery, slot, failure, route)
            elif value is None or not inspect.isawaitable(value):
                outcome = _outcome(delivery.job, value, route, self._now)
            else:
                self._runners[slot] = None
                self._answered.append(errand)
                self._wake(1)
                return
        except BaseException as wrong:
            outcome = self._failed(delivery, slot, wrong, route)
        self._ended(delivery, slot, outcome)

    async def _await_answer(self, errand: Errand, runner: asyncio.Task[None]) -> None:
        """A plain function may hand on the coroutine of another one: decorators do."""
        delivery, slot, route = errand.running.delivery, errand.running.slot, errand.route
        self._runners[slot] = runner
        if slot in self._doomed:
            errand.drop()
            self._ended(delivery, slot, self._doomed[slot])
            return
        try:
            self._wake(len(self._ready) + len(self._answered))
            value = await step_in(errand.variables, _awaited(cast("Awaitable[object]", errand.value)))
            outcome = _outcome(delivery.job, value, route, self._now)
        except BaseException as failure:
            outcome = self._failed(delivery, slot, failure, route)
        self._ended(delivery, slot, outcome)

    def _ended(self, delivery: Delivery, slot: int, outcome: Outcome | None) -> None:
        board, running = self._board, self.slots[slot]
        if board and outcome and running:
            self._lately = now = self._now()
            if self._deeds.open and delivery.fence in self._deeds.open and delivery.fence in self.held:
                self.settler.fates[delivery.fence] = partial(board.note, running, now=now)
            else:
                board.note(running, outcome, now)
        elif board and running:
            board.forget(running)
        self.slots[slot] = None
        self._vacant.append(slot)
        if self._doomed:
            self._doomed.pop(slot, None)
        if outcome:
            self._end(delivery, outcome)
        else:
            self._deeds.abandon(delivery.fence)
            self._freed()

    def _failed(self, delivery: Delivery, slot: int, failure: BaseException, route: Route) -> Outcome | None:
        if slot in self._doomed and isinstance(failure, asyncio.CancelledError):
            return self._doomed[slot]
        return judged(delivery.job, failure, route.policy, self._clock.now())

    def _judge(self, delivery: Delivery, failure: BaseException) -> Outcome:
        """What becomes of a job whose handler was through when something failed."""
        return judged(delivery.job, failure, self._routes[delivery.job.handler].policy, self._clock.now())

    def _end(self, delivery: Delivery, outcome: Outcome) -> None:
        if delivery.fence in self.held:
            self.settler.put(Settlement(delivery, outcome))
        else:
            self._deeds.abandon(delivery.fence)
        self._freed()

    def _freed(self) -> None:
        self._free += 1
        if self._room:
            self.make_room()


class _Waiting(NamedTuple):
    """A job that has begun, and waits for something."""

    slot: int
    route: Route
    variables: contextvars.Context
    coroutine: Coroutine[Any, Any, object]
    waits_for: object


def _outcome(job: Job, value: object, route: Route, now: Callable[[], float]) -> Outcome | None:
    return DONE if value is None else of_value(job, value, route.policy, now())


async def _awaited(answer: Awaitable[object]) -> object:
    return await answer


async def _forgive(task: asyncio.Task[None]) -> None:
    """Take back every cancellation asked of this task: it was for a job, and that has ended."""
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.sleep(0)  # what a job asked for itself may still be to come
    while task.cancelling():
        task.uncancel()
