"""The job service's own cost: CPU microseconds per job that is created, with its run included.

    python -m bench.service [--requests N] [--callers N] [--rate N] [--grpc] [--results] [--url U] [--runs N]

`worksong serve` is a process of its own, the callers are in this one. `--rate`: so many requests per second are begun,
whoever is late, and what callers waited is told; without it, each caller asks as soon as he is answered. `--results`: a
request is answered when its job has run and its result was told. `--url`: where queue and records are, memory://
otherwise; `sqlite:///jobs.db` is in a directory of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from bench.processes import cpu_seconds
from bench.results import percentile
from bench.system import ROOT
from worksong.faces.cli.listening import listening
from worksong.settings import Address

APP = """
from worksong import Worker

worker = Worker()


@worker.task("nothing")
async def nothing(params): ...
"""
BODY = b'{"name": "measured", "task_name": "nothing", "task_params": {"n": 1, "of": "some"}}'
REQUEST = (
    b"POST /api/jobs HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    b"content-length: %d\r\n\r\n%b" % (len(BODY), BODY)
)
START = 60.0
"""Seconds that the service may take to begin."""
WARM = 2000
"""Requests that are not counted."""
Ask: TypeAlias = Callable[[], Awaitable[None]]


class Figures(NamedTuple):
    """What a run showed."""

    rate: float
    """Requests per second."""
    cpu: float
    """Microseconds of the service's process per request."""
    waits: list[float]
    """Seconds until each was answered."""

    def __str__(self) -> str:
        late = percentile(self.waits, 99) * 1000
        return f"{self.rate:8.0f} requests/s  {self.cpu:7.1f} us CPU per request  p99 {late:6.1f} ms"


@contextmanager
def serving(at: Address, url: str, *, grpc: bool) -> Iterator[int]:
    """The service in a process of its own: its pid."""
    with tempfile.TemporaryDirectory(prefix="worksong-bench-") as name:
        (Path(name) / "measured.py").write_text(APP)
        faces = ("--http", "off", "--grpc", str(at)) if grpc else ("--grpc", "off", "--http", str(at))
        command = [sys.executable, "-m", "worksong", "serve", "measured:worker", "--url", url, *faces]
        environ = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "PYTHONUNBUFFERED": "1"}
        with (Path(name) / "log").open("wb") as log:
            process = subprocess.Popen(command, cwd=name, env=environ, stdout=subprocess.PIPE, stderr=log)
            try:
                assert process.stdout and b"worksong service" in process.stdout.readline()
                yield process.pid
            finally:
                process.terminate()
                process.wait()


async def over_http(at: Address, *, results: bool) -> Ask:
    """A caller on a connection of his own, who reads no more of an answer than he must."""
    reader, writer = await asyncio.open_connection(at.host, at.port)

    async def answer(request: bytes, status: bytes) -> bytes:
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 " + status), head
        length = head.lower().partition(b"content-length: ")[2].partition(b"\r")[0]
        return await reader.readexactly(int(length))

    async def ask() -> None:
        created = await answer(REQUEST, b"202")
        if results:
            job_id = created[len(b'{"id":"') :].partition(b'"')[0]
            await answer(b"GET /api/v1/jobs/%b/result?wait=60 HTTP/1.1\r\nhost: localhost\r\n\r\n" % job_id, b"200")

    return ask


_channels: dict[Address, Any] = {}


async def over_grpc(at: Address) -> Ask:
    """A caller on the one connection that all of them share."""
    import grpc
    from google.protobuf.struct_pb2 import Struct

    from worksong.faces.grpc.wire import job_pb2

    channel = _channels.setdefault(at, grpc.aio.insecure_channel(str(at)))
    params = Struct()
    params.update({"n": 1, "of": "some"})
    request = job_pb2.CreateJobRequest(name="measured", task_name="nothing", task_params=params)
    create = channel.unary_unary(
        "/job.Job/Create",
        request_serializer=job_pb2.CreateJobRequest.SerializeToString,
        response_deserializer=job_pb2.CreateJobResponse.FromString,
    )

    async def ask() -> None:
        await create(request)

    return ask


async def measure(asks: list[Ask], pid: int, requests: int, rate: float) -> Figures:
    """So many requests by these callers."""
    waits: list[float] = []
    left, begun = iter(range(requests)), time.perf_counter()

    async def call(ask: Ask) -> None:
        for number in left:
            due = begun + number / rate if rate else time.perf_counter()
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            await ask()
            waits.append(time.perf_counter() - due)

    used = cpu_seconds(pid)
    await asyncio.gather(*map(call, asks))
    took = time.perf_counter() - begun
    return Figures(requests / took, (cpu_seconds(pid) - used) / requests * 1e6, waits)


async def runs(at: Address, pid: int, options: argparse.Namespace) -> list[Figures]:
    """Each printed as it ends."""
    http = partial(over_http, results=options.results)
    asks = [await (over_grpc(at) if options.grpc else http(at)) for _ in range(options.callers)]
    await measure(asks, pid, min(WARM, options.requests), 0.0)
    figures: list[Figures] = []
    for _ in range(options.runs):
        figures.append(await measure(asks, pid, options.requests, options.rate))
        print(figures[-1])
    return figures


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--callers", type=int, default=32)
    parser.add_argument("--rate", type=float, default=0.0)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--url", default="memory://")
    parser.add_argument("--results", action="store_true")
    parser.add_argument("--grpc", action="store_true")
    options = parser.parse_args()
    if options.grpc and options.results:
        parser.error("--results is measured over HTTP alone: leave out --grpc")
    with listening(Address("127.0.0.1", 0)) as free:
        at = Address("127.0.0.1", free.getsockname()[1])
    with serving(at, options.url, grpc=options.grpc) as pid:
        figures = asyncio.run(runs(at, pid, options))
    print(
        f"median {statistics.median(run.rate for run in figures):.0f} requests/s, "
        f"{statistics.median(run.cpu for run in figures):.1f} us CPU per request"
    )


if __name__ == "__main__":
    main()
