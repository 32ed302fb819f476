"""The chaos proxy itself: it does to a plain client what it says, to the command that was meant, and no more."""

from __future__ import annotations

import asyncio
import errno
import socket
import time
from collections.abc import Iterator

import pytest

import servers
from chaos.proxy import GARBAGE, NAME, Fault, Proxy
from worksong.adapters.redis.client import Script

FETCH = Script.named("fetch")


@pytest.fixture
def proxy(redis_server: servers.Redis) -> Iterator[Proxy]:
    with Proxy(redis_server.port) as proxy:
        yield proxy


@pytest.fixture
def client(proxy: Proxy) -> Iterator[socket.socket]:
    with connected(proxy) as client:
        yield client


def connected(proxy: Proxy) -> socket.socket:
    client = socket.create_connection((NAME, proxy.port), timeout=10)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return client


def ask(client: socket.socket, *words: str) -> bytes:
    """Send a command, and hear what comes first."""
    client.sendall(f"*{len(words)}\r\n".encode() + b"".join(b"$%d\r\n%s\r\n" % (len(w), w.encode()) for w in words))
    return client.recv(65536)


def received(client: socket.socket, size: int) -> bytes:
    """So many bytes."""
    found = b""
    while len(found) < size:
        found += client.recv(size - len(found))
    return found


def test_nothing_happens_to_who_is_not_meant(proxy: Proxy, client: socket.socket) -> None:
    proxy.on("GET", Fault.CUT_BEFORE)
    assert ask(client, "SET", "chaos:k", "v") == b"+OK\r\n"
    assert ask(client, "LRANGE", "chaos:none", "0", "-1") == b"*0\r\n"
    assert ask(client, "MGET", "chaos:k", "chaos:none") == b"*2\r\n$1\r\nv\r\n$-1\r\n"
    assert proxy.seen == {"SET": 1, "LRANGE": 1, "MGET": 1}
    assert proxy.struck == {}


def test_a_script_is_known_by_its_name(proxy: Proxy, client: socket.socket) -> None:
    ask(client, "SCRIPT", "LOAD", FETCH.text)
    ask(client, "EVALSHA", FETCH.sha1, "0")
    ask(client, "eval", FETCH.text, "0")
    ask(client, "EVALSHA", "0" * 40, "0")
    assert proxy.seen == {"SCRIPT": 1, "EVALSHA:fetch": 1, "EVAL:fetch": 1, f"EVALSHA:{'0' * 40}": 1}


def test_a_fault_strikes_as_often_as_was_asked(proxy: Proxy, client: socket.socket) -> None:
    proxy.on("PING", Fault.LATENCY, times=2)
    for _ in range(3):
        assert ask(client, "PING") == b"+PONG\r\n"
    assert proxy.struck == {("PING", Fault.LATENCY): 2}


def test_what_a_server_says_unasked_is_handed_on(proxy: Proxy, client: socket.socket) -> None:
    client.sendall(b"*2\r\n$5\r\nHELLO\r\n$1\r\n3\r\n*3\r\n$6\r\nCLIENT\r\n$8\r\nTRACKING\r\n$2\r\nON\r\n")
    greeting = b""
    while not greeting.endswith(b"+OK\r\n"):
        greeting += client.recv(65536)
    assert greeting.startswith(b"%")
    ask(client, "GET", "chaos:told")
    with connected(proxy) as other:
        ask(other, "SET", "chaos:told", "x")
    assert client.recv(65536) == b">2\r\n$10\r\ninvalidate\r\n*1\r\n$10\r\nchaos:told\r\n"
    assert ask(client, "PING") == b"+PONG\r\n"


def test_a_fault_waits_for_the_answer_that_was_meant(proxy: Proxy, client: socket.socket) -> None:
    proxy.on("ECHO", Fault.CUT_AFTER, answering=b"that")
    assert ask(client, "ECHO", "this") == b"$4\r\nthis\r\n"
    assert ask(client, "PING", "that") == b"$4\r\nthat\r\n"
    with pytest.raises(ConnectionResetError):
        ask(client, "ECHO", "that")


def test_answers_to_commands_sent_together_are_late_together(proxy: Proxy, client: socket.socket) -> None:
    proxy.on("PING", Fault.LATENCY, times=300)
    began = time.monotonic()
    client.sendall(b"*1\r\n$4\r\nPING\r\n" * 300)
    assert received(client, 300 * len("+PONG\r\n")) == b"+PONG\r\n" * 300
    assert time.monotonic() - began < 300 * 0.1, "one after the other they would take longer"


@pytest.mark.parametrize(
    ("fault", "happened"),
    [(Fault.CUT_BEFORE, False), (Fault.CUT_AFTER, True), (Fault.HALF_CLOSED, True), (Fault.BLACKHOLE, False)],
)
def test_a_command_is_lost_before_or_after_it_happened(proxy: Proxy, fault: Fault, happened: bool) -> None:
    key = f"chaos:{fault.name}"
    with connected(proxy) as client, connected(proxy) as other:
        ask(other, "DEL", key)
        proxy.on("INCR", fault)
        match fault:
            case Fault.CUT_BEFORE | Fault.CUT_AFTER:
                with pytest.raises(ConnectionResetError):
                    ask(client, "INCR", key)
            case Fault.HALF_CLOSED:
                assert ask(client, "INCR", key) == b""
                client.sendall(b"nobody resets this")
            case _:
                client.settimeout(0.2)
                with pytest.raises(TimeoutError):
                    ask(client, "INCR", key)
        assert ask(other, "GET", key) == (b"$1\r\n1\r\n" if happened else b"$-1\r\n")


def test_half_of_an_answer_comes(proxy: Proxy, client: socket.socket) -> None:
    proxy.on("ECHO", Fault.STALLED)
    assert ask(client, "ECHO", "x" * 1000) == b"$1000\r\n" + b"x" * (1009 // 2 - 7)
    client.settimeout(0.2)
    with pytest.raises(TimeoutError):
        client.recv(1)


def test_garbage_comes_in_the_place_of_the_answer(proxy: Proxy, client: socket.socket) -> None:
    proxy.on("PING", Fault.GARBAGE)
    assert ask(client, "PING") in GARBAGE


def test_an_answer_comes_late(proxy: Proxy, client: socket.socket) -> None:
    proxy.on("PING", Fault.LATENCY)
    began = time.monotonic()
    assert ask(client, "PING") == b"+PONG\r\n"
    assert time.monotonic() - began >= 0.1


def test_a_slow_line_carries_ten_thousand_bytes_in_a_second(proxy: Proxy, client: socket.socket) -> None:
    proxy.on("ECHO", Fault.SLOW)
    began = time.monotonic()
    first = ask(client, "ECHO", "x" * 1000)
    assert first + received(client, 1009 - len(first)) == b"$1000\r\n" + b"x" * 1000 + b"\r\n"
    assert time.monotonic() - began >= 2 * 1000 / 10_000


def test_bytes_come_one_by_one(proxy: Proxy, client: socket.socket) -> None:
    proxy.on("ECHO", Fault.SLICED)
    first = ask(client, "ECHO", "x" * 50)
    assert first + received(client, 57 - len(first)) == b"$50\r\n" + b"x" * 50 + b"\r\n"
    assert ask(client, "PING") == b"+PONG\r\n"
    assert proxy.pieces >= 2 * 57  # the command and its answer; a slow client may see several of them as one


def test_a_server_refuses_whoever_connects_until_it_is_healed(proxy: Proxy) -> None:
    for fault, said in ((Fault.SLAMMED, b""), (Fault.FULL, b"-ERR max number of clients reached\r\n")):
        with connected(proxy) as old:
            assert ask(old, "PING") == b"+PONG\r\n"
            proxy.refuse(fault)
            with pytest.raises(ConnectionResetError):
                ask(old, "PING")
        with connected(proxy) as new:
            assert new.recv(100) == said
        proxy.heal()
        with connected(proxy) as healed:
            assert ask(healed, "PING") == b"+PONG\r\n"


async def test_a_name_is_not_found_until_it_is_healed(proxy: Proxy) -> None:
    proxy.refuse(Fault.NAMELESS)
    with pytest.raises(socket.gaierror):
        await asyncio.open_connection(NAME, proxy.port)
    assert await asyncio.get_running_loop().getaddrinfo("localhost", 1)
    proxy.heal()
    _, writer = await asyncio.open_connection(NAME, proxy.port)
    writer.close()
    await writer.wait_closed()


def test_a_server_that_is_not_there_resets_the_connection() -> None:
    with Proxy(servers.free_port()) as proxy:
        with pytest.raises(OSError) as caught, connected(proxy) as client:  # it may come while the client connects
            assert ask(client, "PING") == b"never"
        assert caught.value.errno in (errno.ECONNRESET, errno.EPIPE)
    assert proxy.open == 0
