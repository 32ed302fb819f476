"""What can be wrong with the Redis server itself: pure checks of its vitals."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from worksong.adapters.redis.doctor.vitals import Vitals
from worksong.domain.finding import Ailment, Finding, Severity, verdict

FIXED = {
    "redis": ((6, 2, 20), (7, 2, 11), (7, 4, 6), (8, 0, 4), (8, 2, 2)),
    "valkey": ((7, 2, 12), (8, 0, 7), (8, 1, 6), (9, 0, 2)),
}
"""The first release of each line that holds the fixes of the known holes in Lua scripting.

Redis: CVE-2025-49844, -46817, -46818, -46819 (releases of 3 October 2025). Valkey: CVE-2025-67733 (February 2026).
"""
NEAR, FULL = 0.8, 0.95
SKEWED = 2.0
SLOW = 0.05
IMPATIENT = 60
SMALL_BUFFER = 64 << 20

_VERSION = re.compile(r"(\d+)\.(\d+)\.(\d+)")

UNCHECKED = Ailment(
    "redis.unchecked",
    Severity.INFO,
    "The server refused a command that the doctor needs, so something could not be checked.",
    "redis-cli ACL SETUSER NAME +info +config|get, or mend first what redis.keys.type names",
)
LUA = Ailment(
    "redis.version.lua",
    Severity.WARNING,
    "By its version the server has known holes in its Lua scripting, for whoever may run scripts on it.",
    "upgrade the server; nothing is to be done where the distribution has mended this version",
)
OFF = Ailment(
    "redis.persistence.off",
    Severity.ERROR,
    "The server keeps nothing on disk: when it restarts, all jobs are gone.",
    "redis-cli CONFIG SET appendonly yes, and in redis.conf: appendonly yes",
)
SNAPSHOTS = Ailment(
    "redis.persistence.snapshots",
    Severity.WARNING,
    "The server keeps snapshots only: when it crashes, all jobs and endings since the last one are lost.",
    "redis-cli CONFIG SET appendonly yes, and in redis.conf: appendonly yes",
)
NO_FSYNC = Ailment(
    "redis.persistence.fsync",
    Severity.WARNING,
    "The append-only file is left to the operating system: a power cut may cost the last half minute.",
    "redis-cli CONFIG SET appendfsync everysec (or always), and in redis.conf: appendfsync everysec",
)
SAVE_FAILED = Ailment(
    "redis.persistence.snapshot_failed",
    Severity.ERROR,
    "The last snapshot could not be written; by default the server then accepts no jobs.",
    "look into the server's log: mostly the disk is full or the directory is not writable; then redis-cli BGSAVE",
)
AOF_FAILED = Ailment(
    "redis.persistence.aof_failed",
    Severity.ERROR,
    "The append-only file could not be written: the server accepts no jobs.",
    "look into the server's log: mostly the disk is full",
)
REWRITE_FAILED = Ailment(
    "redis.persistence.aof_rewrite_failed",
    Severity.WARNING,
    "The append-only file could not be made smaller the last time: it grows until the disk is full.",
    "make room on the disk, then redis-cli BGREWRITEAOF",
)
EVICTION = Ailment(
    "redis.memory.eviction",
    Severity.ERROR,
    "When its memory is full the server drops keys, and a dropped key is a lost queue.",
    "redis-cli CONFIG SET maxmemory-policy noeviction, and in redis.conf: maxmemory-policy noeviction",
)
MEMORY = Ailment(
    "redis.memory.full",
    Severity.WARNING,
    "The server's memory is nearly full: then it accepts no jobs.",
    "redis-cli CONFIG SET maxmemory MORE; worksong status shows what fills it",
)
REPLICA = Ailment(
    "redis.role.replica",
    Severity.ERROR,
    "The server is a replica: what is written here is refused, or lost.",
    "name the master in the URL, or the sentinels: redis+sentinel://host:26379/master",
)
CLIENTS = Ailment(
    "redis.clients.many",
    Severity.WARNING,
    "The server has nearly as many connections as it accepts: then workers cannot connect.",
    "redis-cli CONFIG SET maxclients MORE, or fewer processes",
)
TIMEOUT = Ailment(
    "redis.clients.timeout",
    Severity.INFO,
    "The server closes connections that are idle for a short time: enqueueing processes connect again and again.",
    "redis-cli CONFIG SET timeout 0, and in redis.conf: timeout 0",
)
BUFFER = Ailment(
    "redis.clients.buffer",
    Severity.WARNING,
    "The server cuts connections whose answers are large: a fetch of large jobs may never arrive.",
    'redis-cli CONFIG SET client-output-buffer-limit "normal 0 0 0"',
)
CLOCK = Ailment(
    "redis.clock",
    Severity.WARNING,
    "The clocks of this host and of the server differ: jobs enqueued here for later come early or late by as much.",
    "let NTP set both clocks: timedatectl set-ntp true",
)
LATENCY = Ailment(
    "redis.latency",
    Severity.WARNING,
    "The server answers slowly, which every job pays for.",
    "run workers near the server; redis-cli --intrinsic-latency 10 and SLOWLOG GET tell whether it is the server",
)
AILMENTS = (
    *(UNCHECKED, LUA, OFF, SNAPSHOTS, NO_FSYNC, SAVE_FAILED, AOF_FAILED, REWRITE_FAILED, EVICTION, MEMORY, REPLICA),
    *(CLIENTS, TIMEOUT, BUFFER, CLOCK, LATENCY),
)


def version(v: Vitals) -> Iterator[Finding]:
    """Releases with known holes in Lua scripting."""
    name, text = product(v)
    found = _VERSION.match(text)
    if not found or name not in FIXED:
        return
    here, fixed = tuple(map(int, found.groups())), FIXED[name]
    same_line = [release for release in fixed if release[:2] == here[:2]]
    if here < min(same_line, default=fixed[-1]):
        releases = ", ".join(".".join(map(str, release)) for release in fixed)
        yield LUA.found(
            f"it is {name} {text}; mended in {releases} - or in your distribution's package of an older one, "
            "as in Debian's redis 5:7.0.15-1~deb12u6, which the server cannot tell"
        )


def product(v: Vitals) -> tuple[str, str]:
    """Name and version of the server."""
    info = v.info or {}
    name = info.get("server_name", "redis")
    return name, info.get(f"{name}_version", info.get("redis_version", ""))


def persistence(v: Vitals) -> Iterator[Finding]:
    """What is on disk when the server ends."""
    if v.info is None:
        return
    if v.number("aof_enabled"):
        if v.setting("appendfsync") == "no":
            yield NO_FSYNC.found("appendfsync is no")
    elif v.setting("save") == "":
        yield OFF.found('appendonly is no and save is ""')
    elif v.config is None:
        yield SNAPSHOTS.found("appendonly is no; whether there are snapshots at all the server does not say")
    else:
        yield SNAPSHOTS.found(f"appendonly is no, save is {v.setting('save')!r}")


def disk(v: Vitals) -> Iterator[Finding]:
    """Whether it could write the last time."""
    info = v.info or {}
    if info.get("aof_last_write_status", "ok") != "ok":
        yield AOF_FAILED.found(f"aof_last_write_status: {info['aof_last_write_status']}")
    if info.get("aof_last_bgrewrite_status", "ok") != "ok":
        yield REWRITE_FAILED.found(f"aof_last_bgrewrite_status: {info['aof_last_bgrewrite_status']}")
    if info.get("rdb_last_bgsave_status", "ok") != "ok":
        yield SAVE_FAILED.found(f"rdb_last_bgsave_status: {info['rdb_last_bgsave_status']}")


def eviction(v: Vitals) -> Iterator[Finding]:
    """Whether it drops keys on its own."""
    policy = (v.info or {}).get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        allowed = "; the URL allows it" if v.eviction_allowed else ""
        severity = Severity.WARNING if v.eviction_allowed else None
        yield EVICTION.found(f"maxmemory-policy is {policy}{allowed}", severity=severity)


def memory(v: Vitals) -> Iterator[Finding]:
    """How much room is left."""
    limit, used = v.number("maxmemory"), v.number("used_memory")
    if limit and used >= NEAR * limit:
        severity = Severity.ERROR if used >= FULL * limit else None
        yield MEMORY.found(f"{used / limit:.0%} of maxmemory ({limit:,} bytes) are used", severity=severity)


def role(v: Vitals) -> Iterator[Finding]:
    """Whether it takes writes."""
    info = v.info or {}
    if info.get("role", "master") != "master":
        yield REPLICA.found(f"it follows {info.get('master_host', '?')}:{info.get('master_port', '?')}")


def clients(v: Vitals) -> Iterator[Finding]:
    """How it treats connections."""
    most = v.number("maxclients") or int(v.setting("maxclients") or 0)
    connected = v.number("connected_clients")
    if most and connected >= NEAR * most:
        yield CLIENTS.found(f"{connected:,} of {most:,}")
    timeout = int(v.setting("timeout") or 0)
    if 0 < timeout < IMPATIENT:
        yield TIMEOUT.found(f"timeout is {timeout} seconds")
    words = (v.setting("client-output-buffer-limit") or "").split()
    hard = int(words[words.index("normal") + 1]) if "normal" in words else 0
    if 0 < hard < SMALL_BUFFER:
        yield BUFFER.found(f"client-output-buffer-limit normal is {hard:,} bytes")


def clock(v: Vitals) -> Iterator[Finding]:
    """Whether two clocks agree."""
    if abs(v.offset) > SKEWED:
        yield CLOCK.found(f"the server's is {abs(v.offset):,.1f} seconds {'ahead' if v.offset > 0 else 'behind'}")


def latency(v: Vitals) -> Iterator[Finding]:
    """How long one question takes."""
    if v.latency > SLOW:
        yield LATENCY.found(f"{v.latency * 1000:,.0f} ms for the quickest of a few round trips")


class Check(NamedTuple):
    """A check and what it means to pass it."""

    id: str
    passed: str
    look: Callable[[Vitals], Iterator[Finding]]
    told: bool = True
    """Whether it rests on what the server may refuse to tell."""


CHECKS = (
    Check("redis.version", "The server's version has no known hole in Lua scripting.", version),
    Check("redis.persistence", "What the server has acknowledged survives its restart.", persistence),
    Check("redis.persistence.disk", "The server could write to its disk the last time.", disk),
    Check("redis.memory.policy", "The server drops no keys.", eviction),
    Check("redis.memory", "There is room in the server's memory.", memory),
    Check("redis.role", "The server is a master.", role),
    Check("redis.clients", "The server accepts and keeps our connections.", clients),
    Check("redis.clock.host", "The clocks of this host and of the server agree.", clock, told=False),
    Check("redis.latency.round_trip", "The server answers quickly.", latency, told=False),
)


def examine(v: Vitals) -> list[Finding]:
    """All checks; those that could not be made are passed by none."""
    found = [UNCHECKED.found(refusal) for refusal in v.refused]
    for check in CHECKS:
        if v.info is not None or not check.told:
            found += verdict(check.id, check.passed, check.look(v))
    return found
