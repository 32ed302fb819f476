"""Settings: what a file and the environment say, and what is told of it when it cannot be."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from worksong.domain.errors import ConfigError
from worksong.service.access import Scope
from worksong.settings import Address, Settings, read_settings
from worksong.settings.environment import variable
from worksong.settings.settings import EXAMPLES, Token, keys_of

TOKEN = "a-token-of-the-shop-0123"
DIGEST = hashlib.sha256(TOKEN.encode()).hexdigest()

WHOLE = f"""
url: redis://localhost:6379/0
name: shop
concurrency: 10
queues: {{high: 2, low: 1}}
grace: 1h30m
log_format: json
records: sqlite:///records.db
retention: 30d
timeout_unit: millisecond
http: {{address: "0.0.0.0:80"}}
grpc: {{address: 50052, reflection: true, streams: 5, deadline: 10}}
hosts: [jobs.example.com]
cors: ["https://shop.example.com"]
tokens: [{{name: shop, digest: "sha256:{DIGEST}", scopes: [enqueue, read]}}]
tls: {{certificate: a.crt, key: a.key}}
limits: {{body: 4096, rate: 5, burst: 10, at_once: 20}}
"""

WRONG = [
    ("concurrency: many", "concurrency: it is 'many': expected int"),
    ("concurrency: 0", "concurrency: it is 0: expected int >= 1"),
    ("http: {address: nowhere}", "http.address: it is 'nowhere': an address is needed"),
    ("http: {address: 70000}", "http.address: it is 70000"),
    ("grace: 1h30", "grace: it is '1h30': a duration is needed"),
    ("grace: -1", "grace: it is -1"),
    ("retention: true", "retention: it is True"),
    ("htp: {address: 80}", "there is no setting 'htp'; did you mean http?"),
    ("http: {addr: 80}", "there is no setting 'http.addr'; did you mean http.address?"),
    ("timeout_unit: hour", "timeout_unit: it is 'hour'"),
    ("queues: {high: 0}", "queues: it is {'high': 0}"),
    ("queues: [so so]", "queues: 'so so' cannot be used"),
    ("name: two words", "name: 'two words' cannot be used"),
    ("tokens: [{name: a, scopes: [read]}]", "tokens: a token needs either a digest or a file"),
    ("tokens: [{name: a, scopes: [], digest: b}]", "tokens: the token 'a' may do nothing"),
    ("tokens: [{name: a, scopes: [read], digest: b}]", "is not a SHA-256 in 64 hex digits"),
    ("tokens: [{name: a, scopes: [write], file: b}]", "'write'"),
    ("tls: {certificate: a.crt}", "certificate and key are needed together"),
    ("url: 5", "url: it is 5: expected str"),
    ("url: a\nurl: b", "line 2: url is given twice"),
    ("- a", "names and values"),
    ("1: a", "names and values"),
    ("a: b: c", "it is no YAML"),
    ("? [a]\n: b", "a name must be a text"),
    ("a: !!python/object/apply:os.getcwd []", "it is no YAML"),
    ("a: &a [*a]", "an alias stands within what it repeats"),
    ("a: " + "[" * 50 + "]" * 50, "nested more than 10 levels deep"),
    ("a: " + "[" * 100_000, "nested more than 10 levels deep"),
    ("a: " + "x" * 300_000, "larger than"),
]


def written(directory: Path, text: str, name: str = "worksong.yaml") -> Path:
    path = directory / name
    path.write_text(text)
    return path


def test_a_file_says_all_there_is(tmp_path: Path) -> None:
    settings, warnings = read_settings(written(tmp_path, WHOLE), {})
    assert warnings == []
    assert (settings.url, settings.name, settings.concurrency) == ("redis://localhost:6379/0", "shop", 10)
    assert settings.queues == {"high": 2, "low": 1}
    assert (settings.grace, settings.retention, settings.unit) == (5400.0, 30 * 86400.0, 0.001)
    assert (settings.http.address, settings.grpc.address) == (Address("0.0.0.0", 80), Address("127.0.0.1", 50052))
    assert settings.tokens[0].accepted.digest.hex() == DIGEST


def test_toml_says_the_same(tmp_path: Path) -> None:
    text = 'queues = ["high", "low"]\n[http]\naddress = "[::1]:80"\n[grpc]\nreflection = true\n'
    settings = read_settings(written(tmp_path, text, "worksong.toml"), {}).settings
    assert settings.queues == ["high", "low"]
    assert str(settings.http.address) == "[::1]:80"
    assert settings.grpc.reflection


def test_the_environment_is_above_the_file(tmp_path: Path) -> None:
    # Given a file, and variables that say otherwise
    environ = {
        "WORKSONG_URL": "memory://",
        "WORKSONG_NAME": "7",
        "WORKSONG_CONCURRENCY": "3",
        "WORKSONG_QUEUES": "high=5, low=1",
        "WORKSONG_GRACE": "5s",
        "WORKSONG_HTTP_ADDRESS": "8081",
        "WORKSONG_GRPC_ADDRESS": "off",
        "WORKSONG_GRPC_REFLECTION": "no",
        "WORKSONG_HOSTS": "a.example.com, b.example.com",
        "WORKSONG_TOKENS": '[{"name": "till", "file": "till.token", "scopes": ["read"]}]',
        "WORKSONG_LIMITS_BODY": "",
        "WORKSONG_LIMITS_RATE": "0.5",
    }
    settings = read_settings(written(tmp_path, WHOLE), environ).settings
    # Then they count, and where they say nothing the file does
    assert (settings.url, settings.name, settings.concurrency, settings.grace) == ("memory://", "7", 3, 5.0)
    assert settings.queues == {"high": 5, "low": 1}
    assert (settings.http.address, settings.grpc.address) == (Address("127.0.0.1", 8081), None)
    assert (settings.grpc.reflection, settings.grpc.streams) == (False, 5)
    assert settings.hosts == ["a.example.com", "b.example.com"]
    assert [token.name for token in settings.tokens] == ["till"]
    assert (settings.limits.body, settings.limits.rate) == (4096, 0.5)


def test_without_a_file_there_is_the_environment_alone() -> None:
    assert read_settings(None, {}) == (Settings(), [])
    assert read_settings(None, {"WORKSONG_QUEUES": "high,low"}).settings.queues == ["high", "low"]


def test_an_address_of_ipv6_is_no_json() -> None:
    environ = {"WORKSONG_HTTP_ADDRESS": "[::]:8080", "WORKSONG_GRPC_ADDRESS": "[::1]:50052"}
    settings = read_settings(None, environ).settings
    assert (settings.http.address, settings.grpc.address) == (Address("::", 8080), Address("::1", 50052))


@pytest.mark.parametrize(("text", "says"), WRONG, ids=[text[:40] for text, _ in WRONG])
def test_what_cannot_be_names_the_file_the_key_and_the_value(text: str, says: str, tmp_path: Path) -> None:
    path = written(tmp_path, text)
    with pytest.raises(ConfigError) as refused:
        read_settings(path, {})
    assert str(refused.value).startswith(str(path))
    assert says in str(refused.value)


def test_a_variable_that_cannot_be_is_named(tmp_path: Path) -> None:
    for environ, says in (
        ({"WORKSONG_CONCURRENCY": "many"}, "WORKSONG_CONCURRENCY: it is 'many'"),
        ({"WORKSONG_GRPC_REFLECTION": "maybe"}, "WORKSONG_GRPC_REFLECTION: it is 'maybe'"),
        ({"WORKSONG_QUEUES": "high=x"}, "WORKSONG_QUEUES: it is {'high': 'x'}"),
        ({"WORKSONG_TOKENS": "[1"}, "WORKSONG_TOKENS is no JSON"),
    ):
        with pytest.raises(ConfigError, match=r"WORKSONG_\w+") as refused:
            read_settings(written(tmp_path, WHOLE), environ)
        assert says in str(refused.value)


def test_aliases_that_repeat_without_end_are_refused(tmp_path: Path) -> None:
    # Given a small file that stands for a billion values
    lines = ["a0: &a0 [x]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10))]
    with pytest.raises(ConfigError, match="more than 10,000 values"):
        read_settings(written(tmp_path, "\n".join(lines)), {})


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        read_settings(tmp_path / "missing.yaml", {})
    with pytest.raises(ConfigError, match=r"ends in \.yaml"):
        read_settings(written(tmp_path, "", "worksong.ini"), {})
    (tmp_path / "latin.toml").write_bytes(b"name = '\xe4'")
    with pytest.raises(ConfigError, match="not written in UTF-8"):
        read_settings(tmp_path / "latin.toml", {})
    with pytest.raises(ConfigError, match="it is no TOML"):
        read_settings(written(tmp_path, "name =", "worksong.toml"), {})


def test_logins_are_not_shown(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as refused:
        read_settings(written(tmp_path, "http: {address: 'redis://user:canary@host'}"), {})
    assert "canary" not in str(refused.value)


def test_a_token_may_be_in_a_file(tmp_path: Path) -> None:
    path = written(tmp_path, f"{TOKEN}\n", "token")
    assert Token(name="shop", scopes=[Scope.READ], file=str(path)).accepted.digest.hex() == DIGEST
    path.write_text("short")
    with pytest.raises(ConfigError, match="16 printable characters"):
        _ = Token(name="shop", scopes=[Scope.READ], file=str(path)).accepted
    path.unlink()
    with pytest.raises(ConfigError, match="cannot be read"):
        _ = Token(name="shop", scopes=[Scope.READ], file=str(path)).accepted


def test_every_setting_has_an_example_and_a_line_in_the_reference() -> None:
    reference = (Path(__file__).parents[2] / "docs/reference/config.md").read_text()
    assert list(EXAMPLES) == [*keys_of(Settings)]
    for key in EXAMPLES:
        assert f"| `{key}` | " in reference
        assert variable(key).startswith("WORKSONG_")
