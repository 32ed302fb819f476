"""`worksong serve`: the job service over HTTP and gRPC, with the worker and the console inside the same process."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import msgspec
from msgspec.structs import replace

from worksong.domain.errors import ConfigError
from worksong.domain.names import one_line
from worksong.engine.signals import listen
from worksong.faces.cli.collector import settle
from worksong.faces.cli.commands import Command
from worksong.faces.cli.configured import (
    config_option,
    configured,
    keep_records,
    release_option,
    scribe_of,
    settings_of,
)
from worksong.faces.cli.fronts import GRPC_NEEDS, grpc_front, http_front
from worksong.faces.cli.listening import address, needed
from worksong.faces.cli.logs import set_up
from worksong.faces.cli.moments import duration
from worksong.faces.cli.screen import complain
from worksong.faces.cli.serving import Face, Serving
from worksong.faces.cli.target import Target, url_options
from worksong.faces.cli.users import users_option
from worksong.service.access import Access
from worksong.service.jobservice import JobService
from worksong.service.passwords import User
from worksong.settings import Address, Settings
from worksong.settings.settings import Grpc
from worksong.shift import loop_factory
from worksong.worker import Worker

OFF = Address("", 0)
"""What `--http off` says."""


def place(text: str) -> Address:
    """An address, or `off`; a type for options."""
    return OFF if text.lower() == "off" else address(text)


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked for."""

    settings: Settings
    no_worker: bool
    insecure_no_auth: bool

    @property
    def faces(self) -> Sequence[Address]:
        """Where it is to listen."""
        return [where for where in (self.settings.http.address, self.settings.grpc.address) if where]


@click.command(cls=Command)
@click.argument("app")
@config_option
@url_options
@click.option("--http", type=place, metavar="HOST:PORT", help="Where HTTP is; 127.0.0.1:8080 otherwise, or off.")
@click.option("--grpc", type=place, metavar="HOST:PORT", help="Where gRPC is; 127.0.0.1:50051 otherwise, or off.")
@click.option("--no-worker", is_flag=True, help="Run no jobs here: workers apart do, with the same --config.")
@click.option("--concurrency", type=click.IntRange(1, 10_000), help="Jobs at once.")
@users_option
@click.option("--allow-host", multiple=True, metavar="NAME", help="A name under which it answers; may be repeated.")
@click.option("--insecure-no-auth", is_flag=True, help="Let everybody who reaches it do everything.")
@release_option
@click.option("--grace", type=duration, metavar="25s", help="How long running jobs may take to finish.")
@click.option("--log-format", type=click.Choice(["text", "json"]), help="Log lines for people or for programs.")
def serve(
    app: str, config: Path | None, no_worker: bool, insecure_no_auth: bool, users: Sequence[User], **options: Any
) -> None:
    """Serve the jobs of an app over HTTP and gRPC, and run them.

    APP is module:attribute and names a Worker, as in myapp.jobs:worker.

    It answers this machine only, unless it is told otherwise; then tokens are needed, in the --config.
    """
    settings = _settings(settings_of(config), **options)
    asked = Asked(settings=settings, no_worker=no_worker, insecure_no_auth=insecure_no_auth)
    access = Access(tokens=[token.accepted for token in settings.tokens], users=users)
    _check_open(asked, access)
    worker = configured(app, settings)
    if no_worker:
        _check_apart(worker, settings)
    keep_records(worker, settings)
    debug = bool(click.get_current_context().meta.get("worksong.debug"))
    set_up(settings.log_format, tag="", debug=debug, scribe=scribe_of(worker))
    with contextlib.ExitStack() as sockets, asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(_serve(asked, worker, access, sockets))


def _settings(settings: Settings, *, allow_host: Sequence[str], **said: Any) -> Settings:
    """What the command line says, then the environment, then the file."""
    http, grpc = said.pop("http"), said.pop("grpc")
    said["name"] = said.pop("namespace")
    chosen = replace(settings, **{name: value for name, value in said.items() if value is not None})
    return replace(
        chosen,
        http=replace(chosen.http, address=_or_off(http)) if http else chosen.http,
        grpc=replace(chosen.grpc, address=_or_off(grpc)) if grpc else _at_hand(chosen.grpc),
        hosts=[*chosen.hosts, *allow_host],
    )


def _or_off(where: Address) -> Address | None:
    return None if where is OFF else where


def _at_hand(grpc: Grpc) -> Grpc:
    """gRPC that nobody has asked for is served where its packages are."""
    if grpc != Grpc():
        return grpc
    try:
        needed(GRPC_NEEDS, "gRPC", "grpc")
    except ConfigError as missing:
        complain("note", str(missing))
        return replace(grpc, address=None)
    return grpc


def _check_open(asked: Asked, access: Access) -> None:
    """Other machines are let in by tokens, or certificates, or nobody's care."""
    from worksong.faces.asgi.origin import is_loopback

    if not asked.faces:
        raise ConfigError("neither HTTP nor gRPC is to be served: leave one of them on")
    for where in asked.faces:
        if is_loopback(where.host) or not access.is_open or asked.settings.tls.ca:
            continue
        if not asked.insecure_no_auth:
            raise ConfigError(
                f"{where} is open to other machines: name tokens in the configuration, or say --insecure-no-auth"
            )
        complain("warning", f"whoever reaches {where} can create, read and change all jobs")


def _check_apart(worker: Worker, settings: Settings) -> None:
    """Workers apart must see the queue, and know of the records and see them."""
    records = settings.records or (worker.ledgers.origin.name if worker.ledgers else "")
    if not records:
        raise ConfigError(
            "--no-worker: workers apart must keep the same records, so say where they are: records in the configuration"
        )
    for what, url in (("the queue", worker.url), ("what is in records", records)):
        if url.startswith("memory:"):
            raise ConfigError(
                f"--no-worker: {what} in memory:// would be seen by this process alone; name a store for it, "
                "as in redis://localhost:6379/0"
            )


async def _serve(asked: Asked, worker: Worker, access: Access, sockets: contextlib.ExitStack) -> None:
    settings, everybody = asked.settings, asked.insecure_no_auth
    service = JobService(worker, unit=settings.unit)
    faces: list[Face] = []
    if settings.http.address:
        faces.append(http_front(service, access, settings, settings.http.address, sockets, everybody=everybody))
    if settings.grpc.address:
        faces.append(grpc_front(service, access, settings, settings.grpc.address))
    shown = one_line(f"{worker.name} on {Target(worker.url, worker.name).shown}")

    def announce() -> None:
        settle()
        click.echo(f"worksong service: {' and '.join(face.where for face in faces)}  ({shown})")

    serving = Serving(worker, service, faces, works=not asked.no_worker, grace=settings.grace)
    listen(serving.stop, worker.quiet)
    await serving.run(announce)
