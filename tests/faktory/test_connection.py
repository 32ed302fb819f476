"""The client over real sockets: greetings, refusals, broken answers, and connections that are not used again."""

from __future__ import annotations

import asyncio
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from msgspec.structs import replace

from faktory.faults import Fault
from faktory.real import Real
from faktory.standin import Standin
from gotool import BUILT
from patience import PATIENCE
from worksong import ConfigError
from worksong.adapters.faktory.address import parse
from worksong.adapters.faktory.client import Client, NoAnswer, NotSent, Said
from worksong.adapters.tls import Tls
from worksong.wire.faktory_talk import Identity

pytestmark = pytest.mark.timeout(BUILT + 400)  # the first one waits for the server to be built
Server = Standin | Real


@asynccontextmanager
async def client_of(server: Server, **changes: object) -> AsyncIterator[Client]:
    client = Client(replace(parse(server.url, {}), **changes), draw=lambda: 0.0)
    try:
        yield client
    finally:
        await client.close()


async def test_a_password_is_proven_and_a_wrong_or_missing_one_is_told_of() -> None:
    with Standin(password="s3cret word") as server:
        async with client_of(server, password="s3cret word") as client:
            assert b"faktory" in (await client.ask("INFO") or b"")
        for password, told in (("wrong", "refused the login"), ("", "wants a password")):
            async with client_of(server, password=password) as client:
                with pytest.raises(ConfigError, match=told) as refused:
                    await client.ask("INFO")
                assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize(
    ("greeting", "told"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "no Faktory server"),
        (b"+PONG\r\n", "no Faktory server"),
        (b"-ERR go away\r\n", "no Faktory server"),
        (b"+HI {\r\n", "no Faktory server"),
        (b'+HI {"v":1}\r\n', "speaks version 1"),
        (b'+HI {"v":2,"i":999999999,"s":"a"}\r\n', "wants a password"),
    ],
)
async def test_what_is_no_faktory_server_is_a_mistake_in_the_configuration(greeting: bytes, told: str) -> None:
    with Standin(greeting=greeting) as server:
        async with client_of(server) as client:
            with pytest.raises(ConfigError, match=told):
                await client.ask("INFO")


async def test_a_server_that_listens_and_says_nothing_is_away() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:  # nobody accepts, yet the connection comes about
        port = listener.getsockname()[1]
        client = Client(replace(parse(f"faktory://127.0.0.1:{port}", {}), timeout=0.2))
        with pytest.raises(NotSent, match=r"no answer within 0\.2 s|hung up"):
            await client.ask("INFO")
        await client.close()


async def test_a_newer_version_is_tried_and_told_of(caplog: pytest.LogCaptureFixture) -> None:
    with Standin(greeting=b'+HI {"v":3,"new":true}\r\n') as server:
        async with client_of(server) as client:
            await client.ask("INFO")
    assert "speaks version 3" in caplog.text


async def test_an_error_leaves_the_connection_in_use(server: Server) -> None:
    async with client_of(server, connections=2) as client:
        with pytest.raises(Said, match="unknown command push"):
            await client.ask("push", b"{}")
        await client.ask("INFO")
        assert len(server.hellos) == 1


async def test_a_missing_answer_costs_the_connection_and_nothing_is_repeated(server: Server) -> None:
    async with client_of(server) as client:
        server.fail("INFO", Fault.MUTE)
        with pytest.raises(NoAnswer, match=r"no answer within 0\.3 s"):
            await client.ask("INFO", patience=0.3)
        await client.ask("INFO")
        assert (server.seen["INFO"], len(server.hellos)) == (2, 2)


async def test_who_is_cancelled_leaves_the_answer_to_nobody(server: Server) -> None:
    # Given a command that is given up while it waits at the server
    async with client_of(server, connections=2) as client:
        waiting = asyncio.create_task(client.ask("FETCH", b"default"))
        await server.asked("FETCH")
        waiting.cancel()
        # When others ask, then each hears the answer to its own question
        for _ in range(20):
            assert await client.ask("ACK", b'{"jid":"x"}') == b"OK"
        assert len(server.hellos) <= 2


async def test_more_tasks_than_connections_take_turns(server: Server) -> None:
    async with client_of(server, connections=3) as client:
        answers = await asyncio.gather(*(client.ask("ACK", b'{"jid":"x"}') for _ in range(200)))
        assert answers == [b"OK"] * 200
        assert len(server.hellos) <= 3


async def test_a_waiting_task_that_is_cancelled_holds_up_nobody(server: Server) -> None:
    async with client_of(server, connections=2) as client:
        tasks = [asyncio.create_task(client.ask("ACK", b'{"jid":"x"}')) for _ in range(60)]
        await asyncio.sleep(0)
        for task in tasks[::2]:
            task.cancel()
        async with asyncio.timeout(PATIENCE):
            answers = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(answer == b"OK" for answer in answers[1::2])


async def test_too_many_connections_are_no_answer_to_a_question() -> None:
    with Standin(most=0) as server:
        async with client_of(server) as client:
            with pytest.raises(NotSent, match="too many connections"):
                while True:  # the refusal may come behind the handshake, or behind the first question
                    await client.ask("INFO")


async def test_a_server_that_shuts_down_has_carried_out_nothing(server: Server) -> None:
    async with client_of(server) as client:
        await client.ask("INFO")
        server.fail("PUSH", Fault.SHUTDOWN)
        with pytest.raises(NotSent, match="shutdown in progress"):
            await client.ask("PUSH", b"{}")
        await client.ask("INFO")


async def test_a_server_that_comes_back_is_found_again(server: Server) -> None:
    async with client_of(server) as client:
        await client.ask("INFO")
        server.kill()
        with pytest.raises((NotSent, NoAnswer)):
            while True:
                await client.ask("INFO")
        server.start()
        async with asyncio.timeout(PATIENCE):
            while True:
                try:
                    await client.ask("INFO")
                    break
                except (NotSent, NoAnswer):
                    await asyncio.sleep(0.02)


async def test_a_worker_names_itself_on_connections_made_from_then_on(server: Server) -> None:
    async with client_of(server) as client:
        await client.ask("INFO")
        client.identify(Identity("the-wid", "host", 7, ("python",)))
        await client.ask("INFO")
        assert [hello.get("wid") for hello in server.hellos] == [None, "the-wid"]
        assert list(server.workers) == ["the-wid"]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 that signs itself, with its key."""
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    made += ["-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    made += ["-keyout", str(path), "-out", f"{path}.crt"]
    try:
        subprocess.run(made, check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("openssl is not on the PATH")
    path.write_text(path.read_text() + Path(str(path) + ".crt").read_text())
    return path


async def test_tls_checks_whom_it_talks_to(certificate: Path) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    with Standin(tls=context) as server:
        trusted = Tls(ca=str(certificate))
        async with client_of(server, tls=trusted) as client:
            await client.ask("INFO")
        async with client_of(server, tls=Tls()) as client:
            with pytest.raises(ConfigError, match="not trusted"):
                await client.ask("INFO")
        async with client_of(server, tls=None, timeout=1.0) as client:
            with pytest.raises((NotSent, ConfigError)):
                await client.ask("INFO")
