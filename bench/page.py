"""The generated part of docs/performance.md, and the chart that it shows."""

from __future__ import annotations

from pathlib import Path

from bench import chart, tables
from bench.results import Results

DOCS = Path(__file__).parents[1] / "docs"
BEGIN, END = "<!-- bench: written by `python -m bench --docs` -->", "<!-- /bench -->"
QUIET = 0.5
"""A machine with more load than this is shared with others."""


def write(results: Results, docs: Path = DOCS) -> None:
    """Put what was measured into the page, and the chart beside it."""
    page, drawing = docs / "performance.md", docs / "assets" / "drain.svg"
    page.write_text(replaced(page.read_text(), block(results)))
    drawing.parent.mkdir(exist_ok=True)
    found = chart.bars(results)
    if found:
        drawing.write_text(chart.svg(found))


def replaced(page: str, text: str) -> str:
    """The page with this text between the markers."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"bench: docs/performance.md has no lines {BEGIN} and {END}")
    return f"{before}{begin}\n\n{text}\n\n{end}{after}"


def block(results: Results) -> str:
    """All of it."""
    parts = [
        f"{results.date}. {results.machine}; {results.software}. {runs(results)}",
        "![Drain rates of all systems](assets/drain.svg)" if results.pairs else "",
        *(f"### {title}\n\n{text}" for title, text in sections(results)),
        f"### How each was set up\n\n{tables.setups(results)}",
        *(f"{line}." for line in tables.missing(results)),
    ]
    return "\n\n".join(part for part in parts if part)


def sections(results: Results) -> list[tuple[str, str]]:
    """(title, table) of all figures."""
    beside = [("Drained jobs", tables.drains(results)), ("Enqueued jobs", tables.enqueues(results))]
    always = [("An idle worker", tables.quiet(results)), ("worksong alone", tables.alone(results))]
    return (beside if results.pairs else []) + always


def runs(results: Results) -> str:
    """How much was measured, and what speaks against it."""
    rounds = f"{results.rounds} rounds" if results.rounds > 1 else "one round"
    doubts = [f"Medians of {rounds}, each run about {results.seconds:g} s."]
    if results.quick:
        doubts.append("Small numbers (QUICK): good for a look, not for publishing.")
    if results.load > QUIET:
        doubts.append(
            f"Others were at work on the machine (load {results.load:.1f} before the start), so no figure is exact."
        )
    return " ".join(doubts)
