"""The names under which Resque's own tools know a pool: one for itself, as goworker's poller has one, one per slot."""

from __future__ import annotations

import re
from typing import NamedTuple

from worksong.ports.backend import Pool

SUFFIX = "-worksong"
"""What follows the host: a Ruby worker that starts throws out workers of its own host that `ps` does not show as its
kind, however fresh their heartbeats are, so ours must be on a host of which there is none."""
_BAD = re.compile(r"[^A-Za-z0-9_.-]")


class Crew(NamedTuple):
    """HOST:PID:QUEUES, as all peers split it; none may have fewer parts, or no Ruby worker could start."""

    name: str
    slots: tuple[str, ...]

    @property
    def all(self) -> tuple[str, ...]:
        return (self.name, *self.slots)


def of(pool: Pool) -> Crew:
    """The names of a pool. Its id is one of their parts, so that no other has the same."""
    host = f"{_BAD.sub('_', pool.host) or 'unknown'}{SUFFIX}"
    queues = ",".join(queue for queue in pool.queues if "," not in queue) or "*"
    stem = f"{host}:{pool.pid}-{pool.id}"
    slots = tuple(f"{stem}-{number}:{queues}" for number in range(len(pool.worker_ids)))
    return Crew(f"{stem}:{queues}", slots)


def is_ours(worker: str) -> bool:
    """Whether a worker of this name is one of worksong's."""
    return worker.partition(":")[0].endswith(SUFFIX)
