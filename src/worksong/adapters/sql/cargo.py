"""Jobs out of the tables for good, and into them as they were elsewhere: the programs.

What is put aside lies in a namespace of its own beside the one it comes from, which nobody serves: its rows are as they
were, and every statement that lends, promotes, lists or prunes passes them by.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Collection, Sequence

import msgspec
from msgspec.structs import replace

from worksong.adapters.sql.places import NEVER_BACK
from worksong.adapters.sql.rows import Light, checked, inserted, read
from worksong.adapters.sql.steps import CHUNK, LONGEST, Program, Row, Space, parts
from worksong.domain.errors import BackendRefused, InvalidArguments
from worksong.domain.job import Job
from worksong.domain.lifecycle import State
from worksong.domain.parcel import Lock, Parcel, mark, packed
from worksong.domain.poison import Poison
from worksong.ports.cargo import RECEIPT_KEPT, Fate, Known, Landing, Load
from worksong.wire import gojson


class Altered(BackendRefused):
    """the database altered what was written; nothing was taken in"""


OPEN = "open"
"""The id under which the aside namespace keeps what is said of its load."""
FOREIGN = 0
"""The place of an id that was not pushed here."""
SECOND = 1_000_000
NEVER = 1e15


class _Open(msgspec.Struct):
    """What is said of the load that is open."""

    id: str
    destination: str


class SqlCargo:
    """Programs over one namespace and the aside one."""

    def __init__(self, space: Space) -> None:
        self._space = space
        self._aside = aside_of(space)
        self._last = 0

    # out

    def load(self, state: State, passed: int, most: int, opening: Load) -> Program[Load | None]:
        """The open load; else one with the id and destination of `opening`."""
        found = yield from self._opened()
        if found or not most:
            return found
        if not (yield from self._first(OPEN, NEVER, 0.0)):
            return (yield from self._opened())
        if state is State.QUEUED:
            rows = yield from self._space.ask("waiting_to_load", most=most, passed=passed)
        else:
            rows = yield from self._space.ask("timed_to_load", state=str(state), most=most, passed=passed)
        chosen, unreadable = _chosen(rows)
        if not chosen:
            yield from self._aside.do("drop_once", [(OPEN,)])
            return Load("", "", passed=unreadable) if rows else None
        moves = [(seq, fence) for seq, fence, _ in chosen]
        yield from self._space.do("rehouse", moves, to=self._aside.namespace)
        document = msgspec.json.encode(_Open(opening.id, opening.destination))
        yield from self._aside.do("keep", [(OPEN, document, NEVER)])
        return replace(opening, parcels=tuple(parcel for _, _, parcel in chosen), passed=unreadable)

    def _opened(self) -> Program[Load | None]:
        said = yield from self._said()
        while said is not None:
            rows = yield from self._aside.ask("all_jobs")
            again = yield from self._said()
            if again == said:  # else another run closed it between the two statements
                return Load(said.id, said.destination, tuple(_parcel(row) for row in rows))
            said = again
        return None

    def _said(self) -> Program[_Open | None]:
        found = yield from self._aside.ask("kept", [(OPEN,)])
        return msgspec.json.decode(found[0][1], type=_Open) if found else None

    def release(self, load_id: str, staying: Collection[str]) -> Program[int]:
        """Drop or give back what lies aside."""
        yield from self._aside.do("disown", [(OPEN,)])  # locks the row: nobody else closes this load, or opens another
        said = yield from self._said()
        if said is None or said.id != load_id:
            return 0
        rows = [Light(*row) for row in (yield from self._aside.ask("all_light"))]
        gone = [light for light in rows if light.id not in staying]
        dropped = yield from self._space.do("drop", [(light.seq, light.fence) for light in gone])
        yield from self._space.do("disown", [(light.id,) for light in gone])
        yield from self._give_back([light for light in rows if light.id in staying])
        yield from self._aside.do("drop_result", [(OPEN,)])
        yield from self._aside.do("drop_once", [(OPEN,)])
        return dropped

    def _give_back(self, rows: Sequence[Light]) -> Program[None]:
        """To their places; without a lock that another job took, and under a new id if another job has theirs."""
        ids = {id for id, _ in (yield from self._space.ask("inserted", [(light.id,) for light in rows]))}
        for light in rows:
            if light.id in ids:
                yield from self._space.do("rename", seq=light.seq, id=f"{light.id[:200]}~{light.seq}")
        keys = [(light.unique_key,) for light in rows if light.unique_key]
        taken = {key for (key,) in (yield from self._space.ask("locks_taken", keys))}
        yield from self._space.do("unlock", [(light.seq,) for light in rows if light.unique_key in taken])
        yield from self._space.do("rehouse", [(light.seq, light.fence) for light in rows], to=self._space.namespace)

    def _first(self, name: str, until: float, now: float) -> Program[bool]:
        """Whether this transaction is the one that has the name; waits for another one that may have it."""
        token = secrets.randbelow(NEVER_BACK) + 1
        yield from self._aside.do("take_once", [(name, until, token)], now=now)
        return (yield from self._aside.ask("taken_once", [(name,)])) == [(name, token)]

    # in

    def carried(self, parcel: Parcel) -> Parcel:
        """As `read` finds it in the row."""
        return _parcel(_whole(self._row(parcel, 1)))

    def unload(self, load: Load, without: Collection[str], now: float) -> Program[Landing]:
        """Insert what is not there yet, under a receipt that only the first one gets."""
        yield from self._forget(now)
        if not (yield from self._first(load.id, now + RECEIPT_KEPT, now)):
            return (yield from self._landed_before(load))
        fates = dict.fromkeys(without, Fate.REFUSED)
        parcels = [parcel for parcel in load.parcels if parcel.id not in fates]
        fates |= yield from self._met(parcels)
        rows = [self._row(parcel, self._place(parcel)) for parcel in parcels if parcel.id not in fates]
        for part in parts(rows, 6):
            yield from self._space.do("insert", part)
        placed: dict[str, int] = dict((yield from self._space.ask("inserted", [(row[0],) for row in rows])))
        fates |= {row[0]: Fate.LOCKED for row in rows if placed.get(row[0]) != row[4]}
        if fates:
            receipt = [(load.id, msgspec.json.encode(fates), now + RECEIPT_KEPT)]
            yield from self._aside.do("keep", receipt)
        return Landing(fates, (yield from self._read_back([row for row in rows if row[0] not in fates])))

    def _read_back(self, rows: Sequence[Row]) -> Program[tuple[Parcel, ...]]:
        """What was written as it is found now; nothing at all is taken in if any of it was altered."""
        there = yield from self._space.ask("whole_by_id", [(row[0],) for row in rows])
        found = {parcel.id: parcel for parcel in map(_parcel, there)}
        for row in rows:
            expected, actual = _parcel(_whole(row)), found.get(row[0])
            if actual is None or mark(actual) != mark(expected):
                raise Altered(f"the database altered the job {row[0]} while it was written; nothing was taken in")
        return tuple(found.values())

    def _landed_before(self, load: Load) -> Program[Landing]:
        found = yield from self._aside.ask("kept", [(load.id,)])
        fates = msgspec.json.decode(found[0][1], type=dict[str, Fate]) if found else {}
        landed = [self.carried(parcel) for parcel in load.parcels if parcel.id not in fates]
        return Landing(fates, tuple(landed))

    def _forget(self, now: float) -> Program[None]:
        """Receipts that nobody will ask for, and ids that may come again."""
        yield from self._aside.do("prune_once", now=now)
        yield from self._space.do("prune_once", now=now)
        old = yield from self._aside.ask("old_results", now=now, most=CHUNK)
        yield from self._aside.do("drop_result", old)

    def _met(self, parcels: Sequence[Parcel]) -> Program[dict[str, Fate]]:
        """Those whose ids were pushed here, or are here."""
        ids = [(parcel.id,) for parcel in parcels]
        there = {id: Fate.THERE for id, _ in (yield from self._space.ask("inserted", ids))}
        marks = yield from self._space.ask("taken_once", ids)
        return there | {id: Fate.KNOWN for id, place in marks if place != FOREIGN}

    def _place(self, parcel: Parcel) -> int:
        """By its age among the jobs that are here; jobs of one second keep the order in which they come."""
        place = int(parcel.job.enqueued_at * 1e6)
        if place <= self._last < place + SECOND:
            place = self._last + 1
        self._last = place
        return place

    def _row(self, parcel: Parcel, place: int) -> Row:
        job, lock = parcel.job, parcel.lock
        plain = checked(replace(job, unique=None))
        row = inserted(plain, place, 0.0)
        mode, key = (job.unique, f"{job.handler}:{lock.digest}") if lock else (None, None)
        return (*row[:3], str(parcel.state), place, parcel.at, *row[6:11], mode, key, row[13])

    # ids

    def known(self, after: str, most: int) -> Program[tuple[list[Known], str]]:
        """A page of them, by id."""
        rows = yield from self._space.ask("known_ids", after=after, most=most)
        return [Known(*row) for row in rows], rows[-1][0] if len(rows) == most else ""

    def know(self, ids: Sequence[Known], now: float) -> Program[list[bool]]:
        """Note those that are not known; what was pushed here stays so."""
        yield from self._space.do("prune_once", now=now)
        names = [(known.id,) for known in ids]
        before = {id for id, _ in (yield from self._space.ask("taken_once", names))}
        taking = [(known.id, known.until, FOREIGN) for known in ids]
        yield from self._space.do("take_once", taking, now=now)
        return [known.id not in before for known in ids]

    def erase(self) -> Program[None]:
        """Drop what lies aside."""
        for name in ("erase_jobs", "erase_once", "erase_results"):
            yield from self._aside.do(name)


def aside_of(space: Space) -> Space:
    """The namespace beside this one: its name is none that anybody can give, and fits every column."""
    digest = hashlib.blake2b(space.namespace.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
    return Space(f"\x1faside:{digest}")


def _chosen(rows: Sequence[Row]) -> tuple[list[tuple[int, int, Parcel]], int]:
    """(row number, fence, parcel) of those that can be read, as many as are not too heavy; how many cannot be."""
    chosen: list[tuple[int, int, Parcel]] = []
    unreadable = weight = 0
    for row in rows:
        weight += len(row[7] or b"")
        if weight > LONGEST and (chosen or unreadable):
            break
        try:
            if row[15]:
                raise Poison(row[15], "it was found to be poison")
            chosen.append((row[0], row[16], _parcel(row)))
        except Poison:
            unreadable += 1
    return chosen, unreadable


def _parcel(row: Row) -> Parcel:
    job = read(row)
    return packed(job, State(row[4]), row[6] if row[4] != State.QUEUED else job.enqueued_at, _lock(job))


def _lock(job: Job) -> Lock | None:
    """The lock that the job holds; what it is made of, where that is the arguments."""
    if not job.unique or not job.unique_key:
        return None
    digest = job.unique_key.rpartition(":")[2]
    try:
        whole = Lock.of(gojson.encode(job.args))
    except InvalidArguments:
        return Lock(digest)
    return whole if whole.digest == digest else Lock(digest)


def _whole(row: Row) -> Row:
    """A row to insert as the fragment `whole` finds it."""
    id, handler, queue, state, place, at, args, enqueued_at, attempt, error, failed_at, mode, key, meta = row
    return (
        *(0, id, handler, queue, state, place, at, args, enqueued_at, attempt),
        *(error, failed_at, mode, key, meta, "", 0),
    )
