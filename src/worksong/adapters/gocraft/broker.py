"""Jobs lent, jobs settled."""

from __future__ import annotations

import asyncio
import logging
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from worksong.adapters.gocraft.intake import GocraftIntake, score
from worksong.adapters.gocraft.space import (
    FETCH,
    FOLLOW,
    LOCK_KEPT,
    Group,
    Item,
    Receipt,
    Space,
    unlocked,
)
from worksong.adapters.redis.client import Arg
from worksong.adapters.redis.lookout import Lookout
from worksong.adapters.redis.outbox import HEAVY, MOST, Document
from worksong.adapters.redis.store import as_bytes
from worksong.domain.job import Delivery, Job
from worksong.domain.outcome import (
    Buried,
    Discarded,
    Done,
    Outcome,
    Released,
    Retried,
    Settlement,
    Snoozed,
    following,
)
from worksong.domain.poison import Poison
from worksong.domain.turns import Share
from worksong.ports.backend import ONCE_KEPT, Want
from worksong.wire import gocraft

log = logging.getLogger("worksong")


class GocraftBroker:
    """Pushes, lends and settles over the scripts of the namespace."""

    def __init__(self, space: Space, lookout: Lookout) -> None:
        self._space, self._lookout = space, lookout
        self._intake = GocraftIntake(space, lookout)
        self.push = self._intake.push
        self._complained: set[str] = set()
        k = space.keys
        self._words = as_bytes((k.unique_prefix, k.held(""), k.poison(""), str(gocraft.LIMIT), str(HEAVY)))
        self._ample = False
        """The last fetch found as many jobs as it asked for."""
        self._rich: frozenset[str] = frozenset()
        """Job types of which a fetch lent more than their quotas, since others had less.

        It holds until others stand in, or a fetch finds too little: a draw that falls to these types says nothing new.
        """
        self._keyed = ""
        self._known_keys: dict[str, _Keys] = {}
        self._live: defaultdict[tuple[str, str], dict[bytes, tuple[int, ...]]] = defaultdict(dict)
        """(pool, job type) -> bytes -> the fences of the fetch that lent them last: older lendings are over, whoever
        says otherwise. More than one where equal documents were lent together.
        """

    # fetch

    async def fetch(self, want: Want, now: float) -> list[Delivery]:
        names, time = [share.name for share in want.handlers], asyncio.get_running_loop().time
        begun = time()
        while True:
            waited = time() - begun
            if want.wait == 0 or not self._lookout.silent(names):
                found = await self._take(want, now + waited)
                if found:
                    self._lookout.found()
                    return found
            if waited >= want.wait:
                return []
            await self._lookout.wait(names, want.wait - waited)

    def ring(self) -> None:
        """Something was enqueued here: a waiting fetch need not sleep on."""
        self._lookout.ring()

    async def _take(self, want: Want, now: float) -> list[Delivery]:
        """While there are plenty, only the types that the draw fell to are asked, and behind them those that stood in
        for others the last time: each has its price in the server.

        If these have less than was asked for, the next fetch asks all; if they have nothing, this one does.
        """
        found: list[Delivery] = []
        if self._ample and want.pool == self._keyed:
            rich = self._rich
            found = await self._lend(want, [turn for turn in want.handlers if turn.quota or turn.name in rich], now)
        found = found or await self._lend(want, want.handlers, now)
        self._ample = len(found) >= want.limit
        return found

    async def _lend(self, want: Want, turns: Sequence[Share], now: float) -> list[Delivery]:
        """What the quotas leave is lent by those that have more, in the order of their turns."""
        types = [name for name, _ in turns]
        k = self._space.keys
        gates: list[Arg] = []
        lists: list[Arg] = []
        quotas: list[Arg] = []
        for name, quota in turns:
            keys = self._keys(want.pool, name)
            gates += keys.gates
            lists += keys.lists
            quotas.append(min(quota, MOST))
        args = (want.pool, *self._words, *types, int(now), min(want.limit, MOST), *quotas)
        answer: tuple[bytes, list[Any], list[int]] = await self._space.run(
            FETCH, (k.fence, k.dead, *gates, *lists), args
        )
        first, lent, wrong = answer
        if wrong:
            self._complain([types[number - 1] for number in wrong])
        found = await self._read(want.pool, types, int(first) - 1, lent, now) if lent else []
        stood_in = _beyond_quota(turns, lent)
        if stood_in or len(found) < want.limit:
            self._rich = stood_in
        return found

    async def _read(
        self, pool: str, types: Sequence[str], fence: int, lent: Sequence[Any], now: float
    ) -> list[Delivery]:
        """The lent bytes as deliveries, with the fences after `fence`; what is no job goes to the dead at once."""
        found: list[Delivery] = []
        poison: dict[str, list[Item]] = defaultdict(list)
        fresh: dict[str, dict[bytes, tuple[int, ...]]] = defaultdict(dict)
        for place in range(0, len(lent), 2):
            number: int = lent[place]
            name = types[number - 1]
            live = fresh[name]
            for raw in lent[place + 1]:
                fence += 1
                try:
                    job = gocraft.decode(raw)
                    if job.unique and not job.unique_key:
                        await self._free_old_lock(job)
                except Poison as wrong:
                    poison[name].append(self._space.buried(raw, name, wrong, now, "queue"))
                    log.error("poison in the queue of %s went to the dead jobs: %s", name, wrong)
                    continue
                live[raw] = (*live[raw], fence) if raw in live else (fence,)
                found.append(Delivery(job, Receipt(pool, name, raw), fence))
        for name, live in fresh.items():
            self._live[pool, name].update(live)
        for name, items in poison.items():
            await self._space.try_settle(pool, name, items, now)
        return found

    async def _free_old_lock(self, job: Job) -> None:
        """Of a job that names none, as release 0.5.1 of gocraft/work writes it: the fetch script knows no such lock."""
        lock = "" if job.fails else self._space.lock_of(job)
        if lock:
            await self._space.call("DEL", lock)

    def _complain(self, names: Iterable[str]) -> None:
        for name in names:
            if name not in self._complained:
                self._complained.add(name)
                log.error(
                    "job type %s is passed over: one of its keys (%s...) holds a value of a wrong type; delete it",
                    name,
                    self._space.keys.jobs(name),
                )

    # settle

    async def settle(self, batch: Sequence[Settlement], now: float) -> list[bool]:
        ends: dict[tuple[str, str], _Ends] = {}
        size = 0
        for place, (delivery, outcome) in enumerate([(one.delivery, one.outcome) for one in batch]):
            if type(outcome) is Done and outcome.then:
                return await self._settle_followed(batch, now)
            receipt: Receipt = delivery.receipt
            raw, lender = receipt.raw, (receipt.pool, receipt.type)
            size += len(raw)
            if size > HEAVY and place:  # more than one command should carry
                return [*await self.settle(batch[:place], now), *await self.settle(batch[place:], now)]
            end = ends.get(lender)
            if end is None:
                end = ends[lender] = _Ends(self._live[lender])
            fences = end.live.get(raw)
            if fences is not None and delivery.fence not in fences:
                continue  # lent again since: this ending is too late
            job = delivery.job
            if job.unique is None and type(outcome) in _DROPPED:
                end.drops += (raw, job.id)
                end.dropped.append(place)
            else:
                end.items.append(self._item(delivery, outcome, now))
                end.others.append(place)
        return await self._carry_out(batch, ends, now)

    async def _carry_out(
        self, batch: Sequence[Settlement], ends: Mapping[tuple[str, str], _Ends], now: float
    ) -> list[bool]:
        groups = [Group(pool, self._keys(pool, name).lent, end.drops, end.items) for (pool, name), end in ends.items()]
        answers = iter(await self._space.settle(groups, now))
        held = [False] * len(batch)
        for end in ends.values():
            live = end.live
            for place in (*end.dropped, *end.others):
                held[place] = next(answers)
                _forget(live, batch[place].delivery)
        return held

    async def _settle_followed(self, batch: Sequence[Settlement], now: float) -> list[bool]:
        """Those that others follow one by one, the rest together."""
        plain, followed = list[int](), list[tuple[int, Sequence[Document]]]()
        for place, one in enumerate(batch):
            if then := following(one.outcome):
                followed.append((place, [self._intake.ready(job) for job in then]))
            else:
                plain.append(place)
        held = [False] * len(batch)
        answers = await self.settle([batch[place] for place in plain], now) if plain else []
        for place, was_held in zip(plain, answers, strict=True):
            held[place] = was_held
        for place, documents in followed:
            held[place] = await self._follow(batch[place].delivery, documents, now)
        return held

    async def _follow(self, delivery: Delivery, then: Sequence[Document], now: float) -> bool:
        receipt: Receipt = delivery.receipt
        live = self._live[receipt.pool, receipt.type]
        if delivery.fence not in live.get(receipt.raw, (delivery.fence,)):
            return False  # lent again since: this ending is too late
        k, job = self._space.keys, delivery.job
        lists = (k.inprogress(receipt.type, receipt.pool), k.lock(receipt.type), k.lock_info(receipt.type))
        held = self._space.held(job) if job.unique else ""
        locks = (job.unique_key, held) if held else (k.known_jobs, k.known_jobs)
        keys: list[Arg] = [*lists, k.cancelled, k.known_jobs, *locks]
        args: list[Arg] = [receipt.pool, receipt.raw, job.id]
        for follower, raw in then:
            keys += (k.scheduled if follower.run_at else k.jobs(follower.handler), k.enqueued(follower.id))
            kept = max(ONCE_KEPT, math.ceil(follower.run_at - now) + 2 * LOCK_KEPT)
            args += (follower.handler, raw, score(follower.run_at) if follower.run_at else "", kept)
        carried_out = bool(await self._space.run(FOLLOW, keys, args))
        _forget(live, delivery)
        self.ring()
        return carried_out

    def _keys(self, pool: str, name: str) -> _Keys:
        """Those of the latest pool are kept: they are asked for with every fetch and batch."""
        if self._keyed != pool:
            self._keyed = pool
            self._known_keys.clear()
            self._ample = False
        known = self._known_keys.get(name)
        if known is None:
            k = self._space.keys
            gates = as_bytes((k.paused(name), k.lock(name), k.max_concurrency(name)))
            lists = as_bytes((k.jobs(name), k.inprogress(name, pool), k.lock_info(name)))
            known = self._known_keys[name] = _Keys(gates, lists, self._space.lent(pool, name))
        return known

    def _item(self, delivery: Delivery, outcome: Outcome, now: float) -> Item:
        job, raw = delivery.job, delivery.receipt.raw
        action, new, at = _ending(job, raw, outcome, now)
        held = self._space.held(job) if job.unique else ""
        return Item(action, raw, new, at, job.id, job.unique_key if held else "", held)


_DROPPED = frozenset({Done, Discarded})


class _Keys(NamedTuple):
    """The keys of one job type for one pool: those that a fetch names, and those of an ending."""

    gates: tuple[bytes, ...]
    lists: tuple[bytes, ...]
    lent: tuple[Arg, ...]


class _Ends:
    """The endings of one job type and pool in a batch, and the places they have there."""

    __slots__ = ("dropped", "drops", "items", "live", "others")

    def __init__(self, live: dict[bytes, tuple[int, ...]]) -> None:
        self.live = live
        self.drops: list[Arg] = []
        self.items: list[Item] = []
        self.dropped: list[int] = []
        self.others: list[int] = []


def _beyond_quota(turns: Sequence[Share], lent: Sequence[Any]) -> frozenset[str]:
    """The types of which more was lent than their turns allowed before the others had theirs."""
    left = [turn.quota for turn in turns]
    for place in range(0, len(lent), 2):
        left[lent[place] - 1] -= len(lent[place + 1])
    return frozenset([turn.name for turn, more in zip(turns, left, strict=True) if more < 0])


def _forget(live: dict[bytes, tuple[int, ...]], delivery: Delivery) -> None:
    """This lending is over."""
    fences = live.pop(delivery.receipt.raw, ())
    if len(fences) > 1:
        live[delivery.receipt.raw] = tuple([fence for fence in fences if fence != delivery.fence])


def _ending(job: Job, raw: bytes, outcome: Outcome, now: float) -> tuple[str, bytes, int]:
    """(action, document to write, score)."""
    match outcome:
        case Retried(run_at, error):
            return "retry", failed(job, raw, error, now), score(run_at)
        case Buried(error):
            return "bury", failed(job, raw, error, now), int(now)
        case Snoozed(run_at):
            return "schedule", unlocked(job, raw) or raw, score(run_at)
        case Released():
            return "front", unlocked(job, raw), 0
        case _:
            return "drop", b"", 0


def failed(job: Job, raw: bytes, error: str, now: float) -> bytes:
    """The document after one more failure, all else as it was; of the error what leaves it readable."""
    new = gocraft.rewrite(raw, {"fails": job.attempt, "err": error, "failed_at": int(now)})
    if len(new) <= gocraft.LIMIT:
        return new
    return gocraft.rewrite(raw, {"fails": job.attempt, "err": f"{error:.100}…", "failed_at": int(now)})
