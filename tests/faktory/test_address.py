"""What a Faktory URL, or the environment, means."""

from __future__ import annotations

import pytest

from worksong import ConfigError
from worksong.adapters import connect
from worksong.adapters.faktory.address import parse


@pytest.mark.parametrize(
    ("url", "shown", "password"),
    [
        ("faktory://localhost", "faktory://localhost:7419", ""),
        ("faktory://:s%2Fcret@host:7", "faktory://host:7", "s/cret"),
        ("faktory://ann:secret@host", "faktory://ann@host:7419", "secret"),
        ("faktory+tls://:x@[::1]:9", "faktory+tls://[::1]:9", "x"),
        ("faktory://secret@host", "faktory://host:7419", "secret"),
    ],
)
def test_a_url_says_where_and_shows_no_password(url: str, shown: str, password: str) -> None:
    address = parse(url, {})
    assert (address.shown, address.password) == (shown, password)
    assert "secret" not in f"{address!r}{address}".replace("ann", "")


@pytest.mark.parametrize(
    ("environment", "shown"),
    [
        ({}, "faktory://localhost:7419"),
        ({"FAKTORY_URL": "tcp://:secret@faktory.example:7420"}, "faktory://faktory.example:7420"),
        ({"FAKTORY_URL": "tcp+tls://h"}, "faktory+tls://h:7419"),
        ({"FAKTORY_PROVIDER": "THERE", "THERE": "tcp://there", "FAKTORY_URL": "tcp://here"}, "faktory://there:7419"),
    ],
)
def test_a_bare_scheme_asks_the_environment(environment: dict[str, str], shown: str) -> None:
    assert parse("faktory:", environment).shown == shown
    assert parse("faktory+tls:", environment).tls is not None


@pytest.mark.parametrize(
    ("environment", "told"),
    [
        ({"FAKTORY_PROVIDER": ""}, "name of another variable"),
        ({"FAKTORY_PROVIDER": "tcp://:secret@host"}, "name of another variable"),
        ({"FAKTORY_PROVIDER": "MISSING"}, "MISSING, which is not set"),
        ({"FAKTORY_URL": "http://host"}, "begins with one of"),
        ({"FAKTORY_URL": "faktory:"}, "names no host"),
    ],
)
def test_an_environment_that_says_nothing_useful_is_told_so(environment: dict[str, str], told: str) -> None:
    with pytest.raises(ConfigError, match=told) as refused:
        parse("faktory:", environment)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    "url",
    [
        "faktory://",
        "faktory:///path",
        "faktory://host/queue",
        "faktory://host:0",
        "faktory://host:70000",
        "faktory://ho st",
        "faktory://:sec#ret@host",
        "faktory://:secret/1@host",
        "faktory://host?x=1",
        "faktory://host?connections=0",
        "faktory://host?connections=2.5",
        "faktory://host?timeout=never",
        "faktory://host?namespace=a/b",
        "faktory://host?ssl_ca_certs=ca.pem",
        "faktory+tls://host?ssl_cert_reqs=maybe",
        "faktory://[::1",
    ],
)
def test_a_url_that_cannot_work_is_refused_without_its_password(url: str) -> None:
    if url == "faktory://":
        assert parse(url, {}).host == "localhost"
        return
    with pytest.raises(ConfigError) as refused:
        parse(url, {})
    assert "secret" not in str(refused.value)


def test_a_backend_is_found_by_a_bare_scheme(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKTORY_URL", "tcp://:secret@faktory.example")
    monkeypatch.delenv("FAKTORY_PROVIDER", raising=False)
    assert connect("faktory:", namespace="any").name == "faktory://faktory.example:7419"
    with pytest.raises(ConfigError, match="'faktry'"):
        connect("faktry://x", namespace="any")
