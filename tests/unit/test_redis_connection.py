"""The Redis client against real servers: order, cancellation, and what exactly is known after every failure."""

from __future__ import annotations

import asyncio
import gc
import logging
import random
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from patience import auntil
from worksong.adapters.redis.address import parse
from worksong.adapters.redis.client import NoAnswer, NotSent, Redis, Reply, Script, ServerError
from worksong.adapters.redis.connection import Connection
from worksong.domain.errors import BackendFull, BackendRefused, ConfigError

pytestmark = pytest.mark.skipif(shutil.which("redis-server") is None, reason="redis-server is not installed")

INCREMENT = Script("return redis.call('INCR', KEYS[1])")
ECHO = Script("return ARGV[1]")


class Server:
    """A redis-server that can be killed and started again."""

    def __init__(self, folder: Path, config: str, *options: str) -> None:
        self.socket = folder / "redis.sock"
        self.port = free_port()
        written = folder / "redis.conf"
        written.write_text(f"port {self.port}\nunixsocket {self.socket}\ndir {folder}\n{config}\n")
        self.command = ("redis-server", str(written), *options)
        self.start()

    @property
    def url(self) -> str:
        return f"redis+unix://{self.socket}"

    @property
    def tcp(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def start(self) -> None:
        self.process = subprocess.Popen(self.command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        said: list[str] = []
        for line in self.process.stdout:
            said.append(line)
            if "ready to accept connections" in line.lower() or "Sentinel ID is" in line:
                return
        self.kill()
        raise AssertionError("".join(said))

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture
def start() -> Iterator[Callable[..., Server]]:
    servers: list[Server] = []
    with tempfile.TemporaryDirectory(prefix="redis") as root:

        def begin(*options: str, config: str = 'save ""') -> Server:
            folder = Path(root, str(len(servers)))
            folder.mkdir()
            servers.append(Server(folder, config, *options))
            return servers[-1]

        yield begin
        for server in servers:
            server.kill()


@pytest.fixture(autouse=True)
def nothing_is_left_behind(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    yield
    gc.collect()
    records = caplog.get_records("call") + caplog.get_records("teardown")
    assert [record.getMessage() for record in records if record.name == "asyncio"] == []


@pytest.fixture
def server(start: Callable[..., Server]) -> Server:
    return start()


@asynccontextmanager
async def using(url: str, *, jitter: float = 0.0) -> AsyncGenerator[Redis, None]:
    redis = Redis(parse(url), draw=lambda: jitter)
    try:
        yield redis
    finally:
        await redis.close()


async def blocked(redis: Redis) -> bool:
    return b"blocked_clients:1" in await redis.call("INFO", "clients")


async def alone(redis: Redis) -> bool:
    return b"connected_clients:1\r" in await redis.call("INFO", "clients")


Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def listening(talk: Talk, query: str = "") -> AsyncGenerator[str, None]:
    """A server that misbehaves as `talk` does; each connection ends with it."""
    serving: list[asyncio.Task[None]] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await talk(reader, writer)
        finally:
            writer.close()

    def welcome(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.append(asyncio.create_task(serve(reader, writer)))

    async with await asyncio.start_server(welcome, "127.0.0.1", 0) as listener:
        yield f"redis://127.0.0.1:{listener.sockets[0].getsockname()[1]}{query}"
    await asyncio.gather(*serving)


async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"worksong\r\n")
    writer.write(b"+OK\r\n")


async def test_a_thousand_concurrent_calls_get_their_own_answers(server: Server) -> None:
    async with using(server.url) as redis:
        answers = await asyncio.gather(*(redis.call("ECHO", n) for n in range(1000)))
        assert answers == [str(n).encode() for n in range(1000)]
        assert b"connected_clients:1" in await redis.call("INFO", "clients")


async def test_every_kind_of_answer_comes_as_it_is(server: Server) -> None:
    async with using(f"{server.tcp}/1?timeout=30") as redis:
        assert await redis.call("SET", "k", b"\x00\xff") == b"OK"
        assert await redis.call("GET", "k") == b"\x00\xff"
        assert await redis.call("GET", "none") is None
        assert await redis.call("INCRBY", "n", 7) == 7
        assert await redis.call("RPUSH", "l", "ä", 1.5) == 2
        assert await redis.call("LRANGE", "l", 0, -1) == ["ä".encode(), b"1.5"]
        assert await redis.call("ECHO", b"x" * 3_000_000) == b"x" * 3_000_000
        assert b"db=1" in await redis.call("CLIENT", "INFO")
        assert b"name=worksong" in await redis.call("CLIENT", "INFO")


async def test_an_error_is_raised_at_its_caller_only(server: Server) -> None:
    async with using(server.url) as redis:
        await redis.call("SET", "text", "x")
        fine, wrong, after = await asyncio.gather(
            redis.call("ECHO", "a"), redis.call("LPUSH", "text", "y"), redis.call("ECHO", "b"), return_exceptions=True
        )
        assert (fine, after) == (b"a", b"b")
        assert isinstance(wrong, ServerError) and isinstance(wrong, BackendRefused)
        assert wrong.code == "WRONGTYPE"


async def test_an_argument_of_a_wrong_type_sends_nothing(server: Server) -> None:
    nothing: str = None  # type: ignore[assignment]  # what an untyped caller may do
    async with using(server.url) as redis:
        await redis.call("PING")
        with pytest.raises(TypeError):
            await redis.gather([("INCR", "n"), ("ECHO", nothing)])
        assert await redis.call("GET", "n") is None


async def test_a_gathered_pipeline_has_errors_in_their_places(server: Server) -> None:
    async with using(server.url) as redis:
        first, wrong, last = await redis.gather([("SET", "k", 1), ("HGET", "k", "f"), ("GET", "k")])
        assert (first, wrong.code, last) == (b"OK", "WRONGTYPE", b"1")
        assert await redis.gather([("MULTI",), ("INCR", "n"), ("EXEC",)]) == [b"OK", b"QUEUED", [1]]
        assert await redis.gather([]) == []


async def test_cancelled_callers_never_get_answers_of_others(server: Server) -> None:
    draw = random.Random(28858)
    wrong: list[object] = []

    async def ask(redis: Redis, name: int) -> None:
        for turn in range(100):
            text = f"{name}-{turn}".encode()
            if draw.random() < 0.2:
                answer = (await redis.gather([("ECHO", text), ("PING",)]))[0]
            else:
                answer = await redis.script(ECHO, (), (text,))
            if answer != text:
                wrong.append((text, answer))

    async with using(server.url) as redis:
        tasks = [asyncio.create_task(ask(redis, name)) for name in range(300)]
        victims = draw.sample(tasks, 150)
        while victims:
            await redis.call("PING")
            for _ in range(min(len(victims), draw.randrange(1, 9))):
                victims.pop().cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        assert wrong == []
        assert sum(isinstance(end, asyncio.CancelledError) for end in ended) == 150
        assert [end for end in ended if end is not None and not isinstance(end, asyncio.CancelledError)] == []
        assert await redis.call("ECHO", "still in step") == b"still in step"


async def test_a_cancelled_pipeline_leaves_nothing_behind(server: Server) -> None:
    async with using(server.url) as redis, using(server.url) as admin:
        await redis.call("SET", "text", "x")
        wrong = ("HGET", "text", "field")
        pipeline = asyncio.create_task(redis.gather([wrong, ("BLPOP", "none", 0), wrong]))
        await auntil(lambda: blocked(admin))
        pipeline.cancel()
        await asyncio.wait([pipeline])
        await admin.call("RPUSH", "none", "x")
        assert await redis.call("ECHO", "still in step") == b"still in step"


async def test_a_script_is_sent_once_and_again_after_a_flush(server: Server) -> None:
    async with using(server.url) as redis:
        assert [await redis.script(INCREMENT, ("n",), ()) for _ in range(2)] == [1, 2]
        await redis.call("SCRIPT", "FLUSH")
        assert await asyncio.gather(*(redis.script(INCREMENT, ("n",), ()) for _ in range(5))) == [3, 4, 5, 6, 7]
        calls = await redis.call("INFO", "commandstats")
        assert b"cmdstat_incr:calls=7," in calls
        await redis.call("SET", "n", "text")
        with pytest.raises(ServerError, match="not an integer"):
            await redis.script(INCREMENT, ("n",), ())


async def test_a_killed_server_leaves_what_was_sent_unknown_and_the_rest_not_sent(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "worksong.redis")
    async with using(server.url) as redis, using(server.url) as watcher:
        waiting = asyncio.create_task(redis.call("BLPOP", "none", 0))
        await auntil(lambda: blocked(watcher))

        server.kill()
        with pytest.raises(NoAnswer, match="may or may not have been carried out"):
            await waiting
        for _ in range(3):
            with pytest.raises(NotSent, match=str(server.socket)):
                await redis.call("PING")

        server.start()
        assert await redis.call("PING") == b"PONG"
        lines = [(record.levelname, "is back after" in record.message) for record in caplog.records]
        assert lines == [("WARNING", False), ("INFO", True)]


async def test_callers_fail_at_once_while_the_server_is_given_a_rest(server: Server) -> None:
    server.kill()
    async with using(server.url, jitter=600.0) as redis:  # of a tenth of a second, at first
        with pytest.raises(NotSent, match="cannot be reached"):
            await redis.call("PING")
        for _ in range(3):
            with pytest.raises(NotSent, match=r"cannot be reached.*next try in [1-6]\d\.\d s"):
                await redis.gather([("PING",)])


async def test_concurrent_callers_share_one_attempt() -> None:
    attempts: list[object] = []

    async def slam(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        attempts.append(writer)

    async with listening(slam) as url, using(url) as redis:
        ends = await asyncio.gather(*(redis.call("PING") for _ in range(50)), return_exceptions=True)
        assert {type(end) for end in ends} == {NotSent}
        assert len(attempts) == 1


async def test_a_cancelled_first_caller_does_not_spoil_the_connection(server: Server) -> None:
    async with using(server.url) as redis:
        first = asyncio.create_task(redis.call("PING"))
        second = asyncio.create_task(redis.call("ECHO", "second"))
        await asyncio.sleep(0)
        first.cancel()
        assert await second == b"second"


async def test_a_lost_reply_is_no_answer_and_the_command_happened_once(server: Server) -> None:
    async def lose(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await greet(reader, writer)
        request = await reader.readuntil(b"counter\r\n")
        there, back = await asyncio.open_unix_connection(str(server.socket))
        back.write(request)
        assert await there.readline() == b":1\r\n"
        back.close()

    async with listening(lose) as url, using(url) as redis, using(server.url) as direct:
        with pytest.raises(NoAnswer, match="closed by the server"):
            await redis.call("INCR", "counter")
        assert await direct.call("GET", "counter") == b"1"


async def test_a_stalled_server_costs_no_more_than_the_timeout() -> None:
    async def stall(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await greet(reader, writer)
        await reader.readuntil(b"one\r\n")
        writer.write(b"$3\r\none\r\n$3\r\nt")
        await reader.read(-1)

    async with listening(stall, "?timeout=1") as url, using(url) as redis:
        began = time.monotonic()
        first, *rest = await asyncio.gather(
            redis.call("ECHO", "one"), redis.call("ECHO", "two"), redis.call("PING"), return_exceptions=True
        )
        assert first == b"one"
        assert {type(end) for end in rest} == {NoAnswer} and "no answer within 1 s" in str(rest[0])
        assert 0.99 < time.monotonic() - began < 30


async def test_the_timeout_is_that_of_the_oldest_request(server: Server) -> None:
    async with using(f"{server.url}?timeout=4") as redis:
        for _ in range(2):  # longer than the timeout together
            assert await redis.call("BLPOP", "none", 2.5) is None
        began = time.monotonic()
        with pytest.raises(NoAnswer):
            await redis.call("BLPOP", "none", 60)
        assert 3.99 < time.monotonic() - began < 30


async def test_younger_requests_do_not_lengthen_the_timeout(server: Server) -> None:
    # Given a request that waits, and many that come after it, one by one
    async with using(f"{server.url}?timeout=4") as redis:
        oldest = asyncio.create_task(redis.call("BLPOP", "none", 60))
        younger: list[asyncio.Task[Reply]] = []
        while not oldest.done():
            younger.append(asyncio.create_task(redis.call("PING")))
            await asyncio.wait([oldest], timeout=0.1)
        # When its time is over, then theirs is, too
        with pytest.raises(NoAnswer):
            await oldest
        ends = await asyncio.gather(*younger, return_exceptions=True)
        assert NoAnswer in {type(end) for end in ends}


async def test_a_server_that_accepts_and_says_nothing_was_not_asked() -> None:
    async def hole(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(-1)

    async with listening(hole, "?timeout=0.2") as url, using(url) as redis:
        with pytest.raises(NotSent, match=r"no answer within 0\.2 s"):
            await redis.call("INCR", "n")


@pytest.mark.parametrize("garbage", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x00\xff\xfe\r\n", b"*1\r\n@\r\n"])
async def test_garbage_closes_the_connection(garbage: bytes) -> None:
    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await greet(reader, writer)
        await reader.readuntil(b"PING\r\n")
        writer.write(garbage)
        await reader.read(-1)

    async with listening(babble) as url, using(url) as redis:
        ends = await asyncio.gather(redis.call("PING"), redis.call("PING"), return_exceptions=True)
        assert {type(end) for end in ends} == {NoAnswer}
        assert "no Redis answer" in str(ends[0])


async def test_an_answer_to_no_question_closes_the_connection() -> None:
    closed = asyncio.Event()

    async def chatter(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await greet(reader, writer)
        await reader.readuntil(b"PING\r\n")
        writer.write(b"+PONG\r\n+PONG\r\n")
        await reader.read(-1)
        closed.set()

    async with listening(chatter) as url, using(url) as redis:
        assert await redis.call("PING") == b"PONG"
        await asyncio.wait_for(closed.wait(), 60)


async def test_answers_cut_into_single_bytes_are_put_together() -> None:
    async def trickle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await greet(reader, writer)
        for _ in range(2):
            await reader.readuntil(b"PING\r\n")
        for byte in b"+PONG\r\n*2\r\n$1\r\na\r\n:-7\r\n":
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0)

    async with listening(trickle) as url, using(url) as redis:
        assert await redis.gather([("PING",), ("PING",)]) == [b"PONG", [b"a", -7]]


@pytest.mark.parametrize("code", ["LOADING", "MASTERDOWN", "CLUSTERDOWN", "BUSY", "TRYAGAIN", "NOREPLICAS", "MISCONF"])
async def test_a_server_that_cannot_serve_now_was_not_asked(code: str) -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await greet(reader, writer)
        await reader.readuntil(b"PING\r\n")
        writer.write(f"-{code} not now\r\n".encode())
        await reader.readuntil(b"PING\r\n")
        writer.write(b"+PONG\r\n")

    async with listening(refuse) as url, using(url) as redis:
        with pytest.raises(NotSent, match=f"did not carry out the command: {code} not now"):
            await redis.call("PING")
        assert await redis.call("PING") == b"PONG"


async def test_a_server_out_of_memory_did_not_carry_it_out_which_is_told_once(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    async with using(server.url) as redis:
        await redis.call("CONFIG", "SET", "maxmemory", 1)
        for _ in range(3):
            with pytest.raises(BackendFull, match="OOM"):
                await redis.call("SET", "k", "v")
    assert ["OOM" in record.getMessage() for record in caplog.records] == [True]


async def test_a_replica_is_left_for_whoever_is_the_master_now(server: Server) -> None:
    async with using(server.url) as redis, using(server.url) as admin:
        before = await redis.call("CLIENT", "ID")
        await admin.call("REPLICAOF", "127.0.0.1", 1)
        refused, waited = await asyncio.gather(
            redis.call("SET", "k", "v"), redis.call("XREAD", "BLOCK", 200, "STREAMS", "s", "$"), return_exceptions=True
        )
        assert isinstance(refused, NotSent) and "READONLY" in str(refused)
        assert waited is None
        await auntil(lambda: alone(admin))
        await admin.call("REPLICAOF", "NO", "ONE")
        assert await redis.call("SET", "k", "v") == b"OK"
        assert await redis.call("CLIENT", "ID") != before


async def test_too_many_clients_is_a_server_that_is_away(server: Server) -> None:
    async with using(server.url) as first, using(server.url) as second:
        await first.call("CONFIG", "SET", "maxclients", 1)
        with pytest.raises(NotSent, match="max number of clients"):
            await second.call("PING")


async def test_what_a_server_says_before_it_hangs_up_is_heard_even_when_the_request_comes_too_late() -> None:
    ours, theirs = socket.socketpair()
    address = parse("redis://localhost")
    _, connection = await asyncio.get_running_loop().create_unix_connection(
        lambda: Connection(address, "localhost", None), sock=ours
    )
    theirs.sendall(b"-ERR max number of clients reached\r\n")
    theirs.close()
    with pytest.raises(ServerError, match="max number of clients"):
        await connection.request(("PING",))


async def test_a_killed_client_connects_again(server: Server) -> None:
    async with using(server.url) as redis, using(server.url) as admin:
        waiting = asyncio.create_task(redis.call("BLPOP", "none", 0))
        await auntil(lambda: blocked(admin))
        assert await admin.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes") == 1
        with pytest.raises(NoAnswer):
            await waiting
        assert await redis.call("PING") == b"PONG"


async def test_a_wrong_login_is_a_matter_of_configuration(start: Callable[..., Server]) -> None:
    server = start(config="requirepass right\nuser limited on >pw ~* -@all +get +client")
    for userinfo, words in {
        "": "refused the default user: NOAUTH",
        ":wrong@": "refused the default user: WRONGPASS",
        "ann:wrong@": "refused user 'ann': WRONGPASS",
    }.items():
        async with using(f"redis://{userinfo}127.0.0.1:{server.port}") as redis:
            with pytest.raises(ConfigError, match=f"127.0.0.1:{server.port}/0 {words}.*correct the login") as caught:
                await redis.call("PING")
            assert ":wrong" not in str(caught.value)
    async with using(f"redis://:right@127.0.0.1:{server.port}") as redis:
        assert await redis.call("PING") == b"PONG"
    async with using(f"redis://limited:pw@127.0.0.1:{server.port}") as redis:
        assert await redis.call("GET", "k") is None
        with pytest.raises(ConfigError, match="refused user 'limited': NOPERM"):
            await redis.call("SET", "k", "v")


async def test_a_name_is_a_courtesy_that_may_be_refused(start: Callable[..., Server]) -> None:
    server = start(config="user limited on >pw ~* -@all +get")
    async with using(f"redis://limited:pw@127.0.0.1:{server.port}") as redis:
        assert await redis.call("GET", "k") is None


@pytest.mark.parametrize(("place", "words"), [("/99", "refused 'SELECT'.*out of range"), ("?password=x", "AUTH")])
async def test_a_greeting_that_is_refused_names_the_url(server: Server, place: str, words: str) -> None:
    async with using(f"{server.tcp}{place}") as redis:
        with pytest.raises(ConfigError, match=f"{server.port}.*{words}"):
            await redis.call("PING")


async def test_a_host_that_does_not_exist_is_named() -> None:
    async with using("redis://no-such-host.invalid") as redis:
        with pytest.raises(NotSent, match=r"redis://no-such-host\.invalid:6379/0 cannot be reached"):
            await redis.call("PING")


async def test_a_client_of_another_loop_refuses_and_its_sibling_serves(server: Server) -> None:
    async with using(server.url) as redis:
        await redis.call("PING")
        ends: list[object] = []

        async def elsewhere() -> None:
            ends.extend(await asyncio.gather(redis.call("PING"), redis.gather([("PING",)]), return_exceptions=True))
            sibling = redis.sibling()
            ends.append(await sibling.call("PING"))
            await sibling.close()

        thread = threading.Thread(target=lambda: asyncio.run(elsewhere()))
        thread.start()
        await asyncio.to_thread(thread.join)
        assert isinstance(ends[0], ConfigError) and "sibling()" in str(ends[0])
        assert isinstance(ends[1], ConfigError)
        assert ends[2] == b"PONG"


async def test_a_closed_client_stays_closed_and_leaves_nobody_waiting(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    redis = Redis(parse(server.url))
    async with using(server.url) as admin:
        waiting = asyncio.create_task(redis.call("BLPOP", "none", 0))
        await auntil(lambda: blocked(admin))
        await redis.close()
        await redis.close()
        with pytest.raises(NoAnswer, match="closed by this client"):
            await waiting
        with pytest.raises(NotSent, match="this client is closed"):
            await redis.call("PING")
        assert caplog.records == []


async def test_what_was_not_yet_written_was_not_sent(server: Server) -> None:
    redis = Redis(parse(server.url))
    await redis.call("PING")
    unsent = asyncio.create_task(redis.call("INCR", "n"))
    closing = asyncio.create_task(redis.close())
    unsent_too = asyncio.create_task(redis.gather([("INCR", "n"), ("INCR", "n")]))
    with pytest.raises(NotSent):
        await unsent
    assert {type(end) for end in await unsent_too} == {NotSent}
    await closing


@pytest.fixture
def certificate() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="tls") as folder:
        curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
        name = ("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost")
        subprocess.run(
            ("openssl", "req", "-x509", *curve, "-keyout", "key.pem", "-out", "cert.pem", "-days", "2", *name),
            cwd=folder,
            check=True,
            capture_output=True,
        )
        yield Path(folder)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
async def test_tls_trusts_only_the_right_certificate_for_the_right_host(
    start: Callable[..., Server], certificate: Path
) -> None:
    cert, key, port = certificate / "cert.pem", certificate / "key.pem", str(free_port())
    start("--tls-port", port, "--tls-cert-file", str(cert), "--tls-key-file", str(key), "--tls-ca-cert-file", str(cert))
    us = f"ssl_ca_certs={cert}&ssl_certfile={cert}&ssl_keyfile={key}"
    async with using(f"rediss://localhost:{port}?{us}") as redis:
        assert await asyncio.gather(*(redis.call("ECHO", n) for n in range(100))) == [b"%d" % n for n in range(100)]
        assert await redis.call("ECHO", b"x" * 1_000_000) == b"x" * 1_000_000
    async with using(f"rediss://127.0.0.1:{port}?ssl_cert_reqs=none&ssl_certfile={cert}&ssl_keyfile={key}") as redis:
        assert await redis.call("PING") == b"PONG"
    for host, query, words in [
        ("localhost", "", "self-signed certificate; give its authority with ssl_ca_certs="),
        ("127.0.0.1", us, "IP address mismatch"),
        ("localhost", "ssl_ca_certs=/no/such.pem", "TLS files /no/such.pem cannot be used"),
    ]:
        async with using(f"rediss://{host}:{port}?{query}") as redis:
            with pytest.raises(ConfigError, match=words):
                await redis.call("PING")


async def test_a_cluster_is_followed_to_the_node_that_has_the_slot(start: Callable[..., Server]) -> None:
    cluster = ("--cluster-enabled", "yes", "--cluster-port")
    here, there = start(*cluster, str(free_port())), start(*cluster, str(free_port()))
    async with using(here.tcp) as redis, using(here.tcp) as one, using(there.tcp) as two:
        assert await one.call("CLUSTER", "ADDSLOTSRANGE", 0, 8191) == b"OK"
        assert await two.call("CLUSTER", "ADDSLOTSRANGE", 8192, 16383) == b"OK"
        bus = there.command[there.command.index("--cluster-port") + 1]
        await one.call("CLUSTER", "MEET", "127.0.0.1", there.port, bus)

        async def ready() -> bool:
            states = [await node.call("CLUSTER", "INFO") for node in (one, two)]
            return all(b"cluster_state:ok" in state and b"known_nodes:2" in state for state in states)

        await auntil(ready)
        slot = await one.call("CLUSTER", "KEYSLOT", "{work}:n")
        home, other, target = (one, two, there) if slot < 8192 else (two, one, here)
        async with using(target.tcp) as stranger:
            answers = await asyncio.gather(*(stranger.script(INCREMENT, ("{work}:n",), ()) for _ in range(100)))
            assert sorted(answers) == list(range(1, 101))
            assert await stranger.gather([("INCR", "{work}:n"), ("GET", "{work}:n")]) == [101, b"101"]
            moved = await home.call("INFO", "commandstats")
            await stranger.call("INCR", "{work}:n")
            assert b"rejected_calls=0" in moved

        names = [(await node.call("CLUSTER", "MYID")).decode() for node in (home, other)]
        await other.call("CLUSTER", "SETSLOT", slot, "IMPORTING", names[0])
        await home.call("CLUSTER", "SETSLOT", slot, "MIGRATING", names[1])
        assert await redis.call("SET", "{work}:new", "x") == b"OK"
        assert await redis.call("GET", "{work}:new") == b"x"
        assert await redis.script(INCREMENT, ("{work}:other",), ()) == 1
        assert await home.call("CLUSTER", "COUNTKEYSINSLOT", slot) == 1
        assert await other.call("CLUSTER", "COUNTKEYSINSLOT", slot) == 2


async def test_a_redirect_without_end_is_given_up() -> None:
    async def circle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await greet(reader, writer)
        await reader.readuntil(b"PING\r\n")
        host, port = writer.get_extra_info("sockname")
        writer.write(f"-MOVED 1 {host}:{port}\r\n".encode())
        await reader.read(-1)

    async with listening(circle) as url, using(url) as redis:
        with pytest.raises(NotSent, match="MOVED 1"):
            await redis.call("PING")


async def test_sentinels_are_asked_where_the_master_is(start: Callable[..., Server]) -> None:
    old, new = start(), start()
    guard = start("--sentinel", config=f"sentinel monitor mymaster 127.0.0.1 {old.port} 1")
    url = f"redis+sentinel://127.0.0.1:{free_port()},127.0.0.1:{guard.port}/mymaster"
    async with using(url) as redis, using(old.tcp) as admin, using(guard.tcp) as sentinel:
        assert await redis.call("SET", "k", "old") == b"OK"
        assert await admin.call("GET", "k") == b"old"

        await admin.call("REPLICAOF", "127.0.0.1", new.port)
        with pytest.raises(NotSent, match="READONLY"):
            await redis.call("SET", "k", "new")
        with pytest.raises(NotSent, match="it is a slave, not the master"):
            await redis.call("SET", "k", "new")
        await sentinel.call("SENTINEL", "REMOVE", "mymaster")
        with pytest.raises(NotSent, match="does not know 'mymaster'"):
            await redis.call("SET", "k", "new")
        await sentinel.call("SENTINEL", "MONITOR", "mymaster", "127.0.0.1", new.port, 1)
        assert await redis.call("SET", "k", "new") == b"OK"
        async with using(new.tcp) as direct:
            assert await direct.call("GET", "k") == b"new"
