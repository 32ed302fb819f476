"""Running a coroutine inside the current task, but in a context of its own."""

from __future__ import annotations

import types
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextvars import Context as Variables
from typing import Any, cast


async def step_in(variables: Variables, awaitable: Awaitable[object]) -> object:
    """Await the coroutine with `variables` as its context variables.

    A task per job gives the same isolation for three times the price. The coroutine still belongs to the task that
    awaits this one: cancellation and timeouts work as if it were awaited directly.
    """
    coroutine = cast("Coroutine[Any, Any, object]", awaitable)
    try:
        waits_for = variables.run(coroutine.send, None)
    except StopIteration as finished:
        return finished.value
    return await step_on(variables, coroutine, waits_for)


@types.coroutine
def step_on(
    variables: Variables, coroutine: Coroutine[Any, Any, object], waits_for: object
) -> Generator[Any, Any, object]:
    """The same for a coroutine that was started with `variables`, and waits now."""
    run = variables.run
    step: Callable[[Any], Any]
    while True:
        try:
            answer = yield waits_for
        except GeneratorExit:
            run(coroutine.close)
            raise
        except BaseException as thrown:  # CancelledError above all: it is for the handler
            step, value = coroutine.throw, thrown
        else:
            step, value = coroutine.send, answer
        try:
            waits_for = run(step, value)
        except StopIteration as finished:
            return finished.value
