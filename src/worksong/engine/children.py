"""Tasks that handlers start: an exit in one of them ends the job that waits for it, not the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator
from typing import Any, TypeVar

from worksong.engine.current import CURRENT

T = TypeVar("T")

_EXITS = (SystemExit, KeyboardInterrupt, GeneratorExit)


class ExitInTask(Exception):
    """A task that a handler started asked the program to end, by `sys.exit` or the like."""


def contain_children(loop: asyncio.AbstractEventLoop) -> None:
    """Contain the tasks that handlers start in this loop from now on; all others stay as they are."""
    factory = loop.get_task_factory()
    if not isinstance(factory, _Factory):
        loop.set_task_factory(_Factory(factory))


class _Factory:
    """Makes tasks as the loop did before, but for coroutines that a handler hands over."""

    def __init__(self, before: Callable[..., asyncio.Future[Any]] | None) -> None:
        self._make: Callable[..., Any] = before or _task

    def __call__(self, loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> Any:
        contained = coroutine if CURRENT.get(None) is None else _Contained(coroutine)
        return self._make(loop, contained, **options)


def _task(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> asyncio.Task[Any]:
    return asyncio.Task(coroutine, loop=loop, **options)


class _Contained(Coroutine[Any, Any, T]):
    """A coroutine whose exits are errors: asyncio lets SystemExit and KeyboardInterrupt of a task end the loop, and
    a GeneratorExit ends whatever awaits the task.

    Not a coroutine around it: one that is cancelled before its first step would leave the inner one un-awaited.
    """

    def __init__(self, inner: Coroutine[Any, Any, T]) -> None:
        self._inner = inner

    def send(self, value: Any) -> Any:
        try:
            return self._inner.send(value)
        except _EXITS as leaving:
            raise _told(leaving) from leaving

    def throw(self, *thrown: Any) -> Any:
        try:
            return self._inner.throw(*thrown)
        except _EXITS as leaving:
            raise _told(leaving) from leaving

    def close(self) -> None:
        self._inner.close()

    def __await__(self) -> Generator[Any, Any, T]:
        return self._inner.__await__()


def _told(leaving: BaseException) -> ExitInTask:
    return ExitInTask(f"{type(leaving).__name__}: {leaving}" if str(leaving) else type(leaving).__name__)
