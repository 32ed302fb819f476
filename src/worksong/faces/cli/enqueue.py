"""`worksong enqueue`."""

from __future__ import annotations

import asyncio
import time
from datetime import datetime
from typing import Any

import click
import msgspec

from worksong import enqueueing
from worksong.domain.capability import Capability
from worksong.domain.errors import ConfigError
from worksong.domain.job import Args, Job
from worksong.faces.cli.commands import Command
from worksong.faces.cli.listing import json_option
from worksong.faces.cli.moments import duration, instant
from worksong.faces.cli.screen import complain, emit
from worksong.faces.cli.target import Target, takes_target


def arguments(text: str) -> Args:
    """A JSON object (arguments by name) or array (by position); a type for options."""
    form = "write an object, as in '{\"user_id\": 7}', or an array"
    try:
        return msgspec.json.decode(text, type=dict[str, Any] | list[Any])
    except msgspec.ValidationError:
        raise click.BadParameter(f"it must hold arguments by name or by position; {form}") from None
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError) as wrong:
        raise click.BadParameter(f"it is not JSON ({wrong}); {form}") from wrong


@click.command(cls=Command)
@click.argument("name")
@click.option("--args", type=arguments, metavar="JSON", help="An object (by name) or an array (by position).")
@click.option("--queue", default="default", show_default=True, help="Where it waits.")
@click.option("--in", "delay", type=duration, metavar="5s", help="Run it after 5s, 2m, 1h30m, 500ms.")
@click.option("--at", "when", type=instant, metavar="ISO8601", help="Run it then, as in 2030-12-24T18:00:00+01:00.")
@click.option("--unique", is_flag=True, help="Not if an equal job waits already.")
@click.option("--id", "job_id", default="", help="An id of your own; the same one is enqueued only once.")
@takes_target
@json_option
def enqueue(
    *,
    target: Target,
    name: str,
    args: Args,
    queue: str,
    delay: float | None,
    when: datetime | None,
    unique: bool,
    job_id: str,
    as_json: bool,
) -> None:
    """Enqueue a job.

    Prints its id. NAME is what the job's handler is registered under.
    """
    if delay is not None and when is not None:
        raise click.UsageError("--in and --at cannot go together: one says how long, the other says when")
    job = Job(name, args, queue, id=job_id, unique="until_start" if unique else None)
    enqueued = asyncio.run(_push(target, _timed(job, delay, when)))
    _tell(job, enqueued, as_json=as_json)


def _tell(job: Job, enqueued: Job | None, *, as_json: bool) -> None:
    if as_json:
        emit({"id": enqueued.id if enqueued else None, "enqueued": enqueued is not None, "run_at": _run_at(enqueued)})
    elif enqueued:
        click.echo(enqueued.id)
    else:
        complain("note", f"not enqueued: {_why(job)}")


def _timed(job: Job, delay: float | None, when: datetime | None) -> Job:
    now = time.time()
    if when is not None:
        return enqueueing.run_at(job, when, now)
    return job if delay is None else enqueueing.run_in(job, delay, now)


async def _push(target: Target, job: Job) -> Job | None:
    backend = target.backend()
    if Capability.SHARED not in backend.capabilities:
        raise ConfigError(
            f"{backend.name} ends with this command, and the job with it; use a backend that other processes see, "
            "such as redis://localhost:6379/0"
        )
    try:
        return (await enqueueing.enqueue(backend, [job], time.time()))[0]
    finally:
        await backend.close()


def _run_at(job: Job | None) -> float | None:
    return job.run_at or job.enqueued_at if job else None


def _why(job: Job) -> str:
    return f"the id {job.id} was enqueued before" if job.id and not job.unique else "an equal job waits already"
