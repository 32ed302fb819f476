"""What `run` says first and last."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from worksong.domain.names import one_line
from worksong.engine.stats import Stats
from worksong.faces.cli.screen import clip, console
from worksong.service.moments import span
from worksong.service.redaction import shown_url
from worksong.worker import Worker

NOTE = "\u266a"
NAMES_SHOWN = 72
COLOURS = {"done": "green", "retried": "yellow", "dead": "red"}

log = logging.getLogger("worksong")


class Start(NamedTuple):
    """What is about to run."""

    app: str
    worker: Worker
    processes: int
    remarks: Sequence[str] = ()


def greet(start: Start) -> None:
    """A few lines for a terminal; one line for a log."""
    if _at_terminal():
        _show(start)
    else:
        facts = "; ".join(f"{name}: {value}" for name, value in _facts(start).items())
        log.info("worksong %s starts %s (%s)", _version(), start.app, facts)


def take_leave(stats: Stats, seconds: float) -> None:
    """One line of figures."""
    counted = _counted(stats)
    if not _at_terminal():
        log.info(
            "worksong stopped after %s: %s", span(seconds), ", ".join(f"{n:,} {what}" for what, n in counted.items())
        )
        return
    from rich.text import Text

    line = Text.assemble((f"{NOTE} ", "bold magenta"))
    for what, count in counted.items():
        line.append(f"{count:,} {what}", style=COLOURS.get(what, "") if count else "dim").append(
            " \u00b7 ", style="dim"
        )
    console(stderr=True).print(line.append(f"sang for {span(seconds)}", style="dim"))


def _show(start: Start) -> None:
    from rich.table import Table
    from rich.text import Text

    paper = console(stderr=True)
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="dim", justify="right")
    for name, value in _facts(start).items():
        facts.add_row(f"  {name}", Text(one_line(value)))
    paper.print(
        Text.assemble((f"\n{NOTE} worksong ", "bold magenta"), (_version(), "magenta"), f"  {one_line(start.app)}\n")
    )
    paper.print(facts)
    paper.print(Text("\n  Ctrl-C stops when the running jobs are done; twice, at once.\n", style="dim"))


def _facts(start: Start) -> dict[str, str]:
    worker = start.worker
    names = sorted(spec.name for spec in worker.registry)
    slots = (
        f"{worker.concurrency}" if start.processes == 1 else f"{worker.concurrency} \u00d7 {start.processes} processes"
    )
    facts = {
        "backend": shown_url(worker.url),
        "name": worker.name,
        "job types": clip(", ".join(names), NAMES_SHOWN) or "none: there is nothing to run",
        "periodic": clip(", ".join(sorted({entry.handler for entry in worker.registry.periodic})), NAMES_SHOWN),
        "queues": _queues(worker.queues),
        "concurrency": slots,
        "mode": ", ".join(start.remarks),
    }
    return {name: value for name, value in facts.items() if value}


def _queues(queues: Mapping[str, int] | Sequence[str] | None) -> str:
    match queues:
        case None:
            return ""
        case Mapping():
            return ", ".join(f"{name} \u00d7{weight}" for name, weight in queues.items())
        case _:
            return " before ".join(queues)


def _counted(stats: Stats) -> dict[str, int]:
    """The usual figures, and of the unusual ones those that are not zero."""
    usual = {"done": stats.done, "retried": stats.retried, "dead": stats.buried}
    unusual = {
        "snoozed": stats.snoozed,
        "discarded": stats.discarded,
        "handed back": stats.released,
        "too late": stats.refused,
    }
    return usual | {what: count for what, count in unusual.items() if count}


def _version() -> str:
    from worksong import __version__

    return __version__


def _at_terminal() -> bool:
    return sys.stderr.isatty()
