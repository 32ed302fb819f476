"""Why a job is not running, decided from facts; and how that is told."""

from __future__ import annotations

from typing import Any

import pytest

from worksong.domain.job import Job
from worksong.domain.lifecycle import State
from worksong.domain.why import PROMOTED_WITHIN, Facts, Reason, reasons
from worksong.service.explanation import WORDS, told

NOW = 1_700_000_000.0
SERVED = {"pools": 2, "serving": 1, "slots": 4, "busy": 1}


def facts(state: State | None, **known: Any) -> Facts:
    return Facts(now=NOW, state=state, job=Job("send", id="a") if state else None, **known)


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        (facts(None), [Reason.NOT_FOUND]),
        (facts(None, taken_in=True), [Reason.ENDED]),
        (facts(State.GONE), [Reason.NOT_FOUND]),
        (facts(State.QUEUED, **SERVED), [Reason.WAITING]),
        (facts(State.QUEUED), [Reason.NO_WORKER]),
        (facts(State.QUEUED, pools=3), [Reason.UNSERVED]),
        (facts(State.QUEUED, **SERVED, paused=True), [Reason.PAUSED]),
        (facts(State.QUEUED, paused=True), [Reason.PAUSED, Reason.NO_WORKER]),
        (facts(State.QUEUED, **SERVED, limit=2, running=1), [Reason.WAITING]),
        (facts(State.QUEUED, **SERVED, limit=2, running=2), [Reason.AT_LIMIT]),
        (facts(State.QUEUED, **SERVED, running=9), [Reason.WAITING]),
        (facts(State.QUEUED, **SERVED | {"busy": 4}), [Reason.ALL_BUSY]),
        (facts(State.QUEUED, **SERVED | {"busy": 5}, limit=1, running=1), [Reason.AT_LIMIT, Reason.ALL_BUSY]),
        (facts(State.QUEUED, **SERVED, unreadable="invalid_json"), [Reason.UNREADABLE]),
        (facts(State.SCHEDULED, **SERVED, at=NOW + 1), [Reason.SCHEDULED]),
        (facts(State.SCHEDULED, at=NOW + 1), [Reason.SCHEDULED, Reason.NO_WORKER]),
        (facts(State.SCHEDULED, pools=1, at=NOW + 1), [Reason.SCHEDULED, Reason.UNSERVED]),
        (facts(State.SCHEDULED, **SERVED, at=NOW), [Reason.DUE]),
        (facts(State.SCHEDULED, **SERVED, at=NOW - PROMOTED_WITHIN - 1), [Reason.OVERDUE]),
        (facts(State.RETRY, **SERVED, at=NOW + 1), [Reason.RETRY]),
        (facts(State.RETRY, at=NOW - 1), [Reason.OVERDUE, Reason.NO_WORKER]),
        (facts(State.RUNNING, **SERVED), [Reason.RUNNING]),
        (facts(State.RUNNING, **SERVED, cancelled=True), [Reason.CANCELLING]),
        (facts(State.RUNNING, alive=False, cancelled=True), [Reason.ABANDONED]),
        (facts(State.DEAD), [Reason.DEAD]),
    ],
)
def test_the_reasons_follow_from_the_facts(known: Facts, expected: list[Reason]) -> None:
    assert list(reasons(known)) == expected


@pytest.mark.parametrize("reason", Reason)
@pytest.mark.parametrize("known", [facts(None), facts(State.QUEUED)])
def test_every_reason_can_be_told_of_whatever_is_known(reason: Reason, known: Facts) -> None:
    assert len(told(reason, known)) > 10


def test_every_reason_has_its_words() -> None:
    assert set(WORDS) == set(Reason)


def test_a_failed_job_tells_the_last_line_of_its_error_without_logins() -> None:
    failed = Job("send", id="a", attempt=3, error="Traceback\n  redis://u:hunter2@host/ refused")

    text = told(Reason.RETRY, Facts(now=NOW, state=State.RETRY, job=failed, at=NOW + 60))

    assert text == "it has failed 2 times, the last time with: redis://***@host/ refused; the next try is in 1 min"


def test_a_running_job_tells_where_since_when_and_what_it_said() -> None:
    running = facts(
        State.RUNNING, pool="p", worker="w", started_at=NOW - 60, checkin="i=1000", checkin_at=NOW - 2, alive=True
    )

    assert told(Reason.RUNNING, running) == "it runs on worker w of pool p, for 1 min; it said 'i=1000' 2 s ago"
