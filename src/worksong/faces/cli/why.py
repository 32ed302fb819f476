"""`worksong why`: why a job is not running."""

from __future__ import annotations

from typing import Any

import click

from worksong.domain.job import JobView
from worksong.domain.names import one_line
from worksong.domain.why import Facts, Reason, reasons
from worksong.faces.cli.commands import Command
from worksong.faces.cli.listing import json_option, reveal_option
from worksong.faces.cli.screen import console, emit
from worksong.faces.cli.target import Target, ask, takes_target
from worksong.service.explanation import ahead, told
from worksong.service.fields import job_fields
from worksong.service.redaction import without_logins

FACTS = ("ahead", "paused", "limit", "running", "pools", "serving", "slots", "busy", "crashes", "cancelled", "taken_in")
"""What programs are told beside the job."""


@click.command(cls=Command)
@click.argument("job_id", metavar="ID")
@takes_target
@json_option
@reveal_option
def why(target: Target, job_id: str, as_json: bool, reveal: bool) -> None:
    """Why a job is not running.

    Exit code 1 when the job is nowhere.
    """
    facts = ask(target, lambda admin: admin.awhy(job_id))
    found = reasons(facts)
    if as_json:
        emit(_fields(job_id, facts, found, reveal=reveal))
    else:
        _show(job_id, target, facts, found)
    if facts.job is None:
        click.get_current_context().exit(1)


def _fields(job_id: str, facts: Facts, found: tuple[Reason, ...], *, reveal: bool) -> dict[str, Any]:
    return {
        "id": job_id,
        "reason": found[0].value,
        "reasons": [reason.value for reason in found],
        "text": [told(reason, facts) for reason in found],
        "state": facts.state.value if facts.state else None,
        "job": _job_fields(facts, reveal=reveal),
        **{name: getattr(facts, name) for name in FACTS},
        "pool": facts.pool,
        "worker": facts.worker,
        **{name: float(getattr(facts, name)) for name in ("at", "started_at", "checkin_at", "now")},
        "checkin": without_logins(facts.checkin),
    }


def _job_fields(facts: Facts, *, reveal: bool) -> dict[str, Any] | None:
    if facts.job is None or facts.state is None:
        return None
    return job_fields(JobView(job=facts.job, state=facts.state, at=facts.at, reason=facts.unreadable), reveal=reveal)


def _show(job_id: str, target: Target, facts: Facts, found: tuple[Reason, ...]) -> None:
    from rich.text import Text

    paper = console()
    title = f"  {facts.job.handler}, {facts.state.value}" if facts.job and facts.state else "  not found"
    paper.print(Text.assemble((one_line(job_id), "bold"), (one_line(title), "dim")))
    for reason in found:
        paper.print(Text.assemble((f"{reason.value}: ", "bold yellow"), one_line(told(reason, facts))))
    if facts.job is None:
        looked = f"looked at: queued, scheduled, retry, dead and running jobs of {target.namespace!r} on {target.shown}"
        paper.print(Text(one_line(looked), "dim"))
        return
    if facts.ahead is not None:
        paper.print(Text(ahead(facts), "dim"))
    if facts.crashes:
        workers = "1 worker" if facts.crashes == 1 else f"{facts.crashes} workers"
        paper.print(Text(f"{workers} died with it within 72 hours; with the fourth it is dead", "yellow"))
