"""`worksong queues`."""

from __future__ import annotations

import click

from worksong.faces.cli.commands import Command
from worksong.faces.cli.listing import json_option, page_of, page_option
from worksong.faces.cli.screen import emit, show_table
from worksong.faces.cli.target import Target, ask, takes_target
from worksong.ports.backend import QueueView
from worksong.service.fields import plain
from worksong.service.moments import span


@click.command(cls=Command)
@takes_target
@json_option
@page_option(None)
def queues(target: Target, as_json: bool, page: int | None) -> None:
    """Queues: length, latency, limits, pauses."""
    found = page_of(ask(target, lambda admin: admin.aqueues()), page)
    if as_json:
        emit([plain(view) for view in found])
    elif not found:
        click.echo("No queues yet: they come with the first job.")
    else:
        show_table(("!queue", ">waiting", ">latency", ">running", ">limit", "state"), map(_row, found))


def _row(queue: QueueView) -> list[str]:
    return [
        queue.name,
        f"{queue.count:,}",
        span(queue.latency) if queue.count else "\u2013",
        f"{queue.running:,}",
        f"{queue.limit:,}" if queue.limit else "\u2013",
        "paused" if queue.paused else "",
    ]
