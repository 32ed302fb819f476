"""What stands between a client and the real Faktory: it passes on every command and answer, but for planned faults."""

from __future__ import annotations

import contextlib
import json
import socket
from typing import BinaryIO

from faktory.faults import Fault
from faktory.listening import Listening
from faktory.store import Stored


class Relay(Listening):
    """For each connection there is one to the server."""

    def __init__(self, upstream: int) -> None:
        """`upstream`: the server's port on this machine."""
        super().__init__()
        self.hellos: list[Stored] = []
        """How clients introduced themselves."""
        self._upstream = upstream
        self._clients: dict[socket.socket, Stored] = {}
        """Those who are connected, and how they introduced themselves."""

    @property
    def workers(self) -> set[str]:
        """The workers that are connected."""
        with self.turn_of:
            return {hello["wid"] for hello in self._clients.values() if hello.get("wid")}

    @property
    def crowd(self) -> int:
        """How many are connected."""
        return len(self._clients)

    def _break_all(self) -> None:
        for client in self._clients:
            _shut(client)

    def _serve(self, client: socket.socket) -> None:
        with self.turn_of:
            self._clients[client] = {}
        try:
            with client.makefile("rb") as asked:
                client.sendall(b'+HI {"v":2}\r\n')
                hello = asked.readline()
                self._note(client, json.loads(hello.removeprefix(b"HELLO ")))
                with _greeted(self._upstream, hello) as server:
                    client.sendall(b"+OK\r\n")
                    self._pass_on(client, asked, server)
        except (OSError, ValueError):
            pass
        finally:
            _shut(client)
            client.close()
            with self.turn_of:
                del self._clients[client]

    def _pass_on(self, client: socket.socket, asked: BinaryIO, server: socket.socket) -> None:
        """Until one of them has enough."""
        with server.makefile("rb") as answered:
            while line := asked.readline():
                verb = line.rstrip(b"\r\n").partition(b" ")[0].decode(errors="replace")
                fault = self.fault(verb)
                if fault is Fault.CUT:
                    return
                if fault is Fault.SHUTDOWN:
                    client.sendall(b"-ERR shutdown in progress\r\n")
                    return
                server.sendall(line)
                reply = _reply(answered)
                if not reply or fault is Fault.LOST:
                    return
                if fault is not Fault.MUTE:
                    client.sendall(reply)

    def _note(self, client: socket.socket, hello: Stored) -> None:
        with self.turn_of:
            self._clients[client] = hello
            self.hellos.append(hello)


def _greeted(port: int, hello: bytes) -> socket.socket:
    """A connection through with its handshake; the server, which gives it two seconds, may need to be asked again."""
    while True:
        server = socket.create_connection(("127.0.0.1", port))
        with contextlib.suppress(OSError):
            server.sendall(hello)
            with server.makefile("rb", buffering=0) as answers:
                if [answers.readline()[:3] for _ in range(2)] == [b"+HI", b"+OK"]:
                    return server
        server.close()


def _reply(answered: BinaryIO) -> bytes:
    """One whole answer; empty when the server has hung up, as it answers END."""
    line = answered.readline()
    if line.startswith(b"$") and not line.startswith(b"$-"):
        line += answered.read(int(line[1:]) + 2)
    return line


def _shut(client: socket.socket) -> None:
    with contextlib.suppress(OSError):
        client.shutdown(socket.SHUT_RDWR)
