"""What can be wrong with PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator

from worksong.adapters.sql.doctor import servers, tables
from worksong.adapters.sql.doctor.chart import UNCHECKED, Chart, Check, Specialist
from worksong.domain.finding import Ailment, Finding, Severity, some

OLDEST = 12
MANY_DEAD = 50_000
MOSTLY_DEAD = 0.5
NEAR_WRAPAROUND, AT_WRAPAROUND = 1_500_000_000, 2_000_000_000
"""Transactions since the oldest one not frozen; the server stops writing some three millions before 2^31."""

VERSION = Ailment(
    "postgres.version",
    Severity.WARNING,
    f"The server is older than PostgreSQL {OLDEST}, for which nobody mends errors any more.",
    "upgrade the server: pg_upgrade, or a new one and pg_dump",
)
TORN_PAGES = Ailment(
    "postgres.torn_pages",
    Severity.WARNING,
    "The server does not guard against pages that are half written: a power cut may damage the tables.",
    "ALTER SYSTEM SET full_page_writes = on; SELECT pg_reload_conf()",
)
INVALID = Ailment(
    "postgres.index.invalid",
    Severity.WARNING,
    "Indexes were begun and never finished: they cost every write, and serve no question.",
    "worksong doctor --fix, as the owner of the tables: it makes them anew while work goes on",
    fixable=True,
)
AUTOVACUUM_OFF = Ailment(
    "postgres.autovacuum.off",
    Severity.WARNING,
    "Nothing is cleared away by itself: every job leaves dead rows, and fetching becomes slower and slower.",
    "ALTER SYSTEM SET autovacuum = on, the same for track_counts; SELECT pg_reload_conf()",
)
AUTOVACUUM_TABLE = Ailment(
    "postgres.autovacuum.table",
    Severity.WARNING,
    "Somebody has turned autovacuum off for tables of jobs: what is over is not cleared away.",
    "worksong doctor --fix, as the owner of the tables: ALTER TABLE NAME RESET (autovacuum_enabled)",
    fixable=True,
)
DEAD_ROWS = Ailment(
    "postgres.vacuum.dead",
    Severity.WARNING,
    "Most rows of a table are dead, and vacuum does not get rid of them: every fetch reads past them.",
    "end what sql.transaction.long names, and drop replication slots that nobody reads; then VACUUM (VERBOSE) NAME",
)
WRAPAROUND = Ailment(
    "postgres.wraparound",
    Severity.WARNING,
    "Old rows are not frozen: when the numbers of transactions run out, the server takes no more writes.",
    "end what sql.transaction.long names; then VACUUM (FREEZE) in this database",
)
AILMENTS = (VERSION, TORN_PAGES, INVALID, AUTOVACUUM_OFF, AUTOVACUUM_TABLE, DEAD_ROWS, WRAPAROUND)


def version(chart: Chart) -> Iterator[Finding]:
    """Whether it is one that is meant."""
    if chart.number("server_version_num") // 10000 < OLDEST:
        yield VERSION.found(f"it is PostgreSQL {chart.setting('server_version')}")


def writes(chart: Chart) -> Iterator[Finding]:
    """Whether it takes any."""
    if any(standby for (standby,) in chart.rows("recovery")):
        yield servers.READ_ONLY.found("it is in recovery, as a standby is")
    elif chart.setting("default_transaction_read_only") == "on":
        yield servers.READ_ONLY.found("default_transaction_read_only is on")


def pages(chart: Chart) -> Iterator[Finding]:
    """Whether a power cut can leave half a page."""
    if chart.setting("full_page_writes") == "off":
        yield TORN_PAGES.found("full_page_writes is off")


def rights(chart: Chart) -> Iterator[Finding]:
    """What this user may do."""
    lacking = [f"no {needs} on {name}" for name, needs, *_ in chart.rows("tables") if needs]
    if lacking:
        yield servers.RIGHTS.found(f"{chart.address.user or 'this user'} has {some(lacking)}")


def connections(chart: Chart) -> Iterator[Finding]:
    """How many there are."""
    most = chart.number("max_connections") - chart.number("superuser_reserved_connections")
    return servers.crowded(sum(count or 0 for (count,) in chart.rows("sessions")), most)


def transactions(chart: Chart) -> Iterator[Finding]:
    """Who has one open for long; others' are not told to everybody."""
    yield from servers.transactions(chart)
    if hidden := sum(count for (count,) in chart.rows("hidden")):
        yield UNCHECKED.found(f"transactions: {hidden:,} sessions of other users are hidden from this one")


def isolation(chart: Chart) -> Iterator[Finding]:
    """How transactions of the application begin."""
    level = chart.setting("default_transaction_isolation")
    if level not in ("read committed", "read uncommitted"):
        yield servers.ISOLATION.found(f"default_transaction_isolation is {level}")


def invalid(chart: Chart) -> Iterator[Finding]:
    """Indexes that CREATE INDEX CONCURRENTLY left behind."""
    if names := [name for (name,) in chart.rows("invalid")]:
        yield INVALID.found(some(names))


def autovacuum(chart: Chart) -> Iterator[Finding]:
    """Whether it comes at all."""
    off = [name for name in ("autovacuum", "track_counts") if chart.setting(name) == "off"]
    if off:
        yield AUTOVACUUM_OFF.found(f"{' and '.join(off)} off")
    if names := _without_autovacuum(chart):
        yield AUTOVACUUM_TABLE.found(some(names))


def dead_rows(chart: Chart) -> Iterator[Finding]:
    """Whether it is of any use."""
    swollen = [
        f"{name}: {dead:,} dead rows beside {live:,}"
        for name, _, _, live, dead in chart.rows("tables")
        if dead >= MANY_DEAD and dead >= MOSTLY_DEAD * (live + dead)
    ]
    if swollen:
        yield DEAD_ROWS.found(some(swollen))


def wraparound(chart: Chart) -> Iterator[Finding]:
    """How far away it is."""
    for oldest, multi in chart.rows("ages"):
        if max(oldest, multi) >= NEAR_WRAPAROUND:
            severity = Severity.ERROR if max(oldest, multi) >= AT_WRAPAROUND else None
            detail = f"the oldest is {oldest:,} transactions old (of row locks {multi:,}), of some 2,100,000,000"
            yield WRAPAROUND.found(detail, severity=severity)


def _without_autovacuum(chart: Chart) -> list[str]:
    return [name for name, _, automatic, *_ in chart.rows("tables") if not automatic]


def _make_indexes(chart: Chart) -> list[str]:
    return [tables.made(index, "CONCURRENTLY ") for index in tables.absent(chart)]


def _make_anew(chart: Chart) -> list[str]:
    return [f"REINDEX INDEX CONCURRENTLY {name}" for (name,) in chart.rows("invalid")]


def _vacuum_again(chart: Chart) -> list[str]:
    return [f"ALTER TABLE {name} RESET (autovacuum_enabled)" for name in _without_autovacuum(chart)]


POSTGRES = Specialist(
    "postgres",
    (
        *tables.CHECKS,
        Check("postgres.index", "Every index is finished.", ("invalid",), invalid),
        Check("sql.writes", "The server takes writes.", ("settings", "recovery"), writes),
        Check("sql.rights.all", "This user may do what a worker does.", ("tables",), rights, of_tables=True),
        Check("postgres.pages", "A power cut leaves no half-written page.", ("settings",), pages),
        Check("sql.connections", "The server has room for connections.", ("settings", "sessions"), connections),
        Check("sql.transactions", "No transaction is open for long.", ("transactions", "hidden"), transactions),
        Check("sql.isolation.usual", "Transactions begin as usual.", ("settings",), isolation),
        Check("postgres.autovacuum", "What is over is cleared away by itself.", ("settings", "tables"), autovacuum),
        Check("postgres.vacuum", "Few rows of the tables are dead.", ("tables",), dead_rows, of_tables=True),
        Check("postgres.frozen", "The numbers of transactions will not run out.", ("ages",), wraparound),
        Check("postgres.release", "The server is not too old.", ("settings",), version),
        Check("sql.clock.host", "The clocks of this host and of the server agree.", ("clock",), servers.clock),
    ),
    {
        tables.NO_INDEX.id: _make_indexes,
        INVALID.id: _make_anew,
        AUTOVACUUM_TABLE.id: _vacuum_again,
    },
)
