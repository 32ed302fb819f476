"""Whether the tables are as the migrations make them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache
from typing import NamedTuple

from worksong.adapters.sql import migrate
from worksong.adapters.sql.doctor.chart import Chart, Check
from worksong.domain.finding import Ailment, Finding, Severity, some

MISSING = Ailment(
    "sql.tables.missing",
    Severity.ERROR,
    "There are no tables: no worker starts, and no job is taken in.",
    "worksong migrate --url URL, as a user who may create tables",
)
OLD = Ailment(
    "sql.tables.old",
    Severity.ERROR,
    "The tables are older than this program: no new worker starts.",
    "worksong migrate --url URL; workers of the version before go on meanwhile",
)
NEWER = Ailment(
    "sql.tables.newer",
    Severity.ERROR,
    "The tables are newer than this program; no new worker of this version starts on those of a breaking step.",
    "install the worksong that made them, or a newer one",
)
GONE = Ailment(
    "sql.tables.gone",
    Severity.ERROR,
    "Tables that the migrations made are not there any more.",
    "restore them from a backup; on PostgreSQL look first whether search_path names their schema",
)
NO_INDEX = Ailment(
    "sql.index.missing",
    Severity.WARNING,
    "Indexes that the migrations made are not there: what needs them reads whole tables, or takes a job in twice.",
    "worksong doctor --fix, as the owner of the tables: it makes them while work goes on",
    fixable=True,
)
OTHER_INDEX = Ailment(
    "sql.index.other",
    Severity.WARNING,
    "Indexes have the names that the migrations gave, but not their columns.",
    "DROP INDEX NAME, then worksong doctor --fix",
)
AILMENTS = (MISSING, OLD, NEWER, GONE, NO_INDEX, OTHER_INDEX)


class Index(NamedTuple):
    """An index as a migration makes it."""

    name: str
    table: str
    columns: str
    unique: bool
    where: str = ""


def version(chart: Chart) -> Iterator[Finding]:
    """Whether this program can work with these tables."""
    newest = migrate.newest(chart.dialect)
    if chart.version > newest:
        breaks = migrate.breaks(chart.dialect, chart.version)
        what = f"they are of version {chart.version}, this program knows versions up to {newest}"
        works = "" if breaks else "; what was added is nothing that it needs"
        yield NEWER.found(f"{what}{works}", severity=None if breaks else Severity.INFO)
    elif chart.version < newest:
        ailment = OLD if chart.version else MISSING
        what = f"they are of version {chart.version} of {newest}" if chart.version else "nobody has migrated here"
        made = chart.address.choice("migrate", _choices(chart)) == "auto"
        told = "; the first that uses them brings them up to date" if made else ""
        yield ailment.found(f"{what}{told}", severity=Severity.INFO if made else None)


def _choices(chart: Chart) -> tuple[str, ...]:
    """The default first: a server's tables are made by whoever may."""
    return ("refuse", "auto") if chart.address.host else ("auto", "refuse")


def gone(chart: Chart) -> Iterator[Finding]:
    """Tables that somebody dropped."""
    there = {row[0] for row in chart.rows("tables")}
    lost = [name for name in tables(chart.dialect) if name not in there]
    if lost:
        yield GONE.found(some(lost))


def indexes(chart: Chart) -> Iterator[Finding]:
    """Indexes that somebody dropped, or made anew in another way."""
    if lost := absent(chart):
        unique = [index.name for index in lost if index.unique]
        doubles = f"; without {some(unique)} jobs may be taken in twice" if unique else ""
        severity = Severity.ERROR if unique else None
        names = some(f"{index.name} on {index.table}" for index in lost)
        yield NO_INDEX.found(f"{names}{doubles}", severity=severity)
    there = _there(chart)
    other = [
        f"{index.name} has ({there[index.name]}) instead of ({_told(index)})"
        for index in blueprint(chart.dialect)
        if index.name in there and there[index.name] != _told(index)
    ]
    if other:
        yield OTHER_INDEX.found(some(other))


def absent(chart: Chart) -> list[Index]:
    """The indexes that are not there, of tables that are."""
    if chart.version != migrate.newest(chart.dialect):
        return []
    names, there = {row[0] for row in chart.rows("tables")}, _there(chart)
    return [index for index in blueprint(chart.dialect) if index.table in names and index.name not in there]


def made(index: Index, how: str = "") -> str:
    """The statement that makes it."""
    unique = "UNIQUE " if index.unique else ""
    where = f" WHERE {index.where}" if index.where else ""
    return f"CREATE {unique}INDEX {how}{index.name} ON {index.table} ({index.columns}){where}"


def _there(chart: Chart) -> dict[str, str]:
    return {name: f"{'unique: ' if unique else ''}{columns}" for name, _, unique, columns in chart.rows("indexes")}


def _told(index: Index) -> str:
    return f"{'unique: ' if index.unique else ''}{index.columns}"


# what the migrations make

# Texts, not compiled ones: whoever never asks a doctor does not wait for that.
_TABLE = r"(?is)CREATE TABLE (?:IF NOT EXISTS )?(\w+) \((.*)\)"
_KEY = r"(?im)^\s*(?:ADD )?(UNIQUE )?(?:KEY|INDEX) (\w+) \(([^)]+)\)"
_ALTER = r"(?is)ALTER TABLE (\w+)\s+(.*)"
_INDEX = r"(?is)CREATE (UNIQUE )?INDEX (?:CONCURRENTLY )?(?:IF NOT EXISTS )?(\w+) ON (\w+) \(([^)]+)\)(?: WHERE (.*))?"
_DROP = r"(?i)DROP (?:INDEX|KEY) (?:CONCURRENTLY )?(?:IF EXISTS )?(\w+)"


@cache
def tables(dialect: str) -> Sequence[str]:
    """The tables that there are after the last step."""
    found = {hit[1] for sql in _statements(dialect) if (hit := re.match(_TABLE, sql))}
    return sorted({migrate.VERSION_TABLE, *found})


@cache
def blueprint(dialect: str) -> Sequence[Index]:
    """The indexes that there are after the last step."""
    found: dict[str, Index] = {}
    for sql in _statements(dialect):
        for gone in re.findall(_DROP, sql):
            found.pop(gone, None)
        if hit := re.match(_INDEX, sql):
            found[hit[2]] = Index(hit[2], hit[3], hit[4], bool(hit[1]), (hit[5] or "").strip())
        elif hit := (re.match(_TABLE, sql) or re.match(_ALTER, sql)):
            for unique, name, columns in re.findall(_KEY, hit[2]):
                found[name] = Index(name, hit[1], columns, bool(unique))
    return list(found.values())


def _statements(dialect: str) -> Iterator[str]:
    return (sql for step in migrate.migrations(dialect) for sql in step.statements)


CHECKS = (
    Check("sql.tables", "The tables are of this program's version.", ("schema",), version),
    Check("sql.tables.all", "No table is missing.", ("schema", "tables"), gone, of_tables=True),
    Check(
        "sql.index",
        "Every index is there, as it should be.",
        ("schema", "tables", "indexes"),
        indexes,
        of_tables=True,
    ),
)
"""What is looked at in every kind of database."""
