"""What the page about RabbitMQ promises of servers that refuse, are blocked, or take jobs back."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager

import pika
import pytest

import servers
from amqp.server import connected
from amqp.stage import LIMIT, PATIENT, MakesBackends, awaited
from corpus import CORPUS
from worksong.adapters.amqp import AmqpBackend
from worksong.adapters.amqp.core import Core
from worksong.adapters.amqp.names import REDELIVERIES
from worksong.domain.errors import BackendFull, BackendRefused, BackendUnavailable, ConfigError, EnqueueOutcomeUnknown
from worksong.domain.job import Delivery, Job, new_id
from worksong.domain.lifecycle import State
from worksong.domain.outcome import Buried, Retried
from worksong.domain.poison import Reason
from worksong.ports.backend import Backend, Pool
from worksong.testing.contract.steps import T, a_job, beat, die, fetch, join, lend, listed, push, settle, some_jobs

pytestmark = pytest.mark.timeout(LIMIT)  # the first one waits for the server to start
UNREADABLE = {
    Reason.INVALID_JSON,
    Reason.INVALID_UTF8,
    Reason.NOT_AN_OBJECT,
    Reason.TOO_DEEP,
    Reason.TOO_LARGE,
    Reason.TOO_MANY_KEYS,
}
"""What is wrong with a body; all else that the corpus knows is wrong with a document of another format."""


@pytest.fixture
def namespace() -> str:
    return new_id()


@pytest.fixture
async def backend(rabbitmq_url: str, namespace: str) -> AsyncIterator[AmqpBackend]:
    backend = AmqpBackend(f"{rabbitmq_url}?namespace={namespace}&{PATIENT}")
    yield backend
    await backend.close()


async def one(backend: Backend, pool: Pool) -> Delivery:
    """The next job, however long the server takes."""
    found: list[Delivery] = []
    while not found:
        found = await fetch(backend, pool, wait=1.0, now=T + 1)
    return found[0]


# poison


def put_all(url: str, queue: str, bodies: Sequence[bytes]) -> None:
    """Put messages of somebody else into the queue."""
    with connected(url) as channel:
        channel.queue_declare(queue, durable=True)
        for body in bodies:
            channel.basic_publish("", queue, body, pika.BasicProperties(delivery_mode=2), mandatory=True)


async def test_whatever_lies_in_a_queue_runs_or_is_buried_with_its_bytes(
    backend: AmqpBackend, rabbitmq_url: str, namespace: str
) -> None:
    # Given bytes of every kind before a good job
    await asyncio.to_thread(put_all, rabbitmq_url, f"{namespace}.send", [raw for _, raw, _ in CORPUS])
    good = a_job()
    await push(backend, good)

    # When a pool takes all there is
    pool, ran = await join(backend), list[str]()
    while good.id not in ran:
        ran += [delivery.job.id for delivery in await fetch(backend, pool, 50, wait=1.0)]

    # Then everything else is among the dead, with a reason and the bytes that came
    async def all_seen() -> bool:
        return (await backend.counts())[State.DEAD] + len(ran) == len(CORPUS) + 1

    await awaited(all_seen, "the burial of all poison")
    dead = await listed(backend, State.DEAD)
    assert all(view.reason for view in dead)
    buried = Counter(view.raw for view in dead)
    assert buried <= Counter(raw for _, raw, _ in CORPUS)
    unreadable = Counter(raw for _, raw, wrong in CORPUS if wrong in UNREADABLE and raw != b"null")  # Go's for: none
    assert unreadable <= buried


# a server with an alarm on


@contextmanager
def no_memory(server: servers.Broker) -> Iterator[None]:
    """The server thinks that it has no memory left."""
    server.call("vm_memory_monitor", "set_vm_memory_high_watermark", "0.000001")
    try:
        yield
    finally:
        server.call("vm_memory_monitor", "set_vm_memory_high_watermark", "0.4")


async def test_a_server_with_an_alarm_on_takes_endings_and_no_jobs(
    rabbitmq_server: servers.Broker, namespace: str, a_backend: MakesBackends
) -> None:
    # Given a job that runs, and a server without memory
    backend = a_backend(f"{rabbitmq_server.url}?namespace={namespace}&timeout=10&heartbeat=60")
    pool, running = await lend(backend)
    taken, refused = list[Job](), list[Job]()
    with no_memory(rabbitmq_server):
        # When jobs are enqueued, then nobody knows of the first that the server does not read
        with pytest.raises(EnqueueOutcomeUnknown) as unknown:
            while True:
                job = a_job()
                await push(backend, job)
                taken.append(job)
        assert unknown.value.job_ids == (job.id,)

        # And the others are refused
        async def full() -> bool:
            job = a_job()
            try:
                await push(backend, job)
            except (BackendFull, EnqueueOutcomeUnknown) as told:
                refused.append(job)
                return isinstance(told, BackendFull)
            taken.append(job)
            return False

        await awaited(full, "word of the alarm")
        assert [finding.id for finding in await backend.admit()] == ["amqp.blocked"]
        # And the ending of the one that runs is taken
        assert await settle(backend, running)

    # When the alarm is over, then jobs are taken in, and nothing is there of those that were refused
    async def over() -> bool:
        try:
            return await push(backend, last) == [True]
        except (BackendFull, EnqueueOutcomeUnknown):
            return False

    last, found = a_job(), list[str]()
    await awaited(over, "the end of the alarm")
    while last.id not in found:
        found.append((await one(backend, pool)).job.id)
    assert {job.id for job in taken} <= set(found)
    assert refused[-1].id not in found


@contextmanager
def no_room(server: servers.Broker) -> Iterator[None]:
    """Nobody else may connect."""
    server.ask(r'rabbit_vhost_limit:parse_set(<<"/">>, <<"{\"max-connections\": 0}">>, <<"test">>), "set"')
    try:
        yield
    finally:
        server.ask('rabbit_vhost_limit:clear(<<"/">>, <<"test">>), "cleared"')


async def test_a_server_with_too_many_connections_is_waited_for(
    backend: AmqpBackend, rabbitmq_server: servers.Broker
) -> None:
    # Given a server that takes no more connections
    full = r"takes no more connections.*connection limit.*raise that limit"
    # When a job is enqueued, then nobody is told to create the vhost, which is there
    with no_room(rabbitmq_server), pytest.raises(BackendUnavailable, match=full):
        await push(backend, a_job())

    # And when there is room again, then it is taken in
    async def taken() -> bool:
        try:
            return await push(backend, a_job()) == [True]
        except BackendUnavailable:
            return False

    await awaited(taken, "the server's room")


# jobs that run longer than the server allows


@contextmanager
def impatient(server: servers.Broker) -> Iterator[None]:
    """Channels that are opened meanwhile may keep a delivery for a moment only."""
    _set(server, tick=100, timeout=200)
    try:
        yield
    finally:
        _set(server, tick=60_000, timeout=1_800_000)


def _set(server: servers.Broker, *, tick: int, timeout: int) -> None:
    """Milliseconds between two looks at what a channel keeps, and for which it may keep something."""
    server.call(
        "application", "set_env", f"[{{rabbit, [{{channel_tick_interval, {tick}}}, {{consumer_timeout, {timeout}}}]}}]"
    )


async def test_a_job_longer_than_the_server_allows_is_taken_back_and_told_of(
    backend: AmqpBackend, rabbitmq_server: servers.Broker, caplog: pytest.LogCaptureFixture
) -> None:
    # Given a server that waits for no ending for long, and a job that runs
    caplog.set_level(logging.WARNING)
    with impatient(rabbitmq_server):
        pool, running = await lend(backend)

        # When that takes too long, then the pool hears that it is not its own any more
        async def lost() -> bool:
            return running in (await beat(backend, pool, running)).lost

        await awaited(lost, "the loss of the job")
    # And the log says what to do, and the ending comes too late
    assert "write consumer_timeout= into the URL" in caplog.text
    assert not await settle(backend, running)
    # And from now on the process knows how long the server waits
    assert await backend._do(_allowed) == 0.2
    # And the pool works on: the job is lent once more
    again = await one(backend, pool)
    assert (again.job.id, await settle(backend, again)) == (running.job.id, True)


async def _allowed(core: Core) -> float:
    return core.lendings._holds.allowed


# quorum queues


async def test_quorum_queues_keep_what_is_promised_of_classic_ones(
    rabbitmq_url: str, namespace: str, a_backend: MakesBackends
) -> None:
    backend = a_backend(f"{rabbitmq_url}?namespace={namespace}&queue_type=quorum")
    # Given a job in quorum queues, which nobody may declare as others
    pool, first = await lend(backend)
    with (
        connected(rabbitmq_url) as channel,
        pytest.raises(pika.exceptions.ChannelClosedByBroker, match="inequivalent arg"),
    ):
        channel.queue_declare(f"{namespace}.send", durable=True)
    # When it fails, then it comes again through the delay queue
    assert await settle(backend, first, Retried(T + 0.05, "boom"))
    second = await one(backend, pool)
    assert (second.job.id, second.job.attempt, second.job.error) == (first.job.id, 2, "boom")
    # And when it is given up, it is dead, and can be queued again
    assert await settle(backend, second, Buried("no more"))
    assert [(view.id, view.error) for view in await listed(backend, State.DEAD)] == [(first.job.id, "no more")]

    async def queued() -> bool:  # a quorum queue takes a moment to take back what the listing looked at
        return await backend.requeue(State.DEAD, [first.job.id], T) == 1

    await awaited(queued, "the job's return from the dead")
    assert await settle(backend, await one(backend, pool))


async def test_a_quorum_queue_gives_a_job_that_kills_its_workers_to_the_dead(
    rabbitmq_url: str, namespace: str, a_backend: MakesBackends
) -> None:
    backend = a_backend(f"{rabbitmq_url}?namespace={namespace}&queue_type=quorum")
    # Given a job, and workers that die with it as often as the queue allows
    job, good = a_job(), a_job("other")
    await push(backend, job, good)
    for _ in range(REDELIVERIES + 1):
        pool = await join(backend)
        assert (await one(backend, pool)).job.id == job.id
        await die(backend, pool)

    # Then the server gives it to the dead, as it was
    async def dead() -> bool:
        return (await backend.counts())[State.DEAD] == 1

    await awaited(dead, "the dead job")
    (view,) = await listed(backend, State.DEAD)
    assert (view.id, view.job.args) == (job.id, job.args)
    # And nothing else went with it
    assert (await one(backend, await join(backend, "other"))).job.id == good.id


async def test_what_a_busy_pool_hands_back_again_and_again_is_not_given_up(
    rabbitmq_url: str, namespace: str, a_backend: MakesBackends
) -> None:
    backend = a_backend(f"{rabbitmq_url}?namespace={namespace}&queue_type=quorum")
    # Given a pool, and more jobs than the server counts returns
    count = REDELIVERIES + 10
    pool = Pool(id=new_id(), handlers=("send",), concurrency=count, started_at=T)
    await backend.enlist(pool, T)
    jobs = some_jobs(2 * count)
    await push(backend, *jobs)
    ran: list[str] = []
    for _ in range(count):
        # When it takes one after the other, and is busy whenever a beat comes: the others go back
        delivery = await one(backend, pool)
        for _ in range(2):
            await beat(backend, pool, delivery)
        assert await settle(backend, delivery)
        ran.append(delivery.job.id)
    # Then each of them runs in the end, and none is dead
    while len(ran) < len(jobs):
        for delivery in await fetch(backend, pool, count, wait=1.0):
            assert await settle(backend, delivery)
            ran.append(delivery.job.id)
    assert sorted(ran) == sorted(job.id for job in jobs)
    assert (await backend.counts())[State.DEAD] == 0


# what is sent to a pool


async def test_a_pool_has_no_more_sent_than_it_has_slots(backend: AmqpBackend) -> None:
    # Given a pool with four slots, and ten jobs
    pool = Pool(id=new_id(), handlers=("send",), concurrency=4, started_at=T)
    await backend.enlist(pool, T)
    await push(backend, *some_jobs(10))

    async def wait(count: int) -> None:
        async def so_many() -> bool:
            return (await backend.counts())[State.QUEUED] == count

        await awaited(so_many, f"{count} jobs that wait")

    # When it takes one, then it has four in its hands
    first = await one(backend, pool)
    await wait(6)
    # And when it is busy for two beats, then what it has not begun goes back
    for _ in range(2):
        await beat(backend, pool, first)
    await wait(9)
    # And when it takes one more, then it has four again: the one that runs counts
    await one(backend, pool)
    await wait(6)
    assert (await backend.counts())[State.QUEUED] == 6


# queues that somebody declared otherwise


async def test_a_delay_queue_declared_otherwise_is_refused_with_the_mend(
    backend: AmqpBackend, rabbitmq_url: str, namespace: str
) -> None:
    # Given a delay queue of somebody else under the name of ours: what is refused closes a channel: Go has one (B10)
    with connected(rabbitmq_url) as channel:
        channel.queue_declare(f"{namespace}.send.delay.51200", durable=True)
    # When a job for later needs it, then the refusal says which, why and what to do
    with pytest.raises(BackendRefused, match=r"send\.delay\.51200.*inequivalent arg.*delete it when it is empty"):
        await push(backend, a_job(run_at=T + 60))
    # And a running job that wants to wait for so long is not lost by it
    pool, running = await lend(backend)
    with pytest.raises(BackendRefused, match="inequivalent arg"):
        await settle(backend, running, Retried(T + 60, "boom"))
    assert (await beat(backend, pool, running)).lost == ()
    assert await settle(backend, running)


async def test_queues_of_another_type_are_used_as_they_are(
    rabbitmq_url: str, namespace: str, a_backend: MakesBackends
) -> None:
    # Given classic queues, and a worker that would have quorum queues
    classic = a_backend(f"{rabbitmq_url}?namespace={namespace}")
    job = a_job()
    await push(classic, job)
    quorum = a_backend(f"{rabbitmq_url}?namespace={namespace}&queue_type=quorum")
    # When it works, then it takes what is there
    assert (await one(quorum, await join(quorum))).job.id == job.id
    # And the doctor tells
    found = {finding.id: finding.detail for finding in await quorum.examine(T)}
    assert f"{namespace}.send (inequivalent arg" in found["amqp.declared"]


async def test_a_quorum_queue_that_gives_no_job_up_is_told_of(
    rabbitmq_url: str, namespace: str, a_backend: MakesBackends
) -> None:
    # Given a quorum queue of somebody else, without a limit of deliveries
    with connected(rabbitmq_url) as channel:
        channel.queue_declare(f"{namespace}.send", durable=True, arguments={"x-queue-type": "quorum"})
    quorum = a_backend(f"{rabbitmq_url}?namespace={namespace}&queue_type=quorum")
    await join(quorum)
    # When the doctor looks, then it names what differs
    found = {finding.id: finding.detail for finding in await quorum.examine(T)}
    assert f"{namespace}.send (inequivalent arg" in found["amqp.declared"]


# TLS


@pytest.fixture
def authority(rabbitmq_server: servers.Broker) -> str:
    """The file that says whom to trust."""
    if rabbitmq_server.authority is None:
        pytest.skip("openssl is not installed")
    return str(rabbitmq_server.authority)


async def test_a_server_that_is_trusted_is_worked_with_over_tls(
    rabbitmq_server: servers.Broker, authority: str, namespace: str, a_backend: MakesBackends
) -> None:
    for host, option in (("localhost", f"cafile={authority}"), ("127.0.0.1", "verify=false")):
        url = f"amqps://guest:guest@{host}:{rabbitmq_server.tls_port}/?namespace={namespace}&{option}"
        backend = a_backend(url)
        _, delivery = await lend(backend)
        assert await settle(backend, delivery)


@pytest.mark.parametrize(
    ("host", "trust", "told"),
    [
        ("localhost", "", "self-signed certificate; give its authority with cafile="),
        ("127.0.0.1", "&cafile={}", "not valid for '127.0.0.1'.*give its authority with cafile="),
        ("localhost", "&cafile=/no/such.pem", "TLS files /no/such.pem cannot be used"),
    ],
)
async def test_a_server_that_is_not_trusted_gets_no_password(
    rabbitmq_server: servers.Broker, authority: str, host: str, trust: str, told: str
) -> None:
    port = rabbitmq_server.tls_port
    backend = AmqpBackend(f"amqps://guest:guest@{host}:{port}/?namespace=a{trust.format(authority)}&{PATIENT}")
    with pytest.raises(ConfigError, match=told):
        await push(backend, a_job())
    await backend.close()


async def test_tls_to_a_port_without_it_and_the_reverse_are_told_of(
    rabbitmq_server: servers.Broker, authority: str, a_backend: MakesBackends
) -> None:
    # Given a URL with TLS for the port without, and the other way round
    for scheme, port in (("amqps", rabbitmq_server.port), ("amqp", rabbitmq_server.tls_port)):
        backend = a_backend(f"{scheme}://guest:guest@localhost:{port}/?namespace=a")
        # When a job is enqueued, then the error says that nobody could be reached there
        with pytest.raises(BackendUnavailable, match=f"localhost:{port}"):
            await push(backend, a_job())
