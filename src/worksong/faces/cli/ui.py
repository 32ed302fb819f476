"""`worksong ui`: the web console alone."""

from __future__ import annotations

import asyncio
import socket
from types import ModuleType
from typing import TYPE_CHECKING, Any

import click

from worksong.domain.errors import ConfigError
from worksong.domain.names import one_line
from worksong.engine.signals import listen
from worksong.faces.cli.app import load
from worksong.faces.cli.commands import Command
from worksong.faces.cli.listening import address, bound, http_server, listening, needed
from worksong.faces.cli.screen import complain
from worksong.faces.cli.standing import aim_app
from worksong.faces.cli.target import Target, aim, url_options
from worksong.faces.cli.users import users_option
from worksong.ports.clock import SystemClock
from worksong.service.desk import Store
from worksong.settings import Address

if TYPE_CHECKING:
    from worksong.faces.web import Console

TOKEN, VIEWER_TOKEN = "WORKSONG_UI_TOKEN", "WORKSONG_UI_VIEWER_TOKEN"
OPERATOR_TOKEN = "WORKSONG_UI_OPERATOR_TOKEN"
NEEDED = "jinja2", "starlette", "uvicorn"
AT_ONCE = 200
"""Requests at once; more are told to come back."""
LEAVE = 3.0
"""Seconds that open answers have at a stop."""


@click.command(cls=Command)
@click.argument("app", required=False)
@url_options
@click.option("--http", "http", type=address, default="127.0.0.1:4747", show_default=True, metavar="HOST:PORT")
@click.option("--token", envvar=TOKEN, show_envvar=True, help="Lets those in who may do everything.")
@click.option("--operator-token", envvar=OPERATOR_TOKEN, show_envvar=True, help="Lets operators in.")
@click.option("--viewer-token", envvar=VIEWER_TOKEN, show_envvar=True, help="Lets those in who only look.")
@users_option
@click.option("--read-only", is_flag=True, help="Look only, whoever it is.")
@click.option("--allow-host", multiple=True, metavar="NAME", help="A name under which it answers; may be repeated.")
@click.option("--base-path", default="", metavar="PATH", help="Where a proxy has it, as in /jobs.")
@click.option("--insecure-no-auth", is_flag=True, help="Let everybody who reaches it do everything.")
def ui(*, app: str | None, url: str | None, namespace: str | None, http: Address, **options: Any) -> None:
    """The same in a browser: the web console.

    With APP (module:attribute, a Worker) it also knows the periodic jobs and which arguments are not shown.

    It answers this machine only, unless --http says otherwise; then a token is needed.
    """
    from worksong.faces.asgi.origin import is_loopback

    server = needed(NEEDED, "the console", "web")
    _check(http, options, loopback=is_loopback(http.host))
    jobs, target = _jobs(app, url, namespace)
    hosts = [*options["allow_host"], *([] if http.host in ("0.0.0.0", "::") else [http.host])]
    console = _console(jobs, hosts, options)
    with listening(http) as listener:
        click.echo(f"worksong console: http://{bound(http, listener)}{options['base_path']}/  ({target})")
        asyncio.run(_serve(server, console, listener, jobs))


def _check(http: Address, options: dict[str, Any], *, loopback: bool) -> None:
    guarded = any(options[name] for name in ("token", "operator_token", "viewer_token", "users"))
    if not loopback and not guarded and not options["insecure_no_auth"]:
        raise ConfigError(
            f"{http} is open to other machines: give a --token (or {TOKEN}), or --users, or say --insecure-no-auth"
        )
    if not loopback and not guarded:
        complain("warning", f"whoever reaches {http} can read and change all jobs")


def _jobs(app: str | None, url: str | None, namespace: str | None) -> tuple[Any, str]:
    """The worker or store that the console is about, and how it is called."""
    if app is None:
        target = aim(url, namespace)
        backend = target.backend()
        store = Store(lambda: backend, SystemClock(), target.shown, target.namespace)
        return store, one_line(f"{target.namespace} on {target.shown}")
    worker = load(app)
    aim_app(worker, url, namespace)
    return worker, one_line(f"{worker.name} on {Target(worker.url, worker.name).shown}")


def _console(jobs: Any, hosts: list[str], options: dict[str, Any]) -> Console:
    from worksong.faces.web import Console

    return Console(
        jobs,
        token=options["token"],
        operator_token=options["operator_token"],
        viewer_token=options["viewer_token"],
        users=options["users"],
        read_only=options["read_only"],
        allowed_hosts=hosts,
        base_path=options["base_path"],
        insecure_no_auth=options["insecure_no_auth"],
    )


async def _serve(uvicorn: ModuleType, console: Console, listener: socket.socket, jobs: Any) -> None:
    server = http_server(uvicorn, console, at_once=AT_ONCE, leave=LEAVE)

    def stop() -> None:
        server.should_exit = True
        console.leave()

    listen(stop, lambda: None)
    try:
        await server.serve(sockets=[listener])
    finally:
        await jobs.backend().close()
