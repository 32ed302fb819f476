"""`worksong run`: the jobs of an app, in this process or in several."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
from pathlib import Path
from typing import Any

import click
import msgspec
from msgspec.structs import replace

from worksong.domain.errors import BackendUnavailable
from worksong.domain.names import wrong_with_queues
from worksong.engine.census import Census
from worksong.engine.leash import LONGEST, Leash, Report
from worksong.engine.stats import Stats
from worksong.engine.supervisor import Supervisor
from worksong.faces.cli.app import directory
from worksong.faces.cli.banner import Start, greet, take_leave
from worksong.faces.cli.changes import watch
from worksong.faces.cli.commands import Command
from worksong.faces.cli.configured import (
    config_option,
    configured,
    keep_records,
    release_option,
    scribe_of,
    settings_of,
)
from worksong.faces.cli.goworker import goworker_options
from worksong.faces.cli.listening import address
from worksong.faces.cli.logs import set_up
from worksong.faces.cli.measuring import reporting, serving
from worksong.faces.cli.moments import duration
from worksong.faces.cli.serving import both
from worksong.faces.cli.target import VARIABLE, url_options
from worksong.settings import Settings
from worksong.shift import be_admitted
from worksong.worker import Worker


def queues(text: str) -> dict[str, int] | list[str]:
    """`high=2,low=1` (weights) or `high,low` (strict order); a type for options."""
    parts = [part.strip().partition("=") for part in text.split(",")]
    names = [name for name, _, _ in parts]
    if any(map(wrong_with_queues, names)) or len(set(names)) < len(names):
        raise click.BadParameter(f"{text!r} names a queue twice, or one that cannot be; write high=2,low=1 or high,low")
    weights = [weight for _, _, weight in parts]
    if not any(weights):
        return names
    if not all(weight.isdecimal() and 0 < int(weight) <= 100_000 for weight in weights):
        raise click.BadParameter(f"{text!r}: weights are whole numbers from 1, for all or for none, as in high=2,low=1")
    return {name: int(weight) for name, weight in zip(names, weights, strict=True)}


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked for."""

    app: str
    config: Path | None
    settings: Settings
    processes: int
    burst: bool
    reload: bool
    no_scheduler: bool
    metrics: Any
    insecure_metrics: bool
    measured: bool
    leash: str | None

    @property
    def remarks(self) -> list[str]:
        """The modes that are not the usual ones."""
        modes = {"burst": self.burst, "reload": self.reload, "no scheduler": self.no_scheduler}
        return [name for name, on in modes.items() if on]


@click.command(cls=Command)
@click.argument("app")
@config_option
@url_options
@click.option("--concurrency", type=click.IntRange(1, 10_000), help="Jobs at once, per process.")
@click.option("--processes", type=click.IntRange(1, 512), default=1, show_default=True, help="Worker processes.")
@click.option("--queues", type=queues, metavar="high=2,low=1", help="Only these: by weight, or high,low in order.")
@click.option("--burst", is_flag=True, help="End when nothing is left to do.")
@click.option("--reload", is_flag=True, help="Start anew whenever the source changes.")
@click.option("--no-scheduler", is_flag=True, help="Leave periodic jobs to other processes.")
@click.option("--grace", type=duration, metavar="25s", help="How long running jobs may take to finish.")
@click.option("--log-format", type=click.Choice(["text", "json"]), help="Log lines for people or for programs.")
@release_option
@click.option("--metrics", type=address, metavar="HOST:PORT", help="Serve /metrics for Prometheus, and /healthz.")
@click.option("--insecure-metrics", is_flag=True, help="Serve them to other machines too.")
@click.option("--measured", is_flag=True, hidden=True)
@click.option("--leash", hidden=True)
@goworker_options
def run(**options: Any) -> None:
    """Run the jobs of an app.

    APP is module:attribute and names a Worker, as in myapp.jobs:worker.

    TERM or Ctrl-C stops: running jobs finish, the rest goes back. A second one ends at once. USR1 or TSTP: fetch
    nothing more.
    """
    asked = _asked(**options)
    if asked.leash:
        _run_leashed(asked, asked.leash)
    elif asked.processes > 1 or asked.reload:
        _supervise(asked)
    else:
        _run_here(asked)


def _asked(*, config: Path | None, namespace: str | None, leash: str | None, **options: Any) -> Options:
    """What the command line says, then the environment, then the file."""
    settings = settings_of(config, warns=not leash)
    said = {name: options.pop(name) for name in ("url", "concurrency", "queues", "grace", "log_format")}
    said["name"] = namespace
    chosen = replace(settings, **{name: value for name, value in said.items() if value is not None})
    return Options(config=config, settings=chosen, leash=leash, **options)


def _run_here(asked: Options) -> None:
    worker = _prepare(asked, tag="")
    _entitle(worker.name)
    started = time.monotonic()
    with serving(asked.metrics, worker, insecure=asked.insecure_metrics):
        greet(Start(asked.app, worker, 1, asked.remarks))
        stats = worker.run(grace=asked.settings.grace, burst=asked.burst)
    take_leave(stats, time.monotonic() - started)


def _run_leashed(asked: Options, place: str) -> None:
    """As one process of several: what a human would read goes to the supervisor."""
    descriptor, _, number = place.partition(":")
    leash = Leash(int(descriptor))
    try:
        worker = _prepare(asked, tag=number)
        worker.warns = False  # the supervisor has
        _entitle(f"{worker.name} [{number} of {asked.processes}]")
        worker.on_pool = lambda pool: leash.tell(Report(pool=pool))
        worker.on_dismissed = both(lambda: leash.tell(Report(dismissed=True)), worker.on_dismissed)
        with reporting(leash, int(number), worker.measured()) if asked.measured else contextlib.nullcontext():
            stats = worker.run(grace=asked.settings.grace, burst=asked.burst)
        leash.tell(Report(stats=stats))
    except Exception as failure:
        if click.get_current_context().meta.get("worksong.debug"):
            raise
        leash.tell(Report(error=str(failure)[:LONGEST] or type(failure).__name__))
        sys.exit(1)


def _supervise(asked: Options) -> None:
    worker = _prepare(asked, tag="")
    _entitle(f"{worker.name} (supervisor)")
    started, census = time.monotonic(), Census(time.monotonic)
    with serving(asked.metrics, worker, insecure=asked.insecure_metrics, census=census):
        stats, killed_by = asyncio.run(_run_supervisor(asked, worker, census))
    take_leave(stats, time.monotonic() - started)
    if killed_by:
        sys.exit(128 + killed_by)


async def _run_supervisor(asked: Options, worker: Worker, census: Census) -> tuple[Stats, int]:
    backend = worker.backend()

    def hear(report: Report) -> None:
        if report.measures:
            census.hear(report.place, report.measures)
        if report.gone:
            census.leave(report.place)

    try:
        supervisor = Supervisor(
            _again(asked),
            asked.processes,
            backend=backend,
            clock=worker.clock,
            grace=asked.settings.grace,
            burst=asked.burst,
            changes=watch(directory(asked.app)) if asked.reload else None,
            hear=hear,
        )
        greet(Start(asked.app, worker, asked.processes, asked.remarks))
        with contextlib.suppress(BackendUnavailable):  # the processes find that out themselves, and try again
            await be_admitted(backend, warns=worker.warns)
        return await supervisor.run(), supervisor.killed_by
    finally:
        await backend.close()


def _prepare(asked: Options, *, tag: str) -> Worker:
    """The app's worker, as the command line wants it."""
    worker = configured(asked.app, asked.settings)
    debug = bool(click.get_current_context().meta.get("worksong.debug"))
    set_up(asked.settings.log_format, tag=tag, debug=debug, scribe=scribe_of(worker))
    if asked.settings.records:
        keep_records(worker, asked.settings)
    worker.scheduler = worker.scheduler and not asked.no_scheduler
    return worker


def _again(asked: Options) -> list[str]:
    """The command for one process of several. Its URL goes by the environment, which `ps` does not show to others."""
    chosen = asked.settings
    if chosen.url:
        os.environ[VARIABLE] = chosen.url
    command = [sys.executable, "-m", "worksong.faces.cli", "run", asked.app, f"--grace={chosen.grace}"]
    settings = {
        "config": asked.config,
        "namespace": chosen.name,
        "concurrency": chosen.concurrency,
        "processes": asked.processes,
        "queues": _spelled(chosen.queues),
        "log-format": chosen.log_format,
    }
    flags = {
        "burst": asked.burst,
        "no-scheduler": asked.no_scheduler,
        "measured": asked.metrics is not None,
        "debug": click.get_current_context().meta.get("worksong.debug"),
    }
    command += [f"--{name}={value}" for name, value in settings.items() if value]
    return command + [f"--{name}" for name, on in flags.items() if on]


def _spelled(queues: dict[str, int] | list[str] | None) -> str:
    if isinstance(queues, dict):
        return ",".join(f"{name}={weight}" for name, weight in queues.items())
    return ",".join(queues or ())


def _entitle(title: str) -> None:
    """What `ps` shows, where the means are installed."""
    with contextlib.suppress(ImportError):
        from setproctitle import setproctitle

        setproctitle(f"worksong: {title}")
