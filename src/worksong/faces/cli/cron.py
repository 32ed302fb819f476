"""`worksong cron`: when periodic jobs, or one expression, fire next."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Iterator
from datetime import UTC, datetime, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

import click

from worksong.domain.cron import CronError, Schedule, parse
from worksong.faces.cli.app import load
from worksong.faces.cli.commands import Command
from worksong.faces.cli.listing import json_option
from worksong.faces.cli.moments import loose_instant, relative
from worksong.faces.cli.screen import emit, show_table
from worksong.registry import Periodic

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
    zone, now = _zone(schedule), time.time()
    if as_json:
        emit([_fields(at, zone) for at in moments])
    else:
        show_table(
            ("!fires", f"local time ({schedule.zone})"), [(relative(at, now), _local(at, zone)) for at in moments]
        )


def _show_app(entries: list[Periodic], start: datetime | None, count: int, *, as_json: bool) -> None:
    if as_json:
        emit([_entry(entry, _ticks(entry.schedule, start, count)) for entry in entries])
    elif not entries:
        click.echo("This app has no periodic jobs.")
    else:
        now = time.time()
        rows = [row for entry in entries for row in _rows(entry, _ticks(entry.schedule, start, count), now)]
        show_table(("!job", "spec", "zone", "next", "local time"), rows)


def _ticks(schedule: Schedule, start: datetime | None, count: int) -> list[float]:
    """As workers fire it: `@every` by the clock they all share."""
    return list(itertools.islice(schedule.ticks(_after(schedule, start), math.inf), count))


def _rows(entry: Periodic, ticks: list[float], now: float) -> list[list[str]]:
    """The job in the first row only, a firing in each."""
    schedule = entry.schedule
    spec = schedule.spec.partition(" ")[2] if schedule.spec.startswith(("TZ=", "CRON_TZ=")) else schedule.spec
    first = [entry.handler, spec, schedule.zone]
    return [
        [*(["", "", ""] if number else first), relative(at, now), _local(at, _zone(schedule))]
        for number, at in enumerate(ticks)
    ]


def _entry(entry: Periodic, ticks: list[float]) -> dict[str, Any]:
    schedule = entry.schedule
    next_ones = [_fields(at, _zone(schedule)) for at in ticks]
    return {"job": entry.handler, "spec": schedule.spec, "zone": schedule.zone, "queue": entry.queue, "next": next_ones}


def _after(schedule: Schedule, start: datetime | None) -> float:
    if start is None:
        return time.time()
    return (start if start.tzinfo else start.replace(tzinfo=_zone(schedule))).timestamp()


def _zone(schedule: Schedule) -> tzinfo:
    return UTC if schedule.zone == "UTC" else ZoneInfo(schedule.zone)


def _local(at: float, zone: tzinfo) -> str:
    return datetime.fromtimestamp(at, zone).strftime("%a %Y-%m-%d %H:%M:%S")


def _fields(at: float, zone: tzinfo) -> dict[str, Any]:
    return {"unix": at, "local": datetime.fromtimestamp(at, zone).isoformat()}
