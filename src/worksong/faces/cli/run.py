"""`worksong run`: the jobs of an app, in this process or in several."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
from typing import Any

import click
import msgspec

from worksong.domain.errors import BackendUnavailable
from worksong.domain.names import wrong_with_queues
from worksong.engine.census import Census
from worksong.engine.leash import LONGEST, Leash, Report
from worksong.engine.stats import Stats
from worksong.engine.supervisor import Supervisor
from worksong.faces.cli.app import directory, load
from worksong.faces.cli.banner import Start, greet, take_leave
from worksong.faces.cli.changes import watch
from worksong.faces.cli.commands import Command
from worksong.faces.cli.goworker import goworker_options
from worksong.faces.cli.logs import set_up
from worksong.faces.cli.measuring import reporting, serving
from worksong.faces.cli.moments import duration
from worksong.faces.cli.target import VARIABLE, in_namespace, url_options
from worksong.faces.cli.ui import address
from worksong.worker import GRACE, Worker, be_admitted


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
    url: str | None
    namespace: str | None
    concurrency: int | None
    processes: int
    queues: Any
    burst: bool
    reload: bool
    no_scheduler: bool
    grace: float
    log_format: str | None
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
@url_options
@click.option("--concurrency", type=click.IntRange(1, 10_000), help="Jobs at once, per process.")
@click.option("--processes", type=click.IntRange(1, 512), default=1, show_default=True, help="Worker processes.")
@click.option("--queues", type=queues, metavar="high=2,low=1", help="Only these: by weight, or high,low in order.")
@click.option("--burst", is_flag=True, help="End when nothing is left to do.")
@click.option("--reload", is_flag=True, help="Start anew whenever the source changes.")
@click.option("--no-scheduler", is_flag=True, help="Leave periodic jobs to other processes.")
@click.option("--grace", type=duration, default=GRACE, metavar="25s", help="How long running jobs may take to finish.")
@click.option("--log-format", type=click.Choice(["text", "json"]), help="Log lines for people or for programs.")
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
    asked = Options(**options)
    if asked.leash:
        _run_leashed(asked, asked.leash)
    elif asked.processes > 1 or asked.reload:
        _supervise(asked)
    else:
        _run_here(asked)


def _run_here(asked: Options) -> None:
    worker = _prepare(asked, tag="")
    _entitle(worker.name)
    started = time.monotonic()
    with serving(asked.metrics, worker, insecure=asked.insecure_metrics):
        greet(Start(asked.app, worker, 1, asked.remarks))
        stats = worker.run(grace=asked.grace, burst=asked.burst)
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
        with reporting(leash, int(number), worker.measured()) if asked.measured else contextlib.nullcontext():
            stats = worker.run(grace=asked.grace, burst=asked.burst)
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

    try:
        supervisor = Supervisor(
            _again(asked),
            asked.processes,
            backend=backend,
            clock=worker.clock,
            grace=asked.grace,
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
    worker = load(asked.app)
    set_up(asked.log_format, tag=tag, debug=bool(click.get_current_context().meta.get("worksong.debug")))
    url = asked.url or os.environ.get(VARIABLE)
    if url or asked.namespace:
        chosen = url or worker.url
        worker.connect(in_namespace(chosen, asked.namespace) if asked.namespace else chosen, name=asked.namespace)
    worker.concurrency = asked.concurrency or worker.concurrency
    worker.queues = asked.queues or worker.queues
    worker.scheduler = worker.scheduler and not asked.no_scheduler
    worker.history = worker.history is not False
    return worker


def _again(asked: Options) -> list[str]:
    """The command for one process of several. Its URL goes by the environment, which `ps` does not show to others."""
    if asked.url:
        os.environ[VARIABLE] = asked.url
    command = [sys.executable, "-m", "worksong.faces.cli", "run", asked.app, f"--grace={asked.grace}"]
    settings = {
        "namespace": asked.namespace,
        "concurrency": asked.concurrency,
        "processes": asked.processes,
        "queues": _spelled(asked.queues),
        "log-format": asked.log_format,
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
