"""A stand-in for the Faktory server: its protocol over real sockets, where the real one cannot be had or will not do.

The same tests run on both, so what it does is what version 1.10 does. It lives in threads of its own; its clock stands
still unless a test turns it, and only the two deadlines of a connection (of the handshake, and of a FETCH that waits)
are real time. It can be told to fail.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import random
import socket
import ssl
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import BinaryIO, Self, TypeVar

from faktory.faults import Fault
from faktory.listening import Listening
from faktory.store import Store, Stored, Wrong, floats, job_of, parse, written
from patience import PATIENCE

R = TypeVar("R")
HANDSHAKE = 60.0
"""Seconds; the real one gives two, which a busy machine may take."""
SILENT_WORKER = 60.0


class _Worker:
    """A worker's record."""

    def __init__(self, said: Stored, now: float) -> None:
        self.said, self.beaten, self.state = said, now, ""
        self.connections: set[_Line] = set()


class Standin(Listening):
    """`with Standin() as server`: its `url`, its `store`, and what was asked of it."""

    def __init__(
        self,
        *,
        password: str = "",
        now: float = 1_700_000_000.0,
        fetch_wait: float = 2.0,
        most: int = 2000,
        tls: ssl.SSLContext | None = None,
        greeting: bytes | None = None,
        version: str = "1.10.0",
    ) -> None:
        """`fetch_wait`: seconds that a FETCH waits for a job. `most`: connections. `greeting`: another one."""
        super().__init__()
        self.store = Store(now)
        self.password, self.fetch_wait, self.most, self.tls = password, fetch_wait, most, tls
        self.greeting, self.version = greeting, version
        self.hellos: list[Stored] = []
        self.workers: dict[str, _Worker] = {}
        self.workers_reaped = 0
        self._lines: set[_Line] = set()

    @property
    def url(self) -> str:
        login = f":{self.password}@" if self.password else ""
        return f"faktory{'+tls' if self.tls else ''}://{login}127.0.0.1:{self.port}?timeout={PATIENCE:g}"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    # what tests do

    def start(self) -> None:
        """Listen, on the same port as before."""
        self.listen()

    def kill(self) -> None:
        """Every connection breaks and nobody is listened to; queues, sets and reservations stay."""
        self.hang_up()
        self.workers.clear()
        self.forget()

    def turn(self, seconds: float, *, silent: bool = False) -> None:
        """Let time pass; the scanners and the reapers have their turn then. `silent`: no worker beats meanwhile."""
        if silent:
            self.do(lambda: self._turn(self.store.now + seconds))
        else:
            self.turn_to(self.store.now + seconds)

    def turn_to(self, now: float) -> int:
        """The same, to a time that is not past, while every worker beats; answers how many jobs were queued by it."""

        def turn() -> int:
            for worker in self.workers.values():
                worker.beaten = max(now, self.store.now)
            return self._turn(now)

        return self.do(turn)

    def tell(self, state: str) -> None:
        """Let an operator send every worker this state."""
        self.do(lambda: [setattr(worker, "state", state) for worker in self.workers.values()])

    def do(self, what: Callable[[], R]) -> R:
        """Do it while nobody else does anything here."""
        with self.turn_of:
            done = what()
            self.turn_of.notify_all()
        return done

    # life

    def _break_all(self) -> None:
        for line in self._lines:
            line.hang_up()

    def _serve(self, client: socket.socket) -> None:
        line = _Line(self, client)
        with self.turn_of:
            self._lines.add(line)
        try:
            line.serve()
        except OSError:
            pass
        finally:
            with self.turn_of:
                self._lines.discard(line)
                line.leave()
            line.close()

    @property
    def listening(self) -> bool:
        return self._listener is not None

    def _turn(self, now: float) -> int:
        self.store.now = max(now, self.store.now)
        self.store.reap()
        moved = self.store.scan()
        for wid, worker in list(self.workers.items()):
            if self.store.now - worker.beaten > SILENT_WORKER:
                self.workers_reaped += 1
                del self.workers[wid]
                for line in worker.connections:
                    line.hang_up()
        return moved

    @property
    def crowd(self) -> int:
        return len(self._lines)

    def info(self) -> Stored:
        store = self.store
        now = datetime.fromtimestamp(store.now, UTC)
        return {
            "now": now.isoformat().replace("+00:00", "Z"),
            "server_utc_time": f"{now:%H:%M:%S} UTC",
            "faktory": {
                "queues": {name: len(queue) for name, queue in store.queues.items()},
                "sets": {name: len(entries) for name, entries in store.sets.items()} | {"working": len(store.working)},
                "tasks": {
                    "Busy": {"size": len(store.working), "reaped": store.counts["reaped"]},
                    "Workers": {"size": len(self.workers), "reaped": self.workers_reaped},
                },
                "total_failures": store.counts["failures"],
                "total_processed": store.counts["processed"],
                "total_enqueued": sum(map(len, store.queues.values())),
                "total_queues": len(store.queues),
            },
            "server": {
                "description": "Faktory (stand-in)",
                "faktory_version": self.version,
                "uptime": 1,
                "connections": self.crowd,
                "command_count": self.seen.total(),
                "used_memory_mb": 1,
            },
        }


class _Line:
    """One connection."""

    def __init__(self, server: Standin, sock: socket.socket) -> None:
        self.server, self.store, self.sock = server, server.store, sock
        self.worker: _Worker | None = None
        self.first = False

    def hang_up(self) -> None:
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.hang_up()
        self.sock.close()

    def serve(self) -> None:
        self.sock.settimeout(HANDSHAKE)
        if self.server.tls:
            self.sock = self.server.tls.wrap_socket(self.sock, server_side=True)
        with self.sock.makefile("rb") as lines:
            if not self.greet(lines):
                return
            self.sock.settimeout(None)
            while line := lines.readline():
                verb, _, what = line.rstrip(b"\r\n").partition(b" ")
                if not self.carry_out(verb.decode(errors="replace"), what):
                    return

    def carry_out(self, verb: str, what: bytes) -> bool:
        """Whether the connection lives on."""
        with self.server.turn_of:
            fault = self.server.fault(verb)
            if fault is Fault.CUT or verb == "END":
                return False
            answer = b"-ERR shutdown in progress\r\n" if fault is Fault.SHUTDOWN else self.answer(verb, what)
            self.server.turn_of.notify_all()
        if fault is Fault.LOST:
            return False
        if fault is not Fault.MUTE:
            self.say(answer)
        return fault is not Fault.SHUTDOWN

    def say(self, answer: bytes) -> None:
        self.sock.sendall(answer)

    def leave(self) -> None:
        if self.worker:
            self.worker.connections.discard(self)
            wid = self.worker.said["wid"]
            if not self.worker.connections and self.server.workers.get(wid) is self.worker:
                del self.server.workers[wid]

    def greet(self, lines: BinaryIO) -> bool:
        salt, rounds = f"{random.getrandbits(63):x}", random.randint(4000, 8095)
        said: Stored = {"v": 2, "i": rounds, "s": salt} if self.server.password else {"v": 2}
        self.say(self.server.greeting or b"+HI " + json.dumps(said).encode() + b"\r\n")
        line = lines.readline()
        if not line.startswith(b"HELLO {"):
            return False
        try:
            hello = json.loads(line[6:])
            if not all(isinstance(hello.get(name, kind()), kind) for name, kind in _HELLO.items()):
                return False
        except ValueError:
            return False
        if self.server.password:
            digest = (self.server.password + salt).encode()
            for _ in range(rounds if hello.get("v", 1) > 1 else 1):
                digest = hashlib.sha256(digest).digest()
            if hello.get("pwdhash") != digest.hex():
                self.say(b"-ERR Invalid password\r\n")
                return False
        self.server.hellos.append(hello)
        self.say(b"+OK\r\n")
        if self.server.crowd > self.server.most:
            self.say(f"-ERR too many connections: {self.server.crowd}\r\n".encode())
            return False
        with self.server.turn_of:
            self.register(hello)
        return True

    def register(self, hello: Stored) -> None:
        if hello.get("wid"):
            self.first = hello["wid"] not in self.server.workers
            self.worker = self.server.workers.setdefault(hello["wid"], _Worker(hello, self.store.now))
            self.worker.connections.add(self)

    def answer(self, verb: str, what: bytes) -> bytes:
        command = getattr(self, f"on_{verb.lower()}", None)
        if command is None or verb != verb.upper():
            return f"-ERR unknown command {verb}\r\n".encode()
        try:
            reply = command(what)
        except Wrong as wrong:
            return f"-ERR {wrong}\r\n".encode()
        except (LookupError, ValueError, AttributeError, TypeError):
            return b"-ERR internal error\r\n"
        if reply is None:
            return b"+OK\r\n"
        text = reply.encode()
        return b"$%d\r\n%s\r\n" % (len(text), text) if text else b"$-1\r\n"

    def on_push(self, what: bytes) -> None:
        job = job_of(parse(what))
        self.store.usual_retry = job.get("retry", self.store.usual_retry)
        self.store.push(job)

    def on_pushb(self, what: bytes) -> str:
        refused: dict[str, str] = {}
        for job in [job_of(value) for value in parse(what)]:
            try:
                self.store.push(job)
            except Wrong as wrong:
                refused[job.get("jid") or ""] = str(wrong)
        return json.dumps(refused)

    def on_fetch(self, what: bytes) -> str:
        queues = what.decode().split(" ") if what else []
        if not queues:
            raise Wrong("must call fetch with at least one queue")
        until = time.monotonic() + self.server.fetch_wait
        quiet = self.first and self.worker is not None and self.worker.state
        while True:
            job = None if quiet else self.store.fetch(queues)
            if job:
                return written(job)
            left = until - time.monotonic()
            if left <= 0 or not self.server.listening:
                return ""
            self.server.turn_of.wait(left)

    def on_ack(self, what: bytes) -> None:
        said = parse(what)
        if not all(isinstance(value, str) for value in said.values()):
            raise Wrong(f"invalid ACK {what.decode()}")
        self.store.acknowledge(said["jid"])

    def on_fail(self, what: bytes) -> None:
        said = parse(what)
        if not said.get("jid"):
            raise Wrong("missing JID")
        self.store.fail(said["jid"], said.get("errtype", ""), said.get("message", ""), said.get("backtrace") or [])

    def on_beat(self, what: bytes) -> str | None:
        said = floats(parse(what)) if b"." in what else parse(what)
        if not isinstance(said.get("rss_kb", 0), int):
            raise Wrong(f"invalid BEAT {what.decode()}")
        worker = self.server.workers.get(said.get("wid", ""))
        if worker is None:
            raise Wrong(f"unknown worker {said.get('wid', '')}")
        worker.beaten = self.store.now
        order = ["", "quiet", "terminate"]
        worker.state = max(worker.state, said.get("current_state", ""), key=order.index)
        return f'{{"state":"{worker.state}"}}' if worker.state else None

    def on_info(self, _: bytes) -> str:
        return json.dumps(self.server.info())

    def on_flush(self, _: bytes) -> None:
        self.store.clear()

    def on_queue(self, what: bytes) -> str | None:
        order, *names = what.decode().split(" ")
        every = list(self.store.queues) if names == ["*"] else [name for name in names if name in self.store.queues]
        match order.upper():
            case "PAUSE":
                self.store.paused |= set(every)
            case "RESUME":
                self.store.paused -= set(every)
            case "REMOVE":
                for name in every:
                    del self.store.queues[name]
                    self.store.paused.discard(name)
            case "LATENCY" if names != ["*"]:
                return json.dumps({name: self.store.latency(name) for name in names})
            case _:
                raise Wrong(f"no such QUEUE subcommand: {order}")
        return None

    def on_mutate(self, what: bytes) -> None:
        if b" " in what:
            raise Wrong("invalid format")
        self.store.mutate(parse(what))

    def on_batch(self, _: bytes) -> None:
        raise Wrong("batch subsystem is only available in Faktory Enterprise")

    def on_track(self, _: bytes) -> None:
        raise Wrong("tracking subsystem is only available in Faktory Enterprise")


_HELLO = {"v": int, "pid": int, "hostname": str, "wid": str, "pwdhash": str, "username": str, "labels": list}
