"""Stores as Valet leaves them: its tables in MySQL and PostgreSQL, its keys in Redis."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from sql.stage import ordered
from worksong.adapters.redis.address import parse
from worksong.adapters.redis.client import Redis
from worksong.domain.record import Status
from worksong.wire import gotime

Document = dict[str, Any]
EPOCH = 1_650_000_000
"""April 2022, when Valet's users began."""
TIMES = ("run_at", "scheduled_at", "created_at", "started_at", "completed_at")
JOB = (
    *("id", "pipeline_id", "next_job_id", "use_previous_results", "name", "task_name", "task_params", "timeout"),
    *("description", "status", "failure_reason", *TIMES),
)
PIPELINE = ("id", "name", "description", "status", "run_at", "created_at", "started_at", "completed_at")
RESULT = ("job_id", "metadata", "error")


def at(seconds: float) -> str:
    """A time of the stories, as Valet writes it."""
    return gotime.write(EPOCH + seconds)


def a_job(status: Status = Status.PENDING, **fields: Any) -> Document:
    """A job document of Valet's, with the times that its status has."""
    times: Document = {"created_at": at(0)}
    if status >= Status.IN_PROGRESS:
        times["started_at"] = at(10)
    if status.ended:
        times["completed_at"] = at(13)
    job = {"id": str(uuid.uuid4()), "name": "a job", "task_name": "double", "status": status.name, **times}
    return {**job, **({"failure_reason": "no luck"} if status is Status.FAILED else {}), **fields}


def a_result(job: Document, metadata: object = None, error: str = "") -> Document:
    found = {"job_id": job["id"], "metadata": metadata, "error": error}
    return {name: value for name, value in found.items() if value not in (None, "")}


class Piped(NamedTuple):
    """A pipeline of Valet's, and its jobs in order."""

    pipeline: Document
    jobs: Sequence[Document]


def a_pipeline(status: Status, *statuses: Status, **fields: Any) -> Piped:
    """Jobs of these statuses one behind the other, all but the first with the results of the one before."""
    pipeline_id = str(uuid.uuid4())
    ids = [str(uuid.uuid4()) for _ in statuses]
    jobs = [
        a_job(job_status, id=job_id, pipeline_id=pipeline_id, **({"next_job_id": behind} if behind else {}))
        | ({"use_previous_results": True} if number else {})
        for number, (job_id, behind, job_status) in enumerate(zip(ids, [*ids[1:], ""], statuses, strict=True))
    ]
    pipeline = {"id": pipeline_id, "name": "a pipeline", "status": status.name, "created_at": at(0)}
    if status is not Status.PENDING:
        pipeline["started_at"] = at(10)
    if status.ended:
        pipeline["completed_at"] = at(20)
    return Piped({**pipeline, **fields}, jobs)


class Valet(Protocol):
    """One store of Valet's."""

    url: str

    async def keep(self, *jobs: Document, piped: Sequence[Piped] = (), results: Sequence[Document] = ()) -> None:
        """As Valet would have, with all of that in it."""
        ...

    async def empty(self) -> None:
        """Nothing is left there."""
        ...


class RedisValet:
    """Documents in JSON under a prefix; a pipeline has copies of its jobs as they were when it was created."""

    def __init__(self, url: str, prefix: str) -> None:
        self.url, self._prefix = f"{url}?namespace={prefix}", prefix

    async def keep(self, *jobs: Document, piped: Sequence[Piped] = (), results: Sequence[Document] = ()) -> None:
        documents = {f"job:{job['id']}": job for job in (*jobs, *(job for one in piped for job in one.jobs))}
        documents |= {f"pipeline:{one.pipeline['id']}": {**one.pipeline, "jobs": _stale(one.jobs)} for one in piped}
        documents |= {f"jobresult:{result['job_id']}": result for result in results}
        for key, document in documents.items():
            await self.put(key, json.dumps(document))

    async def put(self, key: str, text: str) -> None:
        """Anything at all."""
        await self._call("SET", f"{self._prefix}:{key}", text)

    async def empty(self) -> None:
        keys = await self._call("KEYS", f"{self._prefix}:*")
        if keys:
            await self._call("DEL", *keys)

    async def _call(self, *command: Any) -> Any:
        redis = Redis(parse(self.url))
        try:
            return await redis.call(*command)
        finally:
            await redis.close()


def _stale(jobs: Sequence[Document]) -> list[Document]:
    return [{**job, "status": "PENDING"} for job in jobs]


class SqlValet:
    """Valet's tables in a database of their own."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._is_mysql = not url.startswith("postgres")

    async def keep(self, *jobs: Document, piped: Sequence[Piped] = (), results: Sequence[Document] = ()) -> None:
        every = [*jobs, *(job for one in piped for job in one.jobs)]
        await ordered(
            self.url,
            *(self._insert("pipeline", PIPELINE, one.pipeline) for one in piped),
            *(self._insert("job", JOB, job) for job in every),
            *(self._insert("jobresult", RESULT, result) for result in results),
        )

    async def make(self) -> None:
        """The tables, as Valet creates them."""
        mysql = self._is_mysql
        key, when = ("binary(16)", "timestamp") if mysql else ("uuid", "timestamptz")
        times = ", ".join(f"{name} {when} NULL" for name in TIMES)
        named = (
            "name varchar(255) NOT NULL, description varchar(255) NOT NULL DEFAULT '', status int NOT NULL DEFAULT 0"
        )
        piped = times.replace(f"scheduled_at {when} NULL, ", "")
        await ordered(
            self.url,
            f"CREATE TABLE pipeline (id {key} PRIMARY KEY, {named}, {piped})",
            f"CREATE TABLE job (id {key} PRIMARY KEY, pipeline_id varchar(36) NOT NULL DEFAULT '', "
            "next_job_id varchar(36) NOT NULL DEFAULT '', use_previous_results boolean DEFAULT false, "
            f"{named}, task_name varchar(255) NOT NULL, task_params json NOT NULL, timeout int NOT NULL, "
            f"failure_reason text NOT NULL, {times})",
            f"CREATE TABLE jobresult (job_id {key} PRIMARY KEY REFERENCES job (id), metadata json NOT NULL, "
            "error text NOT NULL)",
        )

    async def empty(self) -> None:
        await ordered(self.url, *(f"DELETE FROM {table}" for table in ("jobresult", "job", "pipeline")))

    def _insert(self, table: str, columns: Sequence[str], document: Document) -> str:
        values = ", ".join(self._said(name, document.get(name)) for name in columns)
        return f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({values})"

    def _said(self, name: str, value: Any) -> str:
        if name in ("id", "job_id"):
            return f"UNHEX('{uuid.UUID(value).hex}')" if self._is_mysql else f"'{value}'"
        if name in TIMES:
            seconds = None if value is None else gotime.parse(value).at
            made = "FROM_UNIXTIME" if self._is_mysql else "to_timestamp"
            return "NULL" if seconds is None else f"{made}({seconds})"
        if name == "status":
            return str(int(Status[value]))
        if name in ("task_params", "metadata"):
            return "'" + json.dumps(value).replace("\\", "\\\\" if self._is_mysql else "\\").replace("'", "''") + "'"
        if name == "use_previous_results":
            return "true" if value else "false"
        return str(value or 0) if name == "timeout" else "'" + (value or "").replace("'", "''") + "'"
