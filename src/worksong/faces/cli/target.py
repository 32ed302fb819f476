"""Which store a command talks to: its URL and its namespace."""

from __future__ import annotations

import asyncio
import functools
import logging
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from urllib.parse import parse_qs, quote, unquote, urlsplit

import click

from worksong.adapters import connect
from worksong.admin import Admin
from worksong.blocking import Background
from worksong.domain.capability import Capability
from worksong.domain.errors import ConfigError
from worksong.domain.names import wrong_with_namespace
from worksong.faces.cli.screen import complain
from worksong.ports.backend import Backend
from worksong.ports.clock import SystemClock
from worksong.service.redaction import shown_url

DEFAULT_NAMESPACE = "worksong"
VARIABLE = "WORKSONG_URL"
PEERS = ("resque+", "amqp", "faktory")
"""How URLs begin of backends whose names are those of other programs, unless the URL itself says otherwise."""
EMBEDDED = "sqlite:///worksong.db"
"""What is meant when nothing is said."""

T = TypeVar("T")


class Target(NamedTuple):
    """A store, as the command line names it."""

    url: str
    namespace: str

    @property
    def shown(self) -> str:
        """The URL without secrets, and without the namespace."""
        return shown_url(without_namespace(self.url))

    @property
    def is_new(self) -> bool:
        """Whether it is a file that is not there yet; whoever asks it anything makes it."""
        parts = urlsplit(self.url)
        return parts.scheme == "sqlite" and not Path(unquote(parts.path)[1:]).exists()

    def backend(self) -> Backend:
        """A backend of its own for the running loop, that leaves it to the command to say what went wrong."""
        _hush()
        return connect(self.url, namespace=self.namespace)


def url_options(command: Callable[..., T]) -> Callable[..., T]:
    """Add --url and --namespace."""
    url = click.option("--url", metavar="URL", help=f"Where the jobs are; {VARIABLE} otherwise, then {EMBEDDED}.")
    namespace = click.option("--namespace", metavar="NAME", help="The worker's name, which keeps applications apart.")
    return url(namespace(command))


def takes_target(command: Callable[..., T]) -> Callable[..., T]:
    """Add --url and --namespace, and give the command a `target` made of them."""

    @functools.wraps(command)
    def with_target(url: str | None, namespace: str | None, **options: Any) -> T:
        return command(target=aim(url, namespace), **options)

    return url_options(with_target)


def aim(url: str | None, namespace: str | None) -> Target:
    """The target meant: as said here, before a subcommand's name, or in the environment; the embedded one otherwise."""
    url = url or _inherited("url") or os.environ.get(VARIABLE)
    namespace = namespace or _inherited("namespace")
    if not url:
        url = EMBEDDED
        if not _for_programs():
            complain("note", f"this is {EMBEDDED}, since neither --url nor {VARIABLE} says where the jobs are")
    if wrong := wrong_with_namespace(namespace or ""):
        raise ConfigError(wrong)
    if namespace:
        return Target(in_namespace(url, namespace), namespace)
    return Target(url, parse_qs(url.partition("?")[2]).get("namespace", [DEFAULT_NAMESPACE])[0])


def in_namespace(url: str, namespace: str) -> str:
    """The URL to connect to together with a namespace that was said apart.

    Where queues are called as their peers call them, an application's name is none: there it goes into the URL.
    """
    plain = without_namespace(url)
    if not url.lower().startswith(PEERS):
        return plain
    return f"{plain}{'&' if '?' in plain else '?'}namespace={quote(namespace)}"


def without_namespace(url: str) -> str:
    """The URL without its own namespace, which would win over any other."""
    address, _, query = url.partition("?")
    kept = [option for option in query.split("&") if option and not option.startswith("namespace=")]
    return f"{address}?{'&'.join(kept)}" if kept else address


def ask(target: Target, question: Callable[[Admin], Awaitable[T]]) -> T:
    """What the operator's view of the target answers."""

    return ask_backend(target, lambda backend: question(Admin(lambda: backend, Background(), SystemClock())))


def ask_backend(target: Target, question: Callable[[Backend], Awaitable[T]]) -> T:
    """What the target itself answers."""

    async def main() -> T:
        backend = target.backend()
        if Capability.SHARED not in backend.capabilities and not _for_programs():
            complain("note", f"{backend.name} lives inside one process: this is a new, empty one")
        try:
            return await question(backend)
        finally:
            await backend.close()

    return asyncio.run(main())


def _hush() -> None:
    """The one line that says why a command failed is enough: no second one from the connection, unless an app logs."""
    logger = logging.getLogger("worksong.redis")
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())


def _for_programs() -> bool:
    return bool(click.get_current_context().params.get("as_json"))


def _inherited(name: str) -> str | None:
    """What was said before a subcommand's name, as in `dead --url U retry --all`."""
    context = click.get_current_context()
    while context.parent:
        context = context.parent
        if context.params.get(name):
            return str(context.params[name])
    return None
