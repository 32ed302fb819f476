"""`worksong scheduled` and `worksong retries`."""

from __future__ import annotations

import click

from worksong.faces.cli.commands import Command
from worksong.faces.cli.listing import emit_jobs, json_option, page_option, reveal_option, show_jobs
from worksong.faces.cli.target import Target, ask, takes_target


@click.command(cls=Command)
@takes_target
@json_option
@page_option(1)
@reveal_option
def scheduled(target: Target, as_json: bool, page: int, reveal: bool) -> None:
    """Jobs to run later, soonest first."""
    listing = ask(target, lambda admin: admin.ascheduled(page))
    if as_json:
        emit_jobs(listing, page, reveal=reveal)
    else:
        show_jobs(listing, page, kind="scheduled", when="runs", reveal=reveal)


@click.command(cls=Command)
@takes_target
@json_option
@page_option(1)
@reveal_option
def retries(target: Target, as_json: bool, page: int, reveal: bool) -> None:
    """Failed jobs that will run again, soonest first."""
    listing = ask(target, lambda admin: admin.aretries(page))
    if as_json:
        emit_jobs(listing, page, reveal=reveal)
    else:
        show_jobs(listing, page, kind="retry", when="tries again", reveal=reveal)
