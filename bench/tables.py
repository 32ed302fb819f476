"""Tables of what was measured, as Markdown that reads well in a terminal too."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence

from bench.results import Cell, Quiet, Ratio, Results, Subject

NONE = "-"


def table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Aligned: the first column to the left, figures to the right."""
    lines = [list(headers), *map(list, rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(headers))]
    ruler = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    padded = [
        [line[0].ljust(widths[0]), *(text.rjust(width) for text, width in zip(line[1:], widths[1:], strict=True))]
        for line in [lines[0], ruler, *lines[1:]]
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in padded)


def cell_title(cell: Cell) -> str:
    """As in `async, 25 at once, 2 processes, one core`."""
    parts = [cell.kind, f"{cell.slots} at once"]
    if cell.processes > 1:
        parts.append(f"{cell.processes} processes")
    if cell.pinned:
        parts.append("one core")
    return ", ".join(parts)


def number(value: float) -> str:
    """Three digits that mean something."""
    if value < 10:
        return f"{value:.1f}"
    keep = 10 ** max(0, len(str(round(value))) - 3)
    return f"{round(value / keep) * keep:,}".replace(",", "\u202f")


def times(ratio: Ratio) -> str:
    """As in `12 (11 to 14)`; of one round, or of equal ones, only that."""
    middle, least, most = map(number, ratio)
    return middle if least == most else f"{middle} ({least} to {most})"


def drains(results: Results) -> str:
    """Every drain."""
    rows = [
        (
            peer.name,
            cell_title(pair.their_cell),
            number(pair.their_rate()),
            f"{pair.our_cell.slots} at once",
            number(pair.our_rate()),
            times(pair.ratio()),
        )
        for peer in results.peers()
        for pair in results.pairs_of(peer.name, "drain")
    ]
    return table(["", "set to", "jobs/s", "worksong set to", "jobs/s", "times as fast"], rows)


def enqueues(results: Results) -> str:
    """One by one, concurrently, in bulk."""
    ways = {"one": "one by one", "concurrent": "200 coroutines", "bulk": "in bulk"}
    rows = []
    for peer in results.peers():
        row = [peer.name]
        for way in ways:
            pairs = results.pairs_of(peer.name, f"enqueue {way}")
            row += [number(pairs[0].their_rate()), times(pairs[0].ratio())] if pairs else [NONE, NONE]
        rows.append(row)
    ours = ["worksong", *(text for way in ways for text in (_ours(results, f"enqueue {way}"), ""))]
    headers = ["", *(header for title in ways.values() for header in (f"{title}, jobs/s", "worksong, times"))]
    return table(headers, [ours, *rows])


def quiet(results: Results) -> str:
    """What an idle worker costs, and how fast it is there."""
    rows = [
        (
            subject.name,
            _figure(subject.quiet, lambda quiet: quiet.pick_up_ms[50]),
            _figure(subject.quiet, lambda quiet: quiet.pick_up_ms[99]),
            _figure(subject.quiet, lambda quiet: quiet.commands_per_second),
            _figure(subject.quiet, lambda quiet: quiet.cpu_percent),
            _figure(subject.quiet, lambda quiet: quiet.redis_cpu_percent),
            number(statistics.median(subject.memory_mb)) if subject.memory_mb else NONE,
        )
        for subject in [results.subject("worksong"), *results.peers()]
    ]
    headers = ["", "pick-up, half, ms", "99 %, ms", "idle: Redis commands/s", "CPU %", "Redis CPU %", "memory, MB"]
    return table(headers, rows)


def alone(results: Results) -> str:
    """worksong with nobody beside it."""
    found = results.alone
    rows = [
        ("the engine's own cost of a job on `memory://`", f"{found.engine_cpu_us:.1f} µs CPU"),
        ("the same, as a rate", f"{number(found.engine_rate)} jobs/s"),
        *((f"`{what}`{BEYOND.get(what, '')}", f"{number(took)} ms") for what, took in found.start_ms.items()),
    ]
    return table(["worksong alone", ""], rows)


BEYOND = {
    "import worksong": ", beyond Python's own start",
    "from worksong import Worker": ", beyond Python's own start",
}


def setups(results: Results) -> str:
    """How each system was set up, and what it promises so."""
    rows = [
        (subject.name, ", ".join(f"{name} {version}" for name, version in subject.versions.items()), subject.promise)
        for subject in _present(results)
    ]
    notes = "\n".join(f"- **{subject.name}**: {subject.setup}" for subject in _present(results))
    lines = [f"| {' | '.join(row)} |" for row in [("", "versions", "what it guarantees so"), ("---",) * 3, *rows]]
    return "\n".join(lines) + "\n\nWhat was set differently from the defaults, and why:\n\n" + notes


def missing(results: Results) -> list[str]:
    """What was not measured, and why."""
    absent = [f"{subject.name} was not measured: {subject.absent}" for subject in results.subjects if subject.absent]
    failed = [f"{subject.name}, {failure}" for subject in results.subjects for failure in subject.failures]
    return absent + failed


def _present(results: Results) -> list[Subject]:
    return [results.subject("worksong"), *results.peers()]


def _ours(results: Results, what: str) -> str:
    rates = [rate for pair in results.pairs if pair.what == what for rate in pair.ours]
    return number(statistics.median(rates)) if rates else NONE


def _figure(quiet: Quiet | None, of: Callable[[Quiet], float | None]) -> str:
    value = of(quiet) if quiet else None
    return NONE if value is None else f"{value:.1f}" if value < 100 else number(value)
