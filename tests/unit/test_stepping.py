"""A coroutine stepped through with context variables of its own behaves as if it were awaited."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from engine_bench import after_waiting, as_coroutine, shown, throw
from worksong.engine.stepping import step_in

COUNT: contextvars.ContextVar[int] = contextvars.ContextVar("count", default=0)


class Custom(BaseException):
    """Not even an Exception."""


async def in_steps(coroutine: Coroutine[Any, Any, Any]) -> Any:
    return await step_in(contextvars.Context(), coroutine)


def test_what_never_waits_is_through_in_one_step() -> None:
    with pytest.raises(StopIteration) as finished:
        in_steps(as_coroutine(lambda: 5)()).send(None)
    assert finished.value.value == 5


async def test_what_waits_several_times_goes_on_after_each() -> None:
    async def thrice() -> list[str]:
        waits: list[str] = []
        for step in "abc":
            waits.append(step)
            await asyncio.sleep(0)
        return waits

    assert await in_steps(thrice()) == ["a", "b", "c"]


async def test_the_variables_are_the_given_ones_at_every_step() -> None:
    # Given variables of its own, and a coroutine that changes one
    variables = contextvars.Context()
    variables.run(COUNT.set, 10)

    async def counts() -> list[int]:
        seen = [COUNT.get()]
        COUNT.set(11)
        await asyncio.sleep(0)
        seen.append(COUNT.get())
        return seen

    # When it is stepped through, then it has seen those, and its caller sees none of it
    assert await step_in(variables, counts()) == [10, 11]
    assert variables[COUNT] == 11
    assert COUNT.get() == 0


@pytest.mark.parametrize("failure", [ValueError("x"), SystemExit(3), GeneratorExit(), Custom("x")], ids=shown)
@pytest.mark.parametrize("wrapped", [as_coroutine, after_waiting])
async def test_what_it_raises_is_raised(failure: BaseException, wrapped: Callable[..., Any]) -> None:
    with pytest.raises(type(failure)) as raised:
        await in_steps(wrapped(throw(failure))())
    assert raised.value is failure


async def test_a_cancellation_is_thrown_into_it() -> None:
    # Given a coroutine that waits, stepped through in a task
    began, cleaned = asyncio.Event(), asyncio.Event()

    async def waits() -> None:
        try:
            began.set()
            await asyncio.Event().wait()
        finally:
            cleaned.set()

    task = asyncio.create_task(in_steps(waits()))
    await began.wait()

    # When the task is cancelled, then the coroutine is
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert cleaned.is_set()


async def test_a_swallowed_cancellation_lets_it_go_on() -> None:
    gate = asyncio.Event()

    async def swallows() -> str:
        with contextlib.suppress(asyncio.CancelledError):
            await gate.wait()
        await asyncio.sleep(0)
        return "went on"

    task = asyncio.create_task(in_steps(swallows()))
    await asyncio.sleep(0)
    task.cancel()
    assert await task == "went on"


def test_closing_it_closes_the_coroutine() -> None:
    # Given a coroutine that waits, stepped through by hand
    closed: list[str] = []

    async def waits() -> None:
        try:
            await asyncio.sleep(0)
        finally:
            closed.append("closed")

    stepping = step_in(contextvars.Context(), waits())
    stepping.send(None)

    # When it is given up, then the coroutine is closed
    stepping.close()
    assert closed == ["closed"]


async def test_timeouts_and_groups_work_inside() -> None:
    async def nested() -> str:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.001):
                await asyncio.Event().wait()
        with pytest.raises(ExceptionGroup):
            async with asyncio.TaskGroup() as group:
                group.create_task(after_waiting(throw(ValueError("x")))())
                await asyncio.Event().wait()
        return "fine"

    assert await in_steps(nested()) == "fine"
    task = asyncio.current_task()
    assert task and not task.cancelling()
