"""Jobs out of this process's store for good, and into it as they were elsewhere."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from msgspec.structs import replace

from worksong.adapters.memory.store import Aside, Record, Store
from worksong.domain.errors import InvalidArguments
from worksong.domain.job import Job, new_id
from worksong.domain.lifecycle import State
from worksong.domain.parcel import Lock, Parcel, packed
from worksong.ports.cargo import Fate, Known, Landing, Load


def load(store: Store, state: State, passed: int, most: int, opening: Load) -> Load | None:
    """The open load; else one with the id and destination of `opening`."""
    if store.aside or not most:
        return store.aside.load if store.aside else None
    records = store.in_state(state)[passed : passed + most]
    if not records:
        return None
    parcels = tuple(_parcel(store, record) for record in records)
    held = tuple((record, state, parcel.lock is not None) for record, parcel in zip(records, parcels, strict=True))
    for record in records:
        store.drop(record)
    store.aside = Aside(replace(opening, parcels=parcels), held)
    return store.aside.load


def _parcel(store: Store, record: Record) -> Parcel:
    job = record.job
    lock = None
    if job.unique and store.locks.get(job.unique_key) == job.id:
        lock = Lock.of(job.unique_key.removeprefix(f"{job.handler}:").encode())
    return packed(job, record.state, job.enqueued_at if record.state is State.QUEUED else record.at, lock)


def release(store: Store, load_id: str, staying: Collection[str]) -> int:
    """Drop or give back what lies aside."""
    if store.aside is None or store.aside.load.id != load_id:
        return 0
    aside, store.aside = store.aside, None
    gone = [record.job.id for record, _, _ in aside.held if record.job.id not in staying]
    store.foreign.update(gone)
    for record, state, locked in reversed(aside.held):  # the last of them first, as each goes to the front
        if record.job.id in staying:
            _put_back(store, record, state, locked=locked)
    return len(gone)


def _put_back(store: Store, record: Record, state: State, *, locked: bool) -> None:
    if record.job.id in store.records:  # another one has its id since
        record.job = replace(record.job, id=new_id())
    if locked and record.job.unique_key not in store.locks:
        store.locks[record.job.unique_key] = record.job.id
    if state is State.QUEUED:
        store.queue(record, front=True)
    elif state is State.DEAD:
        store.bury(record.job, record.at)
    else:
        store.schedule(record.job, state, record.at)


def job_of(parcel: Parcel) -> Job:
    """The job as this store keeps it."""
    job, lock = parcel.job, parcel.lock
    if lock and not lock.key:
        raise InvalidArguments(
            f"job {job.id} is unique by a key of which its store keeps a digest only: let the workers there finish it"
        )
    run_at = 0.0 if parcel.state in (State.QUEUED, State.DEAD) else parcel.at
    return replace(job, run_at=run_at, unique_key=f"{job.handler}:{lock.key.decode()}" if lock else "")


def unload(store: Store, load: Load, without: Collection[str], now: float) -> Landing:
    """Take in what is not there yet, if this load was not taken in before."""
    fates = store.landed.get(load.id)
    if fates is None:
        fates = store.landed[load.id] = dict.fromkeys(without, Fate.REFUSED)
        for parcel in load.parcels:
            if parcel.id not in fates and (fate := _land(store, parcel, now)):
                fates[parcel.id] = fate
    landed = [parcel for parcel in load.parcels if parcel.id not in fates]
    return Landing(fates, tuple(landed))


def _land(store: Store, parcel: Parcel, now: float) -> Fate | None:
    job = job_of(parcel)
    if store.once.get(job.id, 0.0) > now and job.id not in store.foreign:
        return Fate.KNOWN
    if job.id in store.records:
        return Fate.THERE
    if job.unique and store.locks.setdefault(job.unique_key, job.id) != job.id:
        return Fate.LOCKED
    match parcel.state:
        case State.QUEUED:
            store.queue(Record(job, State.QUEUED, parcel.at, 0))
        case State.DEAD:
            store.bury(job, parcel.at)
        case state:
            store.schedule(job, state, parcel.at)
    return None


def known(store: Store, after: str, most: int) -> tuple[list[Known], str]:
    """A page of them, by id."""
    ids = sorted(job_id for job_id in store.once if job_id > after)[:most]
    return [Known(job_id, store.once[job_id]) for job_id in ids], ids[-1] if len(ids) == most else ""


def know(store: Store, ids: Sequence[Known], now: float) -> list[bool]:
    """Note those that are not known."""
    new = [store.once.get(one.id, 0.0) <= now for one in ids]
    for one, is_new in zip(ids, new, strict=True):
        if is_new:
            store.once[one.id] = one.until
            store.foreign.add(one.id)
    return new
