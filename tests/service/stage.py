"""A small firm whose jobs the service creates."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal, TypeAlias

import pytest

from worksong import Worker
from worksong.adapters.memory.beside import MemoryBeside
from worksong.domain.record import JobRecord
from worksong.service.forms import JobForm, PipelineForm
from worksong.service.jobservice import JobService
from worksong.service.refusals import Missing

Where: TypeAlias = Literal["queue", "records", "one place"]


class Firm:
    """A worker that keeps records, what its tasks do, and the service before it."""

    def __init__(self, url: str = "memory://", records: str = "memory://", **options: Any) -> None:
        self.worker = Worker(url, records=records, concurrency=4, **options)
        self.runs: list[object] = []
        """What the tasks were given."""
        self._noted = asyncio.Condition()
        self.may_end = asyncio.Event()
        """What the task `slow` waits for."""
        self.service = JobService(self.worker)
        self._register()

    def _register(self) -> None:
        task = self.worker.task

        @task("double")
        async def double(params: dict[str, Any], previous: int | None = None) -> int:
            await self._note(previous if previous is not None else params)
            return 2 * (params.get("n", 1) if previous is None else previous)

        @task("fail")
        async def fail(params: dict[str, Any]) -> None:
            await self._note(params)
            raise ValueError("no such customer")

        @task("slow")
        async def slow(params: dict[str, Any]) -> str:
            await self._note(params)
            await self.may_end.wait()
            return "done"

        @self.worker.job(max_fails=3)
        async def greet(name: str, times: int = 1) -> str:
            await self._note(name)
            return ", ".join([f"hello {name}"] * times)

    async def _note(self, given: object) -> None:
        self.runs.append(given)
        async with self._noted:
            self._noted.notify_all()

    async def ran(self, count: int) -> None:
        """Wait until tasks have begun so often."""
        async with self._noted:
            await self._noted.wait_for(lambda: len(self.runs) >= count)

    async def ended(self, job_id: str) -> JobRecord:
        """The job, as soon as it has ended."""
        await self.service.result(job_id, wait=60.0)
        return await self.service.job(job_id)

    async def is_gone(self, job_id: str) -> bool:
        try:
            await self.service.job(job_id)
        except Missing:
            return True
        return False


@contextmanager
def trouble(firm: Firm, where: Where, failure: Exception) -> Iterator[None]:
    """Meanwhile whoever creates meets this failure: of the queue or of the records, as if they were in two places,
    or of the place where both are."""

    async def fail(*_: object, **__: object) -> None:
        raise failure

    assert firm.worker.ledgers is not None
    backend, store = firm.worker.backend(), firm.worker.ledgers.here().store
    with pytest.MonkeyPatch.context() as patch:
        if where == "one place":
            patch.setattr(MemoryBeside, "push", fail)
        else:
            patch.setattr(backend, "beside", lambda _: None)
            patch.setattr(*((backend, "push") if where == "queue" else (store, "write")), fail)
        yield


def a_job(task: str = "double", **fields: Any) -> JobForm:
    """A form that is filled in."""
    return JobForm(**{"name": f"a {task}", "task_name": task, **fields})


def a_pipeline(*tasks: str, **fields: Any) -> PipelineForm:
    """One whose jobs take what the one before returned, where they can."""
    jobs = [a_job(task, use_previous_results=number > 0 and task == "double") for number, task in enumerate(tasks)]
    return PipelineForm(**{"name": "a pipeline", "jobs": jobs, **fields})
