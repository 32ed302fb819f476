"""The server is killed and away for a while: who enqueues is told at once, workers wait quietly, nothing is lost."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from chaos.kept_server import KeptServer, kept
from chaos.outage import OUTAGE, PROCESSES, at_work, processes, waited_out
from chaos.proxy import Proxy
from chaos.scale import FULL
from chaos.scene import AT_ONCE


@pytest.fixture
def server(tmp_path: Path) -> Iterator[KeptServer]:
    with kept(tmp_path) as server:
        yield server


@pytest.fixture(params=["redis", "resque+redis"] if FULL else ["redis"])
def scheme(request: pytest.FixtureRequest) -> str:
    """Of the format in which the jobs are kept."""
    chosen: str = request.param
    return chosen


@pytest.mark.timeout(300)
async def test_an_outage_is_told_in_time_waited_out_quietly_and_costs_nothing(
    server: KeptServer, scheme: str, tmp_path: Path, certify: Callable[..., None]
) -> None:
    with (
        Proxy(server.port) as proxy,
        processes(f"{scheme}://127.0.0.1:{proxy.port}/0", tmp_path) as workers,
    ):
        killed, connects = 0.0, 0

        async def kill() -> None:
            nonlocal killed
            server.kill()
            killed = time.monotonic()

        async def restart() -> None:
            nonlocal connects
            connects = sum(1 for at in proxy.connects if at >= killed)
            await asyncio.to_thread(server.start)

        async with at_work(f"{scheme}://127.0.0.1:{server.port}/0", tmp_path, workers) as producer:
            figures = await waited_out(producer, workers, kill=kill, restart=restart)
        # And nobody hammered at the door
        assert connects <= 2 * PROCESSES * (OUTAGE + AT_ONCE)
    certify("C1", backend=f"`{scheme}://`, network and server", **figures, connects=connects)
