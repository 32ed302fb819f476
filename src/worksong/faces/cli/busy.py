"""`worksong busy`."""

from __future__ import annotations

import time
from typing import Any

import click

from worksong.faces.cli.commands import Command
from worksong.faces.cli.listing import json_option, page_of, page_option, reveal_option, shown_args
from worksong.faces.cli.screen import clip, emit, show_table
from worksong.faces.cli.target import Target, ask, takes_target
from worksong.ports.backend import BusyView
from worksong.service.fields import arguments, plain
from worksong.service.moments import relative, span
from worksong.service.redaction import redacted

CHECKIN_SHOWN = 60


@click.command(cls=Command)
@takes_target
@json_option
@page_option(None)
@reveal_option
def busy(target: Target, as_json: bool, page: int | None, reveal: bool) -> None:
    """Jobs running right now."""
    found = page_of(ask(target, lambda admin: admin.abusy()), page)
    if as_json:
        emit([_fields(view, reveal=reveal) for view in found])
    elif not found:
        click.echo("Nothing runs right now.")
    else:
        now = time.time()
        headers = (">for", "!job id", "job", "worker", "*check-in", "*arguments")
        show_table(headers, [_row(view, now, reveal=reveal) for view in found])


def _fields(view: BusyView, *, reveal: bool) -> dict[str, Any]:
    return {**plain(view), "args": arguments(view) if reveal else redacted(arguments(view))}


def _row(view: BusyView, now: float, *, reveal: bool) -> list[str]:
    checkin = f"{view.checkin} ({relative(view.checkin_at, now)})" if view.checkin else ""
    return [
        span(max(0.0, now - view.started_at)),
        view.job_id,
        view.handler,
        view.worker_id,
        clip(checkin, CHECKIN_SHOWN),
        shown_args(arguments(view), reveal=reveal),
    ]
