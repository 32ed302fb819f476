"""One namespace on one Redis: its keys, the scripts over them, and how its documents are read."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Any, Literal, NamedTuple

import msgspec

from worksong.adapters.redis.client import Arg, Redis, Script, ServerError
from worksong.domain.errors import BackendRefused
from worksong.domain.job import Job, JobView, new_id
from worksong.domain.lifecycle import State
from worksong.domain.poison import Poison, Reason
from worksong.wire import gocraft
from worksong.wire.gocraft_keys import Keys

LOCK_KEPT = 86400
"""Seconds that a unique lock lasts, from the last time it was asked for."""
DEAD_KEPT = 180 * 86400.0
"""Seconds that dead jobs and the bytes of poison are kept."""

PUSH, PUSH_GUARDED, FETCH, SETTLE, MOVE, REMOVE, BEAT, STRIKE, REPAIR = (
    Script.named(name)
    for name in ("push", "push_guarded", "fetch", "settle", "move", "remove", "beat", "strike", "repair")
)
LOAD, UNLOAD, RELEASE, FOLLOW = (Script.named(name) for name in ("load", "unload", "release", "follow"))

MEND = "rename that key or delete it, and work goes on by itself"
"""What to do about a key of a wrong type."""
_BELONGS = {"G": "string", "H": "hash", "L": "list", "S": "set", "Z": "zset"}
"""First letter of a command -> what it works on."""

_SUFFIXES = (":paused", ":lock", ":lock_info", ":max_concurrency", ":inprogress")

log = logging.getLogger("worksong")


class Receipt(msgspec.Struct, frozen=True, gc=False):
    """One lending: whose in-progress list holds which bytes."""

    pool: str
    type: str
    """The job type whose queue it came from; a stray job's own name is another."""
    raw: bytes


class Item(msgspec.Struct, frozen=True):
    """One ending for the settle script."""

    action: str
    raw: bytes
    new: bytes = b""
    at: int = 0
    id: str = ""
    lock: str = ""
    held: str = ""


class Group(NamedTuple):
    """Endings of one job type in the hands of one pool, which no other group of the same call has."""

    pool: str
    keys: Sequence[Arg]
    """Those of `Space.lent`."""
    drops: Sequence[Arg]
    """Jobs that end with nothing to write and no lock to free: bytes, id, bytes, id ..."""
    items: Sequence[Item]


class Space:
    """The namespace as all parts of the adapter see it."""

    def __init__(self, redis: Redis, keys: Keys) -> None:
        self.redis, self.keys = redis, keys
        self._complained: set[str] = set()

    async def call(self, *args: Arg) -> Any:
        """One command."""
        try:
            return await self.redis.call(*args)
        except UnicodeEncodeError:
            return await self.redis.call(*_as_found(args))
        except ServerError as error:
            raise await self._explained(error, args[1:2], args[0]) from None

    async def run(self, script: Script, keys: Sequence[Arg], args: Sequence[Arg]) -> Any:
        """One script."""
        try:
            return await self.redis.script(script, keys, args)
        except UnicodeEncodeError:
            return await self.redis.script(script, _as_found(keys), _as_found(args))
        except ServerError as error:
            raise await self._explained(error, keys) from None

    async def gather(self, commands: Sequence[tuple[Arg, ...]]) -> list[Any]:
        """Many commands at once; the first error is raised."""
        answers = await self._gather(commands)
        for command, answer in zip(commands, answers, strict=True):
            if isinstance(answer, ServerError):
                raise await self._explained(answer, command[1:2], command[0])
            if isinstance(answer, Exception):
                raise answer
        return answers

    async def try_all(self, commands: Sequence[tuple[Arg, ...]]) -> list[Any]:
        """Many commands at once; None in the place of one that was refused, as by a key of a wrong type."""
        answers = await self._gather(commands)
        for answer in answers:
            if isinstance(answer, Exception) and not isinstance(answer, BackendRefused):
                raise answer
        return [None if isinstance(answer, Exception) else answer for answer in answers]

    async def _gather(self, commands: Sequence[tuple[Arg, ...]]) -> list[Any]:
        try:
            return await self.redis.gather(commands)
        except UnicodeEncodeError:
            return await self.redis.gather([_as_found(command) for command in commands])

    async def _explained(self, error: ServerError, keys: Sequence[Arg], command: Arg = "") -> ServerError:
        """The refusal; one for a key of a wrong type with the key's name, and with what to do about it."""
        if error.code != "WRONGTYPE":
            return error
        said = str(error)
        if " key " not in said.partition(" Operation ")[0]:  # Redis itself says neither which key nor what it holds
            said = f"WRONGTYPE {await self._held(keys, _BELONGS.get(str(command)[:1], ''))}"
        return ServerError(f"{said}; {MEND}")

    async def _held(self, keys: Sequence[Arg], belongs: str) -> str:
        """What the keys hold; `belongs` is known of a single one."""
        kinds = [text(kind) for kind in await self.gather([("TYPE", key) for key in keys])]
        names = [text(key) if isinstance(key, bytes) else str(key) for key in keys]
        if belongs:
            return f"key {names[0]} holds a {kinds[0]} where a {belongs} belongs"
        there = [f"{name} ({kind})" for name, kind in zip(names, kinds, strict=True) if kind != "none"]
        return f"one of these keys is of a wrong type: {', '.join(there)}"

    async def known(self) -> list[str]:
        """The names of all job types ever enqueued or served here."""
        return sorted(text(name) for name in await self.call("SMEMBERS", self.keys.known_jobs))

    async def settle(self, groups: Sequence[Group], now: float) -> list[bool]:
        """Carry out endings: whose were still the pool's; of each group its drops come first."""
        k = self.keys
        keys: list[Arg] = [k.retry, k.scheduled, k.dead, k.cancelled, k.recovered, k.recovered_at]
        args: list[Arg] = [int(now)]
        for pool, lists, drops, items in groups:
            keys += lists
            args += (pool, len(drops) // 2, len(items))
            args += drops
            for item in items:
                args += (item.action, item.raw, item.new, item.at, item.id, item.lock, item.held)
        return [answer == 1 for answer in await self.run(SETTLE, keys, args)]

    def lent(self, pool: str, name: str) -> tuple[Arg, ...]:
        """The keys that the ending of a job changes, which the pool was lent from the queue of this type."""
        k = self.keys
        return as_bytes((k.inprogress(name, pool), k.jobs(name), k.lock(name), k.lock_info(name)))

    async def try_settle(self, pool: str, name: str, items: Sequence[Item], now: float) -> list[bool]:
        """Endings of one job type; none, and a word of it, when the server refuses them for one of its keys."""
        try:
            return await self.settle([Group(pool, self.lent(pool, name), (), items)], now)
        except BackendRefused as refusal:
            if name not in self._complained:
                self._complained.add(name)
                log.error("jobs of type %s lie in progress and cannot be taken from there: %s", name, refusal)
            return [False] * len(items)

    async def strike(self, pool: str, names: Iterable[str]) -> bool:
        """Strike a pool off, unless something of these types is left in progress."""
        k = self.keys
        lists = [key for name in names for key in (k.inprogress(name, pool), k.lock(name), k.lock_info(name))]
        return bool(await self.run(STRIKE, (k.worker_pools, k.pool(pool), *lists), (pool,)))

    def held(self, job: Job) -> str:
        """The key that says who holds the lock of a job unique until it is done; '' for all others."""
        return self.keys.held(job.unique_key) if job.unique == "until_done" and self.owns(job.unique_key) else ""

    def owns(self, unique_key: str) -> bool:
        """Whether it is a lock of this namespace: a document could name any key."""
        return unique_key.startswith(self.keys.unique_prefix)

    def buried(self, raw: bytes, name: str, poison: Poison, now: float, where: str) -> Item:
        """The ending of bytes that are no job: to the dead, as they were."""
        document = gocraft.wrap_poison(
            raw, name, new_id(), reason=poison.reason, detail=poison.detail, now=now, where=where
        )
        return Item("bury", raw, document, int(now))


def misnamed(name: str) -> str:
    """Why no job type may have this name here; '' for good ones."""
    ending = next(filter(name.endswith, _SUFFIXES), "")
    if not ending:
        return ""
    return (
        f"job name {name!r} ends in {ending!r}, and its queue would be the key in which gocraft/work keeps "
        f"something of another job type: choose a name with another ending"
    )


def unlocked(job: Job, raw: bytes) -> bytes:
    """What becomes of a lent job that comes back without a failure; empty for "as it is".

    One that is unique until its start gave its lock back then: lent again, it must not free that of a newer one.
    """
    return gocraft.rewrite(raw, {}, ["unique", "unique_key"]) if job.unique == "until_start" else b""


def view(raw: bytes, state: State, at: float, name: str = "") -> JobView:
    """A stored document as listings show it; poison is shown as such."""
    try:
        job = gocraft.decode(raw, limit=64 * gocraft.LIMIT)
    except Poison as poison:
        return JobView(job=Job(name, error=str(poison)), state=state, at=at, reason=poison.reason, raw=raw)
    if state in (State.SCHEDULED, State.RETRY):
        job = msgspec.structs.replace(job, run_at=at)
    if kept_apart(job):
        return JobView(job=job, state=state, at=at, reason=Reason.TOO_LARGE)
    found = gocraft.unwrap_poison(job)
    if found is None:
        return JobView(job=job, state=state, at=at or job.enqueued_at)
    return JobView(job=job, state=state, at=at, reason=found[0], raw=found[1])


def kept_apart(job: Job) -> str:
    """The key under which the fetch script left poison too large for a document; '' for everything else."""
    if not isinstance(job.args, dict) or "poison" not in job.args:
        return ""
    try:
        return msgspec.convert(job.args, _Apart).poison.key
    except msgspec.ValidationError:
        return ""


class _Key(msgspec.Struct, forbid_unknown_fields=True):
    reason: Literal["too_large"]
    where: str
    key: str


class _Apart(msgspec.Struct, forbid_unknown_fields=True):
    poison: _Key


def text(value: bytes) -> str:
    """A name as stored by anybody."""
    return value.decode("utf-8", "surrogateescape")


def stored(name: str) -> bytes:
    """The bytes that `text` read."""
    return name.encode("utf-8", "surrogateescape")


def _as_found(args: Sequence[Arg]) -> tuple[Arg, ...]:
    """Names that are no UTF-8 as they are stored; the client has sent nothing when it stumbles over them."""
    return tuple(stored(arg) if isinstance(arg, str) else arg for arg in args)


def as_bytes(names: Iterable[str]) -> tuple[bytes, ...]:
    """Names for the server, which `text` reads back."""
    return tuple([name.encode("utf-8", "surrogateescape") for name in names])


def whole(value: bytes | None) -> int:
    """A number as stored by anybody; 0 when it is none, or none that Go could have written."""
    try:
        number = int(value or 0)
    except ValueError:
        return 0
    return number if -(2**63) <= number < 2**63 else 0
