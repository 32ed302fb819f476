"""`worksong audit`: who ordered what at the web console."""

from __future__ import annotations

import asyncio
import time

import click

from worksong.domain.capability import INSTEAD, Capability
from worksong.domain.errors import Unsupported
from worksong.faces.cli.commands import Command
from worksong.faces.cli.listing import json_option, page_of, page_option
from worksong.faces.cli.screen import emit, show_table
from worksong.faces.cli.target import Target, aim, url_options
from worksong.ports.clock import SystemClock
from worksong.service.journal import Journal, Order, order_fields
from worksong.service.moments import relative


@click.command(cls=Command)
@url_options
@json_option
@page_option(None)
def audit(*, url: str | None, namespace: str | None, as_json: bool, page: int | None) -> None:
    """Who ordered what at the web console.

    The last 500 orders of its pages and its API, the latest first, kept for 90 days.
    """
    orders = page_of(asyncio.run(_orders(aim(url, namespace))), page)
    if as_json:
        emit([order_fields(order) for order in orders])
    elif orders:
        now = time.time()
        show_table(
            [">when", "who", "*what was done", ">how many", "*asked", "from"], [_row(one, now) for one in orders]
        )
    else:
        click.echo("Nobody has ordered anything at the web console.")


async def _orders(target: Target) -> list[Order]:
    backend = target.backend()
    try:
        if Capability.NOTES not in backend.capabilities:
            raise Unsupported("say who ordered what", backend.name, INSTEAD[Capability.NOTES])
        return (await Journal(lambda: backend, SystemClock()).orders()).orders
    finally:
        await backend.close()


def _row(order: Order, now: float) -> list[str]:
    done = order.told or f"{'failed' if order.status >= 500 else 'refused'} ({order.status})"
    return [relative(order.at, now), order.who, done, f"{order.done:,}", order.did, order.address]
