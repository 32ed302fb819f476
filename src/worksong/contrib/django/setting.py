"""The setting WORKSONG: what it may say, and where it says that the jobs are."""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote

import msgspec
from django.conf import settings
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils.connection import ConnectionDoesNotExist

from worksong.domain.errors import ConfigError

VARIABLE = "WORKSONG_URL"


class Setting(msgspec.Struct, frozen=True, kw_only=True, rename="upper"):
    """What a project says; the options are those of `worksong.Worker`, but for the two about databases."""

    url: str = ""
    """Where the jobs are; the variable WORKSONG_URL otherwise."""
    database: str = ""
    """Instead of a URL: the alias of a database of the project, in whose tables the jobs are."""
    name: str = "worksong"
    concurrency: int = 25
    queues: dict[str, int] | list[str] | None = None
    results: str | None = None
    patience: float = 0.0
    buffer: int = 0
    on_commit: bool = True
    """Whether a job enqueued in a transaction is there when that commits, and not before."""


def read() -> Setting:
    """The project's setting; raises `ConfigError`."""
    given: Any = getattr(settings, "WORKSONG", {})
    if not isinstance(given, dict):
        raise ConfigError(f"the setting WORKSONG is a dict, not {type(given).__name__}")
    known = [field.encode_name for field in msgspec.structs.fields(Setting)]
    for key in cast("dict[object, object]", given):
        if key not in known:
            close = get_close_matches(str(key).upper(), known, n=1)
            meant = f"did you mean {close[0]!r}?" if close else f"it knows {', '.join(known)}"
            raise ConfigError(f"the setting WORKSONG has {key!r}, which it does not know; {meant}")
    try:
        return msgspec.convert(given, Setting)
    except msgspec.ValidationError as wrong:
        raise ConfigError(f"the setting WORKSONG: {wrong}") from wrong


def url_of(setting: Setting) -> str:
    """Where the jobs are; raises `ConfigError` where nothing says so, or two say it."""
    if setting.url and setting.database:
        raise ConfigError("the setting WORKSONG has a URL and a DATABASE: jobs are in one place, so name one of them")
    if setting.database:
        return _url_of_database(setting.database)
    url = setting.url or os.environ.get(VARIABLE, "")
    if not url:
        raise ConfigError(
            f"nothing says where the jobs are: set WORKSONG = {{'DATABASE': 'default'}} for this project's database, "
            f"or {{'URL': 'redis://...'}}, or the variable {VARIABLE}"
        )
    return url


def in_place(setting: Setting, url: str) -> bool:
    """Whether the database is still where it was when this URL was made of it: tests put another in its place."""
    try:
        return url_of(setting) == url
    except ConfigError:
        return False


def _url_of_database(alias: str) -> str:
    try:
        connection = connections[alias]
    except ConnectionDoesNotExist:
        raise ConfigError(f"WORKSONG['DATABASE'] is {alias!r}, which DATABASES does not have") from None
    match connection.vendor:
        case "sqlite":
            return _url_of_file(alias, str(connection.settings_dict["NAME"]))
        case "postgresql":
            return _url_of_server("postgresql", connection, socket="host")
        case "mysql":
            return _url_of_server("mysql", connection, socket="unix_socket")
        case other:
            raise ConfigError(f"WORKSONG['DATABASE']: jobs cannot be in tables of {other}; say where by a URL")


def _url_of_file(alias: str, name: str) -> str:
    if ":memory:" in name or "mode=memory" in name:
        raise ConfigError(f"the database {alias!r} is in memory, where no other process finds its jobs: use memory://")
    return f"sqlite:///{quote(str(Path(name).absolute()))}"


def _wants_tls(said: Mapping[str, Any]) -> bool:
    """Whether MySQL is to be reached by TLS. With jobs, that is always checked against the system's authorities."""
    given: Any = said.get("ssl") or {}
    parts = cast("dict[str, Any]", given) if isinstance(given, dict) else {}
    known = {os.environ.get("SSL_CERT_FILE"), ssl.get_default_verify_paths().cafile}
    foreign = sorted(key for key, value in parts.items() if value and not (key == "ca" and str(value) in known))
    if foreign == ["ca"]:
        raise ConfigError(
            f"WORKSONG['DATABASE']: its OPTIONS name an authority for TLS, and jobs trust those of the system alone: "
            f"set the variable SSL_CERT_FILE to {parts['ca']}"
        )
    if foreign:
        raise ConfigError(
            f"WORKSONG['DATABASE']: its OPTIONS say {', '.join(foreign)} of TLS, which jobs cannot have there: name a "
            "database that can be reached without, or say where jobs are by a URL"
        )
    mode = str(said.get("ssl_mode", "")).upper()
    return bool(said.get("ssl")) or mode in ("REQUIRED", "VERIFY_CA", "VERIFY_IDENTITY")


def _url_of_server(scheme: str, connection: BaseDatabaseWrapper, *, socket: str) -> str:
    """`socket`: how the URL calls the place of a socket, which Django takes for a host."""
    said: dict[str, Any] = connection.settings_dict
    user, password = (quote(str(said[key]), safe="") for key in ("USER", "PASSWORD"))
    host, port = str(said["HOST"]), str(said["PORT"])
    login = f"{user}{f':{password}' if password else ''}@" if user else ""
    place = "localhost" if host.startswith("/") or not host else f"[{host}]" if ":" in host else host
    options = {socket: host} if host.startswith("/") else {}
    if scheme == "postgresql" and "sslmode" in said["OPTIONS"]:
        options["sslmode"] = str(said["OPTIONS"]["sslmode"])
    if scheme == "mysql" and _wants_tls(said["OPTIONS"]):
        options["ssl"] = "on"
    query = "&".join(f"{name}={quote(value, safe='')}" for name, value in options.items())
    database = quote(str(said["NAME"]), safe="")
    return f"{scheme}://{login}{place}{f':{port}' if port else ''}/{database}{f'?{query}' if query else ''}"
