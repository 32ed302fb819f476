"""Valet's configuration (version 0.8.7): its keys, its checks in its order and its words, as settings of ours."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, cast
from urllib.parse import quote

import msgspec

from worksong.domain.errors import ConfigError
from worksong.settings import dsn
from worksong.settings.secrets import Secrets

_OWN = frozenset({"server", "job_queue", "storage", "worker_pool", "scheduler", "logging_format"})
"""Names at the top that only Valet's have."""


class _Http(msgspec.Struct):
    port: str | int | None = None


class _Server(msgspec.Struct):
    protocol: str = ""
    http: _Http = msgspec.field(default_factory=_Http)
    grpc: _Http = msgspec.field(default_factory=_Http)


class _Redis(msgspec.Struct):
    key_prefix: str = ""


class _Named(msgspec.Struct):
    name: str = ""
    queue_name: str = ""


class _Publish(msgspec.Struct):
    exchange: str = ""
    routing_key: str = ""


class _Rabbit(msgspec.Struct):
    queue_params: _Named = msgspec.field(default_factory=_Named)
    publish_params: _Publish = msgspec.field(default_factory=_Publish)


class _Queue(msgspec.Struct):
    option: str = ""
    redis: _Redis = msgspec.field(default_factory=_Redis)
    rabbitmq: _Rabbit = msgspec.field(default_factory=_Rabbit)


class _Pool(msgspec.Struct):
    workers: int = 0


class _Storage(msgspec.Struct):
    option: str = ""
    redis: _Redis = msgspec.field(default_factory=_Redis)


class _Config(msgspec.Struct):
    """What of Valet's configuration means something here."""

    server: _Server = msgspec.field(default_factory=_Server)
    job_queue: _Queue = msgspec.field(default_factory=_Queue)
    worker_pool: _Pool = msgspec.field(default_factory=_Pool)
    storage: _Storage = msgspec.field(default_factory=_Storage)
    timeout_unit: str = ""
    logging_format: str = ""


class _Idle(NamedTuple):
    """A key without a meaning here, and why."""

    path: str
    why: str


_IDLE: Sequence[_Idle] = (
    _Idle("job_queue.memory_job_queue.capacity", "the queue in memory takes in what memory holds"),
    _Idle("job_queue.rabbitmq.queue_params", "queues are durable and named after the task"),
    _Idle("job_queue.rabbitmq.consume_params", "a job is acknowledged when its result is kept"),
    _Idle("job_queue.rabbitmq.publish_params.routing_key", "a job goes to the queue of its task"),
    _Idle("job_queue.rabbitmq.publish_params.mandatory", "each job is confirmed by the server"),
    _Idle("job_queue.rabbitmq.publish_params.immediate", "each job is confirmed by the server"),
    _Idle("job_queue.redis.pool_size", "one connection carries all commands"),
    _Idle("job_queue.redis.min_idle_conns", "one connection carries all commands"),
    _Idle("worker_pool.queue_capacity", "a worker fetches as many jobs as it has slots free"),
    _Idle("scheduler.storage_polling_interval", "a job starts when it is due"),
    _Idle("scheduler.job_queue_polling_interval", "a job starts as soon as a slot is free"),
    *(
        _Idle(f"storage.{store}.{name}", "connections are opened as they are needed")
        for store in ("mysql", "postgres")
        for name in ("connection_max_lifetime", "max_idle_connections", "max_open_connections")
    ),
    _Idle("storage.redis.pool_size", "one connection carries all commands"),
    _Idle("storage.redis.min_idle_conns", "one connection carries all commands"),
)


def is_valets(document: Mapping[str, Any]) -> bool:
    """Whether it is Valet's configuration, and not ours."""
    return not _OWN.isdisjoint(document)


def translated(document: Mapping[str, Any], secrets: Secrets, file: str) -> tuple[dict[str, Any], list[str]]:
    """The same as settings of ours, and a warning for each key that says nothing here; raises `ConfigError`."""
    config = _read(document, file)
    try:
        _check_options(config, secrets)
    except ConfigError as wrong:
        raise ConfigError(f"{file}: {wrong}") from None
    own: dict[str, Any] = {
        **_served(config.server),
        "url": _queue(config.job_queue, secrets),
        "records": _records(config.storage, secrets),
        "concurrency": max(0, config.worker_pool.workers) or os.cpu_count() or 1,
        "timeout_unit": config.timeout_unit,
        "log_format": config.logging_format,
    }
    idle = [f"{file}: {key.path} has no meaning here: {key.why}" for key in _IDLE if _is_given(document, key.path)]
    served = str(own[config.server.protocol]["address"])
    if ":" not in served:
        idle.append(f"{file}: Valet answers every machine; this service answers its own, until it is told otherwise")
    return own, idle


def _read(document: Mapping[str, Any], file: str) -> _Config:
    given = {key: value for key, value in document.items() if value is not None}
    try:
        return msgspec.convert(given, _Config, strict=False)
    except msgspec.ValidationError as wrong:
        raise ConfigError(f"{file}: {str(wrong).replace('$.', '')}") from None


def _check_options(config: _Config, secrets: Secrets) -> None:
    """As Valet does, and in its order."""
    _check("protocol", config.server.protocol, ("grpc", "http"))
    _check("job queue", config.job_queue.option, ("memory", "rabbitmq", "redis"))
    if config.job_queue.option == "redis":
        _need(secrets, "REDIS_URL", "Redis URL not provided")
    if config.job_queue.option == "rabbitmq":
        _need(secrets, "RABBITMQ_URI", "RabbitMQ URI not provided")
    _check("timeout_unit", config.timeout_unit, ("millisecond", "second"))
    _check("logging_format", config.logging_format, ("json", "text"))
    _check("storage", config.storage.option, ("memory", "mysql", "postgres", "redis"))
    for option, name, text in (
        ("mysql", "MYSQL_DSN", "MySQL DSN not provided"),
        ("postgres", "POSTGRES_DSN", "PostgreSQL DSN not provided"),
        ("redis", "REDIS_URL", "Redis URL not provided"),
    ):
        if config.storage.option == option:
            _need(secrets, name, text)


_KEYS = {"protocol": "server.protocol", "job queue": "job_queue.option", "storage": "storage.option"}


def _check(what: str, given: str, valid: Sequence[str]) -> None:
    if given not in valid:
        options = " ".join(f"{option}:true" for option in valid)
        raise ConfigError(
            f"{given} is not a valid {what} option, valid options: map[{options}] (the key is {_KEYS.get(what, what)})"
        )


def _need(secrets: Secrets, name: str, text: str) -> None:
    if not secrets.find(name):
        raise ConfigError(f"{text}: set the variable {name}, or put it into the secret file {name.lower()}")


def _served(server: _Server) -> dict[str, Any]:
    """The one protocol; on this machine alone, since Valet asks nobody who he is."""
    port = server.http.port if server.protocol == "http" else server.grpc.port
    chosen = port or (8080 if server.protocol == "http" else 50051)
    address = chosen if isinstance(chosen, int) else chosen.strip().removeprefix(":")
    other = "grpc" if server.protocol == "http" else "http"
    return {server.protocol: {"address": address}, other: {"address": None}}


def _queue(queue: _Queue, secrets: Secrets) -> str:
    match queue.option:
        case "redis":
            return _in_namespace(secrets.find("REDIS_URL"), queue.redis.key_prefix)
        case "rabbitmq":
            return _through(secrets.find("RABBITMQ_URI"), queue.rabbitmq.publish_params.exchange)
        case _:
            return "memory://"


def _records(storage: _Storage, secrets: Secrets) -> str:
    stores: Mapping[str, Callable[[], str]] = {
        "mysql": lambda: dsn.url_of(secrets.find("MYSQL_DSN"), secrets.find("MYSQL_CA_PEM_FILE")),
        "postgres": lambda: secrets.find("POSTGRES_DSN"),
        "redis": lambda: _in_namespace(secrets.find("REDIS_URL"), storage.redis.key_prefix),
        "memory": lambda: "memory://",
    }
    return stores[storage.option]()


def _in_namespace(url: str, prefix: str) -> str:
    return _with(url, "namespace", prefix)


def _through(url: str, exchange: str) -> str:
    return _with(url, "exchange", exchange)


def _with(url: str, option: str, value: str) -> str:
    if not value:
        return url
    return f"{url}{'&' if '?' in url else '?'}{option}={quote(value, safe='')}"


def _is_given(document: Mapping[str, Any], path: str) -> bool:
    value: object = document
    for part in path.split("."):
        value = cast("Mapping[str, object]", value).get(part) if isinstance(value, Mapping) else None
    return value is not None
