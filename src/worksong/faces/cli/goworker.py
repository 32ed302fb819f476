"""goworker's flags on `worksong run`, so that its command lines need little more than a second dash."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import quote

import click

from worksong.faces.cli.target import VARIABLE

T = TypeVar("T")
GROUP = "goworker's"
RESQUE = "resque+"
_NO_EFFECT = f"{GROUP}: accepted, without effect."


def goworker_options(command: Callable[..., T]) -> Callable[..., T]:
    """Add its flags, and give the command what they mean in its own words."""

    @functools.wraps(command)
    def translated(
        uri: str | None, exit_on_complete: bool, tls_cert: str | None, insecure_tls: bool, **options: Any
    ) -> T:
        for name in ("interval", "connections", "use_number"):
            options.pop(name)
        options["url"] = _url(options["url"], uri, tls_cert, insecure_tls)
        options["burst"] = options["burst"] or exit_on_complete
        return command(**options)

    flags = (
        click.option("--uri", metavar="URI", help=f"{GROUP}: redis://..., for --url resque+redis://..."),
        click.option("--exit-on-complete", is_flag=True, help=f"{GROUP}: the same as --burst."),
        click.option("--tls-cert", metavar="FILE", help=f"{GROUP}: authorities to trust instead of the system's."),
        click.option("--insecure-tls", is_flag=True, help=f"{GROUP}: trust any server."),
        click.option("--use-number", is_flag=True, help=f"{GROUP}: numbers keep their digits in any case."),
        click.option("--interval", type=float, metavar="SECONDS", help=_NO_EFFECT),
        click.option("--connections", type=int, metavar="N", help=_NO_EFFECT),
    )
    return functools.reduce(lambda made, flag: flag(made), reversed(flags), translated)


def _url(url: str | None, uri: str | None, tls_cert: str | None, insecure_tls: bool) -> str | None:
    """The URL with what the flags say; without any of them it stays as it is."""
    if uri is not None:
        if url is not None:
            raise click.UsageError("--uri and --url both say where the jobs are: give one of them")
        if not uri.startswith(("redis://", "rediss://")):
            raise click.BadParameter(f"write redis://host:6379/0 or rediss://..., not {uri.partition('@')[0][:20]!r}")
        url = f"{RESQUE}{uri}"
    more = [f"ssl_ca_certs={quote(tls_cert, safe='/')}"] if tls_cert else []
    more += ["ssl_cert_reqs=none"] if insecure_tls else []
    if not more:
        return url
    url = url or os.environ.get(VARIABLE)
    if not url or not url.startswith(f"{RESQUE}rediss://"):
        raise click.UsageError("--tls-cert and --insecure-tls need a --url resque+rediss://..., or --uri rediss://...")
    return f"{url}{'&' if '?' in url else '?'}{'&'.join(more)}"
