"""What Faktory's clients and server say to one another beside jobs: greetings, endings, orders. Pure.

No line holds a line end: JSON escapes them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from hashlib import sha256
from typing import Any

import msgspec

from worksong.wire import gojson
from worksong.wire.faktory import OWN

VERSION = 2
MOST_ROUNDS = 100_000
"""Rounds of a password's hash beyond which no server would go."""

_KIND = re.compile(r"([A-Za-z_][\w.]{0,98}): ", re.ASCII)
_ALIKE = re.compile(r"[ -%'-;=?-~]*")
"""What the server writes in a job as it compares with it: it looks for a jid quoted as in Go, among texts in JSON."""
_GLOB = re.compile(r"([\\*?\[\]^-])")
_json = msgspec.json.Encoder()


# the handshake


class Greeting(msgspec.Struct):
    """What the server says first; further members are none of our business."""

    v: int = VERSION
    i: int = 1
    s: str = ""


class Identity(msgspec.Struct, frozen=True):
    """A worker process, as the server lists it."""

    wid: str
    hostname: str = ""
    pid: int = 0
    labels: tuple[str, ...] = ()


def greeting(text: bytes) -> Greeting:
    """`HI {...}`, or `ValueError`."""
    word, _, rest = text.partition(b" ")
    if word != b"HI":
        raise ValueError("it does not greet as Faktory does")
    try:
        return msgspec.json.decode(rest, type=Greeting)
    except msgspec.DecodeError as error:
        raise ValueError(f"its greeting cannot be read: {error}") from error


def hashed(password: str, salt: str, rounds: int) -> str:
    """The proof of the password: the digest of both, and the digest of that, `rounds` in all."""
    digest = sha256(password.encode() + salt.encode()).digest()
    for _ in range(rounds - 1):
        digest = sha256(digest).digest()
    return digest.hex()


def hello(given: Greeting, identity: Identity | None, user: str, password: str) -> bytes:
    """The answer to the greeting; only a worker names itself."""
    said: dict[str, Any] = {"v": VERSION}
    if given.s:
        said["pwdhash"] = hashed(password, given.s, given.i)
    if user:
        said["username"] = user
    if identity:
        said |= msgspec.to_builtins(identity)
    return b"HELLO " + msgspec.json.encode(said)


# endings and orders


def acknowledged(jid: str) -> bytes:
    """What ACK takes: texts only."""
    return _json.encode({"jid": jid})


def failed(jid: str, error: str, trace: str = "") -> bytes:
    """What FAIL takes; of `Class: message` the server keeps the two apart, and the first fifty lines of a trace."""
    text = gojson.carried(error)
    kind = _KIND.match(text)
    message = text[kind.end() :] if kind else text
    lines = [line for line in reversed(gojson.carried(trace).splitlines()) if line.strip()]
    return _json.encode(
        {
            "jid": jid,
            "errtype": kind[1] if kind else "unknown",
            "message": message.encode()[:1000].decode(errors="ignore"),
            "backtrace": lines[:50],
        }
    )


def mutation(order: str, target: str, *, jids: Sequence[str] | None = None, pattern: str = "") -> bytes:
    """What MUTATE takes, without a single space: the server would take it for another part of the command."""
    said: dict[str, Any] = {"cmd": order, "target": target}
    if jids is not None:
        said["filter"] = {"jids": jids}
    elif pattern:
        said["filter"] = {"regexp": pattern}
    return _json.encode(said).replace(b" ", b"\\u0020")


def mutations(order: str, target: str, jids: Sequence[str]) -> list[bytes]:
    """What MUTATE takes, one after the other, for the jobs with these jids, whatever they are made of."""
    alike = [jid for jid in jids if _ALIKE.fullmatch(jid)]
    others = [jid for jid in jids if not _ALIKE.fullmatch(jid)]
    found = [mutation(order, target, jids=alike)] if alike else []
    return found + [mutation(order, target, pattern=f'*"jid":{_literal(jid)}*') for jid in others]


def known_as(job_id: str) -> str:
    """A pattern for the payloads of a job that was enqueued anew under another jid."""
    return f'*"{OWN}":{{"as":{_literal(job_id)}*'


def queued_in(prefix: str) -> str:
    """A pattern for the payloads whose queue begins so; arguments that hold a `queue` are no reason to match."""
    return f'*"jid":"*","queue":"{_GLOB.sub(_escaped, prefix)}*","jobtype":"*'


def _literal(text: str) -> str:
    """The text as the server stores it, for a pattern."""
    return _GLOB.sub(_escaped, gojson.encode(text, legacy=False).decode())


def _escaped(found: re.Match[str]) -> str:
    return f"\\{found[0]}"


class _Tasks(msgspec.Struct):
    size: int = 0
    reaped: int = 0


class _Faktory(msgspec.Struct):
    queues: dict[str, int] = {}
    sets: dict[str, int] = {}
    tasks: dict[str, _Tasks] = {}


class _Server(msgspec.Struct):
    description: str = ""
    faktory_version: str = ""
    uptime: int = 0
    connections: int = 0


class Info(msgspec.Struct):
    """What INFO answers, as far as anybody asks."""

    faktory: _Faktory = msgspec.field(default_factory=_Faktory)
    server: _Server = msgspec.field(default_factory=_Server)
    now: str = ""
    server_utc_time: str = ""

    @property
    def version(self) -> tuple[int, ...]:
        """Empty when it does not tell."""
        return tuple(int(part) for part in re.findall(r"\d+", self.server.faktory_version)[:3])


def info(raw: bytes) -> Info:
    """The answer of INFO, or `ValueError`."""
    try:
        return msgspec.json.decode(raw, type=Info, strict=False)
    except msgspec.DecodeError as error:
        raise ValueError(f"INFO cannot be read: {error}") from error


def state(reply: object) -> str:
    """What a beat was answered: empty, quiet or terminate; the server writes it in more than one way."""
    text = reply.decode(errors="replace") if isinstance(reply, bytes) else ""
    found = re.search(r'"state"\s*:\s*"(\w+)"', text)
    return found[1] if found else ""
