"""Moving all jobs from one store to another; killed at any moment, it loses nothing and doubles nothing.

Jobs leave in loads. A load is put aside in the source, taken in by the target under its number, then dropped from the
source; the run after a kill finds the open load and does the rest. See docs/adr/0018.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec

from worksong.domain.capability import INSTEAD, Capability
from worksong.domain.errors import ConfigError, InvalidArguments, Unsupported, WorksongError
from worksong.domain.job import new_id
from worksong.domain.lifecycle import State
from worksong.domain.parcel import MOVABLE, Parcel, Tally, in_whole_seconds, mark, packed
from worksong.engine.pauses import carry_over, standings
from worksong.ports.backend import Backend, Window
from worksong.ports.cargo import STAYING, Fate, Known, Load
from worksong.ports.clock import Clock, SystemClock

MOST = 250
"""Jobs in a load: so many at most lie aside after a kill."""
IDS = 1000
"""Known ids that are told at once."""
LOOKED_AT = 1000
"""Jobs of each state that are tried before anything moves."""
PROBED_FOR = 60.0
LOSSES = {
    Capability.SUBSECOND: "times become whole seconds there: scheduled jobs and retries run up to a second later",
    Capability.QUEUES: "a job type is its queue there: jobs keep the name of theirs, but no worker goes by it",
    Capability.POSITIONAL: "arguments have names there: jobs whose arguments are a list stay in the source",
}
"""What a target cannot hold that lacks the capability."""


class Side(NamedTuple):
    """A store, and the namespace in it."""

    backend: Backend
    namespace: str

    @property
    def name(self) -> str:
        return f"{self.backend.name} (namespace {self.namespace})"


class Survey(msgspec.Struct, frozen=True, kw_only=True):
    """What there is before anything moves."""

    source: dict[State, int]
    target: dict[State, int]
    paused: tuple[str, ...]
    """Queues of the source that will be paused in the target as well."""
    caveats: tuple[str, ...]
    """What the target cannot hold, or what is wrong with it."""
    aside: int
    """Jobs that lie aside since a move was interrupted."""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What was moved."""

    before: Survey
    source: dict[State, int]
    """What is left."""
    target: dict[State, int]
    moved: dict[State, int]
    known: int
    """Jobs dropped from the source because the target had taken in their ids by itself."""
    staying: dict[str, str]
    """Job id -> why it stays in the source."""
    ids: int
    """Ids pushed once that the target knows now as well."""
    checksums: tuple[str, str]
    """Of what was moved: as it was in the source, as it reads in the target."""
    short: int
    """So many jobs are missing in the target, where nobody works who could have ended them."""


class Move:
    """From `source` to `target`; one object moves once."""

    def __init__(
        self,
        source: Side,
        target: Side,
        *,
        states: Sequence[State] = MOVABLE,
        most: int = MOST,
        clock: Clock | None = None,
        told: Callable[[int], None] = lambda _: None,
    ) -> None:
        """`told` hears how many are moved so far."""
        self._source, self._target = source, target
        self._from, self._to = source.backend, target.backend
        self._states = tuple(state for state in MOVABLE if state in states)
        self._most, self._clock, self._told = most, clock or SystemClock(), told
        self._moved: Counter[State] = Counter()
        self._staying: dict[str, str] = {}
        self._known = self._ids = 0
        self._sent, self._landed = Tally(), Tally()

    # before

    async def survey(self) -> Survey:
        """Look at both sides, and refuse what cannot work; changes nothing."""
        for side in (self._source, self._target):
            _check(side.backend)
        if self._source.name == self._target.name:
            raise ConfigError(f"both sides are {self._source.name}: name another store, or another namespace")
        source, target = await self._from.counts(), await self._to.counts()
        opened = await self._opened()
        return Survey(
            source=source,
            target=target,
            paused=await self._paused(),
            caveats=(*self._losses(), *await self._misfits(), *await self._warnings()),
            aside=len(opened.parcels) if opened else 0,
        )

    async def _opened(self) -> Load | None:
        return await self._load(self._states[0], passed=0, most=0)

    async def _load(self, state: State, *, passed: int, most: int) -> Load | None:
        """A load for this target; one that is open for another target must go there, which may have it already."""
        to, now = self._target.name, self._clock.now()
        found = await self._from.load(state, passed=passed, most=most, destination=to, now=now)
        if found and found.id and found.destination != to:
            raise ConfigError(
                f"a move from {self._source.name} to {found.destination} was interrupted, and {len(found.parcels)} "
                "jobs lie aside for it: finish that one first, with the same --to"
            )
        return found

    async def _paused(self) -> tuple[str, ...]:
        names = tuple(queue.name for queue in await self._from.queues(self._clock.now()) if queue.paused)
        alike = (Capability.QUEUES in self._from.capabilities) == (Capability.QUEUES in self._to.capabilities)
        if names and not alike and self._states != (State.DEAD,):
            raise ConfigError(
                f"paused in {self._source.name}: {', '.join(names)}; a pause cannot be moved there, since only one of "
                "the two has queues apart from job types, and the jobs would start: end it with `worksong resume NAME` "
                "while no workers run, or purge the queue"
            )
        return names

    def _losses(self) -> list[str]:
        lost = self._from.capabilities - self._to.capabilities
        return [text for capability, text in LOSSES.items() if capability in lost]

    async def _misfits(self) -> list[str]:
        """Try the first jobs of each state."""
        reasons: Counter[str] = Counter()
        for state in self._states:
            for view in await self._from.jobs(state, Window(LOOKED_AT)):
                if view.reason:
                    reasons["they cannot be read"] += 1
                elif wrong := self._wrong_with(packed(view.job, state, view.at, None)):
                    reasons[wrong.partition(": ")[2] or wrong] += 1
        return [f"{count:,} or more jobs stay in the source: {reason}" for reason, count in reasons.items()]

    async def _warnings(self) -> list[str]:
        found = [f"{finding.title} {finding.detail}".strip() for finding in await self._to.admit()]
        if Capability.NOTES not in self._to.capabilities and (known := await standings(self._from)):
            names = ", ".join(f"{handler} ({spec})" for handler, spec in sorted(known))
            found.append(f"pauses of periodic jobs cannot be moved there: {names} fire, and what fires may come twice")
        return found

    # the move

    async def run(self) -> Report:
        """Move what there is, and what comes while it goes on."""
        before = await self.survey()
        await self._refuse_one_store()
        for name in before.paused:
            await self._to.pause(name)
        await self._tell_standings()
        await self._tell_ids()
        if opened := await self._opened():
            await self._ship(opened)
        watch = await Watch.begin(self._to, self._moved.total())
        while await self._round():
            continue  # jobs change their state, and new ones come, while others are moved
        await self._tell_standings()
        await self._tell_ids()
        return await self._report(before, await watch.missing(self._to, self._moved.total()))

    async def _refuse_one_store(self) -> None:
        """Two URLs may name one store."""
        now = self._clock.now()
        probe = [Known(f"move:{new_id()}", now + PROBED_FOR)]
        await self._from.know(probe, now)
        if await self._to.know(probe, now) == [False]:
            raise ConfigError(f"{self._source.name} and {self._target.name} are one and the same store")

    async def _tell_standings(self) -> None:
        """The target pauses the same periodic jobs, and takes a firing that is moved for the one it would make."""
        if Capability.NOTES in self._from.capabilities & self._to.capabilities:
            await carry_over(self._from, self._to, self._clock.now())

    async def _tell_ids(self) -> None:
        """The target refuses the ids that the source knows once: firings of periodic jobs, and ids of users."""
        after = ""
        while True:
            known, after = await self._from.known(after, IDS)
            self._ids += sum(await self._to.know(known, self._clock.now())) if known else 0
            if not after:
                return

    async def _round(self) -> bool:
        """Whether anything was moved out of any state."""
        moved = [await self._move(state) for state in self._states]
        return any(moved)

    async def _move(self, state: State) -> bool:
        passed = moved = 0
        while load := await self._load(state, passed=passed, most=self._most):
            passed += load.passed
            if load.id:
                staying, dropped = await self._ship(load)
                passed, moved = passed + staying, moved + dropped
        return moved > 0

    async def _ship(self, load: Load) -> tuple[int, int]:
        """Into the target, then out of the source: (how many stay, how many were dropped)."""
        wrong = {parcel.id: why for parcel in load.parcels if (why := self._wrong_with(parcel))}
        landing = await self._to.unload(load, wrong.keys(), self._clock.now())
        taken = [self._fitted(parcel) for parcel in load.parcels if parcel.id not in landing.fates]
        self._sent.add(taken)
        self._landed.add(landing.parcels)
        if self._sent.checksum != self._landed.checksum:
            raise WorksongError(
                f"what {self._target.name} took in is not what {self._source.name} gave; the last {len(load.parcels)} "
                "jobs are kept aside in the source as well, and nothing more is moved"
            )
        staying = {job_id for job_id, fate in landing.fates.items() if fate in STAYING}
        dropped = await self._from.release(load.id, staying, self._clock.now())
        for job_id in staying:
            self._staying[job_id] = wrong.get(job_id) or str(landing.fates[job_id])
        for parcel in taken:
            self._staying.pop(parcel.id, None)
        if dropped:
            self._moved.update(parcel.state for parcel in taken)
            self._known += sum(1 for fate in landing.fates.values() if fate is Fate.KNOWN)
            self._told(self._moved.total())
        return len(staying), dropped

    def _wrong_with(self, parcel: Parcel) -> str:
        """Why the target cannot hold it; '' when it can."""
        try:
            same = mark(self._to.carried(parcel)) == mark(self._fitted(parcel))
        except (InvalidArguments, Unsupported) as refused:
            return str(refused)
        return "" if same else f"job {parcel.id}: it would not read there as it does here"

    def _fitted(self, parcel: Parcel) -> Parcel:
        return parcel if Capability.SUBSECOND in self._to.capabilities else in_whole_seconds(parcel)

    async def _report(self, before: Survey, short: int) -> Report:
        return Report(
            before=before,
            source=await self._from.counts(),
            target=await self._to.counts(),
            moved={state: self._moved[state] for state in self._states},
            known=self._known,
            staying=self._staying,
            ids=self._ids,
            checksums=(self._sent.checksum, self._landed.checksum),
            short=short,
        )


class Watch(NamedTuple):
    """What the target held when so many were moved: where nobody works, it must hold all that came since."""

    held: int
    moved: int
    idle: bool

    @classmethod
    async def begin(cls, target: Backend, moved: int) -> Watch:
        """After an interrupted load: that may have been there before."""
        return cls(sum((await target.counts()).values()), moved, not await target.pools())

    async def missing(self, target: Backend, moved: int) -> int:
        """How many of those moved since are not there."""
        now = await Watch.begin(target, moved)
        return max(0, moved - self.moved - (now.held - self.held)) if self.idle and now.idle else 0


def _check(backend: Backend) -> None:
    have = backend.capabilities
    if Capability.SHARED not in have:
        raise ConfigError(f"{backend.name} lives inside one process and ends with it: there is nothing to move")
    for capability in (Capability.MOVE, Capability.BROWSE):
        if capability not in have:
            raise Unsupported(f"promise that {capability.value}", backend.name, INSTEAD[capability])
