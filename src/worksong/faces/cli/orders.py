"""`worksong pause`, `resume`, `purge` and `cancel`."""

from __future__ import annotations

import click

from worksong.domain.errors import WorksongError
from worksong.faces.cli.commands import Command
from worksong.faces.cli.screen import say
from worksong.faces.cli.target import Target, ask, takes_target


@click.command(cls=Command)
@click.argument("name")
@takes_target
def pause(target: Target, name: str) -> None:
    """Start nothing more from a queue.

    What runs goes on. Where a backend knows only job types (as with redis://), NAME is a job type.
    """
    ask(target, lambda admin: admin.apause(name))
    say(f"paused {name}; `worksong resume {name}` ends it", mark="\u23f8")


@click.command(cls=Command)
@click.argument("name")
@takes_target
def resume(target: Target, name: str) -> None:
    """End a pause."""
    ask(target, lambda admin: admin.aresume(name))
    say(f"resumed {name}", mark="\u25b6")


@click.command(cls=Command)
@click.argument("name")
@takes_target
def purge(target: Target, name: str) -> None:
    """Drop all jobs waiting in a queue."""
    count = ask(target, lambda admin: admin.apurge(name))
    say(f"purged {name}: {count:,} job{'' if count == 1 else 's'} dropped")


@click.command(cls=Command)
@click.argument("job_id", metavar="ID")
@takes_target
def cancel(target: Target, job_id: str) -> None:
    """Drop a job, or stop it if it runs."""
    if not ask(target, lambda admin: admin.acancel(job_id)):
        raise WorksongError(f"no job with the id {job_id} waits or runs: it is done, or it never was")
    say(f"cancelled {job_id}")
