"""Why a job is not running, in sentences with the next step."""

from __future__ import annotations

from collections.abc import Callable

from worksong.domain.why import Facts, Reason
from worksong.service.fields import last_line
from worksong.service.moments import relative, span
from worksong.service.redaction import without_logins


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


def ahead(facts: Facts) -> str:
    """How many go first."""
    if facts.ahead == 0:
        return "it is the next of its queue"
    return f"{facts.ahead:,} {'goes' if facts.ahead == 1 else 'go'} first"


def _name(facts: Facts) -> str:
    return facts.job.handler if facts.job else ""


def _ago(facts: Facts) -> str:
    return span(max(0.0, facts.now - facts.at))


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
