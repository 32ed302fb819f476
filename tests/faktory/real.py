"""The real Faktory behind the same face as its stand-in: what tests look at, turn, and break.

Its scanners stand still until a test turns the clock (see `interop/faktory/serve.go`), and the time of what clients
schedule is moved into its future, so that nothing is due because a machine is slow. What it stores is read from its
own Redis. Between it and its clients stands a relay, which loses what a test wants lost.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from typing import Self, TypeVar

import pytest
import redis

import servers
from faktory.relay import Relay
from faktory.store import Stored
from patience import PATIENCE
from worksong.adapters.faktory import doctor
from worksong.wire import faktory as wire

R = TypeVar("R")
AHEAD = 3600.0
"""Seconds from the server's time to that in which tests live."""
DAY = 86400.0
SETS = ("scheduled", "retries", "dead")


class Kept:
    """What the server has stored, by the clock of the test."""

    def __init__(self, server: servers.Faktory, now: float) -> None:
        self.now = self.begun = now
        self._redis = redis.Redis(unix_socket_path=str(server.socket), decode_responses=True)
        self._server = server
        self.later = round(time.time()) + AHEAD - now
        """What the server's time is ahead of the test's, for all that is scheduled."""

    @property
    def queues(self) -> dict[str, list[Stored]]:
        """Name -> jobs, the oldest first."""
        names = sorted(self._redis.smembers("queues"))
        return {name: [*map(json.loads, reversed(self._redis.lrange(f"q:{name}", 0, -1)))] for name in names}

    @property
    def sets(self) -> dict[str, list[tuple[float, Stored]]]:
        """Name -> (the server's time, job)."""
        return {name: [(at, json.loads(raw)) for raw, at in self._entries(name)] for name in SETS}

    @property
    def working(self) -> dict[str, tuple[float, Stored]]:
        """jid -> (end of the reservation by the server's time, job)."""
        lent = [(until, json.loads(raw)["job"]) for raw, until in self._entries("working")]
        return {job["jid"]: (until, job) for until, job in lent}

    def push(self, job: Stored) -> None:
        """As a client would."""
        assert self.say("PUSH", job) == b"+OK\r\n"

    def say(self, verb: str, what: Stored) -> bytes:
        """The first line that the server answers."""
        with socket.create_connection(("127.0.0.1", self._server.port)) as line, line.makefile("rb") as answers:
            line.sendall(b'HELLO {"v":2}\r\n%s %s\r\n' % (verb.encode(), json.dumps(what).encode()))
            return [answers.readline() for _ in range(3)][-1]

    def release(self) -> None:
        """Every reservation ends, as if its job were done."""
        for jid in self.working:
            self._server.order("release", jid)

    def close(self) -> None:
        self._redis.close()

    def _entries(self, name: str) -> list[tuple[str, float]]:
        return self._redis.zrange(name, 0, -1, withscores=True)  # type: ignore[return-value]


class Real(Relay):
    """`with Real(server) as server`: as `Standin` is, for one test."""

    def __init__(self, server: servers.Faktory, *, now: float = 1_700_000_000.0) -> None:
        super().__init__(server.port)
        self._server = server
        self.store = Kept(server, now)

    @property
    def url(self) -> str:
        return f"faktory://127.0.0.1:{self.port}?timeout={PATIENCE:g}"

    def __enter__(self) -> Self:
        self._server.order("empty")
        self.listen()
        return self

    def __exit__(self, *_: object) -> None:
        self.hang_up()
        self.store.close()

    # time

    def bend(self, patch: pytest.MonkeyPatch) -> None:
        """Have the clients of this process live in the test's time."""
        for module, name in ((wire, "stamp"), (wire, "seconds"), (doctor, "seconds")):
            patch.setattr(module, name, getattr(self, name))

    def stamp(self, at: float) -> str:
        """How a client writes a time: what is not due yet is not due for the server either."""
        return STAMP(at + self.store.later if at > self.store.now else at)

    def seconds(self, text: object) -> float:
        """How a client reads it: what the server does, it does now."""
        found = SECONDS(text)
        if found >= self.store.begun + self.store.later:
            return found - self.store.later
        return self.store.now if found > self.store.now + DAY else found

    def turn(self, seconds: float, *, silent: bool = False) -> None:
        """Let time pass; the scanners and the reaper have their turn then. Of beats the server keeps its own time."""
        self.turn_to(self.store.now + seconds)

    def turn_to(self, now: float) -> int:
        """The same, to a time that is not past; answers how many jobs were queued by it."""
        self.store.now = max(now, self.store.now)
        # What the server timed by itself, it timed by a clock that went on while the test ran.
        passed = time.time() + self.store.now - self.store.begun
        at = self.store.now + self.store.later + 0.001  # a time is not exact to the microsecond on its way
        return int(self._server.order("turn", at, passed, passed))

    # what tests do

    def tell(self, state: str) -> None:
        """Let an operator send every worker this state."""
        for wid in self.workers:
            said = self.store.say("BEAT", {"wid": wid, "rss_kb": 1, "current_state": state})
            assert said.startswith(b"$"), said

    def kill(self) -> None:
        """SIGKILL, in an instant in which it carries nothing out; queues, sets and reservations stay."""
        self.hang_up()
        self._server.kill()

    def start(self) -> None:
        self._server.start()
        self.forget()
        self.listen()

    def do(self, what: Callable[[], R]) -> R:
        """It minds nobody's turn but its own."""
        return what()


STAMP, SECONDS = wire.stamp, wire.seconds
"""As they are without a test that turns time."""
