"""`worksong move`: all jobs of one store into another."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import click

from worksong.domain.errors import WorksongError
from worksong.domain.lifecycle import State
from worksong.domain.parcel import MOVABLE
from worksong.faces.cli.commands import Command
from worksong.faces.cli.listing import json_option
from worksong.faces.cli.progress import progress
from worksong.faces.cli.screen import complain, emit, say, show_table
from worksong.faces.cli.target import Target, aim
from worksong.move import Move, Report, Side, Survey
from worksong.service.redaction import without_logins

SHOWN = 5
"""Jobs that stay, as the error names them."""


@click.command(cls=Command)
@click.option("--from", "source", metavar="URL", required=True, help="Where the jobs are.")
@click.option("--to", "target", metavar="URL", required=True, help="Where they shall be.")
@click.option("--namespace", metavar="NAME", help="The worker's name, on both sides; else as each URL says.")
@click.option(
    "--state",
    "states",
    type=click.Choice([str(state) for state in MOVABLE]),
    multiple=True,
    help="Only jobs in this state; may be given more than once.",
)
@click.option("--dry-run", is_flag=True, help="Say what would be moved, and what cannot be; change nothing.")
@json_option
def move(
    *, source: str, target: str, namespace: str | None, states: tuple[str, ...], dry_run: bool, as_json: bool
) -> None:
    """Move all jobs to another backend.

    Queued, scheduled, retry and dead jobs, with their locks and times, known ids and pauses. A move that was
    interrupted goes on when the same command is given again: nothing is lost, and nothing comes twice. Running jobs
    stay; stop the workers, and move again.
    """
    sides = aim(source, namespace), aim(target, namespace)
    chosen = tuple(State(state) for state in states) or MOVABLE
    asyncio.run(_main(*sides, chosen, dry_run=dry_run, as_json=as_json))


async def _main(source: Target, target: Target, states: tuple[State, ...], *, dry_run: bool, as_json: bool) -> None:
    sides = Side(source.backend(), source.namespace), Side(target.backend(), target.namespace)
    try:
        survey = await Move(*sides, states=states).survey()
        if not as_json:
            _warn(survey)
        if dry_run:
            _show_survey(survey, states, as_json=as_json)
            return
        total = sum(survey.source[state] for state in states) + survey.aside
        with progress("moving", total, show=sys.stderr.isatty() and not as_json) as show:
            report = await Move(*sides, states=states, told=show).run()
    finally:
        for side in sides:
            await side.backend.close()
    _show(report, as_json=as_json)
    _judge(report, source)


def _warn(survey: Survey) -> None:
    if survey.aside:
        complain("note", f"a move was interrupted: {survey.aside:,} jobs lie aside, and come first")
    for caveat in survey.caveats:
        complain("note", without_logins(caveat))


def _show_survey(survey: Survey, states: tuple[State, ...], *, as_json: bool) -> None:
    if as_json:
        emit(_survey_fields(survey))
        return
    rows = [[str(state), f"{survey.source[state]:,}", f"{survey.target[state]:,}"] for state in states]
    running = survey.source[State.RUNNING]
    show_table(["!state", ">source", ">target"], rows, note=_running_note(running))


def _show(report: Report, *, as_json: bool) -> None:
    if as_json:
        emit(_fields(report))
        return
    before = report.before
    rows = [
        [
            *(str(state), f"{before.source[state]:,}", f"{moved:,}", f"{report.source[state]:,}"),
            *(f"{before.target[state]:,}", f"{report.target[state]:,}"),
        ]
        for state, moved in report.moved.items()
    ]
    headers = ["!state", ">source before", ">moved", ">source after", ">target before", ">target after"]
    show_table(headers, rows, note=_running_note(report.source[State.RUNNING]))
    if report.known:
        complain("note", f"{report.known:,} jobs were dropped: the target had taken in jobs with their ids by itself")
    left = sum(report.source[state] for state in report.moved) - len(report.staying)
    if left > 0:
        complain("note", f"{left:,} jobs came, or changed their state, while the last ones were moved: move again")
    say(f"moved {sum(report.moved.values()):,} jobs and {report.ids:,} known ids; checksum {report.checksums[1]}")


def _running_note(running: int) -> str:
    if not running:
        return ""
    jobs = f"{running:,} job{' runs' if running == 1 else 's run'}"
    return f"{jobs} at the source and cannot be moved: stop its workers, then move again"


def _judge(report: Report, source: Target) -> None:
    """What was not moved as it should be is an error."""
    if report.short:
        raise WorksongError(
            f"{report.short:,} of the moved jobs are not in the target, and no worker is there that could have run them"
        )
    if report.staying:
        some = "; ".join(f"{job_id}: {why}" for job_id, why in list(report.staying.items())[:SHOWN])
        more = f"; and {len(report.staying) - SHOWN:,} more" if len(report.staying) > SHOWN else ""
        jobs = f"{len(report.staying):,} job{'s stay' if len(report.staying) > 1 else ' stays'}"
        raise WorksongError(f"{jobs} in {source.shown}: {some}{more}")


def _survey_fields(survey: Survey) -> dict[str, Any]:
    return {
        "source": {str(state): count for state, count in survey.source.items()},
        "target": {str(state): count for state, count in survey.target.items()},
        "paused": list(survey.paused),
        "caveats": [without_logins(caveat) for caveat in survey.caveats],
        "aside": survey.aside,
    }


def _fields(report: Report) -> dict[str, Any]:
    return {
        "before": _survey_fields(report.before),
        "moved": {str(state): count for state, count in report.moved.items()},
        "source": {str(state): count for state, count in report.source.items()},
        "target": {str(state): count for state, count in report.target.items()},
        "known": report.known,
        "staying": {job_id: without_logins(why) for job_id, why in report.staying.items()},
        "ids": report.ids,
        "checksums": list(report.checksums),
        "short": report.short,
    }
