"""Records of the job service in Redis: a string each, and sorted sets that list them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence

from worksong.adapters.redis.address import Address, parse
from worksong.adapters.redis.client import Arg, Redis, Script
from worksong.domain.errors import BackendRefused
from worksong.ports.records import After, Change, Kind, Record, Ref
from worksong.wire.gocraft_keys import Keys

WRITE, PAGE = Script.named("record_write"), Script.named("record_page")
AT_ONCE = 500
"""Records forgotten in one step."""


class RedisRecords:
    """Belongs to the event loop of its first call; `sibling` makes one for another loop."""

    def __init__(self, url: str, *, namespace: str) -> None:
        """The URL's own `?namespace=` goes before `namespace`."""
        address = parse(url)
        self._use(address, namespace if address.namespace is None else address.namespace)

    def _use(self, address: Address, namespace: str) -> None:
        self.name = address.shown
        self._address, self.namespace, self._keys = address, namespace, Keys(namespace)
        self._redis = Redis(address)

    def sibling(self) -> RedisRecords:
        other = RedisRecords.__new__(RedisRecords)
        other._use(self._address, self.namespace)
        return other

    async def close(self) -> None:
        redis, self._redis = self._redis, Redis(self._address)
        await redis.close()

    async def write(self, changes: Sequence[Change]) -> bool:
        if not changes:
            return True
        return bool(await self._redis.script(WRITE, *written(self._keys, changes)))

    async def read(self, refs: Sequence[Ref]) -> list[Record | None]:
        found = await self._bytes(refs)
        return [None if one is None else _record(ref, one) for ref, one in zip(refs, found, strict=True)]

    async def listed(
        self, kind: Kind, *, status: int | None = None, after: After | None = None, most: int = 100
    ) -> list[Record]:
        last: tuple[Arg, Arg] = (repr(float(after.created_at)), after.id) if after else ("", "")
        while True:
            found = await self._redis.script(PAGE, [self._keys.records(kind, status)], (*last, most))
            records = await self._readable([Ref(kind, record_id.decode()) for record_id in found[::2]])
            if records or not found:
                return list(records.values())
            last = (found[-1], found[-2])  # all of them went between the two looks

    async def unsent(self, since: float, most: int) -> list[Record]:
        return await self._timed(self._keys.records_unsent, since, most)

    async def prune(self, now: float) -> int:
        """Those that somebody changes meanwhile are for the next time."""
        records = await self._timed(self._keys.records_until, now, AT_ONCE)
        steps = [self.write([Change(record.ref, record.version, None)]) for record in records]
        return (await asyncio.gather(*steps)).count(True)

    async def _timed(self, key: str, until: float, most: int) -> list[Record]:
        """Those with a time up to this one; names that stand for nothing are struck off, so that they block nobody."""
        names = await self._redis.call("ZRANGEBYSCORE", key, "-inf", repr(float(until)), "LIMIT", 0, most)
        records = await self._readable([_ref(name) for name in names])
        if stray := [name for name in names if _ref(name) not in records]:
            await self._redis.call("ZREM", key, *stray)
        return list(records.values())

    async def _readable(self, refs: Sequence[Ref]) -> dict[Ref, Record]:
        """Those that are there; one that somebody spoilt keeps no other from being listed."""
        found: dict[Ref, Record] = {}
        for ref, one in zip(refs, await self._bytes(refs), strict=True):
            with contextlib.suppress(BackendRefused):
                if one is not None:
                    found[ref] = _record(ref, one)
        return found

    async def _bytes(self, refs: Sequence[Ref]) -> list[bytes | None]:
        found: list[bytes | None] = await self._redis.call("MGET", *map(self._key, refs)) if refs else []
        return found

    def _key(self, ref: Ref) -> str:
        return self._keys.record(ref.kind, ref.id)


def written(names: Keys, changes: Sequence[Change]) -> tuple[list[Arg], list[Arg]]:
    """The keys and arguments of the script `record_write`."""
    keys: list[Arg] = [names.records_unsent, names.records_until]
    args: list[Arg] = []
    for change in changes:
        keys += (names.record(change.ref.kind, change.ref.id), names.records(change.ref.kind))
        args += (_name(change.ref), change.ref.id, "" if change.was is None else change.was)
        args += _told(change.record)
    return keys, args


def _name(ref: Ref) -> str:
    return f"{ref.kind}:{ref.id}"


def _ref(name: bytes) -> Ref:
    kind, _, record_id = name.decode().partition(":")
    return Ref(Kind(kind), record_id)


def _told(record: Record | None) -> tuple[Arg, ...]:
    """The record, and what it is listed by."""
    if record is None:
        return (b"", "0", "0", "0", "0")
    times = [repr(float(time)) if time else "0" for time in (record.unsent_since, record.until)]
    created, status = repr(float(record.created_at)), str(int(record.status))
    head = f"{record.version} {created} {status} {times[0]} {times[1]}\n"
    return (head.encode() + record.body, created, status, *times)


def _record(ref: Ref, found: bytes) -> Record:
    head, _, body = found.partition(b"\n")
    try:
        version, created_at, status, unsent_since, until = head.split(b" ")
        times = (float(unsent_since), float(until))
        return Record(ref, body, float(created_at), int(status), *times, int(version))
    except ValueError as wrong:
        raise BackendRefused(f"what is stored as record {ref.kind} {ref.id} cannot be read: {wrong}") from wrong
