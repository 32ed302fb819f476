"""`worksong bench`: how fast this machine and backend are."""

from __future__ import annotations

import os
import platform
import resource
import sys
from typing import Any

import click

from worksong.domain.names import one_line
from worksong.faces.cli.bench_run import Figures, Plan, measure
from worksong.faces.cli.commands import Command
from worksong.faces.cli.listing import json_option
from worksong.faces.cli.screen import console, emit
from worksong.faces.cli.target import VARIABLE, without_namespace
from worksong.service.redaction import shown_url


@click.command(cls=Command)
@click.option("--url", metavar="URL", help=f"Where the jobs go; {VARIABLE} otherwise, then memory://.")
@click.option("--jobs", type=click.IntRange(10, 10_000_000), default=10_000, show_default=True, help="How many.")
@click.option("--concurrency", type=click.IntRange(1, 10_000), default=25, show_default=True, help="Per process.")
@click.option("--processes", type=click.IntRange(1, 512), default=1, show_default=True, help="Worker processes.")
@click.option("--sync", is_flag=True, help="Plain functions in threads instead of coroutines.")
@json_option
def bench(*, url: str | None, jobs: int, concurrency: int, processes: int, sync: bool, as_json: bool) -> None:
    """How fast this machine and backend are.

    Ten job types that do nothing, in a namespace of their own that is deleted in the end. Measured are enqueueing
    (in bulk, and one by one), draining, and the time from an enqueue to the start of the job on an idle worker.
    """
    plan = Plan(
        url=url or os.environ.get(VARIABLE) or "memory://",
        jobs=jobs,
        concurrency=concurrency,
        processes=processes,
        sync=sync,
    )
    figures = measure(plan, show=not as_json and sys.stderr.isatty())
    if as_json:
        emit(_fields(figures))
    else:
        _show(plan, figures)


def _fields(figures: Figures) -> dict[str, Any]:
    return {
        "enqueue_rate": round(figures.enqueue_rate, 1),
        "drain_rate": round(figures.drain_rate, 1),
        "latency_ms": {"p50": round(figures.latency(50) * 1000, 3), "p99": round(figures.latency(99) * 1000, 3)},
        "rss_mb": round(_rss_mb(), 1),
        "versions": _versions(),
    }


def _show(plan: Plan, figures: Figures) -> None:
    from rich.table import Table
    from rich.text import Text

    paper = console()
    kind = "functions in threads" if plan.sync else "coroutines"
    slots = f"{plan.concurrency}" + (f" \u00d7 {plan.processes} processes" if plan.processes > 1 else "")
    paper.print(
        Text.assemble(
            (one_line(shown_url(without_namespace(plan.url))), "bold"), f"  {plan.jobs:,} {kind}, concurrency {slots}\n"
        )
    )
    facts = Table.grid(padding=(0, 2))
    facts.add_column(justify="right", style="dim")
    facts.add_column(justify="right", style="bold green")
    facts.add_column(style="dim")
    facts.add_row("enqueue, in bulk", f"{figures.enqueue_rate:,.0f}", "jobs/s")
    facts.add_row("enqueue, one by one", f"{figures.single_rate:,.0f}", "jobs/s")
    facts.add_row("drain", f"{figures.drain_rate:,.0f}", "jobs/s")
    facts.add_row("latency, half below", f"{figures.latency(50) * 1000:,.2f}", "ms")
    facts.add_row("latency, 99 % below", f"{figures.latency(99) * 1000:,.2f}", "ms")
    facts.add_row("memory", f"{_rss_mb():,.0f}", "MB at most")
    paper.print(facts)
    paper.print(Text(f"\n{', '.join(f'{name} {version}' for name, version in _versions().items())}", style="dim"))


def _versions() -> dict[str, str]:
    from worksong import __version__

    return {"python": platform.python_version(), "worksong": __version__, "platform": platform.platform()}


def _rss_mb() -> float:
    """The most that one process took."""
    peaks = [resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return max(peaks) / (1024 * 1024 if sys.platform == "darwin" else 1024)
