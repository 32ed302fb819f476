"""Valet's Redis: a string for each job, pipeline and result, which only a scan of all keys finds."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Sequence
from typing import Any, cast

import msgspec

from worksong.adapters.redis.address import parse
from worksong.adapters.redis.client import Redis
from worksong.adapters.valet import Stock
from worksong.domain.errors import ConfigError
from worksong.wire.valet import Misfit, Unit, unit_of

AT_ONCE = 500
"""Keys that a step of a scan looks at, and values that are asked for together."""
PAGE = 50
"""Pipelines in a page."""
_SIGNS = re.compile(r"([*?\[\]\\])")


class RedisValet:
    """Valet's keys under one prefix. Of a pipeline's jobs, Valet keeps copies in the pipeline, and forgets them there:
    only their own keys tell how far they are."""

    def __init__(self, url: str) -> None:
        address = parse(url)
        self.name = address.shown
        self._prefix = f"{address.namespace}:" if address.namespace else ""
        self._redis = Redis(address)
        self._seen: set[str] = set()
        """Ids of all jobs that were met so far."""

    async def close(self) -> None:
        await self._redis.close()

    async def stock(self) -> Stock:
        found = [len({key async for keys in self._keys(kind) for key in keys}) for kind in _KINDS]
        if not any(found):
            where = f"under the prefix {self._prefix!r}" if self._prefix else "without a prefix"
            raise ConfigError(
                f"{self.name} holds nothing of Valet {where}: ?namespace= in the URL names its storage.redis.key_prefix"
            )
        return Stock(*found)

    async def pages(self) -> AsyncGenerator[Sequence[Unit | Misfit]]:
        self._seen.clear()
        async for keys in self._keys("pipeline"):
            for start in range(0, len(keys), PAGE):
                yield await self._pipelines(keys[start : start + PAGE])
        async for keys in self._keys("job"):
            yield await self._jobs([key for key in keys if self._id(key, "job") not in self._seen])
        async for keys in self._keys("jobresult"):
            yield [
                Misfit(kind="result", id=job_id, why="its job is not there", results=1)
                for job_id in (self._id(key, "jobresult") for key in keys)
                if job_id not in self._seen
            ]

    async def _pipelines(self, keys: Sequence[str]) -> list[Unit | Misfit]:
        every = [_document(text) for text in await self._values(keys)]
        ids = [_named_in(found) for found in every]
        jobs = await self._documents("job", [job_id for some in ids for job_id in some])
        results = await self._documents("jobresult", list(jobs))
        self._seen.update(jobs)
        return [
            unit_of(
                [jobs[job_id] for job_id in some if job_id in jobs],
                [results[job_id] for job_id in some if job_id in results],
                {**found, "id": self._id(key, "pipeline")},
                lacking=[job_id for job_id in some if job_id not in jobs],
            )
            for key, found, some in zip(keys, every, ids, strict=True)
        ]

    async def _jobs(self, keys: Sequence[str]) -> list[Unit | Misfit]:
        """Jobs by themselves; one of a pipeline would have come with that."""
        ids = [self._id(key, "job") for key in keys]
        jobs, results = await self._documents("job", ids), await self._documents("jobresult", ids)
        self._seen.update(jobs)
        return [self._job(job, results.get(job_id)) for job_id, job in jobs.items()]

    def _job(self, job: dict[str, Any], result: dict[str, Any] | None) -> Unit | Misfit:
        results = [result] if result else []
        if job.get("pipeline_id"):
            why = f"its pipeline {job['pipeline_id']} does not have it"
            return Misfit(kind="job", id=str(job.get("id", "")), why=why, jobs=1, results=len(results))
        return unit_of([job], results)

    async def _documents(self, kind: str, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
        """By id; what is not there is left out."""
        texts = await self._values([f"{self._prefix}{kind}:{one}" for one in ids])
        return {one: {**_document(text), _KINDS[kind]: one} for one, text in zip(ids, texts, strict=True) if text}

    async def _values(self, keys: Sequence[str]) -> list[bytes]:
        """Empty for one that is not there."""
        found: list[bytes] = []
        for start in range(0, len(keys), AT_ONCE):
            found += [text or b"" for text in await self._redis.call("MGET", *keys[start : start + AT_ONCE])]
        return found

    async def _keys(self, kind: str) -> AsyncGenerator[list[str]]:
        """All keys of a kind, each once, although a scan may tell one again."""
        literal = _SIGNS.sub(r"\\\1", self._prefix)
        pattern, cursor, told = f"{literal}{kind}:*", b"0", set[bytes]()
        while True:
            cursor, keys = await self._redis.call("SCAN", cursor, "MATCH", pattern, "COUNT", AT_ONCE)
            new = sorted(set(keys) - told)
            told.update(new)
            if new:
                yield [key.decode("utf-8", "surrogateescape") for key in new]
            if cursor == b"0":
                return

    def _id(self, key: str, kind: str) -> str:
        return key[len(f"{self._prefix}{kind}:") :]


_KINDS = {"job": "id", "pipeline": "id", "jobresult": "job_id"}
"""The parts of keys, in the order of `Stock`, and what names the id in their documents."""


class _Named(msgspec.Struct):
    """What a pipeline says of a job of its own."""

    id: str = ""


def _named_in(pipeline: dict[str, Any]) -> list[str]:
    """The ids of its jobs; none, where it says nothing sensible."""
    try:
        return [job.id for job in msgspec.convert(pipeline.get("jobs"), list[_Named])]
    except msgspec.ValidationError:
        return []


def _document(text: bytes) -> dict[str, Any]:
    """What cannot be read is empty: whatever it should say is missing then."""
    try:
        found = msgspec.json.decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return {}
    return cast("dict[str, Any]", found) if isinstance(found, dict) else {}
