"""Threads for plain functions: as many as the worker's concurrency at most, and as few awake as suffice."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

PATIENCE = 0.002
"""Seconds that a call may wait for one of the threads that are awake, before more are woken."""


class Work(Protocol):
    """What a thread does for the loop."""

    @property
    def given_up(self) -> bool:
        """Whether nobody waits for it any more: what has not begun is not done."""
        ...

    def carry_out(self) -> None:
        """In a thread; raises nothing."""
        ...

    def deliver(self) -> None:
        """In the loop, after that."""
        ...


class Caller(Protocol):
    """What calls plain functions from within a loop."""

    async def call(self, function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Await what `function` returns, with the caller's context variables."""
        ...


class Threads:
    """Runs functions beside the loop it was made in; results come back in chunks, one wake-up for all there are.

    One thread runs short calls one after the other faster than many, which would fight over the interpreter. So another
    one is woken only when a call has waited for a moment; then twice as many, until none waits.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._loop = asyncio.get_running_loop()
        self._calls: deque[Work] = deque()
        self._ready: deque[Work] = deque()
        self._woken = False
        self._busy = 0
        self._timer: asyncio.TimerHandle | None = None
        self._guard = threading.Lock()
        """Held to change what follows."""
        self._asleep: list[threading.Lock] = []
        """The bells of threads that wait for calls."""
        self._awake = self._started = 0
        self._enough = 1
        """So many threads awake are enough for now."""
        self._closed = False

    async def call(self, function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Await what `function` returns, with the caller's context variables.

        A cancelled caller gives the thread up, which is then replaced: the function itself cannot be stopped.
        """
        call = _Call(self._loop.create_future(), contextvars.copy_context(), function, args, kwargs)
        self.send([call])
        try:
            return await call.future
        finally:
            if call.given_up:
                self.replace()

    def send(self, work: Sequence[Work]) -> None:
        """Let threads do these; each is delivered in the loop."""
        self._busy += len(work)
        self._calls.extend(work)
        self._wake(len(work), self._enough)
        if self._timer is None:
            self._timer = self._loop.call_later(PATIENCE, self._look)

    def replace(self) -> None:
        """One more thread, until what was just given up comes back."""
        self._limit += 1

    def close(self) -> None:
        """Let the threads end when they have nothing to do any more."""
        if self._timer:
            self._timer.cancel()
        with self._guard:
            self._closed = True
            asleep, self._asleep = self._asleep, []
            self._awake += len(asleep)
        for bell in asleep:
            bell.release()

    # in the loop

    def _wake(self, count: int, enough: int) -> None:
        """Wake or start so many threads, unless there are enough."""
        with self._guard:
            for _ in range(min(count, min(enough, self._limit) - self._awake)):
                self._awake += 1
                if self._asleep:
                    self._asleep.pop().release()
                else:
                    self._started += 1
                    threading.Thread(target=self._work, name=f"worksong-{self._started}", daemon=True).start()

    def _look(self) -> None:
        """Wake more threads when calls wait; else let fewer be enough."""
        self._timer = None
        waiting = len(self._calls)
        if waiting:
            self._wake(min(waiting, max(1, self._awake)), self._limit)
            self._enough = max(1, self._awake)
        else:
            self._enough = max(1, self._enough // 2)
        if self._busy and not self._closed:
            self._timer = self._loop.call_later(PATIENCE, self._look)

    def _deliver(self) -> None:
        self._woken = False
        while self._ready:
            work = self._ready.popleft()
            self._busy -= 1
            if work.given_up:
                self._limit -= 1  # its thread is free again: one is too many now
            work.deliver()

    # in a thread

    def _work(self) -> None:
        bell, calls = threading.Lock(), self._calls
        bell.acquire()
        while True:
            try:
                call = calls.popleft() if self._awake <= self._limit else None
            except IndexError:
                call = None
            if call is None:
                if not self._rest(bell):
                    return
                continue
            if not call.given_up:
                call.carry_out()
            self._ready.append(call)
            del call
            if not self._woken:
                self._woken = True
                try:
                    self._loop.call_soon_threadsafe(self._deliver)
                except RuntimeError:  # the loop is closed: nobody waits any more
                    return

    def _rest(self, bell: threading.Lock) -> bool:
        """Wait until there may be calls; False: there will be none."""
        with self._guard:
            if self._calls and self._awake <= self._limit:
                return True
            self._awake -= 1
            if self._closed:
                return False
            self._asleep.append(bell)
        bell.acquire()
        return True


class _Call:
    """A function with a caller that awaits it."""

    __slots__ = ("_args", "_failure", "_function", "_kwargs", "_value", "_variables", "future")

    def __init__(
        self,
        future: asyncio.Future[Any],
        variables: contextvars.Context,
        function: Callable[..., Any],
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
    ) -> None:
        self.future, self._variables = future, variables
        self._function, self._args, self._kwargs = function, args, kwargs
        self._failure: BaseException | None = None
        self._value: Any = None

    @property
    def given_up(self) -> bool:
        return self.future.cancelled()

    def carry_out(self) -> None:
        try:
            self._value = self._variables.run(self._function, *self._args, **self._kwargs)
        except BaseException as raised:  # SystemExit in a thread would end it unseen
            self._failure = tellable(raised)

    def deliver(self) -> None:
        failure, self._failure = self._failure, None
        if self.future.cancelled():
            return
        if failure is None:
            self.future.set_result(self._value)
        else:
            self.future.set_exception(failure)


def tellable(failure: BaseException) -> BaseException:
    """What a function raised, as something that means nothing to who awaits it."""
    if isinstance(failure, (StopIteration, GeneratorExit)):
        return RuntimeError(f"handler raised {type(failure).__name__}: {failure}")
    return failure
