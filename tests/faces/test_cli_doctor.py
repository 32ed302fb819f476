"""`worksong doctor`: findings for people and for programs, and what it mends."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
import redis

import servers
from faces.stage import Cli, Shop, Start
from worksong.domain.job import Job, new_id


@pytest.fixture(scope="module")
def safe_url(redis_server: servers.Redis) -> Iterator[str]:
    """A server that keeps everything."""
    with servers.redis("--appendonly", "yes") as server:
        yield server.url


@pytest.fixture
def url(safe_url: str) -> str:
    return f"{safe_url}?namespace=test-{new_id()}"


@pytest.fixture
def stored(url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(url.partition("?")[0]) as client:
        yield client


@pytest.fixture
def namespace(url: str) -> str:
    return parse_qs(urlsplit(url).query)["namespace"][0]


def test_a_healthy_server_passes(cli: Cli) -> None:
    result = cli("doctor")

    assert result.exit_code == 0, result.output
    assert "What the server has acknowledged survives its restart." in result.stdout
    assert "0 errors" in result.stdout


def test_an_error_is_told_with_its_mend_and_by_the_exit_code(bare: Cli, redis_url: str) -> None:
    result = bare("doctor", "--url", f"{redis_url}?namespace=test-{new_id()}")

    assert result.exit_code == 1
    assert "redis.persistence.off" in result.stdout
    assert "redis-cli CONFIG SET appendonly yes" in result.stdout
    assert "1 error, " in result.stdout
    assert result.stderr == ""


def test_programs_get_every_finding_the_worst_first(bare: Cli, redis_url: str) -> None:
    result = bare("doctor", "--json", "--url", f"{redis_url}?namespace=test-{new_id()}")

    assert result.exit_code == 1
    told = json.loads(result.stdout)
    assert told["findings"][0] == {
        "id": "redis.persistence.off",
        "severity": "error",
        "title": "The server keeps nothing on disk: when it restarts, all jobs are gone.",
        "detail": 'appendonly is no and save is ""',
        "mend": "redis-cli CONFIG SET appendonly yes, and in redis.conf: appendonly yes",
        "fixable": False,
    }
    assert told["errors"] == 1
    assert {finding["severity"] for finding in told["findings"]} >= {"error", "ok"}
    assert told["mended"] == []


def test_without_fix_nothing_is_mended(cli: Cli, shop: Shop, stored: redis.Redis, namespace: str) -> None:
    shop.push(Job("a"))
    stored.set(f"{namespace}:jobs:a:lock", 3)

    result = cli("doctor")

    assert result.exit_code == 0
    assert "locks.wrong" in result.stdout
    assert "1 can be mended by `worksong doctor --fix`" in result.stdout
    assert stored.get(f"{namespace}:jobs:a:lock") == b"3"


def test_fix_mends_says_what_it_did_and_looks_again(cli: Cli, shop: Shop, stored: redis.Redis, namespace: str) -> None:
    shop.push(Job("a"))
    stored.set(f"{namespace}:jobs:a:lock", 3)
    stored.set(f"{namespace}:unique:b:", "1")

    told = cli.json("doctor", "--fix")

    assert {mended["id"] for mended in told["mended"]} == {"locks.wrong", "unique.stuck"}
    assert not any(finding["fixable"] for finding in told["findings"])
    assert stored.get(f"{namespace}:jobs:a:lock") == b"0"
    assert stored.exists(f"{namespace}:unique:b:") == 0
    assert cli("doctor", "--fix").exit_code == 0


def test_what_was_mended_is_told_to_people(cli: Cli, shop: Shop, stored: redis.Redis, namespace: str) -> None:
    shop.push(Job("a"))
    stored.set(f"{namespace}:jobs:a:lock", 3)

    assert "mended locks.wrong: put right the count of running jobs of a" in cli("doctor", "--fix").stdout


def test_warnings_do_not_fail_the_command(cli: Cli, shop: Shop) -> None:
    shop.push(Job("nobody_knows"), Job("later", run_at=time.time() - 600))

    result = cli("doctor")

    assert result.exit_code == 0
    assert "jobs.unserved" in result.stdout


def test_memory_says_what_it_is(bare: Cli) -> None:
    told = bare.json("doctor", "--url", "memory://")

    assert told["findings"][0]["id"] == "memory.volatile"
    assert told["errors"] == 0


def test_names_in_the_store_cannot_move_the_cursor(cli: Cli, stored: redis.Redis, namespace: str) -> None:
    stored.sadd(f"{namespace}:known_jobs", "evil\x1b[2J\r\nworksong: error: forged")
    stored.lpush(f"{namespace}:jobs:evil\x1b[2J\r\nworksong: error: forged", "{")

    output = cli("doctor").output

    assert all(char.isprintable() or char == "\n" for char in output)
    assert "\nworksong: error" not in output


@pytest.mark.parametrize("command", [("doctor",), ("why", "x"), ("status",), ("enqueue", "x")])
def test_a_server_that_is_away_is_told_in_one_line(start: Start, command: tuple[str, ...]) -> None:
    program = start(*command, url="redis://127.0.0.1:1/0")

    assert program.wait() == 1
    (line,) = program.seen
    assert line.startswith("worksong: error: redis://127.0.0.1:1/0 cannot be reached")


@pytest.mark.parametrize("command", [("doctor",), ("status",)])
def test_a_namespace_that_cannot_be_is_refused(bare: Cli, redis_url: str, command: tuple[str, ...]) -> None:
    for options in (("--url", f"{redis_url}?namespace=my%20app"), ("--url", redis_url, "--namespace", "my app")):
        result = bare(*command, *options)
        assert result.exit_code == 1
        assert "namespace 'my app' cannot be used" in result.stderr


APP = """
from __future__ import annotations

from worksong import Worker

worker = Worker(name="choir")


@worker.job()
async def sing() -> None: ...
"""


def test_run_says_that_nothing_is_kept_on_disk_once_for_all_processes(
    start: Start, redis_server: servers.Redis, tmp_path: Path
) -> None:
    (tmp_path / "choir.py").write_text(APP)
    url = f"{redis_server.url}?namespace=test-{new_id()}"

    program = start("run", "choir:worker", "--burst", "--processes", "2", url=url)

    assert program.wait() == 0, program.output
    assert program.output.count("keeps nothing on disk") == 1


@pytest.mark.parametrize("processes", ["1", "2"])
def test_run_refuses_a_server_that_drops_keys(
    start: Start, redis_server: servers.Redis, tmp_path: Path, processes: str
) -> None:
    (tmp_path / "choir.py").write_text(APP)
    with servers.redis("--appendonly", "yes", "--maxmemory-policy", "allkeys-lru") as server:
        refused = start("run", "choir:worker", "--burst", "--processes", processes, url=server.url)
        assert refused.wait() == 1
        assert refused.output.count("maxmemory-policy is allkeys-lru") == 1
        assert "Traceback" not in refused.output
        allowed = start(
            "run", "choir:worker", "--burst", "--processes", processes, url=f"{server.url}?eviction=allowed"
        )
        assert allowed.wait() == 0, allowed.output


def test_a_file_that_somebody_changed_is_mended(bare: Cli, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/jobs.db"
    bare("migrate", "--url", url)
    with sqlite3.connect(tmp_path / "jobs.db") as connection:
        connection.execute("DROP INDEX worksong_job_id")
    connection.close()

    broken, mended = bare("doctor", "--url", url), bare.json("doctor", "--fix", "--url", url)

    assert broken.exit_code == 1
    assert "sql.index.missing" in broken.stdout
    assert [done["id"] for done in mended["mended"]] == ["sql.index.missing"]
    assert mended["errors"] == 0
