"""What was enqueued and did not run yet: for tests of code that enqueues."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from worksong.domain.job import Args, Job, JobView
from worksong.domain.lifecycle import State
from worksong.jobtype import JobType
from worksong.ports.backend import Window
from worksong.wire import gojson
from worksong.worker import Worker

PAGE = 1000

Handler = str | JobType[..., Any, ..., Any]


def enqueued(worker: Worker, handler: Handler | None = None) -> list[JobView]:
    """The jobs that wait and those for later, of one type or of all."""
    return worker.background.call(aenqueued(worker, handler))


async def aenqueued(worker: Worker, handler: Handler | None = None) -> list[JobView]:
    """`enqueued` for async code."""
    views = [view for state in (State.QUEUED, State.SCHEDULED) for view in await _all(worker, state)]
    return [view for view in views if handler is None or view.handler == _name(handler)]


def assert_enqueued(worker: Worker, handler: Handler, /, **args: Any) -> JobView:
    """A job of this type with (at least) these arguments waits or is for later; answers the first one."""
    found, expected = enqueued(worker), _plain(args)
    for view in found:
        if view.handler == _name(handler) and _has(view.job.args, expected):
            return view
    raise AssertionError(f"not enqueued: {_shown(Job(_name(handler), expected))}; {_list(found)}")


async def _all(worker: Worker, state: State) -> list[JobView]:
    found: list[JobView] = []
    while True:
        page = await worker.backend().jobs(state, Window(PAGE, len(found)))
        found += page
        if not len(page) or len(found) >= page.total:
            return found


def _name(handler: Handler) -> str:
    return handler if isinstance(handler, str) else handler.name


def _plain(args: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments as they come out of a store."""
    plain: dict[str, Any] = msgspec.json.decode(gojson.encode(dict(args)))
    return plain


def _has(args: Args, expected: Mapping[str, Any]) -> bool:
    if not isinstance(args, dict):
        return not expected
    return all(name in args and args[name] == value for name, value in expected.items())


def _list(views: Sequence[JobView]) -> str:
    if not views:
        return "nothing is"
    lines = [
        f"  {_shown(view.job)}" + (f" at {view.at:.0f}" if view.state is State.SCHEDULED else "") for view in views
    ]
    return "\n".join(["there is", *lines])


def _shown(job: Job) -> str:
    if isinstance(job.args, dict):
        return f"{job.handler}({', '.join(f'{name}={value!r}' for name, value in job.args.items())})"
    return f"{job.handler}({', '.join(map(repr, job.args or ()))})"
