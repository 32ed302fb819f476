"""`worksong migrate`: creates or upgrades the tables of a database."""

from __future__ import annotations

import asyncio
from typing import Protocol, runtime_checkable

import click

from worksong.domain.errors import Unsupported
from worksong.faces.cli.commands import Command
from worksong.faces.cli.screen import say
from worksong.faces.cli.target import Target, takes_target


@runtime_checkable
class Migrating(Protocol):
    """A backend that has tables."""

    async def migrate(self) -> tuple[int, int]:
        """(version before, version now)."""
        ...


@click.command(cls=Command)
@takes_target
def migrate(target: Target) -> None:
    """Create or upgrade the tables of a database.

    Workers of the version before go on meanwhile. Running it again does nothing.
    """
    before, now = asyncio.run(_migrate(target))
    if before == now:
        say(f"{target.shown}: the tables are up to date (version {now})")
    else:
        say(f"{target.shown}: migrated from version {before} to {now}" if before else f"{target.shown}: tables created")


async def _migrate(target: Target) -> tuple[int, int]:
    backend = target.backend()
    try:
        if not isinstance(backend, Migrating):
            raise Unsupported("migrate", backend.name, "it has no tables; nothing needs to be done")
        return await backend.migrate()
    finally:
        await backend.close()
