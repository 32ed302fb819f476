"""goworker's flags and environment on `worksong run`, and Resque's namespaces on every command."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import redis

from faces.stage import Cli, Start
from worksong.adapters.resque.address import read
from worksong.domain.errors import ConfigError
from worksong.domain.job import new_id

APP = """
from __future__ import annotations

from worksong import Worker

worker = Worker("resque+redis://", name="choir")


@worker.job(name="Sing")
def sing(verse: int, *more: int) -> None:
    print(f"verse {verse} {more}", flush=True)
"""


@pytest.fixture(autouse=True)
def app(tmp_path: Path) -> None:
    (tmp_path / "choir.py").write_text(APP)


def test_a_command_line_of_goworker_works_with_two_dashes(redis_url: str, start: Start) -> None:
    # Given what Ruby enqueued
    namespace = new_id()
    with redis.Redis.from_url(redis_url) as store:
        for queue in ("high", "low", "other"):
            store.sadd(f"{namespace}:queues", queue)
            store.rpush(f"{namespace}:queue:{queue}", json.dumps({"class": "Sing", "args": [len(queue), 2, 3]}))
        # When
        flags = ("--uri", redis_url, "--namespace", f"{namespace}:", "--queues", "high=2,low=1", "--exit-on-complete")
        ignored = ("--interval", "0.5", "--connections", "2", "--use-number", "--concurrency", "3")
        program = start("run", "choir:worker", *flags, *ignored)
        # Then
        assert program.wait() == 0
        assert "verse 4 (2, 3)" in program.output
        assert "verse 3 (2, 3)" in program.output
        assert [key.decode() for key in store.keys(f"{namespace}:queue:*")] == [f"{namespace}:queue:other"]


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--uri", "redis://h", "--url", "resque+redis://h"), "give one of them"),
        (("--uri", "http://h"), "write redis://host"),
        (("--insecure-tls",), "need a --url resque+rediss"),
        (("--queues", "a,{b"), "that cannot be"),
    ],
)
def test_flags_that_cannot_work_are_refused_at_once(bare: Cli, flags: tuple[str, ...], said: str) -> None:
    result = bare("run", "choir:worker", *flags)
    assert result.exit_code == 2
    assert said in " ".join(result.output.split())


def test_a_namespace_said_apart_is_that_of_the_peers(redis_url: str, bare: Cli) -> None:
    namespace = new_id()
    where = ("--url", f"resque+{redis_url}?namespace=unused", "--namespace", namespace)
    assert bare("enqueue", "Sing", "--args", "[1]", "--queue", "low", *where).exit_code == 0
    with redis.Redis.from_url(redis_url) as store:
        assert store.smembers(f"{namespace}:queues") == {b"low"}
    assert json.loads(bare("queues", "--json", *where).stdout)


# the environment


def test_a_url_without_a_host_is_found_as_goworker_finds_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("REDIS_PROVIDER", "REDIS_URL", "CLOUD"):
        monkeypatch.delenv(variable, raising=False)
    assert read("resque+redis://").shown == "resque+redis://localhost:6379/0"
    monkeypatch.setenv("REDIS_URL", "redis://one:1/2")
    assert read("resque+redis://?namespace=x").shown == "resque+redis://one:1/2"
    assert read("resque+redis://?namespace=x").namespace == "x"
    monkeypatch.setenv("REDIS_PROVIDER", "CLOUD")
    monkeypatch.setenv("CLOUD", "rediss://:secret@two:3/4")
    assert read("resque+redis://").shown == "resque+rediss://two:3/4"
    assert read("resque+redis://named:9").shown == "resque+redis://named:9/0"
    monkeypatch.setenv("CLOUD", "unix:/run/redis.sock")
    assert read("resque+redis://").address.path == "/run/redis.sock"


def test_an_environment_that_names_nothing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_PROVIDER", "CLOUD")
    monkeypatch.delenv("CLOUD", raising=False)
    monkeypatch.setenv("REDIS_URL", "redis://never:1")
    with pytest.raises(ConfigError, match="REDIS_PROVIDER names the variable CLOUD"):
        read("resque+redis://")


@pytest.mark.parametrize("url", ["resque+redis://h?plain=maybe", "resque+redis://h?nothing=1", "resque+redis://h:x"])
def test_a_url_that_cannot_work_is_refused(url: str) -> None:
    with pytest.raises(ConfigError):
        read(url)


def test_the_peers_namespace_is_the_default() -> None:
    assert (read("resque+redis://h").namespace, read("resque+redis://h?namespace=").namespace) == ("resque", "")
    assert read("resque+redis://h?plain=true&namespace=%7Ba%7D").plain
