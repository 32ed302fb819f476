"""`worksong cron`: when periodic jobs, or one expression, fire next."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from datetime import datetime

import click

from worksong.domain.cron import CronError, Schedule, parse
from worksong.faces.cli.app import load
from worksong.faces.cli.commands import Command
from worksong.faces.cli.listing import json_option
from worksong.faces.cli.moments import loose_instant
from worksong.faces.cli.screen import emit, show_table
from worksong.registry import Periodic
from worksong.service.firings import bare_spec, entry_fields, firing_fields, local, ticks, zone_of
from worksong.service.moments import relative

FOR_APP, FOR_SPEC = 3, 5


@click.command(cls=Command)
@click.argument("app", required=False)
@click.option("--spec", help="One cron expression instead of an app's.")
@click.option("--from", "start", type=loose_instant, metavar="ISO8601", help="Firings after then; now otherwise.")
@click.option("--tz", default="UTC", show_default=True, help="The zone of a --spec that names none.")
@click.option("--count", type=click.IntRange(1, 10_000), help=f"How many; {FOR_SPEC} for a spec, {FOR_APP} per job.")
@json_option
def cron(
    *, app: str | None, spec: str | None, start: datetime | None, tz: str, count: int | None, as_json: bool
) -> None:
    """When periodic jobs, or one expression, fire next.

    APP is module:attribute and names a Worker. Or, for one expression:

    worksong cron --spec "0 9 * * mon-fri" --tz Europe/Berlin
    """
    if (app is None) == (spec is None):
        raise click.UsageError("say either APP, as in myapp.jobs:worker, or --spec EXPRESSION")
    if spec is not None:
        schedule = parse(spec, zone=tz)
        moments = _firings(schedule, _after(schedule, start), count or FOR_SPEC)
        _show_spec(schedule, moments, as_json=as_json)
    elif app is not None:
        _show_app(load(app).registry.periodic, start, count or FOR_APP, as_json=as_json)


def _firings(schedule: Schedule, after: float, count: int) -> list[float]:
    """The next ones; fewer when the five years the search covers have no more."""
    try:
        found = list(itertools.islice(_each(schedule, after), count))
    except ValueError as beyond:
        raise click.BadParameter(str(beyond), param_hint="--from") from beyond
    if not found:
        raise CronError(f"{schedule.spec!r} never fires")
    return found


def _each(schedule: Schedule, after: float) -> Iterator[float]:
    at = schedule.next(after)
    while at is not None:
        yield at
        at = schedule.next(at)


def _show_spec(schedule: Schedule, moments: list[float], *, as_json: bool) -> None:
    zone, now = zone_of(schedule), time.time()
    if as_json:
        emit([firing_fields(at, zone) for at in moments])
    else:
        show_table(
            ("!fires", f"local time ({schedule.zone})"), [(relative(at, now), local(at, zone)) for at in moments]
        )


def _show_app(entries: list[Periodic], start: datetime | None, count: int, *, as_json: bool) -> None:
    if as_json:
        emit([entry_fields(entry, ticks(entry.schedule, _after(entry.schedule, start), count)) for entry in entries])
    elif not entries:
        click.echo("This app has no periodic jobs.")
    else:
        now = time.time()
        rows = [
            row
            for entry in entries
            for row in _rows(entry, ticks(entry.schedule, _after(entry.schedule, start), count), now)
        ]
        show_table(("!job", "spec", "zone", "next", "local time"), rows)


def _rows(entry: Periodic, ticks: list[float], now: float) -> list[list[str]]:
    """The job in the first row only, a firing in each."""
    schedule = entry.schedule
    first = [entry.handler, bare_spec(schedule), schedule.zone]
    return [
        [*(["", "", ""] if number else first), relative(at, now), local(at, zone_of(schedule))]
        for number, at in enumerate(ticks)
    ]


def _after(schedule: Schedule, start: datetime | None) -> float:
    if start is None:
        return time.time()
    return (start if start.tzinfo else start.replace(tzinfo=zone_of(schedule))).timestamp()
