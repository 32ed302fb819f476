"""A backend beside its model: Hypothesis looks for a sequence of steps after which the two disagree.

    TestMine = machine_for(lambda: MineBackend("mine://...", namespace=new_id())).TestCase

Needs Hypothesis. What the backend does not declare is not asked of it; it must at least BROWSE.
"""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule

from worksong.domain.capability import Capability
from worksong.domain.job import Job
from worksong.domain.lifecycle import State
from worksong.domain.outcome import Buried, Discarded, Done, Outcome, Released, Retried, Snoozed
from worksong.domain.parcel import MOVABLE
from worksong.ports.backend import Backend
from worksong.ports.cargo import Fate
from worksong.testing.stage import EVERYTHING, HANDLERS, QUEUES, STATES, Stage, pick

some = st.integers(0, 1000)
"""Picks one of whatever there is."""
few = st.integers(1, 4)
seconds = st.sampled_from([1.0, 5.0, 20.0, 60.0])
later = st.sampled_from([0.0, 0.0, 20.0])


def declared(capability: Capability) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """A rule for those backends that promise it."""
    return precondition(lambda machine: capability in machine.backend.capabilities)


class BackendMachine(Stage):
    """Use `machine_for` to make one for a backend."""

    # jobs in

    @rule(handler=st.sampled_from(HANDLERS[:2]), queue=st.sampled_from(QUEUES), later=later)
    def push(self, handler: str, queue: str, later: float) -> None:
        self._push(self._job(handler, queue=queue, run_at=self._run_at(later)))

    @declared(Capability.UNIQUE)
    @rule(kind=st.integers(0, 2), later=later)
    def push_unique(self, kind: int, later: float) -> None:
        self._push(self._unique(kind, run_at=self._run_at(later)))

    @declared(Capability.DEDUP)
    @rule(number=st.integers(1, 2))
    def push_once(self, number: int) -> None:
        self._push(self._job("plain", {"once": number}, id=f"once-{number}"), once=True)

    # jobs lent

    @rule(which=some, limit=few)
    def fetch(self, which: int, limit: int) -> None:
        self._lend(which, limit)

    @rule(which=some, outcome=st.sampled_from([Done(), Buried("boom"), Discarded("no"), Released()]))
    def finish(self, which: int, outcome: Outcome) -> None:
        self._settle_held(which, outcome)

    @rule(which=some, delay=seconds, failed=st.booleans())
    def put_off(self, which: int, delay: float, failed: bool) -> None:
        self._settle_held(which, Retried(self.now + delay, "boom") if failed else Snoozed(self.now + delay))

    @rule(which=some, failed=st.booleans())
    def settle_late(self, which: int, failed: bool) -> None:
        """Most lendings belong to somebody else by now, or are over."""
        delivery = pick(self.lendings, which)
        if delivery:
            self._settle(delivery, Retried(self.now + 5.0, "late") if failed else Done())

    # time

    @rule(passed=seconds)
    def time_passes(self, passed: float) -> None:
        self.now += passed
        self.monotonic += passed
        self._promote()

    @rule(step=st.sampled_from([-60.0, -1.0, 1.0, 20.0]))
    def wall_clock_steps(self, step: float) -> None:
        self.now += step
        self._promote()

    # pools

    @rule(which=some)
    def beat(self, which: int) -> None:
        crew = pick(self._alive(), which)
        if crew:
            self._beat(crew)

    @declared(Capability.LEASE)
    @rule(which=some)
    def pool_dies(self, which: int) -> None:
        """No more beats; another pool is started in its place."""
        crew = pick(self._enlisted(), which)
        if crew:
            crew.alive = False
            self.crews.append(self._enlist())

    @rule(which=some)
    def leave(self, which: int) -> None:
        crew = pick(self._enlisted(), which)
        if crew:
            expected = self.model.leave(crew.pool.id)
            assert self._do(self.backend.leave(crew.pool, self.now)) in expected
            crew.alive = False
            self.crews.append(self._enlist())

    @declared(Capability.LEASE)
    @rule(passed=st.sampled_from([0.0, 5.0, 7.0, 8.0, 30.0]))
    def reap(self, passed: float) -> None:
        self.now += passed
        self.monotonic += passed
        self._reap()

    @declared(Capability.LEASE)
    @rule(which=some)
    def reap_at_once(self, which: int) -> None:
        """The supervisor of a pool saw it end; or was wrong, and the pool hears of it at its next beat."""
        crew = pick([crew for crew in self.crews if crew.pool.id in self.model.members], which)
        if crew:
            self._reap(crew.pool.id)

    @declared(Capability.LEASE)
    @rule(which=some, times=few)
    def workers_are_lost(self, which: int, times: int) -> None:
        """Whatever is fetched kills its worker, several times over."""
        for _ in range(times):
            crew = self._enlist()
            self._supply(which)
            self._fetch(crew, 2, which)
            crew.alive = False
            self.crews.append(crew)
            self._reap(crew.pool.id)

    # an operator's hand

    @declared(Capability.PAUSE)
    @rule(handler=st.sampled_from(HANDLERS), queue=st.sampled_from(QUEUES))
    def pause_or_resume(self, handler: str, queue: str) -> None:
        name = self._name_of(Job(handler, queue=queue))
        if name in self.model.paused:
            self.model.paused.remove(name)
            self._do(self.backend.resume(name))
        else:
            self.model.paused.add(name)
            self._do(self.backend.pause(name))

    @declared(Capability.CANCEL)
    @rule(which=some)
    def cancel(self, which: int) -> None:
        found = self._pick_listed(which, *STATES[:4])
        if found:
            job_id, entry = found
            self.model.cancel(entry)
            assert self._do(self.backend.cancel(job_id, self.now))

    @declared(Capability.REVIVE)
    @rule(which=some, state=st.sampled_from([State.DEAD, State.RETRY, State.SCHEDULED]))
    def requeue(self, which: int, state: State) -> None:
        found = self._pick_listed(which, state)
        # Whether a dead job locks again, and whether its crashes are forgotten, is nowhere promised.
        if found and not (state is State.DEAD and (found[1].job.unique == "until_done" or found[1].crashes)):
            job_id, entry = found
            self.model.requeue(entry)
            assert self._do(self.backend.requeue(state, [job_id], self.now)) == 1

    @declared(Capability.REVIVE)
    @rule(which=some, state=st.sampled_from([State.DEAD, State.RETRY, State.SCHEDULED]))
    def delete(self, which: int, state: State) -> None:
        found = self._pick_listed(which, state)
        if found:
            job_id, entry = found
            self.model.delete(entry)
            assert self._do(self.backend.delete(state, [job_id])) == 1

    @declared(Capability.PURGE)
    @rule(handler=st.sampled_from(HANDLERS))
    def purge(self, handler: str) -> None:
        name = self._name_of(Job(handler, queue="low"))
        expected = self.model.delete(*[entry for entry in self.model.all(State.QUEUED) if entry.name == name])
        assert self._do(self.backend.purge(name)) == expected

    # moves to other stores

    @declared(Capability.MOVE)
    @rule(state=st.sampled_from(MOVABLE), most=few, returns=st.booleans())
    def move_out(self, state: State, most: int, returns: bool) -> None:
        """Jobs are put aside, then go back to where they were, or leave for good."""
        load = self._load(state, most)
        entries = [self.model.entries[parcel.id] for parcel in load.parcels]
        staying = [parcel.id for parcel in load.parcels] if returns else []
        if not returns:
            self.model.delete(*entries)
        assert self._do(self.backend.release(load.id, staying, self.now)) == len(entries) - len(staying)

    @declared(Capability.MOVE)
    @rule(state=st.sampled_from(MOVABLE), most=few)
    def move_out_and_in(self, state: State, most: int) -> None:
        """Jobs leave, and come back in a load of another store; twice over, since somebody was killed."""
        load = self._load(state, most)
        # Whether the crashes of a job that was moved are forgotten is nowhere promised.
        staying = [parcel.id for parcel in load.parcels if self.model.entries[parcel.id].crashes]
        self._do(self.backend.release(load.id, staying, self.now))
        for _ in range(2):
            landing = self._do(self.backend.unload(load, staying, self.now))
            assert landing.fates == dict.fromkeys(staying, Fate.REFUSED)

    # always

    @invariant()
    def every_job_is_in_exactly_one_place(self) -> None:
        for state in STATES:
            views = self._do(self.backend.jobs(state, EVERYTHING))
            found = [self.model.entries[view.id] for view in views]
            expected = list(self.model.all(state))
            assert sorted(map(id, found)) == sorted(map(id, expected)), f"{state}: {found} instead of {expected}"
            for view, entry in zip(views, found, strict=True):
                assert view.job.attempt == entry.attempt, f"{view} has forgotten failures, or made some up: {entry}"

    @invariant()
    def counts_add_up(self) -> None:
        counts = self._do(self.backend.counts())
        assert {state: counts[state] for state in STATES} == {
            state: len(list(self.model.all(state))) for state in STATES
        }


def machine_for(make: Callable[[], Backend]) -> type[BackendMachine]:
    """The machine over fresh backends that `make` gives."""

    class Machine(BackendMachine):
        def make(self) -> Backend:
            return make()

    return Machine
