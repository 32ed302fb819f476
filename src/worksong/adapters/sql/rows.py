"""Between jobs and rows; what cannot be read or cannot be carried is told apart here."""

from __future__ import annotations

from typing import Any, NamedTuple, cast

from msgspec.structs import replace

from worksong.adapters.sql.steps import Row
from worksong.domain.errors import InvalidArguments, PayloadTooLarge
from worksong.domain.job import Args, Job, JobView, Unique
from worksong.domain.lifecycle import State
from worksong.domain.names import wrong_with
from worksong.domain.parcel import lock_digest
from worksong.domain.poison import Poison, Reason
from worksong.wire import gojson

LARGEST = 1 << 20
"""Bytes of arguments."""
LONGEST_ID = 500
"""Bytes of an id: what an index of every server takes."""
SHORT = LONGEST_ID // 4
"""Characters of an id that cannot have more bytes than that."""
LATEST = 1e12
"""Unix seconds, some 30,000 years from now: as microseconds they fit into 64 bits."""
MOST_ATTEMPTS = (1 << 31) - 1
_QUEUED, _SCHEDULED = str(State.QUEUED), str(State.SCHEDULED)
DEAD_SHOWN = 64 * 1024
"""Bytes of poison that a listing shows; the whole of it has whoever asks for the job."""


class Receipt(NamedTuple):
    """One lending: which pool holds which row, under which fence."""

    seq: int
    fence: int
    pool: str


class Light(NamedTuple):
    """What a move needs to know of a row: the columns of the fragment `light`."""

    seq: int
    id: str
    fence: int
    state: str
    cancelled: int
    place: int
    at: float
    enqueued_at: float
    attempt: int
    error: bytes | None
    failed_at: float
    unique_mode: str | None
    unique_key: str | None
    crashes: int
    crashed_at: float

    def moved(self, state: State, *, reason: str = "", **changes: Any) -> Row:
        """The row of the statement `move` that brings it there."""
        new = self._replace(**changes) if changes else self
        return (
            *(new.seq, new.fence, str(state), new.place, new.at, new.enqueued_at, new.attempt, new.error),
            *(new.failed_at, new.unique_key, new.crashes, new.crashed_at, reason),
        )


def checked(job: Job) -> Job:
    """The job with its lock's name, if no column refuses anything of it."""
    if wrong := wrong_with(job.handler) or wrong_with(job.queue):
        raise InvalidArguments(f"job {job.handler!r:.250}: {wrong}")
    if not job.id.isprintable() or (len(job.id) > SHORT and len(job.id.encode()) > LONGEST_ID):
        raise InvalidArguments(
            f"job {job.handler!r}: an id is a text of at most {LONGEST_ID} bytes, all printable, not {job.id!r:.250}"
        )
    if job.attempt != 1 or job.failed_at or job.run_at or not -LATEST < job.enqueued_at < LATEST:
        _bounded(job)
    if not job.unique:
        return job
    key = gojson.encode(job.args if job.unique_by is None else job.unique_by)
    mode: Unique = "until_start" if job.unique is True else job.unique
    return replace(job, unique=mode, unique_key=f"{job.handler}:{lock_digest(key)}")


def _bounded(job: Job) -> None:
    """Refuse numbers that no column holds; what is no number at all compares with nothing."""
    for name in ("enqueued_at", "run_at", "failed_at"):
        if not -LATEST < (value := getattr(job, name)) < LATEST:
            raise InvalidArguments(f"job {job.handler!r}: {name} is a time in Unix seconds, not {value!r:.50}")
    if not 0 < job.attempt <= MOST_ATTEMPTS:
        raise InvalidArguments(f"job {job.handler!r}: an attempt is a number from 1 on, not {job.attempt!r:.50}")


def inserted(job: Job, place: int, now: float) -> Row:
    """The row of the statement `insert`; refuses arguments that cannot be carried."""
    later = job.run_at > now
    return (
        job.id,
        job.handler,
        job.queue,
        _SCHEDULED if later else _QUEUED,
        place,
        job.run_at if later else job.enqueued_at,
        _carried(job),
        job.enqueued_at,
        job.attempt,
        written(job.error),
        job.failed_at,
        cast("str | None", job.unique),
        job.unique_key or None,
        gojson.encode(job.meta) if job.meta else None,
    )


def is_fresh(job: Job) -> bool:
    """Whether it is as it was first enqueued, needs no lock and carries nothing else."""
    return not (job.unique or job.meta or job.unique_key or job.attempt != 1 or job.error or job.failed_at)


def fresh(space: str, job: Job, place: int, now: float) -> Row:
    """The row of the statement `insert_fresh`: the other columns are as the table makes them."""
    at, enqueued_at = job.run_at, job.enqueued_at
    state = _SCHEDULED if at > now else _QUEUED
    if at <= now:
        at = enqueued_at
    return (space, job.id, job.handler, job.queue, state, place, at, _carried(job), enqueued_at)


def _carried(job: Job) -> bytes | None:
    if job.args is None:
        return None
    args = gojson.encode(job.args)
    if len(args) > LARGEST:
        raise PayloadTooLarge(
            f"job {job.handler!r}: its arguments take {len(args):,} bytes, {LARGEST:,} are allowed: "
            "store the data elsewhere and pass its id"
        )
    return args


def written(error: str) -> bytes | None:
    """An error's text as bytes: no column of text takes every character."""
    return error.encode("utf-8", "surrogatepass") if error else None


def text(error: bytes | str | None) -> str:
    """An error's text as `written`, or as somebody else wrote it."""
    return error if isinstance(error, str) else (error or b"").decode("utf-8", "replace")


def read(row: Row) -> Job:
    """The job in a row of the fragment `whole`, or `Poison`: other programs write rows, too."""
    _, id, handler, queue, state, _, at, args, enqueued_at, attempt, error, failed_at, mode, key, meta, _, _ = row
    if type(attempt) is not int or attempt < 1:
        raise Poison(Reason.BAD_NUMBER, f"its attempt is {attempt!r:.100}")
    run_at = at if state in (State.SCHEDULED, State.RETRY) else 0.0
    return Job(
        handler,
        None if args is None else _args(args),
        queue,
        id,
        mode,
        None,
        enqueued_at,
        run_at,
        attempt,
        _error(error),
        failed_at,
        key or "",
        {} if meta is None else gojson.members(_bytes(meta), limit=LARGEST),
    )


def _error(error: bytes | str | None) -> str:
    if not error:
        return ""
    try:
        return error if isinstance(error, str) else error.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return text(error)


def _args(stored: bytes | str) -> Args:
    value = gojson.document(_bytes(stored), limit=LARGEST)
    if value is not None and not isinstance(value, (dict, list)):
        raise Poison(Reason.NOT_AN_OBJECT, f"its arguments are of type {type(value).__name__}")
    return cast("Args", value)


def _bytes(stored: object) -> bytes:
    """SQLite stores whatever it is given in whichever column."""
    if isinstance(stored, bytes):
        return stored
    return stored.encode("utf-8", "surrogatepass") if isinstance(stored, str) else repr(stored).encode()


def view(row: Row, *, whole: bool = False) -> JobView:
    """A row of the fragment `whole` as listings show it; poison as what it is."""
    _, id, handler, queue, state, _, at, args, enqueued_at, _, error, failed_at, _, _, _, reason, _ = row
    try:
        job, why = read(row), reason
    except Poison as poison:
        job = Job(handler, None, queue, id, enqueued_at=enqueued_at, error=text(error) or str(poison))
        job, why = replace(job, failed_at=failed_at), reason or poison.reason
    raw = b"" if not why or args is None else _bytes(args)
    shown = raw if whole or len(raw) <= DEAD_SHOWN else b""
    return JobView(job=job, state=State(state), at=at, reason=why, raw=shown)
