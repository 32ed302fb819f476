"""Valet's tables in MySQL and PostgreSQL: `pipeline`, `job` and `jobresult`."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from worksong.adapters.sql.address import server
from worksong.adapters.sql.servers import ServerStore
from worksong.adapters.sql.store import Say
from worksong.adapters.valet import Stock
from worksong.domain.errors import BackendRefused, ConfigError
from worksong.wire.valet import JOB, PIPELINE, RESULT, Misfit, Unit, unit_of

PAGE = 50
"""Pipelines in a page; of jobs by themselves, ten times as many."""
PATIENCE = "300"
"""Seconds that a statement may take."""
TIMES = frozenset({"run_at", "scheduled_at", "created_at", "started_at", "completed_at"})
TEXTS = frozenset({"task_params", "metadata"})
"""Columns of JSON."""
Row = dict[str, Any]


class _Dialect(NamedTuple):
    """How a database says things."""

    time: str
    """Unix seconds of a column."""
    json: str
    """A column of JSON as its text."""
    literal: str
    """An id as the database compares it."""
    joined: str
    """Whether a pipeline has the id that a job names."""


_MYSQL = _Dialect(
    "UNIX_TIMESTAMP({0})",
    "CAST({0} AS CHAR)",
    "UNHEX('{0.hex}')",
    "pipeline.id = UNHEX(REPLACE(job.pipeline_id, '-', ''))",
)
_POSTGRES = _Dialect(
    "EXTRACT(EPOCH FROM {0})::float8", "{0}::text", "'{0}'::uuid", "pipeline.id::text = lower(job.pipeline_id)"
)
NOWHERE = UUID(int=0)
"""Less than any id."""


def _postgres(url: str) -> ServerStore[Any]:
    from worksong.adapters.sql.postgres import OPTIONS, PORT, PostgresStore

    return PostgresStore(server(url, PORT, OPTIONS), "")


def _mysql(url: str) -> ServerStore[Any]:
    from worksong.adapters.sql.mysql import OPTIONS, PORT, MysqlStore

    return MysqlStore(server(url, PORT, OPTIONS), "")


class SqlValet:
    """One database of Valet's."""

    def __init__(self, url: str) -> None:
        is_postgres = url.lower().startswith("postgres")
        self._store: ServerStore[Any] = _postgres(url) if is_postgres else _mysql(url)
        self._dialect = _POSTGRES if is_postgres else _MYSQL
        self.name = self._store.address.shown

    async def close(self) -> None:
        await self._store.close()

    async def stock(self) -> Stock:
        async with self._store.bedside(patience=PATIENCE) as say:
            try:
                found = [
                    (await say(f"SELECT COUNT(*) FROM {table}"))[0][0] for table in ("job", "pipeline", "jobresult")
                ]
            except BackendRefused as refusal:
                raise ConfigError(f"{self.name} holds no tables of Valet: {refusal}") from refusal
        return Stock(*map(int, found))

    async def pages(self) -> AsyncGenerator[Sequence[Unit | Misfit]]:
        async with self._store.bedside(patience=PATIENCE) as say:
            for part in (self._pipelines(say), self._jobs(say), self._strays(say)):
                async with contextlib.aclosing(part) as pages:
                    async for page in pages:
                        yield page

    async def _pipelines(self, say: Say) -> AsyncGenerator[Sequence[Unit | Misfit]]:
        last = NOWHERE
        while pipelines := await self._rows(say, "pipeline", PIPELINE, f"id > {self._said(last)}", most=PAGE):
            last = UUID(pipelines[-1]["id"])
            named = ", ".join(f"'{pipeline['id']}'" for pipeline in pipelines)
            jobs = await self._rows(say, "job", JOB, f"pipeline_id IN ({named})")
            results = await self._results(say, jobs)
            members = _by("pipeline_id", jobs)
            yield [
                unit_of(
                    members[pipeline["id"]],
                    [result for job in members[pipeline["id"]] for result in results[job["id"]]],
                    pipeline,
                )
                for pipeline in pipelines
            ]

    async def _jobs(self, say: Say) -> AsyncGenerator[Sequence[Unit | Misfit]]:
        """Those of no pipeline."""
        last = NOWHERE
        while jobs := await self._rows(
            say, "job", JOB, f"pipeline_id = '' AND id > {self._said(last)}", most=10 * PAGE
        ):
            last = UUID(jobs[-1]["id"])
            results = await self._results(say, jobs)
            yield [unit_of([job], results[job["id"]]) for job in jobs]

    async def _strays(self, say: Say) -> AsyncGenerator[Sequence[Unit | Misfit]]:
        """Jobs of pipelines that are not there."""
        last = NOWHERE
        lost = f"pipeline_id <> '' AND NOT EXISTS (SELECT 1 FROM pipeline WHERE {self._dialect.joined})"
        while jobs := await self._rows(say, "job", JOB, f"{lost} AND id > {self._said(last)}", most=10 * PAGE):
            last = UUID(jobs[-1]["id"])
            results = await self._results(say, jobs)
            yield [
                Misfit(
                    kind="job",
                    id=job["id"],
                    why=f"its pipeline {job['pipeline_id']} is not there",
                    jobs=1,
                    results=len(results[job["id"]]),
                )
                for job in jobs
            ]

    async def _results(self, say: Say, jobs: Sequence[Row]) -> Mapping[str, list[Row]]:
        """Of these jobs, by their ids."""
        named = ", ".join(self._said(UUID(job["id"])) for job in jobs)
        rows = await self._rows(say, "jobresult", RESULT, f"job_id IN ({named})") if jobs else []
        return _by("job_id", rows)

    async def _rows(self, say: Say, table: str, columns: Sequence[str], where: str, *, most: int = 0) -> list[Row]:
        """Rows as Valet's documents, ordered by id."""
        sql = f"SELECT {', '.join(map(self._column, columns))} FROM {table} WHERE {where} ORDER BY {columns[0]}"
        rows = await say(f"{sql} LIMIT {most}" if most else sql)
        return [dict(zip(columns, map(_plain, columns, row), strict=True)) for row in rows]

    def _column(self, name: str) -> str:
        if name in TIMES:
            return self._dialect.time.format(name)
        return self._dialect.json.format(name) if name in TEXTS else name

    def _said(self, record_id: UUID) -> str:
        return self._dialect.literal.format(record_id)


def _plain(column: str, value: Any) -> Any:
    """A value as Valet's documents have it, times as numbers."""
    if column in ("id", "job_id"):
        return str(UUID(bytes=value) if isinstance(value, bytes) else value)
    if column in TIMES:
        return None if value is None else float(value)
    if column in TEXTS:
        return msgspec.json.decode(value)
    return bool(value) if column == "use_previous_results" else value


def _by(column: str, rows: Sequence[Row]) -> Mapping[str, list[Row]]:
    found: defaultdict[str, list[Row]] = defaultdict(list)
    for row in rows:
        found[row[column]].append(row)
    return found
