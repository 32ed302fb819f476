"""Configured: an application's worker, as a file, the environment and the command line want it."""

from __future__ import annotations

import os
from collections.abc import Callable
from logging import Handler
from pathlib import Path
from typing import TypeVar

import click

from worksong.domain.capability import Capability
from worksong.domain.errors import ConfigError
from worksong.faces.cli.app import load
from worksong.faces.cli.screen import complain
from worksong.faces.cli.target import in_namespace
from worksong.ledger import RETENTION
from worksong.settings import Settings, read_settings
from worksong.worker import Worker

T = TypeVar("T")

RELEASE = "WORKSONG_RELEASE"


def config_option(command: Callable[..., T]) -> Callable[..., T]:
    """Add --config."""
    file = click.Path(dir_okay=False, path_type=Path)
    return click.option("--config", type=file, metavar="FILE", help="Settings, in YAML or TOML; or Valet's.")(command)


def release_option(command: Callable[..., T]) -> Callable[..., T]:
    """Add --release, which all processes of the command find in their environment."""

    def keep(context: click.Context, option: click.Parameter, name: str | None) -> None:
        if name:
            os.environ[RELEASE] = name

    return click.option(
        "--release",
        metavar="NAME",
        envvar=RELEASE,
        show_envvar=True,
        expose_value=False,
        callback=keep,
        help="Which release of the app this is: charts show when it was started.",
    )(command)


def settings_of(config: Path | None, *, warns: bool = True) -> Settings:
    """The settings of a file and the environment; tells what of it nobody heeds."""
    reading = read_settings(config, os.environ)
    for warning in reading.warnings if warns else ():
        complain("warning", warning)
    return reading.settings


def configured(app: str, settings: Settings) -> Worker:
    """The app's worker, with whatever the settings say otherwise."""
    worker = load(app)
    name = settings.name
    if settings.url or name:
        chosen = settings.url or worker.url
        worker.connect(in_namespace(chosen, name) if name else chosen, name=name)
    worker.concurrency = settings.concurrency or worker.concurrency
    worker.queues = settings.queues or worker.queues
    worker.history = worker.history is not False
    worker.release = os.environ.get(RELEASE) or worker.release
    if worker.ledgers and settings.retention is not None:
        worker.ledgers.origin.retention = settings.retention
    return worker


def scribe_of(worker: Worker) -> Handler | None:
    """Who keeps what handlers log, where the store is told of runs that failed."""
    return worker.measured().scribe if worker.history and Capability.NOTES in worker.capabilities else None


def keep_records(worker: Worker, settings: Settings) -> None:
    """Have it keep records where the settings say: otherwise as the app does, or else where its queue is."""
    if settings.records is None and worker.ledgers:
        return
    otherwise = worker.ledgers.origin.retention if worker.ledgers else RETENTION
    retention = otherwise if settings.retention is None else settings.retention
    try:
        worker.keep_records(settings.records or worker.url, retention=retention)
    except ConfigError as wrong:
        raise ConfigError(f"{wrong}; records = URL in the configuration says where records are kept") from wrong
