"""What can be wrong with a database server of either kind."""

from __future__ import annotations

from collections.abc import Iterator

from worksong.adapters.sql.doctor.chart import Chart
from worksong.domain.finding import Ailment, Finding, Severity, some

NEAR = 0.8
SKEWED = 2.0
LONG = 300.0
"""Seconds that a transaction may be open."""

READ_ONLY = Ailment(
    "sql.read_only",
    Severity.ERROR,
    "The server takes no writes: it is a standby or a replica, or was told so.",
    "name the primary in the URL; or ALTER DATABASE NAME SET default_transaction_read_only = off (PostgreSQL), "
    "SET GLOBAL read_only = 0 (MySQL)",
)
RIGHTS = Ailment(
    "sql.rights",
    Severity.ERROR,
    "This user may not do everything that a worker does with the tables.",
    "GRANT SELECT, INSERT, UPDATE, DELETE on the worksong tables to this user",
)
CONNECTIONS = Ailment(
    "sql.connections.many",
    Severity.WARNING,
    "The server has nearly as many connections as it accepts: then workers cannot connect.",
    "a larger max_connections, fewer processes, or a pooler before the server",
)
LONG_TRANSACTION = Ailment(
    "sql.transaction.long",
    Severity.WARNING,
    "A transaction is open for minutes: rows that are over cannot be cleared away, and every fetch reads past them.",
    "end it: SELECT pg_terminate_backend(SESSION) (PostgreSQL), KILL CONNECTION (MySQL); then find out who forgot it",
)
CLOCK = Ailment(
    "sql.clock",
    Severity.WARNING,
    "The clocks of this host and of the server differ: jobs enqueued here for later come early or late by as much.",
    "let NTP set both clocks: timedatectl set-ntp true",
)
ISOLATION = Ailment(
    "sql.isolation",
    Severity.INFO,
    "Transactions begin stricter than usual: workers choose their own level, yet an enqueue within a transaction of "
    "the application may fail or wait.",
    "ALTER DATABASE NAME SET default_transaction_isolation = 'read committed' (PostgreSQL), "
    "SET GLOBAL transaction_isolation = 'READ-COMMITTED' (MySQL)",
)
FORGETS = Ailment(
    "sql.forgets",
    Severity.WARNING,
    "The server answers before what it was told is on the disk: a power cut loses jobs that were taken in.",
    "set fsync and synchronous_commit (PostgreSQL), or innodb_flush_log_at_trx_commit and sync_binlog (MySQL) to what "
    "keeps everything: on, on, 1, 1",
)
AILMENTS = (FORGETS, READ_ONLY, RIGHTS, CONNECTIONS, LONG_TRANSACTION, CLOCK, ISOLATION)


def crowded(taken: int, most: int) -> Iterator[Finding]:
    """How many connections are left."""
    if most and taken >= NEAR * most:
        yield CONNECTIONS.found(f"{taken:,} of {most:,}")


def transactions(chart: Chart) -> Iterator[Finding]:
    """Who has one open for long: (who, in which state, for how many seconds)."""
    old = [
        f"{who}, {state or 'active'} for {age:,.0f} seconds"
        for who, state, age in chart.rows("transactions")
        if age >= LONG
    ]
    if old:
        yield LONG_TRANSACTION.found(some(old))


def clock(chart: Chart) -> Iterator[Finding]:
    """Whether two clocks agree."""
    if abs(chart.offset) > SKEWED:
        yield CLOCK.found(
            f"the server's is {abs(chart.offset):,.1f} seconds {'ahead' if chart.offset > 0 else 'behind'}"
        )
