"""A small service: tasks in Valet's form and a typed job, for any program that speaks HTTP or gRPC.

make serve
curl -s 127.0.0.1:8080/api/jobs -H 'Content-Type: application/json' \
     -d '{"name": "a page", "task_name": "fetch", "task_params": {"url": "https://example.com"}}'
"""

from __future__ import annotations

import asyncio
from typing import Any

from worksong import Pipeline, Worker

worker = Worker("sqlite:///service.db", name="service", records="sqlite:///service.db")


@worker.task("fetch")
async def fetch(params: dict[str, Any]) -> str:
    """As if it were slow."""
    await asyncio.sleep(0.1)
    return f"the page of {params['url']}"


@worker.task("count")
def count(params: dict[str, Any], previous: str = "") -> int:
    """What the step before returned, when the pipeline says so; a parameter otherwise."""
    return len((previous or params.get("text", "")).split())


@worker.job(max_fails=3)
async def greet(name: str, times: int = 1) -> str:
    """Not in Valet's form: the members of task_params are its arguments."""
    return ", ".join([f"hello {name}"] * times)


if __name__ == "__main__":
    worker.connect("memory://")
    worker.keep_records("memory://")
    pipeline = Pipeline([fetch.step({"url": "https://example.com"}), count.step({}, previous=True)])
    worker.start()
    print("words of the page:", pipeline.perform().result(timeout=60))
    worker.stop()
