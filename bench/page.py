"""The generated part of docs/performance.md, and the chart that it shows."""

from __future__ import annotations

from pathlib import Path

from bench import chart, goals, tables
from bench.results import Field, Results, Sql

DOCS = Path(__file__).parents[1] / "docs"
BEGIN, END = "<!-- bench: written by `python -m bench --docs` -->", "<!-- /bench -->"
BEGIN_FOREIGN = "<!-- bench of foreign formats: written by `python -m bench --docs` -->"
END_FOREIGN = "<!-- /bench of foreign formats -->"
BEGIN_SQL, END_SQL = "<!-- bench of SQL: written by `python -m bench --docs` -->", "<!-- /bench of SQL -->"
BEGIN_CONSOLE = "<!-- bench of the console: written by `python -m bench --docs` -->"
END_CONSOLE = "<!-- /bench of the console -->"
QUIET = 0.5
"""A machine with more load than this is shared with others."""


def write(results: Results, docs: Path = DOCS) -> None:
    """Put what was measured into the page, and the chart beside it; what was not measured stays as it is there."""
    page, drawing = docs / "performance.md", docs / "assets" / "drain.svg"
    text = page.read_text()
    if results.redis:
        text = replaced(text, block(results, results.redis), BEGIN, END)
        found = chart.bars(results.redis)
        if found:
            drawing.parent.mkdir(exist_ok=True)
            drawing.write_text(chart.svg(found))
    if results.sql:
        text = replaced(text, sql_block(results, results.sql), BEGIN_SQL, END_SQL)
    if results.foreign:
        text = replaced(text, foreign_block(results), BEGIN_FOREIGN, END_FOREIGN)
    if results.console:
        text = replaced(text, console_block(results), BEGIN_CONSOLE, END_CONSOLE)
    page.write_text(text)


def replaced(page: str, text: str, first: str, last: str) -> str:
    """The page with this text between the markers."""
    before, begin, rest = page.partition(first)
    _, end, after = rest.partition(last)
    if not begin or not end:
        raise SystemExit(f"bench: docs/performance.md has no lines {first} and {last}")
    return f"{before}{begin}\n\n{text}\n\n{end}{after}"


def block(results: Results, field: Field) -> str:
    """All of Redis, and of worksong alone."""
    parts = [
        f"{results.date}. {results.machine}; {results.software}. {runs(results)}",
        "![Drain rates of all systems](assets/drain.svg)" if field.pairs else "",
        *(f"### {title}\n\n{text}" for title, text in sections(results, field)),
        f"### How each was set up\n\n{tables.setups(field)}",
        *(f"{line}." for line in tables.missing(field)),
    ]
    return "\n\n".join(part for part in parts if part)


def sections(results: Results, field: Field) -> list[tuple[str, str]]:
    """(title, table) of all figures on Redis."""
    beside = [("Drained jobs", tables.drains(field)), ("Enqueued jobs", tables.enqueues(field))]
    quiet = [("An idle worker", tables.quiet(field))]
    alone = [("worksong alone", tables.alone(results.alone))] if results.alone else []
    kept = [("Goals", goals.text(goals.of_redis(field)))]
    waiting = [("Beside a million jobs that wait", tables.backlogs([field.backlog]))] if field.backlog else []
    return kept + (beside if field.pairs else []) + quiet + waiting + alone


def sql_block(results: Results, sql: Sql) -> str:
    """All of the databases."""
    parts = [
        f"{results.date}. {results.machine}; {sql.software}, which wait for the disk as they do by "
        f"default. {runs(results)}",
        *(f"### {title}\n\n{text}" for title, text in sql_sections(results, sql)),
        *(
            f"### How each was set up on {field.name}\n\n{tables.setups(field)}"
            for field in sql.fields
            if len(field.subjects) > 1
        ),
        *(f"{line}." for field in sql.fields for line in tables.missing(field)),
    ]
    return "\n\n".join(parts)


def sql_sections(results: Results, sql: Sql) -> list[tuple[str, str]]:
    """(title, table) of all figures on databases."""
    found = [("Goals", goals.text(goals.of_sql(sql)))]
    for field in sql.fields:
        if field.pairs:
            found += [
                (f"Drained jobs on {field.name}", tables.drains(field)),
                (f"Enqueued jobs on {field.name}", tables.enqueues(field)),
            ]
        found.append((f"An idle worker on {field.name}", tables.pick_up(field)))
    return [*found, ("Beside a million jobs that wait", tables.backlogs(sql.backlogs))]


def foreign_block(results: Results) -> str:
    """All of the formats of others."""
    parts = [
        f"{results.date}. {results.machine}; {results.software}. {runs(results)}",
        *(f"### {title}\n\n{text}" for title, text in foreign_sections(results)),
        *(f"### How each was set up on {field.name}\n\n{tables.setups(field)}" for field in results.foreign),
        *(f"{line}." for field in results.foreign for line in tables.missing(field)),
    ]
    return "\n\n".join(parts)


def foreign_sections(results: Results) -> list[tuple[str, str]]:
    """(title, table) of all figures in the formats of others."""
    found = [("Goals", goals.text(goals.of_foreign(results.foreign)))] if results.foreign else []
    for field in results.foreign:
        if field.pairs:
            found.append((f"Drained jobs on {field.name}", tables.drains(field)))
        if any(pair.what != "drain" for pair in field.pairs):
            found.append((f"Enqueued jobs on {field.name}", tables.enqueues(field)))
    return found


def console_block(results: Results) -> str:
    """All of the web console."""
    parts = [
        f"{results.date}. {results.machine}; {results.software}. {results.console[0].looks} looks at each page."
        + (f" {_busy(results)}" if results.load > QUIET else ""),
        *(f"### {title}\n\n{text}" for title, text in console_sections(results)),
    ]
    return "\n\n".join(parts)


def console_sections(results: Results) -> list[tuple[str, str]]:
    """(title, table) of all figures of the web console."""
    if not results.console:
        return []
    jobs = tables.number(results.console[0].jobs)
    found = goals.text(goals.of_console(results.console))
    return [("Goals of the console", found), (f"Pages beside {jobs} jobs", tables.pages(results.console))]


def runs(results: Results) -> str:
    """How much was measured, and what speaks against it."""
    rounds = f"{results.rounds} rounds" if results.rounds > 1 else "one round"
    doubts = [f"Medians of {rounds}, each run about {results.seconds:g} s."]
    if results.quick:
        doubts.append("Small numbers (QUICK): good for a look, not for publishing.")
    if results.load > QUIET:
        doubts.append(_busy(results))
    return " ".join(doubts)


def _busy(results: Results) -> str:
    return f"Others were at work on the machine (load {results.load:.1f} before the start), so no figure is exact."
