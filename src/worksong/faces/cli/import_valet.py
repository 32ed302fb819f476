"""`worksong import-valet`: what a Valet service has kept becomes records of ours."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from msgspec.structs import replace

from worksong.adapters.valet import ValetStore, connect_valet
from worksong.domain.capability import Capability
from worksong.domain.errors import ConfigError, WorksongError
from worksong.faces.cli.commands import Command
from worksong.faces.cli.configured import config_option, configured, keep_records, settings_of
from worksong.faces.cli.listing import json_option
from worksong.faces.cli.progress import progress
from worksong.faces.cli.screen import complain, emit, say, show_table
from worksong.faces.cli.target import url_options
from worksong.service.adoption import Running
from worksong.service.redaction import without_logins
from worksong.service.takeover import KINDS, Report, Takeover
from worksong.settings import Settings
from worksong.settings.document import read_document
from worksong.settings.dsn import url_of
from worksong.settings.valet import is_valets
from worksong.wire.valet import Misfit
from worksong.worker import Worker

SHOWN = 5
"""Misfits that the error names."""


@click.command(cls=Command)
@click.argument("app")
@click.option("--from", "source", metavar="URL", help="Valet's store; without it, the one that Valet's --config names.")
@config_option
@url_options
@click.option(
    "--running",
    type=click.Choice([str(choice) for choice in Running]),
    default=str(Running.QUEUE),
    help="What becomes of jobs that ran when Valet ended: run them again, let them have failed, or leave them there.",
)
@click.option("--dry-run", is_flag=True, help="Say what would be taken over, and what cannot be; change nothing.")
@json_option
def import_valet(
    app: str, source: str | None, config: Path | None, *, running: str, dry_run: bool, as_json: bool, **options: Any
) -> None:
    """Take over what a Valet service has kept.

    That is jobs, pipelines and results. APP is module:attribute and names the Worker whose tasks are those of Valet.
    Stop Valet first. Everything keeps its id, and what had not run is queued. An import that was interrupted goes on
    when the same command is given again: nothing is lost, and nothing comes twice.
    """
    settings = settings_of(config, warns=False)
    found = _source(source, config, settings)
    worker = _worker(app, settings, url=options["url"], name=options["namespace"])
    asyncio.run(_main(worker, found, settings.unit, Running(running), dry_run=dry_run, as_json=as_json))


def _source(said: str | None, config: Path | None, settings: Settings) -> ValetStore:
    """Where Valet kept things: at a URL or, on MySQL, a data source name as Valet is given it."""
    if said:
        return connect_valet(said if "://" in said else url_of(said))
    if config is None or not is_valets(read_document(config)):
        raise ConfigError("where did Valet keep its jobs? Say --from URL, or give Valet's own file as --config")
    records = settings.records or ""
    if records.startswith("memory:"):
        raise ConfigError(
            f"{config}: Valet kept its jobs in memory, and they ended with it: there is nothing to import"
        )
    return connect_valet(records)


def _worker(app: str, settings: Settings, **said: str | None) -> Worker:
    """The app's worker, with its records in a store that outlives this command."""
    settings = replace(settings, **{name: value for name, value in said.items() if value is not None})
    worker = configured(app, settings)
    keep_records(worker, settings)
    if worker.ledgers and worker.ledgers.origin.name.startswith("memory:"):
        raise ConfigError(
            "records in memory:// would end with this command: name a store for them, as in "
            "records: postgresql://shop@db/shop in the --config"
        )
    return worker


async def _main(
    worker: Worker, source: ValetStore, unit: float, running: Running, *, dry_run: bool, as_json: bool
) -> None:
    try:
        stock = await source.stock()
        total = stock.jobs + stock.pipelines
        with progress("importing", total, show=sys.stderr.isatty() and not as_json) as show:
            takeover = Takeover(worker, source, unit=unit, running=running, told=show)
            report = await (takeover.survey() if dry_run else takeover.run())
    finally:
        await source.close()
        await worker.astop(0)
    _show(report, worker, dry_run=dry_run, as_json=as_json)
    _judge(report, source)


def _show(report: Report, worker: Worker, *, dry_run: bool, as_json: bool) -> None:
    if as_json:
        emit(_fields(report))
        return
    columns = (report.found, report.taken, report.known, report.left)
    rows = [[kind, *(f"{counts[kind]:,}" for counts in columns)] for kind in KINDS]
    taken = "would be taken" if dry_run else "taken"
    show_table(["!kind", ">in Valet", f">{taken}", ">here already", ">left out"], rows)
    _tell(report, worker, dry_run=dry_run)


def _tell(report: Report, worker: Worker, *, dry_run: bool) -> None:
    if report.running:
        complain("note", f"left in Valet, since they run there: {_some(report.running)}")
    if report.dropped:
        complain("note", f"{report.dropped:,} results are left out, since their jobs run again")
    if dry_run:
        say(f"{report.waiting:,} jobs and pipelines would be queued; nothing was changed")
    elif Capability.DURABLE in worker.capabilities:
        say(f"{report.waiting:,} jobs and pipelines had not ended; {report.queued:,} were queued")
        if report.refused:
            complain("warning", f"{report.refused:,} were refused by the queue: the log and their records say why")
    else:
        say(f"{report.waiting:,} jobs and pipelines had not ended: `worksong serve` queues them when it starts")


def _judge(report: Report, source: ValetStore) -> None:
    """What is not here as it should be is an error."""
    if report.missing:
        raise WorksongError(f"{len(report.missing):,} records were written and are not there: {report.missing[0]}")
    if report.misfits:
        count = len(report.misfits)
        raise WorksongError(f"{count:,} {'was' if count == 1 else 'were'} left out: {_some(report.misfits)}")
    if report.unseen:
        raise WorksongError(
            f"{report.unseen:,} rows came or went in {source.name} meanwhile: stop Valet, and import again"
        )


def _some(misfits: Sequence[Misfit]) -> str:
    some = "; ".join(f"{one.kind} {one.id}: {without_logins(one.why)}" for one in misfits[:SHOWN])
    return f"{some}; and {len(misfits) - SHOWN:,} more (--json names all)" if len(misfits) > SHOWN else some


def _fields(report: Report) -> dict[str, Any]:
    def left(misfits: Sequence[Misfit]) -> list[dict[str, str]]:
        return [{"kind": one.kind, "id": one.id, "why": without_logins(one.why)} for one in misfits]

    return {
        "found": report.found,
        "taken": report.taken,
        "known": report.known,
        "waiting": report.waiting,
        "queued": report.queued,
        "refused": report.refused,
        "results_dropped": report.dropped,
        "left_out": left(report.misfits),
        "running": left(report.running),
        "missing": list(report.missing),
        "unseen": report.unseen,
    }
