"""`worksong why`: why a job is not running."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from worksong.domain.job import JobView
from worksong.domain.names import one_line
from worksong.domain.why import Facts, Reason, reasons
from worksong.faces.cli.commands import Command
from worksong.faces.cli.listing import job_fields, json_option, last_line, reveal_option
from worksong.faces.cli.moments import relative, span
from worksong.faces.cli.redaction import without_logins
from worksong.faces.cli.screen import console, emit
from worksong.faces.cli.target import Target, ask, takes_target

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
        paper.print(Text(_ahead(facts), "dim"))
    if facts.crashes:
        workers = "1 worker" if facts.crashes == 1 else f"{facts.crashes} workers"
        paper.print(Text(f"{workers} died with it within 72 hours; with the fourth it is dead", "yellow"))


def told(reason: Reason, facts: Facts) -> str:
    """The reason as a sentence, with the next step where there is one."""
    return WORDS[reason](facts)


WORDS: dict[Reason, Callable[[Facts], str]] = {
    Reason.NOT_FOUND: lambda facts: (
        "no job of this id is here: it is done; or was discarded, expired or cancelled; or was refused when enqueued, "
        "because an equal unique job waited; or it never was, or is in another --namespace"
    ),
    Reason.ENDED: lambda facts: (
        "it was enqueued here and is here no more: it is done, or was discarded, expired, cancelled or deleted"
    ),
    Reason.UNREADABLE: lambda facts: (
        f"its document cannot be read ({facts.unreadable}); a worker buries it among the dead when it comes to it"
    ),
    Reason.PAUSED: lambda facts: f"its queue is paused; `worksong resume {facts.queue}` ends that",
    Reason.NO_WORKER: lambda facts: "no worker runs; start one with `worksong run APP`",
    Reason.UNSERVED: lambda facts: (
        f"of {facts.pools} live worker processes none knows jobs called {_name(facts)!r}: start an app that does"
    ),
    Reason.AT_LIMIT: lambda facts: (
        f"{facts.running} jobs called {_name(facts)!r} run, and not more than {facts.limit} may (max_concurrency)"
    ),
    Reason.ALL_BUSY: lambda facts: f"all {facts.slots} workers that know it are busy",
    Reason.WAITING: lambda facts: f"nothing is in its way but its turn; it has been waiting for {_ago(facts)}",
    Reason.SCHEDULED: lambda facts: f"it is scheduled: due {relative(facts.at, facts.now)}",
    Reason.RETRY: lambda facts: f"{_failed(facts)}; the next try is {relative(facts.at, facts.now)}",
    Reason.DUE: lambda facts: "it has just become due and is on its way into its queue",
    Reason.OVERDUE: lambda facts: (
        f"it was due {_ago(facts)} ago, and nobody has put it into its queue: every running worker should"
    ),
    Reason.DEAD: lambda facts: (
        f"{_failed(facts)}; dead for {_ago(facts)}: `worksong dead retry {facts.job.id if facts.job else ''}` queues it"
    ),
    Reason.RUNNING: lambda facts: f"it runs{_where(facts)}{_since(facts)}",
    Reason.CANCELLING: lambda facts: (
        f"it was cancelled and still runs{_where(facts)}: the worker has been told to stop it"
    ),
    Reason.ABANDONED: lambda facts: (
        f"pool {facts.pool} took it and gives no sign of life; a running worker takes it back within half a minute, "
        "or `worksong doctor --fix`"
    ),
}


def _name(facts: Facts) -> str:
    return facts.job.handler if facts.job else ""


def _ago(facts: Facts) -> str:
    return span(max(0.0, facts.now - facts.at))


def _ahead(facts: Facts) -> str:
    if facts.ahead == 0:
        return "it is the next of its queue"
    return f"{facts.ahead:,} {'goes' if facts.ahead == 1 else 'go'} first"


def _failed(facts: Facts) -> str:
    job = facts.job
    if job is None or not job.error:
        return f"it has failed {job.fails if job else 0} times"
    times = f"it has failed {job.fails} time{'' if job.fails == 1 else 's'}" if job.fails else "it was buried"
    return f"{times}, the last time with: {without_logins(last_line(job.error).strip())}"


def _where(facts: Facts) -> str:
    if not facts.pool:
        return ""
    return f" on worker {facts.worker} of pool {facts.pool}" if facts.worker else f" in pool {facts.pool}"


def _since(facts: Facts) -> str:
    if not facts.started_at:
        return ", or is about to"
    checkin = (
        f"; it said {without_logins(facts.checkin)!r} {relative(facts.checkin_at, facts.now)}" if facts.checkin else ""
    )
    return f", for {span(max(0.0, facts.now - facts.started_at))}{checkin}"
