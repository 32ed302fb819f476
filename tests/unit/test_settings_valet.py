"""Valet's configuration: its keys, its checks in its order and words, and its secrets, as settings of ours."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import msgspec
import pytest

from worksong.adapters import connect
from worksong.domain.errors import ConfigError
from worksong.settings import Address, Reading, read_settings
from worksong.settings.dsn import url_of

SAMPLE: dict[str, Any] = {
    "server": {"protocol": "http", "http": {"port": "8081"}},
    "job_queue": {
        "option": "redis",
        "memory_job_queue": {"capacity": 100},
        "redis": {"key_prefix": "valet", "pool_size": 10, "min_idle_conns": 10},
    },
    "worker_pool": {"workers": 4, "queue_capacity": 8},
    "scheduler": {"storage_polling_interval": 60, "job_queue_polling_interval": 5},
    "storage": {"option": "redis", "redis": {"key_prefix": "kept"}},
    "timeout_unit": "millisecond",
    "logging_format": "text",
}
REDIS = {"REDIS_URL": "redis://:pass@redis:6379/1"}

WRONG = [
    ("server.protocol", "https", "https is not a valid protocol option, valid options: map[grpc:true http:true]"),
    (
        "job_queue.option",
        "kafka",
        "kafka is not a valid job queue option, valid options: map[memory:true rabbitmq:true redis:true]",
    ),
    (
        "timeout_unit",
        "hour",
        "hour is not a valid timeout_unit option, valid options: map[millisecond:true second:true]",
    ),
    ("logging_format", "xml", "xml is not a valid logging_format option, valid options: map[json:true text:true]"),
    (
        "storage.option",
        "files",
        "files is not a valid storage option, valid options: map[memory:true mysql:true postgres:true redis:true]",
    ),
    ("storage.option", "mysql", "MySQL DSN not provided"),
    ("storage.option", "postgres", "PostgreSQL DSN not provided"),
    ("worker_pool.workers", "many", "worker_pool.workers"),
]


def config(**changes: Any) -> dict[str, Any]:
    """The sample with other values at dotted places, written with __ for the dots."""
    made = copy.deepcopy(SAMPLE)
    for place, value in changes.items():
        *sections, name = place.split("__")
        within = made
        for section in sections:
            within = within.setdefault(section, {})
        within[name] = value
    return made


def read(directory: Path, document: dict[str, Any], **environ: str) -> Reading:
    path = directory / "config.yaml"
    path.write_bytes(msgspec.yaml.encode(document))
    return read_settings(path, environ, secrets=directory)


def test_a_configuration_of_valets_becomes_ours(tmp_path: Path) -> None:
    settings, warnings = read(tmp_path, SAMPLE, **REDIS)
    assert settings.url == "redis://:pass@redis:6379/1?namespace=valet"
    assert settings.records == "redis://:pass@redis:6379/1?namespace=kept"
    assert (settings.http.address, settings.grpc.address) == (Address("127.0.0.1", 8081), None)
    assert (settings.concurrency, settings.unit, settings.log_format) == (4, 0.001, "text")
    # What has no meaning here is named, each with its reason
    for key in (
        "memory_job_queue.capacity",
        "redis.pool_size",
        "worker_pool.queue_capacity",
        "storage_polling_interval",
    ):
        assert any(f"{key} has no meaning here: " in warning for warning in warnings), key
    assert any("Valet answers every machine" in warning for warning in warnings)


def test_what_is_left_out_is_as_in_valet(tmp_path: Path) -> None:
    document = {
        "server": {"protocol": "grpc"},
        "job_queue": {"option": "memory"},
        "storage": {"option": "memory"},
        "scheduler": None,
        "timeout_unit": "second",
        "logging_format": "json",
        "unknown": {"keys": "are passed over"},
    }
    settings = read(tmp_path, document).settings
    assert (settings.url, settings.records) == ("memory://", "memory://")
    assert (settings.http.address, settings.grpc.address) == (None, Address("127.0.0.1", 50051))
    assert settings.concurrency


@pytest.mark.parametrize(("place", "value", "says"), WRONG, ids=lambda value: str(value)[:30])
def test_what_valet_refuses_is_refused_in_its_words(place: str, value: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as refused:
        read(tmp_path, config(**{place.replace(".", "__"): value}), **REDIS)
    assert says in str(refused.value)
    assert str(tmp_path / "config.yaml") in str(refused.value)


def test_the_first_of_several_mistakes_is_told_as_valet_does(tmp_path: Path) -> None:
    wrong = config(server__protocol="http", timeout_unit="", logging_format="", storage__option="")
    with pytest.raises(ConfigError, match="Redis URL not provided"):
        read(tmp_path, wrong)
    with pytest.raises(ConfigError, match="is not a valid timeout_unit option"):
        read(tmp_path, wrong, **REDIS)


def test_secrets_may_be_files_of_a_container(tmp_path: Path) -> None:
    (tmp_path / "redis_url").write_text("redis://of-the-file\nand more\n")
    (tmp_path / "mysql_dsn").write_text("valet:s@cret@tcp(db:3307)/valet?parseTime=true\n")
    settings = read(tmp_path, config(storage__option="mysql")).settings
    assert settings.url == "redis://of-the-file?namespace=valet"
    assert settings.records == "mysql://valet:s%40cret@db:3307/valet"
    # The environment comes first
    assert read(tmp_path, SAMPLE, **REDIS).settings.url == "redis://:pass@redis:6379/1?namespace=valet"


def test_rabbitmq_and_postgresql_keep_their_urls(tmp_path: Path) -> None:
    document = config(
        job_queue__option="rabbitmq",
        job_queue__rabbitmq={"publish_params": {"exchange": "valet"}, "consume_params": {"auto_ack": True}},
        storage__option="postgres",
    )
    secrets = {"RABBITMQ_URI": "amqp://guest:guest@mq:5672/", "POSTGRES_DSN": "postgres://valet:pw@db/valet"}
    settings, warnings = read(tmp_path, document, **secrets)
    assert (settings.url, settings.records) == ("amqp://guest:guest@mq:5672/?exchange=valet", secrets["POSTGRES_DSN"])
    assert any("consume_params has no meaning here" in warning for warning in warnings)


def test_our_own_variables_are_above_it(tmp_path: Path) -> None:
    settings = read(tmp_path, SAMPLE, **REDIS, WORKSONG_HTTP_ADDRESS="0.0.0.0:80", WORKSONG_NAME="shop").settings
    assert (str(settings.http.address), settings.name) == ("0.0.0.0:80", "shop")


@pytest.mark.parametrize(
    ("dsn", "url"),
    [
        ("user:pass@tcp(host:3306)/db?parseTime=true", "mysql://user:pass@host:3306/db"),
        ("user@tcp(host)/db", "mysql://user@host/db"),
        ("user:p:a@s/s@tcp([::1]:3306)/db", "mysql://user:p%3Aa%40s%2Fs@[::1]:3306/db"),
        ("user:pass@/db", "mysql://user:pass@127.0.0.1:3306/db"),
        ("/db", "mysql://127.0.0.1:3306/db"),
        ("user:pass@unix(/run/my.sock)/db", "mysql://user:pass@localhost/db?unix_socket=/run/my.sock"),
        ("user:pass@tcp(host:1)/db?tls=true", "mysql://user:pass@host:1/db?ssl=on"),
    ],
)
def test_a_data_source_name_of_gos_driver_is_read(dsn: str, url: str) -> None:
    assert url_of(dsn) == url


def test_the_authority_that_valet_trusts_is_trusted(tmp_path: Path) -> None:
    # Given a database with an authority of its own, as Valet is told of it
    asked = config(storage__option="mysql")
    dsn = "user@tcp(db:3306)/valet?parseTime=true&tls=custom"
    settings, warnings = read(tmp_path, asked, **REDIS, MYSQL_DSN=dsn, MYSQL_CA_PEM_FILE="/etc/my ca.pem")
    # Then the URL names it
    assert settings.records == "mysql://user@db:3306/valet?ssl=on&ssl_ca=/etc/my%20ca.pem"
    assert [warning for warning in warnings if "MYSQL_CA" in warning] == []


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ("ssl=on&ssl_ca=/nowhere/ca.pem", "ssl_ca=/nowhere/ca.pem is no file of certificates"),
        ("ssl=on&ssl_ca=/dev/null", "ssl_ca=/dev/null is no file of certificates"),
        ("ssl_ca=/etc/ca.pem", "TLS is off: add ssl=on"),
    ],
)
def test_an_authority_that_cannot_be_trusted_is_told_at_once(options: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        connect(f"mysql://user@db/valet?{options}", namespace="shop")


@pytest.mark.parametrize("dsn", ["user:canary@tcp(host:3306)", "canary", "user:canary@pipe(x)/db"])
def test_one_that_is_none_is_refused_without_its_password(dsn: str) -> None:
    with pytest.raises(ConfigError, match="MYSQL_DSN") as refused:
        url_of(dsn)
    assert "canary" not in str(refused.value)
