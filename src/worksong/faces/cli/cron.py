"""`worksong cron`: when periodic jobs, or one expression, fire next."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from datetime import datetime

import click

from worksong.domain.cron import CronError, Schedule, parse
from worksong.engine.pauses import Standing, standing_of
from worksong.faces.cli.app import load
from worksong.faces.cli.commands import Command
from worksong.faces.cli.listing import json_option
from worksong.faces.cli.moments import loose_instant
from worksong.faces.cli.screen import emit, say, show_table
from worksong.faces.cli.standing import aim_app, known_standings, pause, resume
from worksong.faces.cli.target import url_options
from worksong.registry import Periodic
from worksong.service.firings import bare_spec, entry_fields, firing_fields, local, ticks, zone_of
from worksong.service.moments import relative
from worksong.worker import Worker

FOR_APP, FOR_SPEC = 3, 5


@click.command(cls=Command)
@click.argument("app", required=False)
@click.option("--spec", help="One cron expression instead of an app's.")
@click.option("--from", "start", type=loose_instant, metavar="ISO8601", help="Firings after then; now otherwise.")
@click.option("--tz", default="UTC", show_default=True, help="The zone of a --spec that names none.")
@click.option("--count", type=click.IntRange(1, 10_000), help=f"How many; {FOR_SPEC} for a spec, {FOR_APP} per job.")
@click.option("--pause", "to_pause", metavar="JOB", help="Have this periodic job of the app stand still.")
@click.option("--resume", "to_resume", metavar="JOB", help="Have it fire again, from its next time on.")
@url_options
@json_option
def cron(
    *,
    app: str | None,
    spec: str | None,
    start: datetime | None,
    tz: str,
    count: int | None,
    to_pause: str | None,
    to_resume: str | None,
    url: str | None,
    namespace: str | None,
    as_json: bool,
) -> None:
    """When periodic jobs, or one expression, fire next.

    APP is module:attribute and names a Worker. Or, for one expression:

    worksong cron --spec "0 9 * * mon-fri" --tz Europe/Berlin

    A pause holds in all processes and over restarts, until it is ended. What would have fired meanwhile is not made up
    for. The jobs are where APP says, unless --url or WORKSONG_URL says otherwise.
    """
    if (app is None) == (spec is None):
        raise click.UsageError("say either APP, as in myapp.jobs:worker, or --spec EXPRESSION")
    if ordering := to_pause is not None or to_resume is not None:
        if app is None or (to_pause is not None and to_resume is not None):
            raise click.UsageError("say APP and one of --pause JOB and --resume JOB")
        if as_json or start is not None or count is not None:
            raise click.UsageError("--pause and --resume list nothing: leave out --json, --from and --count")
    if spec is not None:
        schedule = parse(spec, zone=tz)
        moments = _firings(schedule, _after(schedule, start), count or FOR_SPEC)
        _show_spec(schedule, moments, as_json=as_json)
    elif app is not None:
        worker = load(app)
        aim_app(worker, url, namespace)
        if ordering:
            _order(worker, to_pause, to_resume)
        else:
            _show_app(worker, start, count or FOR_APP, as_json=as_json)


def _order(worker: Worker, to_pause: str | None, to_resume: str | None) -> None:
    if to_pause is not None:
        done = [*pause(worker, to_pause), f"`worksong cron APP --resume {to_pause}` ends it"]
    else:
        done = resume(worker, to_resume or "") or [f"no schedule of {to_resume} was paused"]
    for text in done:
        say(text)


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


def _show_app(worker: Worker, start: datetime | None, count: int, *, as_json: bool) -> None:
    entries = worker.registry.periodic
    known = known_standings(worker) if entries else None
    found = [
        (
            entry,
            ticks(entry.schedule, _after(entry.schedule, start), count),
            None if known is None else standing_of(entry, known),
        )
        for entry in entries
    ]
    if as_json:
        emit([entry_fields(*one) for one in found])
    elif not entries:
        click.echo("This app has no periodic jobs.")
    else:
        now = time.time()
        show_table(("!job", "spec", "zone", "next", "local time"), [row for one in found for row in _rows(*one, now)])


def _rows(entry: Periodic, ticks: list[float], standing: Standing | None, now: float) -> list[list[str]]:
    """The job in the first row only, a firing in each; one that is paused has no other time than that."""
    schedule = entry.schedule
    first = [entry.handler, bare_spec(schedule), schedule.zone]
    if standing and standing.paused:
        return [[*first, "paused", f"since {relative(standing.at, now)}"]]
    return [
        [*(["", "", ""] if number else first), relative(at, now), local(at, zone_of(schedule))]
        for number, at in enumerate(ticks)
    ]


def _after(schedule: Schedule, start: datetime | None) -> float:
    if start is None:
        return time.time()
    return (start if start.tzinfo else start.replace(tzinfo=zone_of(schedule))).timestamp()
