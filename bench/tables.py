"""Tables of what was measured, as Markdown that reads well in a terminal too."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence

from bench.results import Alone, Backlog, Cell, Field, Pages, Quiet, Ratio, Subject

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


def cell_beside(ours: Cell, theirs: Cell) -> str:
    """What of our cell theirs does not tell."""
    if (ours.kind, ours.processes) != (theirs.kind, theirs.processes):
        return cell_title(ours)
    return f"{ours.slots} at once"


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


def drains(field: Field) -> str:
    """Every drain."""
    rows = [
        (
            peer.name,
            cell_title(pair.their_cell),
            number(pair.their_rate()),
            cell_beside(pair.our_cell, pair.their_cell),
            number(pair.our_rate()),
            times(pair.ratio()),
        )
        for peer in field.peers()
        for pair in field.pairs_of(peer.name, "drain")
    ]
    return table(["", "set to", "jobs/s", "worksong set to", "jobs/s", "times as fast"], rows)


def enqueues(field: Field) -> str:
    """One by one, concurrently, in bulk."""
    ways = {"one": "one by one", "concurrent": "200 coroutines", "bulk": "in bulk"}
    rows = []
    for peer in field.peers():
        row = [peer.name]
        for way in ways:
            pairs = field.pairs_of(peer.name, f"enqueue {way}")
            row += [number(pairs[0].their_rate()), times(pairs[0].ratio())] if pairs else [NONE, NONE]
        rows.append(row)
    ours = ["worksong", *(text for way in ways for text in (_ours(field, f"enqueue {way}"), ""))]
    headers = ["", *(header for title in ways.values() for header in (f"{title}, jobs/s", "worksong, times"))]
    return table(headers, [ours, *rows])


def quiet(field: Field) -> str:
    """What an idle worker costs, and how fast it is there."""
    rows = [
        (
            subject.name,
            _figure(subject.quiet, lambda quiet: quiet.pick_up_ms[50]),
            _figure(subject.quiet, lambda quiet: quiet.pick_up_ms[99]),
            _figure(subject.quiet, lambda quiet: quiet.commands_per_second),
            _figure(subject.quiet, lambda quiet: quiet.cpu_percent),
            _figure(subject.quiet, lambda quiet: quiet.server_cpu_percent),
            number(statistics.median(subject.memory_mb)) if subject.memory_mb else NONE,
        )
        for subject in [field.subject("worksong"), *field.peers()]
    ]
    headers = ["", "pick-up, half, ms", "99 %, ms", "idle: Redis commands/s", "CPU %", "Redis CPU %", "memory, MB"]
    return table(headers, rows)


def pick_up(field: Field) -> str:
    """As `quiet`, on a database: also from the worker's own process."""
    rows = [
        (
            subject.name,
            _figure(subject.quiet, lambda quiet: (quiet.same_process_ms or {}).get(50)),
            _figure(subject.quiet, lambda quiet: (quiet.same_process_ms or {}).get(99)),
            _figure(subject.quiet, lambda quiet: quiet.pick_up_ms[50]),
            _figure(subject.quiet, lambda quiet: quiet.pick_up_ms[99]),
            _figure(subject.quiet, lambda quiet: quiet.commands_per_second),
            _figure(subject.quiet, lambda quiet: quiet.cpu_percent),
            _figure(subject.quiet, lambda quiet: quiet.server_cpu_percent),
            number(statistics.median(subject.memory_mb)) if subject.memory_mb else NONE,
        )
        for subject in _present(field)
        if subject.quiet
    ]
    headers = ["", "same process, half, ms", "99 %, ms", "another process, half, ms", "99 %, ms"]
    idle = [f"idle: {ASKED.get(field.name, 'commands')}/s", "CPU %", "server CPU %", "memory, MB"]
    return table([*headers, *idle], rows)


ASKED = {"PostgreSQL": "transactions", "MariaDB": "statements"}
"""Server -> what it counts."""


def backlogs(found: Sequence[Backlog]) -> str:
    """What jobs that wait cost."""
    rows = [
        (
            backlog.name,
            number(backlog.jobs),
            *(f"{backlog.claim_ms[side][percent]:.1f}" for percent in (50, 99) for side in ("empty", "full")),
            *(f"{backlog.memory_mb[side]:.1f}" for side in ("empty", "full")),
        )
        for backlog in found
    ]
    claims = [f"{percent}, {side}, ms" for percent in ("half", "99 %") for side in ("empty", "full")]
    return table(["", "jobs of either state", *claims, "memory, empty, MB", "full, MB"], rows)


def pages(found: Sequence[Pages]) -> str:
    """How long each page of the console takes."""
    rows = [
        (page, *(" / ".join(number(one.took_ms[page][percent]) for percent in (50, 95)) for one in found))
        for page in found[0].took_ms
    ]
    return table(["half / 95 % within, ms", *(one.name for one in found)], rows)


def alone(found: Alone) -> str:
    """worksong with nobody beside it."""
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


def setups(field: Field) -> str:
    """How each system was set up, and what it promises so."""
    rows = [
        (subject.name, ", ".join(f"{name} {version}" for name, version in subject.versions.items()), subject.promise)
        for subject in _present(field)
    ]
    notes = "\n".join(f"- **{subject.name}**: {subject.setup}" for subject in _present(field))
    lines = [f"| {' | '.join(row)} |" for row in [("", "versions", "what it guarantees so"), ("---",) * 3, *rows]]
    return "\n".join(lines) + "\n\nWhat was set differently from the defaults, and why:\n\n" + notes


def missing(field: Field) -> list[str]:
    """What was not measured, and why."""
    absent = [f"{subject.name} was not measured: {subject.absent}" for subject in field.subjects if subject.absent]
    failed = [f"{subject.name}, {failure}" for subject in field.subjects for failure in subject.failures]
    return absent + failed


def _present(field: Field) -> list[Subject]:
    return [field.subject("worksong"), *field.peers()]


def _ours(field: Field, what: str) -> str:
    rates = [rate for pair in field.pairs if pair.what == what for rate in pair.ours]
    return number(statistics.median(rates)) if rates else NONE


def _figure(quiet: Quiet | None, of: Callable[[Quiet], float | None]) -> str:
    value = of(quiet) if quiet else None
    return NONE if value is None else f"{value:.1f}" if value < 100 else number(value)
