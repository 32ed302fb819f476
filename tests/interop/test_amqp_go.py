"""Jobs between Go and Python over RabbitMQ, in the form of Buffalo's adapter: none lost, none altered."""

from __future__ import annotations

import json
import os
import random
import string
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import gotool
import servers
from amqp.server import connected, got
from amqp.stage import LIMIT, a_worker, until
from chaos.scale import SEED, sized
from conftest import GoBuild
from worksong import Job
from worksong.domain.job import new_id

JOBS = sized(5000)
pytestmark = pytest.mark.timeout(gotool.BUILT + LIMIT)  # the server, and the Go program, take long the first time


@pytest.fixture(scope="module")
def peer(go_binary: GoBuild) -> Path:
    """The Go program; its module must be had from the network, and the jobs are too many for every run."""
    if not os.environ.get("WORKSONG_RABBITMQ"):
        pytest.skip("thousands of jobs between Go and Python over RabbitMQ: make rabbitmq")
    try:
        return go_binary(Path(__file__).parent / "amqp")
    except gotool.Refused as refused:
        pytest.skip(f"the peer on RabbitMQ cannot be built here: {refused}")


def random_args(chance: random.Random) -> dict[str, Any]:
    """Whatever a job may carry; numbers are those that Go reads without losing digits."""
    return {_text(chance): _value(chance, 3) for _ in range(chance.randrange(6))}


def _value(chance: random.Random, depth: int) -> Any:
    kinds: list[Callable[[], Any]] = [
        lambda: chance.randrange(-(2**53) + 1, 2**53),
        lambda: chance.uniform(-1e6, 1e6),
        lambda: _text(chance),
        lambda: chance.choice([True, False, None]),
        lambda: [_value(chance, depth - 1) for _ in range(chance.randrange(4))],
        lambda: {_text(chance): _value(chance, depth - 1) for _ in range(chance.randrange(4))},
    ]
    return chance.choice(kinds if depth else kinds[:4])()


def _text(chance: random.Random) -> str:
    letters = string.ascii_letters + 'äß漢<>&\u2028"\\\n\t\0\N{PARTY POPPER}'
    return "".join(chance.choice(letters) for _ in range(chance.randrange(12)))


def canonical(args: Any) -> str:
    return json.dumps(args, sort_keys=True)


def test_jobs_of_go_run_here(rabbitmq_url: str, peer: Path) -> None:
    # Given jobs that Go enqueued into a queue that it declared
    chance, queue, ran = random.Random(SEED), f"from-go-{new_id()}", []
    jobs = [random_args(chance) for _ in range(JOBS)]
    lines = "".join(f"{json.dumps(args)}\n" for args in jobs)
    subprocess.run([peer, "produce", rabbitmq_url, queue], input=lines.encode(), check=True, timeout=300)
    # When a worker runs them
    worker = a_worker(f"{rabbitmq_url}?namespace=")
    worker.register(queue, lambda args: ran.append(canonical(args)))
    worker.start()
    until(lambda: len(ran) >= JOBS, f"{JOBS} jobs of Go (seed {SEED})")
    worker.stop()
    # Then none was lost, and none altered
    assert sorted(ran) == sorted(map(canonical, jobs))
    assert got(rabbitmq_url, queue) == []
    _forget(rabbitmq_url, queue)


def test_jobs_of_ours_run_there(rabbitmq_url: str, peer: Path) -> None:
    # Given jobs that we enqueued, into a queue that we declared first
    chance, queue = random.Random(SEED + 1), f"to-go-{new_id()}"
    jobs = {new_id(): random_args(chance) for _ in range(JOBS)}
    worker = a_worker(f"{rabbitmq_url}?namespace=")
    worker.perform_many([Job(queue, args, id=job_id) for job_id, args in jobs.items()])
    # When Go declares the queue and runs them
    command = [peer, "consume", rabbitmq_url, queue, str(JOBS)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    # Then none was lost, and none altered
    ran = dict(line.split("\t", 1) for line in done.stdout.splitlines())
    assert {job_id: canonical(json.loads(args)) for job_id, args in ran.items()} == {
        job_id: canonical(args) for job_id, args in jobs.items()
    }
    _forget(rabbitmq_url, queue)


def test_a_retried_job_reaches_go(rabbitmq_url: str, peer: Path) -> None:
    # Given a job that fails here, and waits in a delay queue when its worker stops
    queue = f"late-{new_id()}"
    worker = a_worker(f"{rabbitmq_url}?namespace=", concurrency=1)
    tries: list[str] = []

    @worker.job(name=queue, max_fails=1000, backoff=lambda job: 1.0)
    async def fails(n: int) -> None:
        tries.append("")
        raise ValueError(n)

    worker.start()
    worker.perform(Job(queue, {"n": 1}))
    until(lambda: tries, "the first try")
    worker.stop()
    # When Go consumes, then it comes as it was
    done = subprocess.run(
        [peer, "consume", rabbitmq_url, queue, "1"], capture_output=True, text=True, check=True, timeout=100
    )
    assert done.stdout.partition("\t")[2] == '{"n":1}\n'
    _forget(rabbitmq_url, queue)


def test_what_failed_in_go_runs_here(rabbitmq_url: str, peer: Path) -> None:
    # Given jobs whose handler failed in Go, which tells the server nothing of it until it ends
    queue, ran = f"failed-{new_id()}", list[int]()
    lines = "".join(f'{{"n":{n}}}\n' for n in range(20))
    subprocess.run([peer, "produce", rabbitmq_url, queue], input=lines.encode(), check=True, timeout=100)
    told = subprocess.run([peer, "fail", rabbitmq_url, queue, "20"], capture_output=True, check=True, timeout=100)
    assert len(told.stdout.splitlines()) == 20
    # When a worker of ours runs, then it runs all of them
    worker = a_worker(f"{rabbitmq_url}?namespace=")
    worker.register(queue, lambda args: ran.append(args["n"]))
    worker.start()
    until(lambda: len(ran) >= 20, "20 jobs that failed in Go")
    worker.stop()
    assert sorted(ran) == list(range(20))
    _forget(rabbitmq_url, queue)


def test_what_is_dead_here_can_be_taken_up_by_go(rabbitmq_url: str, peer: Path) -> None:
    # Given a job that failed here for good
    queue = f"buried-{new_id()}"
    worker = a_worker(f"{rabbitmq_url}?namespace=", concurrency=1)

    @worker.job(name=queue, max_fails=1)
    async def fails(n: int) -> None:
        raise ValueError(n)

    handle = worker.perform(Job(queue, {"n": 7}))
    worker.start()
    until(lambda: worker.stats.buried, "the burial")
    worker.stop()
    # When Go consumes the dead ones, whose queue it declares as it does all, then it finds the job with its id
    command = [peer, "consume", rabbitmq_url, f"{queue}.dead", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=100)
    assert handle
    assert done.stdout == f'{handle.id}\t{{"n":7}}\n'
    _forget(rabbitmq_url, queue)


def test_what_go_delays_is_waited_for_here(rabbitmq_url: str, peer: Path) -> None:
    # Given a job that Go enqueued for three seconds later: the server was asked for three milliseconds
    queue, ran = f"late-go-{new_id()}", list[tuple[float, dict[str, Any]]]()
    worker = a_worker(f"{rabbitmq_url}?namespace=&repair_delays=true")
    worker.register(queue, lambda args: ran.append((time.time(), args)))
    asked = time.time()
    subprocess.run([peer, "delay", rabbitmq_url, queue, "3"], input=b'{"n":1}', check=True, timeout=100)
    # When a worker of ours runs it, then not before its time; the server tells it in whole seconds
    worker.start()
    until(lambda: ran, "Go's job for later")
    worker.stop()
    ((at, args),) = ran
    assert args == {"n": 1}
    assert at - asked >= 2
    _forget(rabbitmq_url, queue, f"{queue}_delayed_3")


def test_a_job_for_later_of_ours_reaches_go(rabbitmq_url: str, peer: Path) -> None:
    # Given a job for later, and nobody of ours who would have it hop: half of its time is over when Go gets it
    queue = f"late-ours-{new_id()}"
    worker, asked = a_worker(f"{rabbitmq_url}?namespace="), time.time()
    handle = worker.perform_in(Job(queue, {"n": 1}), 1.6)
    # When Go consumes, then it comes as it was
    command = [peer, "consume", rabbitmq_url, queue, "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=100)
    assert time.time() - asked >= 0.8
    assert handle
    assert done.stdout == f'{handle.id}\t{{"n":1}}\n'
    worker.stop()
    _forget(rabbitmq_url, queue)


def test_the_server_lists_the_consumers_of_both(rabbitmq_server: servers.Broker, peer: Path) -> None:
    # Given a worker of ours and one of Go, each on a queue of its own
    ours, theirs = f"ours-{new_id()}", f"theirs-{new_id()}"
    url = rabbitmq_server.url
    worker = a_worker(f"{url}?namespace=")
    worker.register(ours, lambda args: None)
    worker.start()
    pipe = subprocess.PIPE
    with subprocess.Popen([peer, "wait", url, theirs], stdin=pipe, stdout=pipe) as go:
        try:
            assert go.stdout
            assert go.stdout.readline() == b"waits\n"
            until(lambda: _consumers(rabbitmq_server).keys() >= {ours, theirs}, "both consumers")
            # When an operator asks the server, as rabbitmqctl list_consumers does, then it names both
            told = _consumers(rabbitmq_server)
            assert told[theirs] == f"buffalo_{theirs}_1"
            assert f"_{os.getpid()}_{ours}_" in told[ours]
        finally:
            go.communicate(timeout=100)
    worker.stop()
    for queue in (ours, theirs):
        _forget(url, queue)


def _consumers(server: servers.Broker) -> dict[str, str]:
    """Queue -> the tag of its consumer."""
    told = server.ask(
        """lists:append([io_lib:format("~s~n~s~n", [Name, Tag])
            || Queue <- rabbit_amqqueue:list(), {_, Tag, _, _, _, _, _, _} <- rabbit_amqqueue:consumers(Queue),
               {resource, _, _, Name} <- [amqqueue:get_name(Queue)]])"""
    ).splitlines()
    return dict(zip(told[::2], told[1::2], strict=True))


def _forget(url: str, queue: str, *more: str) -> None:
    with connected(url) as channel:
        for name in (queue, f"{queue}.dead", *more):
            channel.queue_delete(name)
