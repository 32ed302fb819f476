"""`worksong pause`, `resume`, `purge`, `cancel`, `quiet` and `dismiss`."""

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


@click.command(cls=Command)
@click.argument("pool")
@takes_target
def quiet(target: Target, pool: str) -> None:
    """Have a worker process fetch nothing more.

    What it runs goes on, and it stays quiet for as long as it lives. POOL is its id, as `worksong pools` lists it.
    """
    if not ask(target, lambda admin: admin.aquiet(pool)):
        raise WorksongError(_no_pool(pool))
    say(f"told {pool} to fetch nothing more; it hears that with its next beat")


@click.command(cls=Command)
@click.argument("pool")
@takes_target
def dismiss(target: Target, pool: str) -> None:
    """Have a worker process finish what it runs, and end.

    POOL is its id, as `worksong pools` lists it. One of several that `run --processes` started is not started again
    until that command is; whatever else restarts processes, such as systemd, goes by its own rules.
    """
    if not ask(target, lambda admin: admin.adismiss(pool)):
        raise WorksongError(_no_pool(pool))
    say(f"told {pool} to finish what it runs and to end; it hears that with its next beat")


def _no_pool(pool: str) -> str:
    return f"no worker process has the id {pool}: it has ended, or it never was; `worksong pools` lists those that live"
