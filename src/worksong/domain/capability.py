"""What a backend promises. Declared: the contract suite tests it. Undeclared: the call raises `Unsupported`."""

from __future__ import annotations

from enum import Enum


class Capability(Enum):
    """A promise; its value is the sentence the capability table prints."""

    SHARED = "other processes work on the same jobs"
    DURABLE = "jobs survive the end of the process"
    LEASE = "a killed worker's jobs run again"
    DELAY = "jobs can be scheduled for later"
    SUBSECOND = "delays are finer than a second"
    QUEUES = "queues apart from job types"
    PATTERNS = "a worker's queues can be patterns, such as high*"
    PRIORITY = "busier turns for important job types"
    UNIQUE = "unique jobs, until they start or until they are done"
    DEDUP = "a job id is enqueued only once"
    LIMIT = "max_concurrency holds across the cluster"
    PAUSE = "queues can be paused and resumed"
    POSITIONAL = "arguments as a list"
    BROWSE = "waiting, scheduled, retry and dead jobs can be listed"
    REVIVE = "dead and retry jobs can be requeued and deleted"
    CANCEL = "jobs can be cancelled, running ones included"
    PURGE = "a queue can be emptied"
    THEN = "an ending and the jobs that follow it are one step"
    RESULTS = "what handlers return is kept with the jobs"
    TRANSACTION = "jobs can be enqueued in a transaction of the application"
    POOLS = "worker pools and busy workers can be listed"
    DIRECT = "worker processes can be told to go quiet, or to end"
    EFFECT = "a handler's changes and its job's ending are one transaction"
    MOVE = "jobs can be moved to another backend and back"
    HISTORY = "what jobs did is kept over time, for charts"
    NOTES = "orders of operators, pauses of periodic jobs, and the failed tries of a job, are kept"


INSTEAD: dict[Capability, str] = {
    Capability.DELAY: "enqueue when the job is due, or use redis:// or memory://",
    Capability.QUEUES: "use the job type as the queue, or a backend with queues",
    Capability.PATTERNS: "name the queues one by one, or none to work on all of them",
    Capability.UNIQUE: "make the handler idempotent, or use redis:// or memory://",
    Capability.LIMIT: "limit the worker's own concurrency, or use redis:// or memory://",
    Capability.PAUSE: "stop the workers, or use redis:// or memory://",
    Capability.POSITIONAL: "pass the arguments by name",
    Capability.BROWSE: "use the server's own tools",
    Capability.REVIVE: "use the server's own tools",
    Capability.CANCEL: "let the handler check whether its work is still wanted",
    Capability.PURGE: "use the server's own tools",
    Capability.RESULTS: "give the worker a store for them: Worker(..., results='redis://localhost:6379/0')",
    Capability.TRANSACTION: (
        "enqueue after its commit, or keep jobs in the application's database: "
        "sqlite:///..., postgresql://... or mysql://..."
    ),
    Capability.POOLS: "use the server's own tools",
    Capability.DIRECT: "send the process a signal: USR1 to go quiet, TERM to end; or use the server's own tools",
    Capability.EFFECT: "keep the jobs in the database that the handler writes to (sqlite:///..., postgresql://..., "
    "mysql://...), or let the handler compare ctx.fence",
    Capability.HISTORY: "let Prometheus keep it: worksong run --metrics, docs/guides/monitoring.md",
    Capability.NOTES: "read the logs: worksong.audit has the orders, worksong the failures",
    Capability.MOVE: "let the workers finish its jobs, and enqueue new ones elsewhere",
}
"""What to do on a backend that lacks the capability."""
