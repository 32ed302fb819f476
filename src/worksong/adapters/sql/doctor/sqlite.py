"""What can be wrong with a file of SQLite, its file system and its library."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence

from worksong.adapters.sql.doctor import tables
from worksong.adapters.sql.doctor.chart import UNCHECKED, Chart, Check, Specialist
from worksong.adapters.sql.steps import Row
from worksong.domain.finding import Ailment, Finding, Severity, some

LONG_LOG = 64 << 20
"""Bytes of the write-ahead log: workers cut it back to that, if nobody reads from its beginning."""
LITTLE, NOTHING = 128 << 20, 8 << 20
"""Free bytes of a disk."""
READ_THROUGH = 2 << 30
"""Bytes of a file that is read through for damage; in a larger one that would take too long."""
MENDED = ((3, 44, 6), (3, 50, 7), (3, 51, 3))
"""The first release of each line without the error by which a log that begins anew may lose a checkpoint."""

ABSENT = Ailment(
    "sqlite.absent",
    Severity.INFO,
    "There is no file yet: whoever uses it first makes it.",
    "if there should be one, look at the path in the URL: sqlite:///jobs.db is beside you, sqlite:////jobs.db is not",
)
DAMAGED = Ailment(
    "sqlite.damaged",
    Severity.ERROR,
    "The file is damaged: jobs are lost, or will be.",
    "stop the workers and copy the file, then sqlite3 jobs.db '.recover' | sqlite3 new.db, or restore a backup",
)
NETWORK = Ailment(
    "sqlite.network",
    Severity.ERROR,
    "The file is on a network file system, where locks do not hold between machines: jobs can be lost.",
    "move it to a local disk, or take a database server; ?network=allow in the URL if only one machine uses it",
)
SHARED = Ailment(
    "sqlite.shared",
    Severity.WARNING,
    "The file is in a directory that a virtual machine or container shares with its host: locks may not hold between "
    "the two.",
    "use it from one side only, or put it into a volume of the guest's own",
)
READ_ONLY = Ailment(
    "sqlite.read_only",
    Severity.ERROR,
    "The file or its directory may not be written by this user: nothing is taken in.",
    "chown or chmod the file, those beside it (-wal and -shm), and the directory",
)
DISK = Ailment(
    "sqlite.disk",
    Severity.WARNING,
    "The disk is nearly full: then no job is taken in, and none ends.",
    "make room on it, or move the file to another one while nothing uses it",
)
JOURNAL = Ailment(
    "sqlite.journal",
    Severity.WARNING,
    "The file has no write-ahead log: readers and the writer wait for each other.",
    "worksong doctor --fix, or PRAGMA journal_mode = WAL; then find out which program set it back",
    fixable=True,
)
SYNCHRONOUS = Ailment(
    "sqlite.synchronous",
    Severity.WARNING,
    "Commits are not written through to the disk: a power cut loses the last of them.",
    "take synchronous=NORMAL out of the URL, unless that is what you want",
)
LONG_WAL = Ailment(
    "sqlite.wal.large",
    Severity.WARNING,
    "The write-ahead log has grown large: something reads from its beginning and never ends, so it cannot begin anew.",
    "end the program that has a transaction open (fuser jobs.db names them); then worksong doctor --fix",
    fixable=True,
)
VERSION = Ailment(
    "sqlite.version",
    Severity.INFO,
    "By its version the library has an error that, very rarely, damages a file that several connections write.",
    "a Python with SQLite 3.51.3 or newer; nothing is to be done where the distribution has mended this version",
)
AILMENTS = (ABSENT, DAMAGED, NETWORK, SHARED, READ_ONLY, DISK, JOURNAL, SYNCHRONOUS, LONG_WAL, VERSION)


def damage(chart: Chart) -> Iterator[Finding]:
    """What reading it through finds; where that is bad enough, it is refused."""
    refusal = chart.refused.get("quick_check", "")
    errors = [str(row[0]) for row in chart.rows("quick_check") if row[0] != "ok"] or [refusal]
    if not chart.rows("quick_check") and "is damaged" not in refusal:
        yield UNCHECKED.found(
            f"damage: {refusal or f'files larger than {READ_THROUGH >> 30} GiB are not read through'}"
        )
    elif errors != [""]:
        yield DAMAGED.found(some((" ".join(error.split()) for error in errors), 3))


def place(chart: Chart) -> Iterator[Finding]:
    """On which kind of file system it is."""
    for network, shared in chart.rows("place"):
        if network:
            allowed = chart.address.choice("network", ("refuse", "allow")) == "allow"
            told = "; the URL allows it" if allowed else ""
            yield NETWORK.found(f"it is {network}{told}", severity=Severity.WARNING if allowed else None)
        elif shared:
            yield SHARED.found(f"it is {shared}")


def rights(chart: Chart) -> Iterator[Finding]:
    """What this user may not write."""
    if closed := [name for (name,) in chart.rows("closed")]:
        yield READ_ONLY.found(f"not writable: {some(closed)}")


def disk(chart: Chart) -> Iterator[Finding]:
    """How much room is left."""
    for free, total in chart.rows("disk"):
        if free < LITTLE:
            severity = Severity.ERROR if free < NOTHING else None
            yield DISK.found(f"{free >> 20:,} MiB of {total >> 20:,} MiB are free", severity=severity)


def journal(chart: Chart) -> Iterator[Finding]:
    """Whether readers and the writer go side by side; a file without our tables is nobody's yet."""
    for (mode,) in chart.rows("journal_mode"):
        if mode != "wal" and chart.version:
            yield JOURNAL.found(f"journal_mode is {mode}")


def synchronous(chart: Chart) -> Iterator[Finding]:
    """What the URL asks for."""
    level = chart.address.choice("synchronous", ("FULL", "NORMAL", "EXTRA"))
    if level == "normal":
        yield SYNCHRONOUS.found("the URL says synchronous=NORMAL")


def log(chart: Chart) -> Iterator[Finding]:
    """How long it is."""
    for (size,) in chart.rows("wal"):
        if size > LONG_LOG:
            yield LONG_WAL.found(f"it has {size >> 20:,} MiB, {LONG_LOG >> 20} are usual")


def library(chart: Chart) -> Iterator[Finding]:
    """Releases with a known error."""
    for (text,) in chart.rows("library"):
        here = tuple(map(int, re.findall(r"\d+", text)[:3]))
        same_line = [release for release in MENDED if release[:2] == here[:2]]
        if here < min(same_line, default=MENDED[-1]):
            releases = ", ".join(".".join(map(str, release)) for release in MENDED)
            yield VERSION.found(f"it is SQLite {text}; mended in {releases}")


def _read_through() -> Mapping[str, str]:
    return {"quick_check": "PRAGMA quick_check(5)"}


def _unread(facts: Mapping[str, Sequence[Row]]) -> Collection[str]:
    return ("quick_check",) if any(size > READ_THROUGH for (size,) in facts["size"]) else ()


def _make_indexes(chart: Chart) -> list[str]:
    return [tables.made(index) for index in tables.absent(chart)]


def _write_ahead(_chart: Chart) -> list[str]:
    return ["PRAGMA journal_mode = WAL"]


def _begin_the_log_anew(_chart: Chart) -> list[str]:
    return ["PRAGMA wal_checkpoint(TRUNCATE)"]


SQLITE = Specialist(
    "sqlite",
    (
        Check("sqlite.place", "The file is on a local disk.", ("place",), place),
        Check("sqlite.writable", "The file and its directory can be written.", ("closed",), rights),
        Check("sqlite.whole", "The file is not damaged.", (), damage),
        *tables.CHECKS,
        Check("sqlite.log", "The file has a write-ahead log.", ("journal_mode",), journal),
        Check("sqlite.log.length", "The write-ahead log is not too long.", ("wal",), log),
        Check("sqlite.commits", "Commits are written through to the disk.", (), synchronous),
        Check("sqlite.room", "There is room on the disk.", ("disk",), disk),
        Check("sqlite.library", "The library has no known error that damages files.", ("library",), library),
    ),
    {
        tables.NO_INDEX.id: _make_indexes,
        JOURNAL.id: _write_ahead,
        LONG_WAL.id: _begin_the_log_anew,
    },
    _read_through,
    left_out=_unread,
)
