"""What every examination on Redis does: the server at the door and at length, keys of a wrong type, check by check."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Generic, NamedTuple, TypeVar

from worksong.adapters.redis.client import Arg
from worksong.adapters.redis.doctor import server, vitals
from worksong.adapters.redis.doctor.vitals import REFUSALS
from worksong.adapters.redis.store import Store, text
from worksong.domain.errors import ConfigError
from worksong.domain.finding import Ailment, Finding, Severity, some, verdict
from worksong.domain.poison import Poison

TYPES = Ailment(
    "redis.keys.type",
    Severity.ERROR,
    "Keys of the namespace hold another kind of value than belongs there: what needs them does not work.",
    "redis-cli RENAME KEY KEY.wrong, then look at what somebody has written there",
)
UNREADABLE = Ailment(
    "jobs.unreadable",
    Severity.WARNING,
    "Among the jobs there are documents that cannot be read; workers bury them among the dead when they reach them.",
    "find out who writes into this namespace; worksong dead shows what was buried",
)
AILMENTS = (TYPES, UNREADABLE)
CHUNK = 500
ENDS = 20
"""Documents at each end of a place that are read."""

W = TypeVar("W")


class Check(NamedTuple, Generic[W]):
    """A check and what it means to pass it."""

    id: str
    passed: str
    look: Callable[[W], Awaitable[list[Finding]]]


async def admit(store: Store) -> list[Finding]:
    """What whoever begins to work here should be warned of; refuses a server that drops jobs."""
    address = store.redis.address
    found = await vitals.at_the_door(store.redis, eviction_allowed=address.eviction)
    for finding in server.eviction(found):
        if not address.eviction:
            raise ConfigError(
                f"{address.shown} may drop jobs: {finding.detail}; {finding.mend}; "
                "where jobs may be lost, say ?eviction=allowed in the URL"
            )
    return list(server.persistence(found))


async def examine_server(store: Store, now: float) -> tuple[list[Finding], float]:
    """What is wrong with the server, and its clock."""
    seen = await vitals.take(store.redis, now, time.monotonic, eviction_allowed=store.redis.address.eviction)
    return server.examine(seen), seen.now


async def make(checks: Iterable[Check[W]], ward: W) -> list[Finding]:
    """All checks; one that the server refuses costs no other."""
    found: list[Finding] = []
    for check in checks:
        try:
            found += verdict(check.id, check.passed, await check.look(ward))
        except REFUSALS as refusal:
            found.append(refused(check.id, refusal))
    return found


def refused(check: str, refusal: Exception) -> Finding:
    """A check that the server did not permit."""
    return server.UNCHECKED.found(f"{check}: {refusal}")


async def misfits(store: Store, expected: Mapping[str, str]) -> list[Finding]:
    """Keys of a wrong type."""
    wrong: list[str] = []
    every = list(expected.items())
    for start in range(0, len(every), CHUNK):
        part = every[start : start + CHUNK]
        kinds = await store.gather([("TYPE", key) for key, _ in part])
        for (key, kind), found in zip(part, map(text, kinds), strict=True):
            if found not in ("none", kind):
                wrong.append(f"{key} holds a {found} where a {kind} belongs")
    return [TYPES.found(some(wrong))] if wrong else []


def ends_of(key: str) -> tuple[tuple[Arg, ...], ...]:
    """The commands that read both ends of a list."""
    return ("LRANGE", key, 0, ENDS - 1), ("LRANGE", key, -ENDS, -1)


def head_of(key: str) -> tuple[tuple[Arg, ...], ...]:
    """The command that reads the head of a sorted set."""
    return (("ZRANGE", key, 0, ENDS - 1),)


async def unreadable(
    store: Store, places: Sequence[tuple[str, Sequence[tuple[Arg, ...]]]], decode: Callable[[bytes], object]
) -> list[Finding]:
    """What `decode` refuses among that which these commands read; told by the names of the places."""
    commands = [(name, command) for name, reads in places for command in reads]
    answers = await store.try_all([command for _, command in commands])
    found: defaultdict[str, int] = defaultdict(int)
    for (name, _), documents in zip(commands, answers, strict=True):
        found[name] = max(found[name], sum(_is_poison(raw, decode) for raw in documents or ()))
    bad = [f"{name} ({count})" for name, count in found.items() if count]
    return [UNREADABLE.found(f"in {some(bad)}")] if bad else []


def _is_poison(raw: bytes, decode: Callable[[bytes], object]) -> bool:
    try:
        decode(raw)
    except Poison:
        return True
    return False
