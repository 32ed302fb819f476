"""What others put into Resque's queues, and servers that will not do: told with a reason, and no job is lost.

The poison corpus and classes that nobody here knows stand in `test_stored`, faults of the network in `tests/chaos`.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

import servers
from interop.fleet import eventually, left, running
from resque.conftest import NewWorker, Stored
from worksong.adapters.resque import ResqueBackend
from worksong.domain.errors import BackendRefused, BackendUnavailable, ConfigError
from worksong.domain.lifecycle import State
from worksong.testing.contract.steps import a_job, push

pytestmark = pytest.mark.timeout(300)


@pytest.mark.parametrize("args", [["seven"], [7, 8], [], [None], [{"m": 7}]], ids=str)
async def test_positional_arguments_that_do_not_fit_make_a_failure_with_the_bytes(
    new_worker: NewWorker, stored: Stored, args: list[object]
) -> None:
    # Given a payload of Ruby whose arguments the handler does not take, and one that it takes
    worker, ran = new_worker(), list[int]()

    @worker.job(max_fails=1)
    def count(n: int) -> None:
        ran.append(n)

    bad = json.dumps({"class": "count", "args": args})
    stored.redis.sadd(stored.key("queues"), "critical")
    stored.redis.rpush(stored.key("queue:critical"), bad, '{"class":"count","args":[1]}')
    # When a worker of ours runs
    async with running(worker):
        await eventually(lambda: left(worker), lambda states: states == {State.DEAD: 1})
    # Then the one has failed as Ruby would have it fail, and the other one ran
    (failure,) = (json.loads(raw) for raw in stored.redis.lrange(stored.key("failed"), 0, -1))
    assert (failure["payload"]["class"], failure["payload"]["args"]) == ("count", args)
    assert failure["exception"] == "InvalidArguments"
    assert "count(" in failure["error"]
    assert ran == [1]


async def test_a_refused_password_is_told(redis_server: servers.Redis) -> None:
    backend = ResqueBackend(f"resque+redis://:s3cret@127.0.0.1:{redis_server.port}/0?timeout=60")
    with pytest.raises(ConfigError, match="AUTH") as refused:
        await push(backend, a_job("count", []))
    assert "s3cret" not in str(refused.value)
    await backend.close()


@asynccontextmanager
async def answering(words: bytes, ended: asyncio.Event) -> AsyncIterator[int]:
    """A port whose server says this to every command, until its one client hangs up."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(words * data.count(b"*"))
        writer.close()
        ended.set()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def test_a_server_too_old_for_scripts_is_told_of() -> None:
    # Given a server that knows none of the commands that are needed
    ended = asyncio.Event()
    async with answering(b"-ERR unknown command\r\n", ended) as port:
        backend = ResqueBackend(f"resque+redis://127.0.0.1:{port}/0?timeout=60")
        # When a job is enqueued, then what the server says of it is told
        with pytest.raises(BackendRefused, match="unknown command"):
            await push(backend, a_job("count", []))
        await backend.close()
        await ended.wait()


async def test_a_line_of_which_one_end_is_gone_is_given_up() -> None:
    # Given a server that takes connections, and of which nothing more is heard
    with socket.create_server(("127.0.0.1", 0)) as listener:
        backend = ResqueBackend(f"resque+redis://127.0.0.1:{listener.getsockname()[1]}/0?timeout=0.2")
        # When a job is enqueued, then that is told after the timeout
        with pytest.raises(BackendUnavailable, match=r"0\.2"):
            await push(backend, a_job("count", []))
        await backend.close()
