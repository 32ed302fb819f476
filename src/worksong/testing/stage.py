"""The backend and the model on one stage: every step is done to both, and both must answer the same."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Mapping
from typing import Any, TypeVar

from hypothesis.stateful import RuleBasedStateMachine

from worksong.domain.capability import Capability
from worksong.domain.job import Delivery, Job, new_id
from worksong.domain.lifecycle import State
from worksong.domain.outcome import Buried, Outcome, Released, Settlement
from worksong.domain.turns import Share
from worksong.ports.backend import Backend, Beat, Pool, Want, Window
from worksong.ports.cargo import Load
from worksong.testing.model import Entry, Model

T = TypeVar("T")

START = 1_700_000_000.0
HANDLERS = ("plain", "limited", "alone")
QUEUES = ("default", "low")
LIMITS = {"limited": 2}
STATES = (State.SCHEDULED, State.QUEUED, State.RUNNING, State.RETRY, State.DEAD)
EVERYTHING = Window(limit=10_000)


class Crew:
    """A pool as the machine plays it: what it believes it holds, and whether it still beats."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.hands: dict[int, Delivery] = {}
        self.alive = True


class Stage(RuleBasedStateMachine):
    """The steps; `BackendMachine` makes rules of them."""

    def make(self) -> Backend:
        """A fresh backend."""
        raise NotImplementedError

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.backend: Backend = self.make()
        self.model = Model(LIMITS if Capability.LIMIT in self.backend.capabilities else {}, self._name_of)
        self.now: float = START
        self.monotonic: float = 0.0
        self.numbers = itertools.count(1)
        self.lendings: list[Delivery] = []
        self.crews = [self._enlist(), self._enlist()]

    def teardown(self) -> None:
        self._do(self.backend.close())
        self.loop.close()

    # jobs in

    def _supply(self, which: int) -> None:
        """If nothing can be lent, push something: most steps should have something to do."""
        if not self.model.lendable(1):
            unique = Capability.UNIQUE in self.backend.capabilities and which % 2
            self._push(self._unique(which % 3) if unique else self._job(HANDLERS[which % 4 // 2]))

    def _unique(self, kind: int, **fields: Any) -> Job:
        """A unique job of one of three kinds; those of one kind are equal."""
        if kind == 0:
            return self._job("alone", unique="until_start", unique_by={"key": 1}, **fields)
        mode = "until_start" if kind == 1 else "until_done"
        return self._job("alone", {"mode": mode}, unique=mode, **fields)

    def _run_at(self, later: float) -> float:
        return self.now + later if later and Capability.DELAY in self.backend.capabilities else 0.0

    def _job(self, handler: str, args: Mapping[str, Any] | None = None, **fields: Any) -> Job:
        given: dict[str, Any] = {"id": new_id(), "enqueued_at": self.now, **fields}
        return Job(handler, dict(args or {"n": next(self.numbers)}), **given)

    def _push(self, job: Job, *, once: bool = False) -> None:
        expected = self.model.push(job, self.now, once=once)
        assert self._do(self.backend.push([job], self.now, once=once)) == [expected]

    # jobs lent

    def _lend(self, which: int, limit: int) -> None:
        """Let one of the living pools fetch."""
        crew = pick(self._alive(), which)
        if crew:
            self._supply(which)
            self._fetch(crew, limit, which)

    def _fetch(self, crew: Crew, limit: int, turn: int) -> None:
        first = turn % len(HANDLERS)
        shares = tuple(Share(name, limit) for name in HANDLERS[first:] + HANDLERS[:first])
        expected = self.model.lendable(limit)
        found = self._do(self.backend.fetch(Want(crew.pool.id, limit, 0.0, shares), self.now))
        for delivery in found:
            self.model.lend(delivery, crew.pool.id)
            crew.hands[delivery.fence] = delivery
        self.lendings += found
        assert len(found) == expected
        if crew.pool.id not in self.model.members:
            self._beat(crew)

    def _settle_held(self, which: int, outcome: Outcome) -> None:
        if not self._held():
            self._lend(which, 3)
        delivery = pick(self._held(), which)
        if delivery:
            self._settle(delivery, outcome)

    def _held(self) -> list[Delivery]:
        return [delivery for crew in self.crews for delivery in crew.hands.values()]

    def _settle(self, delivery: Delivery, outcome: Outcome) -> None:
        if self.model.entries[delivery.job.id].cancelled and isinstance(outcome, Buried):
            return  # whether a cancelled job that fails for good is kept among the dead is nowhere promised
        expected = self.model.settle(delivery, outcome)
        held = self._do(self.backend.settle([Settlement(delivery, outcome)], self.now))
        assert held == [expected], f"{outcome} of {delivery}"
        for crew in self.crews:
            crew.hands.pop(delivery.fence, None)

    # time and pools

    def _promote(self) -> None:
        if Capability.DELAY in self.backend.capabilities:
            expected = self.model.promote(self.now)
            assert self._do(self.backend.promote(self.now, 10_000)) == expected

    def _reap(self, *dead: str) -> None:
        pools, recovered, crashed = self.model.reap(self.monotonic, dead)
        found = self._do(self.backend.reap(self.now, self.monotonic, dead=dead))
        assert (set(found.pools), found.crashed) == (pools, crashed)
        assert found.recovered in recovered

    def _enlisted(self) -> list[Crew]:
        return [crew for crew in self._alive() if crew.pool.id in self.model.members]

    def _alive(self) -> list[Crew]:
        return [crew for crew in self.crews if crew.alive]

    def _enlist(self) -> Crew:
        crew = Crew(Pool(id=new_id(), handlers=HANDLERS, limits=LIMITS, concurrency=4, started_at=self.now))
        self._do(self.backend.enlist(crew.pool, self.now))
        self.model.members[crew.pool.id] = None
        self._beat(crew)
        return crew

    def _beat(self, crew: Crew) -> None:
        held = tuple(crew.hands.values())
        orders = self._do(self.backend.beat(Beat(crew.pool, held=held), self.now))
        # A store with a clock of its own writes whole seconds: two beats of one second look like one.
        seen = next(self.numbers) if orders.server_now is None else int(orders.server_now)
        if not self.model.beat(crew.pool.id, seen):
            assert orders.evicted
            self._move(crew, held)
            return
        assert not orders.evicted
        for delivery in held:
            entry = self.model.entries[delivery.job.id]
            ours = entry.state is State.RUNNING and entry.fence == delivery.fence
            assert not (ours and delivery in orders.lost), f"{delivery} was taken from the pool that holds it"
            assert not (ours and entry.cancelled) or delivery.job.id in orders.cancel

    def _move(self, crew: Crew, held: tuple[Delivery, ...]) -> None:
        """What an evicted pool does: hand everything back, go on under a new id."""
        crew.alive = False
        for delivery in held:
            self._settle(delivery, Released())
        self.crews.append(self._enlist())

    # moves to other stores

    def _load(self, state: State, most: int) -> Load:
        """What can be put aside; an empty load where there is nothing."""
        found = self._do(self.backend.load(state, passed=0, most=most, destination="elsewhere", now=self.now))
        assert (len(found.parcels) if found else 0) == min(most, len(list(self.model.all(state))))
        return found or Load("", "")

    # looked at

    def _pick_listed(self, which: int, *states: State) -> tuple[str, Entry] | None:
        """A job by the id under which the backend lists it."""
        ids = [view.id for state in states for view in self._do(self.backend.jobs(state, EVERYTHING))]
        chosen = pick(ids, which)
        return None if chosen is None else (chosen, self.model.entries[chosen])

    def _do(self, call: Awaitable[T]) -> T:
        return self.loop.run_until_complete(_awaited(call))

    def _name_of(self, job: Job) -> str:
        return job.queue if Capability.QUEUES in self.backend.capabilities else job.handler


async def _awaited(call: Awaitable[T]) -> T:
    return await call


def pick(things: list[T], which: int) -> T | None:
    """One of the things, if there are any."""
    return things[which % len(things)] if things else None
