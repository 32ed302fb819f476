"""A database of a real Redis, loaded, dumped and compared in the form of the recordings of gocraft/work."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import redis

State: TypeAlias = dict[str, dict[str, Any]]
"""Key -> type, value and, where the key expires, its seconds to live."""

GOLDEN = Path(__file__).parent.parent / "golden" / "gocraft-work.json"
T = 1_700_000_000
"""The clock of most recordings."""
SLACK = 5
"""Seconds that a test may take between setting an expiry and looking at it."""


class Case(NamedTuple):
    """One recording."""

    name: str
    clock: int
    inputs: dict[str, Any]
    calls: list[dict[str, Any]]
    result: Any
    before: State
    after: State

    @property
    def namespace(self) -> str:
        return str(self.inputs.get("namespace", "work"))


def recordings() -> dict[str, Case]:
    """All recordings by name."""
    found = [
        Case(
            case["case"],
            case.get("clock") or T,
            case["inputs"],
            case["calls"],
            case.get("result"),
            case["redis_before"],
            case["redis_after"],
        )
        for case in json.loads(GOLDEN.read_text())
    ]
    return {case.name: case for case in found}


class Stored:
    """What one database holds."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.redis = redis.Redis.from_url(url, protocol=2, socket_timeout=60)

    def call(self, *args: Any) -> Any:
        """One command, answered as the server answers it."""
        connection = self.redis.connection_pool.get_connection()
        try:
            connection.send_command(*map(_bytes, args))
            return connection.read_response()
        finally:
            self.redis.connection_pool.release(connection)

    def asked(self, command: str) -> int:
        """How often the server has carried out a command so far."""
        lines = bytes(self.call("INFO", "commandstats")).decode().splitlines()
        return sum(
            int(line.split("calls=")[1].split(",")[0]) for line in lines if line.startswith(f"cmdstat_{command}:")
        )

    def load(self, state: State) -> None:
        """Write all of it."""
        for key, entry in state.items():
            self.call(*_command(key, entry))
            if "ttl" in entry:
                self.call("EXPIRE", key, entry["ttl"])

    def dump(self) -> State:
        """Everything there is."""
        return {_text(key): self.look(key) for key in sorted(self.call("KEYS", "*"))}

    def look(self, key: str | bytes) -> dict[str, Any]:
        """One key."""
        kind = _text(self.call("TYPE", key))
        found: dict[str, Any] = {"type": kind, "value": self._value(key, kind)}
        seconds = self.call("TTL", key)
        return found | ({"ttl": seconds} if seconds > 0 else {})

    def _value(self, key: str | bytes, kind: str) -> Any:
        if kind == "zset":
            flat = [_text(part) for part in self.call("ZRANGE", key, 0, -1, "WITHSCORES")]
            return [{"member": member, "score": score} for member, score in zip(flat[::2], flat[1::2], strict=True)]
        if kind == "hash":
            flat = [_text(part) for part in self.call("HGETALL", key)]
            return dict(sorted(zip(flat[::2], flat[1::2], strict=True)))
        if kind == "string":
            return _text(self.call("GET", key))
        members = self.call("LRANGE", key, 0, -1) if kind == "list" else sorted(self.call("SMEMBERS", key))
        return [_text(member) for member in members]

    def entries(self, key: str) -> list[bytes]:
        """The entries of a list, or the members of a sorted set."""
        found: list[bytes] = self.call("LRANGE", key, 0, -1) if self.kind(key) == "list" else []
        return found or (self.call("ZRANGE", key, 0, -1) if self.kind(key) == "zset" else [])

    def kind(self, key: str) -> str:
        """The type of a key."""
        return _text(self.call("TYPE", key))

    def running(self, name: str, prefix: str = "work:") -> Counter[str]:
        """Pool -> how many jobs of the type lie in its in-progress list."""
        found = self.call("KEYS", f"{prefix}jobs:{name}:*:inprogress")
        return Counter({_text(key).split(":")[-2]: self.call("LLEN", key) for key in found})

    def balanced(self, *names: str, prefix: str = "work:") -> bool:
        """Whether for each type lock and lock_info say what the in-progress lists hold."""
        for name in names:
            running = self.running(name, prefix)
            info = self._value(f"{prefix}jobs:{name}:lock_info", "hash")
            said = Counter({pool: int(count) for pool, count in info.items() if count != "0"})
            if said != running or int(self.call("GET", f"{prefix}jobs:{name}:lock") or 0) != running.total():
                return False
        return True


def _command(key: str, entry: dict[str, Any]) -> tuple[Any, ...]:
    match entry["type"]:
        case "zset":
            return ("ZADD", key, *(part for item in entry["value"] for part in (item["score"], item["member"])))
        case "hash":
            return ("HSET", key, *(part for pair in entry["value"].items() for part in pair))
        case "string":
            return ("SET", key, entry["value"])
        case kind:
            return ("RPUSH" if kind == "list" else "SADD", key, *entry["value"])


def _text(value: bytes) -> str:
    return value.decode("utf-8", "surrogateescape")


def _bytes(value: Any) -> Any:
    return value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value


# how two states are compared


def without(state: State, *beginnings: str) -> State:
    """The state without the keys that begin so."""
    return {key: entry for key, entry in state.items() if not key.startswith(beginnings)}


def comparable(state: State, *, parsed: bool) -> State:
    """The state with what chance decided masked; with `parsed`, documents as what they mean."""
    return {key: _comparable(key, entry, parsed=parsed) for key, entry in sorted(state.items())}


def _comparable(key: str, entry: dict[str, Any], *, parsed: bool) -> dict[str, Any]:
    value = entry["value"]
    if entry["type"] == "hash" and "heartbeat_at" in value:
        value = value | {"heartbeat_at": "(server time)"}
    if entry["type"] == "set":
        value = sorted(value)
    if entry["type"] == "list":
        value = [_document(text, parsed=parsed) for text in value]
    if entry["type"] == "zset":
        value = [item | {"member": _document(item["member"], parsed=parsed)} for item in value]
    return entry | {"value": value} | ({"ttl": round(entry["ttl"] / SLACK) * SLACK} if "ttl" in entry else {})


def _document(text: str, *, parsed: bool) -> Any:
    if '"poison":' in text:
        document = json.loads(text)
        reason = ":".join(document["err"].split(":")[:2])
        return document | {"id": "(chance)", "err": reason}
    return json.loads(text) if parsed and text.startswith("{") and text.endswith("}") else text
