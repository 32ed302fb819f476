"""Jobs out of a namespace for good, and into it as they were elsewhere."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from worksong.adapters.gocraft.intake import document, score
from worksong.adapters.gocraft.space import LOAD, LOCK_KEPT, RELEASE, UNLOAD, Space, kept_apart
from worksong.adapters.redis.client import Arg
from worksong.adapters.redis.outbox import HEAVY
from worksong.adapters.redis.store import escaped, text, whole
from worksong.domain.errors import InvalidArguments
from worksong.domain.job import Job
from worksong.domain.lifecycle import State
from worksong.domain.parcel import WAITING, Lock, Parcel, packed
from worksong.domain.poison import Poison
from worksong.ports.backend import ONCE_KEPT
from worksong.ports.cargo import RECEIPT_KEPT, Fate, Known, Landing, Load
from worksong.wire import gocraft, gojson

SCHEDULED, RETRY, DEAD, FIRST_QUEUE = 3, 4, 5, 6
"""Places of the targets among the unload script's keys."""
LETTERS = {"L": Fate.LOCKED, "K": Fate.KNOWN}
OWN, OTHERS = "1", "0"
"""Values of an id that is known once."""


class _Open(msgspec.Struct):
    """What is said of the load that lies aside."""

    id: str
    destination: str


class _Aside(NamedTuple):
    """A job that lies aside, as load.lua left it."""

    key: bytes
    time: bytes
    raw: bytes
    lock: bytes
    value: bytes


class GocraftCargo:
    """Takes out and puts in by one script each."""

    def __init__(self, space: Space) -> None:
        self._space = space
        k = space.keys
        self._sets = {State.SCHEDULED: k.scheduled, State.RETRY: k.retry, State.DEAD: k.dead}

    # out

    async def load(self, state: State, passed: int, most: int, opening: Load) -> Load | None:
        """The open load; else one with the id and destination of `opening`."""
        found = await self._opened()
        if found or not most:
            return found
        entries = await self._entries(state, passed, most)
        keys = sorted({key for key, _ in entries})
        places = {key: place for place, key in enumerate(keys, 2)}
        said = msgspec.json.encode(_Open(opening.id, opening.destination))
        args: list[Arg] = [said, self._space.keys.held("")]
        chosen, unreadable = _chosen(entries)
        for key, raw, job in chosen:
            lock, stays = self._lock_of(job, state)
            args += (places[key], raw, job.id, lock, "1" if stays else "0")
        taken = await self._space.run(LOAD, (self._space.keys.aside, *keys), args) if chosen else 0
        if taken:
            found = await self._opened()
            return replace(found, passed=unreadable) if found else None
        return Load("", "", passed=unreadable) if entries else None  # what was chosen may have been taken meanwhile

    async def _entries(self, state: State, passed: int, most: int) -> list[tuple[str, bytes]]:
        """(key, bytes) of jobs of the state, the first ones passed over; queues one after the other, oldest first."""
        if state in self._sets:
            key = self._sets[state]
            return [(key, raw) for raw in await self._space.call("ZRANGE", key, passed, passed + most - 1)]
        queues = [self._space.keys.jobs(name) for name in await self._space.known()]
        lengths = [whole(length) for length in await self._space.try_all([("LLEN", queue) for queue in queues])]
        found: list[tuple[str, bytes]] = []
        for queue, length in zip(queues, lengths, strict=True):
            if passed < length and len(found) < most:
                raws = await self._space.call("LRANGE", queue, -(passed + most - len(found)), -(passed + 1))
                found += [(queue, raw) for raw in reversed(raws)]
            passed = max(0, passed - length)
        return found

    def _lock_of(self, job: Job, state: State) -> tuple[str, bool]:
        """The lock that the job may hold, and whether it keeps it until it is done."""
        stays = job.unique == "until_done"
        fresh = not job.fails and state in (State.QUEUED, State.SCHEDULED)  # later it was given back at the start
        lock = self._space.lock_of(job) if stays or fresh else ""
        return lock, bool(lock) and stays

    async def _opened(self) -> Load | None:
        said, jobs = await self._lying()
        if said is None:
            return None
        opened = msgspec.json.decode(said, type=_Open)
        return Load(opened.id, opened.destination, tuple(self._parcel(one) for one in jobs))

    async def _lying(self) -> tuple[bytes | None, list[_Aside]]:
        found: list[bytes] = await self._space.call("LRANGE", self._space.keys.aside, 0, -1)
        jobs = [_Aside(*found[at : at + 5]) for at in range(1, len(found), 5)]
        return (found[0], jobs) if found else (None, [])

    def _parcel(self, one: _Aside) -> Parcel:
        job, key = _newest(one), text(one.key)
        state = next((state for state, name in self._sets.items() if name == key), State.QUEUED)
        lock = self._lock(job.handler, text(one.lock)) if one.value else None
        return packed(job, state, float(one.time) if one.time else job.enqueued_at, lock)

    def _lock(self, handler: str, name: str) -> Lock:
        """What gocraft/work's name of a lock ends in is what makes jobs equal."""
        key = name.removeprefix(f"{self._space.keys.unique_prefix}{handler}:").removesuffix("\n")
        return Lock.of(key.encode("utf-8", "surrogateescape") or b"null")

    async def release(self, load_id: str, staying: Collection[str]) -> int:
        """Drop or give back what lies aside."""
        said, jobs = await self._lying()
        if said is None or msgspec.json.decode(said, type=_Open).id != load_id:
            return 0
        ids = [_newest(one).id for one in jobs]
        gone = [job_id for job_id in ids if job_id not in staying]
        back = [one for one, job_id in zip(jobs, ids, strict=True) if job_id in staying]
        keys = sorted({one.key for one in back})
        places = {key: place for place, key in enumerate(keys, 2)}
        k = self._space.keys
        args: list[Arg] = [said, k.enqueued(""), k.held(""), len(gone), *gone]
        for one in reversed(back):  # the last of them first: each goes to the front
            plain = gocraft.rewrite(one.raw, {}, ["unique", "unique_key", "unique_until"])
            job_id = gocraft.decode(one.raw, limit=64 * gocraft.LIMIT).id
            args += (places[one.key], one.time, one.raw, plain, job_id, one.lock, one.value)
        return len(gone) if await self._space.run(RELEASE, (k.aside, *keys), args) else 0

    # in

    def carried(self, parcel: Parcel) -> Parcel:
        """As it reads in the document; the score of a set is a whole second."""
        raw, _, _ = self._written(parcel)
        at = score(parcel.at) if parcel.state in WAITING else int(parcel.at)
        return packed(gocraft.decode(raw), parcel.state, at, parcel.lock)

    def _written(self, parcel: Parcel) -> tuple[bytes, str, Arg]:
        """Its document, its lock and the value of that."""
        job, lock = parcel.job, parcel.lock
        if lock is None:
            return document(job), "", ""
        if not lock.key:
            raise InvalidArguments(
                f"job {job.id} is unique by a key of which its store keeps a digest only, and the name of its lock "
                "cannot be made from that: let the workers there finish it"
            )
        suffix = "" if lock.key == b"null" else f"{lock.key.decode('utf-8', 'surrogateescape')}\n"
        name = f"{self._space.keys.unique_prefix}{job.handler}:{suffix}"
        raw = document(replace(job, unique_key=name))
        return raw, name, "1" if lock.key == gojson.encode(job.args) else raw

    async def unload(self, load: Load, without: Collection[str]) -> Landing:
        """Write what is not left out, under a receipt."""
        k = self._space.keys
        left_out = msgspec.json.encode(sorted(without))
        args: list[Arg] = [int(RECEIPT_KEPT), left_out, k.enqueued(""), k.held(""), LOCK_KEPT]
        parcels = [parcel for parcel in load.parcels if parcel.id not in without]
        queues = sorted({k.jobs(parcel.job.handler) for parcel in parcels if parcel.state is State.QUEUED})
        places = {queue: place for place, queue in enumerate(queues, FIRST_QUEUE)}
        for parcel in parcels:
            args += self._arguments(parcel, places)
        keys = (k.receipt(load.id), k.known_jobs, k.scheduled, k.retry, k.dead, *queues)
        receipt, _ = await self._space.run(UNLOAD, keys, args)
        return self._landing(load, receipt)

    def _arguments(self, parcel: Parcel, places: dict[str, int]) -> Iterator[Arg]:
        raw, lock, value = self._written(parcel)
        job = parcel.job
        if parcel.state is State.QUEUED:
            yield from (places[self._space.keys.jobs(job.handler)], "")
        else:
            place = {State.SCHEDULED: SCHEDULED, State.RETRY: RETRY, State.DEAD: DEAD}[parcel.state]
            yield from (place, math.floor(self.carried(parcel).at))
        yield from (raw, job.id, job.handler, lock, value, "1" if lock and job.unique == "until_done" else "0")

    def _landing(self, load: Load, receipt: bytes) -> Landing:
        letters, _, ids = receipt.decode().partition("[")
        fates = dict.fromkeys(msgspec.json.decode(f"[{ids}", type=list[str]), Fate.REFUSED)
        parcels = [parcel for parcel in load.parcels if parcel.id not in fates]
        for parcel, letter in zip(parcels, letters, strict=True):
            if letter in LETTERS:
                fates[parcel.id] = LETTERS[letter]
        return Landing(fates, tuple(self.carried(parcel) for parcel in parcels if parcel.id not in fates))

    # ids

    async def known(self, after: str, most: int) -> tuple[list[Known], str]:
        """A step of a scan over the keys; one that both begin and end in it may come twice."""
        prefix = self._space.keys.enqueued("")
        scan = ("SCAN", after or "0", "MATCH", f"{escaped(prefix)}*", "COUNT", most)
        cursor, keys = await self._space.call(*scan)
        (seconds, micros), *left = await self._space.gather([("TIME",), *(("PTTL", key) for key in keys)])
        now = int(seconds) + int(micros) / 1e6
        names = [text(key).removeprefix(prefix) for key in keys]
        found = [
            Known(name, now + (ms / 1000 if ms > 0 else ONCE_KEPT))
            for name, ms in zip(names, left, strict=True)
            if ms != -2
        ]
        return found, "" if cursor == b"0" else cursor.decode()

    async def know(self, ids: Sequence[Known], now: float) -> list[bool]:
        """Note those that are not known."""
        k = self._space.keys
        sets: list[tuple[Arg, ...]] = [
            ("SET", k.enqueued(known.id), OTHERS, "NX", "EX", max(1, math.ceil(known.until - now))) for known in ids
        ]
        return [answer is not None for answer in await self._space.gather(sets)]


def _chosen(entries: Sequence[tuple[str, bytes]]) -> tuple[list[tuple[str, bytes, Job]], int]:
    """(key, bytes, job) of those that can be read, as many as are not too heavy; how many cannot be.

    Of jobs with one id only the first: a load knows its jobs by their ids.
    """
    chosen: list[tuple[str, bytes, Job]] = []
    ids: set[str] = set()
    unreadable = weight = 0
    for key, raw in entries:
        weight += len(raw)
        if weight > HEAVY and (chosen or unreadable):
            break
        job = _readable(raw)
        if job is None:
            unreadable += 1
        elif job.id not in ids:
            ids.add(job.id)
            chosen.append((key, raw, job))
    return chosen, unreadable


def _readable(raw: bytes) -> Job | None:
    try:
        job = gocraft.decode(raw, limit=64 * gocraft.LIMIT)
    except Poison:
        return None
    return None if kept_apart(job) else job


def _newest(one: _Aside) -> Job:
    """What would run: the lock of a unique job holds newer data of it, as the fetch script reads them."""
    job = gocraft.decode(one.raw, limit=64 * gocraft.LIMIT)
    if one.value in (b"", b"1"):
        return job
    try:
        newer = gocraft.decode(one.value, limit=64 * gocraft.LIMIT)
    except Poison:
        return job
    return newer if newer.handler == job.handler else job
