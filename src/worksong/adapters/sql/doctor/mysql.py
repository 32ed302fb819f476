"""What can be wrong with MySQL and MariaDB."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache

from worksong.adapters.sql import migrate
from worksong.adapters.sql.doctor import servers, tables
from worksong.adapters.sql.doctor.chart import Chart, Check, Specialist
from worksong.domain.finding import Ailment, Finding, Severity, some

PACKET = 16 << 20
"""Bytes of one statement: a batch of large jobs takes up to half of it."""

ENGINE = Ailment(
    "mysql.engine",
    Severity.ERROR,
    "Tables are not kept by InnoDB: nothing is undone there when something fails, and a crash damages it.",
    "stop the workers, then ALTER TABLE NAME ENGINE = InnoDB",
)
NOT_STRICT = Ailment(
    "mysql.sql_mode",
    Severity.INFO,
    "The server cuts off what does not fit a column: workers are strict by themselves, transactions of the application "
    "are not.",
    "SET GLOBAL sql_mode = CONCAT(@@sql_mode, ',STRICT_TRANS_TABLES'), and the same in my.cnf",
)
SMALL_PACKET = Ailment(
    "mysql.packet",
    Severity.WARNING,
    "The server takes small statements only: a batch of large jobs is refused.",
    "SET GLOBAL max_allowed_packet = 16777216 or more, and the same in my.cnf",
)
AILMENTS = (ENGINE, NOT_STRICT, SMALL_PACKET)

# None of these touches a row: the server refuses them by the rights alone.
_TRIALS = {
    "SELECT": "SELECT 1 FROM {0} WHERE 1 = 0",
    "INSERT": "INSERT INTO {0} SELECT * FROM {0} WHERE 1 = 0",
    "UPDATE": "UPDATE {0} SET space = space WHERE 1 = 0",
    "DELETE": "DELETE FROM {0} WHERE 1 = 0",
}


def engines(chart: Chart) -> Iterator[Finding]:
    """Whether each table can undo."""
    wrong = [f"{name} is kept by {engine}" for name, engine in chart.rows("tables") if engine.lower() != "innodb"]
    if wrong:
        yield ENGINE.found(some(wrong))


def writes(chart: Chart) -> Iterator[Finding]:
    """Whether it takes any."""
    on = [name for name in ("read_only", "super_read_only") if chart.setting(name) not in ("", "off", "0", "no_lock")]
    if on:
        yield servers.READ_ONLY.found(f"{' and '.join(on)} on")


def rights(chart: Chart) -> Iterator[Finding]:
    """What this user may do with the tables that are there."""
    there = {row[0] for row in chart.rows("tables")}
    lacking = [
        f"no {verb} on {name}"
        for name in sorted(there)
        for verb in _TRIALS
        if "denied" in chart.refused.get(f"{verb} {name}", "")
    ]
    if lacking:
        yield servers.RIGHTS.found(f"{chart.address.user or 'this user'} has {some(lacking)}")


def connections(chart: Chart) -> Iterator[Finding]:
    """How many there are."""
    return servers.crowded(sum(int(count) for _, count in chart.rows("sessions")), chart.number("max_connections"))


def isolation(chart: Chart) -> Iterator[Finding]:
    """How transactions of the application begin."""
    level = chart.setting("transaction_isolation") or chart.setting("tx_isolation")
    if level == "serializable":
        yield servers.ISOLATION.found(f"the server's is {level}")


def strictness(chart: Chart) -> Iterator[Finding]:
    """Whether what does not fit is an error."""
    mode = chart.setting("sql_mode")
    if "strict_trans_tables" not in mode and "strict_all_tables" not in mode:
        yield NOT_STRICT.found(f"sql_mode is {mode or 'empty'}")


def packets(chart: Chart) -> Iterator[Finding]:
    """How long a statement may be."""
    if 0 < chart.number("max_allowed_packet") < PACKET:
        yield SMALL_PACKET.found(f"max_allowed_packet is {chart.number('max_allowed_packet'):,} bytes")


@cache
def _trials() -> Mapping[str, str]:
    tried = [name for name in tables.tables("mysql") if name != migrate.VERSION_TABLE]
    return {f"{verb} {name}": text.format(name) for name in tried for verb, text in _TRIALS.items()}


def _make_indexes(chart: Chart) -> list[str]:
    return [tables.made(index) for index in tables.absent(chart)]


MYSQL = Specialist(
    "mysql",
    (
        *tables.CHECKS,
        Check("mysql.innodb", "Every table is kept by InnoDB.", ("tables",), engines, of_tables=True),
        Check("sql.writes", "The server takes writes.", ("settings",), writes),
        Check("sql.rights.all", "This user may do what a worker does.", ("tables",), rights, of_tables=True),
        Check("sql.connections", "The server has room for connections.", ("settings", "sessions"), connections),
        Check("sql.transactions", "No transaction is open for long.", ("transactions",), servers.transactions),
        Check("sql.isolation.usual", "Transactions begin as usual.", ("settings",), isolation),
        Check("mysql.strict", "What does not fit a column is an error.", ("settings",), strictness),
        Check("mysql.packets", "The server takes batches of large jobs.", ("settings",), packets),
        Check("sql.clock.host", "The clocks of this host and of the server agree.", ("clock",), servers.clock),
    ),
    {tables.NO_INDEX.id: _make_indexes},
    _trials,
)
