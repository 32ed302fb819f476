"""The states of a job and the moves between them."""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    """Where a job is. A finished or discarded job is gone."""

    SCHEDULED = "scheduled"
    QUEUED = "queued"
    RUNNING = "running"
    RETRY = "retry"
    DEAD = "dead"
    GONE = "gone"


MOVES: dict[State, dict[str, State]] = {
    State.SCHEDULED: {"promote": State.QUEUED, "requeue": State.QUEUED, "delete": State.GONE, "bury": State.DEAD},
    State.QUEUED: {"fetch": State.RUNNING, "delete": State.GONE, "bury": State.DEAD},
    State.RUNNING: {
        "done": State.GONE,
        "discard": State.GONE,
        "retry": State.RETRY,
        "snooze": State.SCHEDULED,
        "bury": State.DEAD,
        "release": State.QUEUED,
        "reap": State.QUEUED,
    },
    State.RETRY: {"promote": State.QUEUED, "requeue": State.QUEUED, "delete": State.GONE, "bury": State.DEAD},
    State.DEAD: {"requeue": State.QUEUED, "delete": State.GONE},
    State.GONE: {},
}
"""Every allowed move: state -> name of the move -> next state. docs/states.md draws this table."""
