"""`worksong import-valet`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from faces.stage import Cli
from service.valets import RedisValet, a_job, a_pipeline, a_result
from worksong import BackendRefused
from worksong.adapters import connect, connect_records
from worksong.domain.job import new_id
from worksong.domain.lifecycle import State
from worksong.domain.record import Status
from worksong.ports.records import Kind, Record

CONFIG: dict[str, Any] = {
    "server": {"protocol": "http"},
    "job_queue": {"option": "redis", "redis": {"key_prefix": "queue"}},
    "storage": {"option": "redis", "redis": {"key_prefix": "kept"}},
    "timeout_unit": "millisecond",
    "logging_format": "text",
}
PENDING, COMPLETED = Status.PENDING, Status.COMPLETED


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An app that knows one of Valet's tasks, and its directory."""
    name = f"app_of_{tmp_path.name}"
    (tmp_path / f"{name}.py").write_text(
        "from worksong import Worker\n\n"
        f"worker = Worker('sqlite:///jobs.db', name='{name}')\n\n\n"
        "@worker.task('double')\n"
        "def double(params):\n"
        "    return 2 * params['n']\n"
    )
    monkeypatch.chdir(tmp_path)
    return f"{name}:worker"


@pytest.fixture
def valet(redis_url: str) -> Iterator[RedisValet]:
    """A job that has ended, one that waits, a pipeline that waits, and a job that cannot run here."""
    found, done = RedisValet(redis_url, f"valet-{new_id()}"), a_job(COMPLETED)
    jobs = (done, a_job(PENDING, timeout=1500), a_job(PENDING, task_name="resize"))
    asyncio.run(found.keep(*jobs, piped=[a_pipeline(PENDING, PENDING, PENDING)], results=[a_result(done, 4)]))
    yield found
    asyncio.run(found.empty())


def records(url: str, namespace: str, kind: Kind = Kind.JOB) -> list[Record]:
    async def main() -> list[Record]:
        store = connect_records(url, namespace=namespace)
        try:
            return await store.listed(kind)
        finally:
            await store.close()

    return asyncio.run(main())


def counts(url: str, namespace: str) -> dict[State, int]:
    async def main() -> dict[State, int]:
        backend = connect(url, namespace=namespace)
        try:
            return await backend.counts()
        finally:
            await backend.close()

    return asyncio.run(main())


def test_what_valet_kept_is_taken_over_and_what_is_left_out_is_named(bare: Cli, app: str, valet: RedisValet) -> None:
    # When it is imported
    result = bare("import-valet", app, "--from", valet.url)
    # Then a table says what came, and the error names what did not
    assert result.exit_code == 1
    rows = [line.split() for line in result.stdout.splitlines()]
    assert [row for row in rows if row[0] in ("jobs", "pipelines", "results")] == [
        ["jobs", "5", "4", "0", "1"],
        ["pipelines", "1", "1", "0", "0"],
        ["results", "1", "1", "0", "0"],
    ]
    assert "2 jobs and pipelines had not ended; 2 were queued" in result.stdout
    assert "1 was left out: job" in result.stderr
    assert "the application has no task 'resize': add that, and import again" in result.stderr
    assert counts("sqlite:///jobs.db", app.partition(":")[0])[State.QUEUED] == 2
    # And given again, nothing comes twice
    again = bare("import-valet", app, "--from", valet.url)
    assert ["jobs", "5", "0", "4", "1"] in [line.split() for line in again.stdout.splitlines()]
    assert "0 jobs and pipelines had not ended; 0 were queued" in again.stdout
    assert counts("sqlite:///jobs.db", app.partition(":")[0])[State.QUEUED] == 2


def test_a_dry_run_says_the_same_and_changes_nothing(bare: Cli, app: str, valet: RedisValet) -> None:
    result = bare("import-valet", app, "--from", valet.url, "--dry-run")
    assert result.exit_code == 1, result.output
    assert "2 jobs and pipelines would be queued; nothing was changed" in result.stdout
    assert records("sqlite:///jobs.db", app.partition(":")[0]) == []


def test_valets_own_configuration_says_where_it_kept_things(
    bare: Cli, app: str, valet: RedisValet, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given Valet's configuration
    redis_url, _, prefix = valet.url.partition("?namespace=")
    config = msgspec.json.decode(msgspec.json.encode(CONFIG).replace(b"kept", prefix.encode()))
    config["job_queue"]["redis"]["key_prefix"] = f"{prefix}-queue"
    Path("config.yaml").write_bytes(msgspec.yaml.encode(config))
    monkeypatch.setenv("REDIS_URL", redis_url)
    with Path(f"{app.partition(':')[0]}.py").open("a") as file:
        file.write("\n\n@worker.task('resize')\ndef resize(params): ...\n")
    # When only that is named
    found = bare.json("import-valet", app, "--config", "config.yaml")
    # Then jobs are read where Valet kept them, and kept beside that, with its unit of time
    assert found["found"] == found["taken"] == {"jobs": 5, "pipelines": 1, "results": 1}
    assert (found["waiting"], found["queued"], found["left_out"], found["unseen"]) == (3, 3, [], 0)
    kept = records(valet.url, "unused")
    assert len(kept) == 5
    assert [record for record in kept if b'"timeout":1.5' in record.body] != []
    assert len(records(valet.url, "unused", Kind.PIPELINE)) == 1


def test_what_the_queue_refuses_is_said(
    bare: Cli, app: str, valet: RedisValet, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*given: object) -> None:
        raise BackendRefused("WRONGTYPE")

    monkeypatch.setattr("worksong.enqueueing.enqueue", refuse)
    result = bare("import-valet", app, "--from", valet.url)
    assert "2 jobs and pipelines had not ended; 0 were queued" in result.stdout
    assert "2 were refused by the queue" in result.stderr


def test_json_names_all_that_was_left_out(bare: Cli, app: str, valet: RedisValet) -> None:
    result = bare("import-valet", app, "--from", valet.url, "--json")
    assert result.exit_code == 1
    found = msgspec.json.decode(result.stdout)
    assert [one["kind"] for one in found["left_out"]] == ["job"]
    assert (found["taken"]["jobs"], found["queued"], found["missing"]) == (4, 2, [])


def test_jobs_that_valet_was_running_can_be_left_there(bare: Cli, app: str, redis_url: str) -> None:
    valet = RedisValet(redis_url, f"valet-{new_id()}")
    ran = a_job(Status.IN_PROGRESS)
    asyncio.run(valet.keep(ran))
    try:
        result = bare("import-valet", app, "--from", valet.url, "--running", "leave")
        assert result.exit_code == 0, result.output
        assert f"left in Valet, since they run there: job {ran['id']}" in result.stderr
    finally:
        asyncio.run(valet.empty())


REFUSED: list[tuple[dict[str, Any], list[str], str]] = [
    ({"name": "shop"}, [], "where did Valet keep its jobs? Say --from URL, or give Valet's own file as --config"),
    ({**CONFIG, "storage": {"option": "memory"}}, [], "Valet kept its jobs in memory, and they ended with it"),
    ({"name": "shop"}, ["--from", "root@nowhere"], "MYSQL_DSN is no data source name"),
    ({"records": "memory://"}, ["--from", "redis://127.0.0.1:1"], "records in memory:// would end with this command"),
]


@pytest.mark.parametrize(("config", "said", "why"), REFUSED)
def test_what_cannot_work_is_refused_before_anything_is_read(
    app: str, monkeypatch: pytest.MonkeyPatch, config: dict[str, Any], said: list[str], why: str
) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1")
    Path("config.yaml").write_bytes(msgspec.yaml.encode(config))
    result = Cli()("import-valet", app, "--config", "config.yaml", *said)
    assert result.exit_code == 1
    assert why in result.stderr
