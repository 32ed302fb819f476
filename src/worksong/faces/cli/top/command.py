"""`worksong top`."""

from __future__ import annotations

import asyncio
import sys

import click

from worksong.domain.errors import ConfigError
from worksong.faces.cli.commands import Command
from worksong.faces.cli.target import Target, aim, url_options

NO_TERMINAL = "top draws on a terminal, and this is none; for programs and logs: worksong status --json"


@click.command(cls=Command)
@url_options
@click.option(
    "--interval",
    type=click.FloatRange(0.2, 3600),
    default=2.0,
    show_default=True,
    metavar="SECONDS",
    help="How long between two looks.",
)
@click.option("--read-only", is_flag=True, help="Look only: nothing can be paused, queued or deleted.")
def top(*, url: str | None, namespace: str | None, interval: float, read_only: bool) -> None:
    """All of this live, in a dashboard.

    Press ? in it for its keys.
    """
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise click.UsageError(NO_TERMINAL)
    asyncio.run(_show(aim(url, namespace), interval, read_only=read_only))


async def _show(target: Target, interval: float, *, read_only: bool) -> None:
    try:
        from worksong.faces.cli.top.dashboard import Dashboard
    except ModuleNotFoundError as missing:
        if (missing.name or "").partition(".")[0] != "textual":
            raise
        raise ConfigError("top needs the package 'textual': pip install 'worksong[top]'") from missing
    backend = target.backend()
    try:
        await Dashboard(backend, target, interval=interval, read_only=read_only).run_async()
    finally:
        await backend.close()
