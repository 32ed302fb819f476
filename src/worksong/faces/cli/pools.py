"""`worksong pools`."""

from __future__ import annotations

import time

import click

from worksong.faces.cli.commands import Command
from worksong.faces.cli.listing import json_option, page_of, page_option
from worksong.faces.cli.screen import clip, emit, show_table
from worksong.faces.cli.target import Target, ask, takes_target
from worksong.ports.backend import PoolView
from worksong.service.fields import plain
from worksong.service.moments import relative, span

TYPES_SHOWN = 48


@click.command(cls=Command)
@takes_target
@json_option
@page_option(None)
def pools(target: Target, as_json: bool, page: int | None) -> None:
    """Worker processes that are alive."""
    found = page_of(ask(target, lambda admin: admin.apools()), page)
    if as_json:
        emit([plain(view) for view in found])
    elif not found:
        click.echo("No worker runs here; start one with `worksong run APP`.")
    else:
        now = time.time()
        headers = ("!pool", "host", ">pid", ">workers", "up", "last beat", "*job types")
        show_table(headers, [_row(pool, now) for pool in found])


def _row(pool: PoolView, now: float) -> list[str]:
    return [
        pool.id,
        pool.host,
        str(pool.pid),
        str(pool.concurrency),
        span(max(0.0, now - pool.started_at)) if pool.started_at else "\u2013",
        relative(min(pool.heartbeat_at, now), now),
        clip(", ".join(pool.handlers), TYPES_SHOWN),
    ]
