"""What can be wrong with a Faktory server, as far as INFO shows it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime

from worksong.adapters.faktory.address import Address
from worksong.adapters.faktory.client import Client
from worksong.adapters.faktory.operator import Operator
from worksong.domain.finding import Ailment, Finding, Severity, some, verdict
from worksong.ports.backend import QueueView
from worksong.wire.faktory import seconds
from worksong.wire.faktory_talk import Info

MOST_CONNECTIONS = 2000
NEAR = 0.8
BATCHES, KNOWN = (1, 6), (1, 10)
"""The first versions that take many jobs at once, and whose behaviour is the one described."""
SKEWED = 5.0
"""Seconds; the server tells its time in whole ones."""
MANY_DEAD = 1000
STALE = 60.0
"""Seconds that a job waits before one asks whether anybody works on its queue."""

PASSWORD = Ailment(
    "faktory.password.missing",
    Severity.WARNING,
    "The server is reached over a network, and asks for no password: whoever reaches it may run jobs.",
    "set FAKTORY_PASSWORD there, and write it into the URL: faktory://:PASSWORD@host",
)
PLAIN = Ailment(
    "faktory.tls.missing",
    Severity.INFO,
    "Jobs and their arguments cross a network unencrypted.",
    "put public.cert.pem and private.key.pem into the server's configuration, and use faktory+tls://",
)
OLD = Ailment(
    "faktory.version.old",
    Severity.WARNING,
    "The server is older than the versions whose behaviour is known.",
    "upgrade it to 1.10 or later",
)
CONNECTIONS = Ailment(
    "faktory.connections.many",
    Severity.WARNING,
    "The server has nearly as many connections as it accepts: then workers cannot connect.",
    "?connections=4 in the URL of each process, or fewer processes",
)
DEAD = Ailment(
    "faktory.dead.many",
    Severity.INFO,
    "Many jobs are dead; the server drops each after 180 days.",
    "worksong dead retry --all, or worksong dead delete --all; the server's web page shows them",
)
NOBODY = Ailment(
    "faktory.workers.none",
    Severity.WARNING,
    "Jobs wait, and no worker is connected.",
    "worksong run APP",
)
UNSERVED = Ailment(
    "faktory.queues.unserved",
    Severity.WARNING,
    "The oldest job of a queue has been waiting for long: perhaps no worker works on it.",
    "worksong run APP --queues NAME; if workers do, there are too few",
)
REAPED = Ailment(
    "faktory.workers.stale",
    Severity.INFO,
    "Workers vanished without a word since the server started: it missed their beats.",
    "look into their logs: they were killed, frozen, or cut off",
)
EXPIRED = Ailment(
    "faktory.reservations.expired",
    Severity.WARNING,
    "Reservations ran out since the server started: those jobs count as failed, and some may have run twice.",
    "give long job types a timeout, which their reservation follows; look for killed workers",
)
CLOCK = Ailment(
    "faktory.clock.skewed",
    Severity.WARNING,
    "The clocks of this machine and of the server differ: scheduled jobs run that much too early or too late.",
    "let both follow a time server",
)
AILMENTS = (PASSWORD, PLAIN, OLD, CONNECTIONS, DEAD, NOBODY, UNSERVED, REAPED, EXPIRED, CLOCK)


class Physician:
    """Asks for INFO, and judges."""

    def __init__(self, client: Client) -> None:
        self._client, self._operator = client, Operator(client)

    async def admit(self) -> list[Finding]:
        """What whoever begins to work here should be warned of."""
        info = await self._operator.info()
        return [*password(self._client.address), *old(info), *connections(info)]

    async def examine(self, now: float) -> list[Finding]:
        """Every check."""
        begun = time.monotonic()
        info = await self._operator.info()
        took = time.monotonic() - begun
        queues = await self._operator.queues()
        address = self._client.address
        return [
            *verdict("faktory.password", "The login fits the place of the server.", password(address)),
            *verdict("faktory.tls", "What is sent is encrypted, or stays on this machine.", plain(address)),
            *verdict("faktory.version", f"Faktory {info.server.faktory_version} is one that is known.", old(info)),
            *verdict("faktory.connections", "There is room for more connections.", connections(info)),
            *verdict("faktory.dead", "Few jobs are dead.", dead(info)),
            *verdict("faktory.workers", "Workers are connected, or nothing waits.", nobody(info)),
            *verdict("faktory.queues", "No job has been waiting for long.", unserved(queues)),
            *verdict("faktory.beats", "No worker's beats were missed.", reaped(info)),
            *verdict("faktory.reservations", "No reservation ran out.", expired(info)),
            *verdict("faktory.clock", "The server's clock agrees with ours.", skewed(info, now, took)),
        ]


def password(address: Address) -> Iterator[Finding]:
    """A server that asks for a password would have refused a URL without."""
    if not address.password and not address.local:
        yield PASSWORD.found(address.shown)


def plain(address: Address) -> Iterator[Finding]:
    if address.tls is None and not address.local:
        yield PLAIN.found(address.shown)


def old(info: Info) -> Iterator[Finding]:
    if info.version and info.version < KNOWN:
        lacks = ": it takes jobs only one by one" if info.version < BATCHES else ""
        yield OLD.found(f"version {info.server.faktory_version}{lacks}")


def connections(info: Info) -> Iterator[Finding]:
    if info.server.connections >= NEAR * MOST_CONNECTIONS:
        yield CONNECTIONS.found(f"{info.server.connections:,} of {MOST_CONNECTIONS:,}")


def dead(info: Info) -> Iterator[Finding]:
    count = info.faktory.sets.get("dead", 0)
    if count >= MANY_DEAD:
        yield DEAD.found(f"{count:,} jobs")


def nobody(info: Info) -> Iterator[Finding]:
    waiting = sum(info.faktory.queues.values())
    workers = info.faktory.tasks.get("Workers")
    if waiting and workers and not workers.size:
        yield NOBODY.found(f"{waiting:,} jobs wait")


def unserved(queues: list[QueueView]) -> Iterator[Finding]:
    late = [queue for queue in queues if queue.count and queue.latency > STALE]
    if late:
        yield UNSERVED.found(some(f"{queue.name} ({queue.count:,} wait, {queue.latency:,.0f} s)" for queue in late))


def reaped(info: Info) -> Iterator[Finding]:
    workers = info.faktory.tasks.get("Workers")
    if workers and workers.reaped:
        yield REAPED.found(f"{workers.reaped:,} workers")


def expired(info: Info) -> Iterator[Finding]:
    busy = info.faktory.tasks.get("Busy")
    if busy and busy.reaped:
        yield EXPIRED.found(f"{busy.reaped:,} reservations")


def skewed(info: Info, now: float, took: float) -> Iterator[Finding]:
    """By how much, if by more than the question took."""
    offset = _offset(info, now)
    if offset is not None and abs(offset) > SKEWED + took:
        yield CLOCK.found(f"the server's is {abs(offset):,.0f} s {'ahead' if offset > 0 else 'behind'}")


def _offset(info: Info, now: float) -> float | None:
    """Seconds that the server is ahead of us; None: it does not tell. Of its time of day, the nearer way round."""
    if at := seconds(info.now):
        return at - now
    try:
        time_of_day = datetime.strptime(info.server_utc_time[:8], "%H:%M:%S")
    except ValueError:
        return None
    here = datetime.fromtimestamp(now, UTC)
    told = here.replace(hour=time_of_day.hour, minute=time_of_day.minute, second=time_of_day.second)
    offset = (told - here).total_seconds()
    return (offset + 43200) % 86400 - 43200
