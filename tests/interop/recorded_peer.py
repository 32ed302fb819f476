"""A peer for tests that repeats, command by command, what the real gocraft/work was recorded to do.

It is no substitute for the real one: what it does was written down from recordings (tests/golden/gocraft-work.json), so
it can only confirm what is known already. The real peer is the program in tests/interop/go; both have one command line
and the same JSON lines, and the tests that use this one are run against the real one wherever that can be built.

The recorded defects are repeated too: a finish that decrements whatever LREM removed, a replaced unique job that stays
in progress, moves that re-encode jobs with Redis's cjson, a periodic guard of two seconds.

    recorded_peer.py enqueue|work|client [flags]        as gopeer
    RECORDED_PEER_WAITS=0,5,20                          milliseconds of its idle waits, instead of 0,10,100,1000,5000
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import re
import signal
import socket
import sys
import threading
import time
import zoneinfo
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from json.encoder import encode_basestring
from pathlib import Path
from typing import Any, NoReturn

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

LOCK_KEPT = OBSERVED = 86400
KNOWN_FOR = 300
WAITS = (0, 10, 100, 1000, 5000)
BEAT, DEAD_AFTER = 5, 10
FIRST_REAP, REAP = 10, 600
PERIODIC, HORIZON, GUARD = 120, 240, 2
PAGE = 20


def now() -> int:
    """Whole Unix seconds."""
    return int(time.time())


def new_id() -> str:
    """Of jobs, pools and workers."""
    return os.urandom(12).hex()


# JSON as Go 1.19 writes and reads it


class Whole(float):
    """A number that stood there without point and exponent; a float64 to whoever computes with it."""

    text: str

    def __new__(cls, text: str) -> Whole:
        number = super().__new__(cls, text)
        number.text = text
        return number


def encode(value: Any, *, html: bool = True) -> str:
    """Members sorted by key, no blanks; `html` escapes what HTML could take for a tag."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, str):
        return _text(value, html)
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, int):
        return str(value)
    if isinstance(value, list):
        return f"[{','.join(encode(item, html=html) for item in value)}]"
    return f"{{{','.join(_text(key, html) + ':' + encode(value[key], html=html) for key in sorted(value))}}}"


_ODD = re.compile(r"\\.|[<>&\u2028\u2029]", re.DOTALL)
_ALWAYS = {r"\b": r"\u0008", r"\f": r"\u000c", "\u2028": r"\u2028", "\u2029": r"\u2029"}
_HTML = {**_ALWAYS, "<": r"\u003c", ">": r"\u003e", "&": r"\u0026"}


def _text(value: str, html: bool) -> str:
    escapes = _HTML if html else _ALWAYS
    return _ODD.sub(lambda found: escapes.get(found[0], found[0]), encode_basestring(value))


def _number(value: float) -> str:
    """Shortest digits; positional from 1e-6 to below 1e21."""
    plain = float(value)
    digits, _, exponent = repr(plain).partition("e")
    if not exponent:
        return digits.removesuffix(".0")
    if 1e-6 <= abs(plain) < 1e21:
        return format(Decimal(repr(plain)), "f")
    return f"{digits}e{int(exponent):+d}"


def decode(raw: bytes) -> Any:
    """With all numbers as float64; ValueError for what is no JSON."""
    value = json.loads(raw.decode(errors="replace"), parse_int=_whole, parse_float=_real, parse_constant=_refuse)
    return _carried(value) if rb"\ud" in raw or rb"\uD" in raw else value


def _whole(text: str) -> Whole:
    _real(text)
    return Whole(text)


def _real(text: str) -> float:
    number = float(text)
    if abs(number) == float("inf"):
        raise ValueError(f"cannot unmarshal number {text} into Go value of type float64")
    return number


def _refuse(text: str) -> NoReturn:
    raise ValueError(f"invalid character in literal {text}")


def _carried(value: Any) -> Any:
    """U+FFFD for each half of a surrogate pair."""
    if isinstance(value, dict):
        return {_carried(key): _carried(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_carried(item) for item in value]
    return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace") if isinstance(value, str) else value


def exact(value: Any) -> Any:
    """What was read, with integers as int64 or uint64 where they fit."""
    if isinstance(value, dict):
        return {key: exact(item) for key, item in value.items()}
    if isinstance(value, list):
        return [exact(item) for item in value]
    if isinstance(value, Whole) and value.text != "-0" and -(2**63) <= int(value.text) < 2**64:
        return int(value.text)
    return value


# the job document


@dataclass
class Job:
    """Members in the order in which they are written."""

    name: str = ""
    id: str = ""
    t: int = 0
    args: dict[str, Any] | None = None
    unique: bool = False
    unique_key: str = ""
    fails: int = 0
    err: str = ""
    failed_at: int = 0
    raw: bytes = field(default=b"", compare=False)

    def document(self) -> bytes:
        members = {name: getattr(self, name) for name in _MEMBERS}
        kept = {name: value for name, value in members.items() if value or name in ("id", "t", "args")}
        return f"{{{','.join(f'{_text(name, True)}:{encode(value)}' for name, value in kept.items())}}}".encode()


_MEMBERS: dict[str, type] = {
    "name": str,
    "id": str,
    "t": int,
    "args": dict,
    "unique": bool,
    "unique_key": str,
    "fails": int,
    "err": str,
    "failed_at": int,
}


def read_job(raw: bytes) -> Job:
    """Members in any case, unknown ones dropped; ValueError when one is of a wrong type."""
    found, job = decode(raw), Job(raw=raw)
    if not isinstance(found, dict):
        raise ValueError("cannot unmarshal into Go value of type work.Job")
    for spelling, value in found.items():
        name = spelling if spelling in _MEMBERS else spelling.lower()
        if name in _MEMBERS and value is not None:
            setattr(job, name, _member(name, value))
    return job


def _member(name: str, value: Any) -> Any:
    kind = _MEMBERS[name]
    if kind is int and isinstance(value, Whole) and -(2**63) <= int(value.text) < 2**63:
        return int(value.text)
    if kind is int or not isinstance(value, kind):
        raise ValueError(f"cannot unmarshal into Go struct field Job.{name} of another type")
    return value


# Redis


class Space:
    """One namespace over one connection."""

    def __init__(self, address: str, namespace: str) -> None:
        url = address if "://" in address else f"redis://{address}"
        retry = Retry(NoBackoff(), 0)
        self.redis: Any = redis.Redis.from_url(url, protocol=2, retry=retry, single_connection_client=True)
        self.address, self.prefix = address, namespace + ":" * bool(namespace and not namespace.endswith(":"))

    def another(self) -> Space:
        """For another thread."""
        return Space(self.address, self.prefix)

    def __call__(self, *command: Any) -> Any:
        return self.redis.execute_command(*command)

    def together(self, *commands: Sequence[Any], transaction: bool = False) -> list[Any]:
        pipe = self.redis.pipeline(transaction=transaction)
        for command in commands:
            pipe.execute_command(*command)
        return list(pipe.execute())

    def run(self, script: Script, keys: Sequence[Any], args: Sequence[Any]) -> Any:
        try:
            return self("EVALSHA", script.sha, len(keys), *keys, *args)
        except redis.exceptions.NoScriptError:
            return self("EVAL", script.text, len(keys), *keys, *args)

    def jobs(self, name: str, *rest: str) -> str:
        return ":".join((f"{self.prefix}jobs:{name}", *rest))

    def unique_key(self, name: str, key: dict[str, Any] | None) -> str:
        return f"{self.prefix}unique:{name}:" + ("" if key is None else f"{encode(key)}\n")


class Script:
    """Lua text, and the name the server gives it."""

    def __init__(self, text: str) -> None:
        self.text, self.sha = text, hashlib.sha1(text.encode()).hexdigest()


ENQUEUE_UNIQUE = Script("""
if redis.call('set', KEYS[2], ARGV[2], 'NX', 'EX', '86400') then
  redis.call('lpush', KEYS[1], ARGV[1])
  return 'ok'
end
redis.call('set', KEYS[2], ARGV[2], 'EX', '86400')
return 'dup'
""")
ENQUEUE_UNIQUE_IN = Script("""
if redis.call('set', KEYS[2], ARGV[2], 'NX', 'EX', '86400') then
  redis.call('zadd', KEYS[1], ARGV[3], ARGV[1])
  return 'ok'
end
redis.call('set', KEYS[2], ARGV[2], 'EX', '86400')
return 'dup'
""")
FETCH = Script("""
for k = 1, #KEYS, 6 do
  local cap = tonumber(redis.call('get', KEYS[k + 5]))
  if redis.call('llen', KEYS[k]) > 0 and not redis.call('get', KEYS[k + 2]) then
    local running = tonumber(redis.call('get', KEYS[k + 3]))
    if not (cap and cap ~= 0 and running and running >= cap) then
      redis.call('incr', KEYS[k + 3])
      redis.call('hincrby', KEYS[k + 4], ARGV[1], 1)
      return {redis.call('rpoplpush', KEYS[k], KEYS[k + 1]), KEYS[k], KEYS[k + 1]}
    end
  end
end
return nil
""")
KNOWN = """
local function known(queue)
  for i = FIRST, #KEYS do
    if KEYS[i] == queue then return true end
  end
  return false
end
"""
MOVE = Script(
    KNOWN.replace("FIRST", "3")
    + """
local raw = redis.call('zrangebyscore', KEYS[1], '-inf', ARGV[2], 'LIMIT', '0', '1')[1]
if not raw then return nil end
local job, now = cjson.decode(raw), tonumber(ARGV[2])
redis.call('zrem', KEYS[1], raw)
local queue = ARGV[1] .. job['name']
if known(queue) then
  job['t'] = now
  redis.call('lpush', queue, cjson.encode(job))
  return 'ok'
end
job['err'] = 'unknown job when requeueing'
job['failed_at'] = now
redis.call('zadd', KEYS[2], ARGV[2], cjson.encode(job))
return 'dead'
"""
)
REVIVED = (
    KNOWN.replace("FIRST", "2")
    + """
local now, moved = tonumber(ARGV[2]), 0
local function revive(raw, job)
  redis.call('zrem', KEYS[1], raw)
  local queue = ARGV[1] .. job['name']
  if known(queue) then
    job['t'], job['fails'], job['err'], job['failed_at'] = now, nil, nil, nil
    redis.call('lpush', queue, cjson.encode(job))
    moved = moved + 1
  else
    job['err'], job['failed_at'] = 'unknown job when requeueing', now
    redis.call('zadd', KEYS[1], ARGV[2] + 5, cjson.encode(job))
  end
end
"""
)
REVIVE_ONE = Script(
    REVIVED
    + """
for _, raw in ipairs(redis.call('zrangebyscore', KEYS[1], ARGV[3], ARGV[3])) do
  local job = cjson.decode(raw)
  if job['id'] == ARGV[4] then revive(raw, job) end
end
return moved
"""
)
REVIVE_ALL = Script(
    REVIVED
    + """
for _, raw in ipairs(redis.call('zrangebyscore', KEYS[1], '-inf', ARGV[2], 'LIMIT', '0', ARGV[3])) do
  revive(raw, cjson.decode(raw))
end
return moved
"""
)
DELETE = Script("""
local count, last = 0, ''
for _, raw in ipairs(redis.call('zrangebyscore', KEYS[1], ARGV[1], ARGV[1])) do
  if cjson.decode(raw)['id'] == ARGV[2] then
    count, last = count + redis.call('zrem', KEYS[1], raw), raw
  end
end
return {count, last}
""")
REENQUEUE = Script("""
for k = 1, #KEYS, 4 do
  local raw = redis.call('rpoplpush', KEYS[k], KEYS[k + 1])
  if raw then
    redis.call('decr', KEYS[k + 2])
    redis.call('hincrby', KEYS[k + 3], ARGV[1], -1)
    return {raw, KEYS[k], KEYS[k + 1]}
  end
end
return nil
""")
REAP_LOCKS = Script("""
for k = 1, #KEYS, 2 do
  local count = redis.call('hget', KEYS[k + 1], ARGV[1])
  if count then
    redis.call('decrby', KEYS[k], count)
    redis.call('hdel', KEYS[k + 1], ARGV[1])
    if tonumber(redis.call('get', KEYS[k])) < 0 then redis.call('set', KEYS[k], 0) end
  end
end
return nil
""")


# enqueue


class Enqueuer:
    """The library's six ways in."""

    def __init__(self, space: Space) -> None:
        self._space, self._told = space, dict[str, float]()

    def enqueue(self, name: str, args: dict[str, Any] | None) -> Job:
        job = Job(name, new_id(), now(), args)
        self._space("LPUSH", self._space.jobs(name), job.document())
        self._tell(name)
        return job

    def enqueue_in(self, name: str, seconds: int, args: dict[str, Any] | None) -> Job:
        job = Job(name, new_id(), now(), args)
        self._space("ZADD", f"{self._space.prefix}scheduled", job.t + seconds, job.document())
        self._tell(name)
        return job

    def enqueue_unique(
        self, name: str, args: dict[str, Any] | None, key: dict[str, Any] | None = None, seconds: int | None = None
    ) -> Job | None:
        """None: a duplicate. Without `key` the arguments are it; `seconds`: on the schedule."""
        space = self._space
        lock = space.unique_key(name, args if key is None else key)
        job = Job(name, new_id(), now(), args, True, lock)
        document = job.document()
        self._tell(name)
        given = [document, "1" if key is None else document]
        if seconds is None:
            answer = space.run(ENQUEUE_UNIQUE, [space.jobs(name), lock], given)
        else:
            answer = space.run(ENQUEUE_UNIQUE_IN, [f"{space.prefix}scheduled", lock], [*given, job.t + seconds])
        return job if answer == b"ok" else None

    def _tell(self, name: str) -> None:
        if time.monotonic() >= self._told.get(name, 0.0):
            self._space("SADD", f"{self._space.prefix}known_jobs", name)
            self._told[name] = time.monotonic() + KNOWN_FOR


def answer(enqueuer: Enqueuer, request: dict[str, Any]) -> dict[str, Any]:
    """The reply to one line of `enqueue`."""
    name, call = request.get("name") or "", request.get("call") or ""
    args, key, seconds = request.get("args"), request.get("key"), request.get("in") or 0
    reply: dict[str, Any] = {"id": None, "error": None}
    calls: dict[str, Callable[[], Job | None]] = {
        "Enqueue": lambda: enqueuer.enqueue(name, args),
        "EnqueueIn": lambda: enqueuer.enqueue_in(name, seconds, args),
        "EnqueueUnique": lambda: enqueuer.enqueue_unique(name, args),
        "EnqueueUniqueIn": lambda: enqueuer.enqueue_unique(name, args, None, seconds),
        "EnqueueUniqueByKey": lambda: enqueuer.enqueue_unique(name, args, key),
        "EnqueueUniqueInByKey": lambda: enqueuer.enqueue_unique(name, args, key, seconds),
    }
    if call not in calls:
        return {**reply, "error": f'unknown call "{call}"'}
    try:
        job = calls[call]()
    except redis.RedisError as refusal:
        return {**reply, "error": str(refusal)}
    if job:
        reply["id"] = job.id
        reply |= {"unique_key": job.unique_key} if job.unique_key else {}
        reply |= {"run_at": job.t + seconds} if "In" in call else {}
    return reply


def run_enqueue(argv: list[str]) -> None:
    options = flags("enqueue").parse_args(argv)
    enqueuer = Enqueuer(Space(options.redis, options.ns))
    for line in sys.stdin.buffer:
        if line.strip():
            emit(answer(enqueuer, exact(decode(line))))


# work


@dataclass
class JobType:
    """What a pool does with one name."""

    name: str
    max_fails: int = 4
    priority: int = 1
    max_concurrency: int = 0
    skip_dead: bool = False
    backoff: int = -1
    """Negative: the library's own."""

    def wait(self, fails: int) -> int:
        return self.backoff if self.backoff >= 0 else fails**4 + 15 + random.randrange(30) * (fails + 1)


class Loop:
    """A step in a thread, again and again until stopped."""

    def __init__(self, step: Callable[[], object], *, first: float, period: Callable[[], float]) -> None:
        self._step, self._first, self._period = step, first, period
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        pause = self._first
        while not self._stopping.wait(pause):
            attempt(self._step)
            pause = self._period()


def attempt(step: Callable[[], Any]) -> Any:
    """Errors of the server are logged, and that is all."""
    try:
        return step()
    except redis.RedisError as error:
        print(f"ERROR: {error}", file=sys.stderr)
        return None


class Observer:
    """Tells what a worker is doing: the first event at once, afterwards the latest state each second, if changed."""

    def __init__(self, space: Space, worker: str) -> None:
        self._space, self._key = space, f"{space.prefix}worker:{worker}"
        self._begun, self._state, self._written = threading.Event(), dict[str, Any](), dict[str, Any]()
        self._first = dict[str, Any]()
        self._loop = Loop(self._tick, first=0.0, period=lambda: 1.0)

    def started(self, job: Job) -> None:
        args = encode(job.args) if job.args else ""
        self._state = {"job_name": job.name, "job_id": job.id, "started_at": now(), "args": args}
        if not self._begun.is_set():
            self._first = self._state
            self._begun.set()

    def checkin(self, job_id: str, text: str) -> None:
        if self._state.get("job_id") == job_id:
            self._state = {**self._state, "checkin": text, "checkin_at": now()}

    def done(self) -> None:
        self._state = {}

    def write(self, state: dict[str, Any]) -> None:
        fields = [part for name, value in state.items() for part in (name, value)]
        if state and not state.get("checkin", "-"):
            fields = fields[:-4]
        commands = [("HMSET", self._key, *fields), ("EXPIRE", self._key, OBSERVED)] if state else [("DEL", self._key)]
        self._space.together(*commands)
        self._written = state

    def flush(self) -> None:
        """The first event if that was not written, else the latest state if it changed."""
        first, self._first = self._first, {}
        state = first or self._state
        if state != self._written:
            self.write(state)

    def start(self) -> None:
        self._loop.start()

    def stop(self) -> None:
        self._begun.set()
        self._loop.stop()
        for _ in range(2):
            attempt(self.flush)

    def _tick(self) -> None:
        self._begun.wait()
        self.flush()


class Worker:
    """One concurrent executor of a pool."""

    def __init__(
        self, space: Space, pool: str, types: dict[str, JobType], handle: Callable[[Job, Observer], str | None]
    ) -> None:
        self.id = new_id()
        self._space, self._pool, self._types, self._handle = space, pool, types, handle
        self.observer = Observer(space.another(), self.id)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self.observer.start()
        self._thread.start()

    def quiet(self) -> None:
        self._stopping.set()

    def stop(self) -> None:
        self.quiet()
        self._thread.join()
        self.observer.stop()

    def _run(self) -> None:
        waits, misses = idle_waits(), 0
        while not self._stopping.is_set():
            try:
                job = self.fetch()
            except (redis.RedisError, ValueError) as error:
                print(f"ERROR: worker.fetch - {error}", file=sys.stderr)
                self._stopping.wait(0.010)
                continue
            if job:
                self.process(job)
                misses = 0
            else:
                misses += 1
                self._stopping.wait(waits[min(misses, len(waits) - 1)] / 1000)

    def fetch(self) -> Job | None:
        """The oldest job of a type in sampled order. One that cannot be read is left in progress."""
        jobs, keys = self._space.jobs, list[str]()
        for name in self._order():
            keys += (jobs(name), jobs(name, self._pool, "inprogress"), jobs(name, "paused"))
            keys += (jobs(name, "lock"), jobs(name, "lock_info"), jobs(name, "max_concurrency"))
        found = self._space.run(FETCH, keys, [self._pool])
        if not found:
            return None
        self._lent_from = found[2]
        return read_job(found[0])

    def _order(self) -> Iterator[str]:
        left = [(kind.priority, name) for name, kind in self._types.items()]
        while left:
            (drawn,) = random.choices(left, [priority for priority, _ in left])
            left.remove(drawn)
            yield drawn[1]

    def process(self, job: Job) -> None:
        """One job from its lock to its ending."""
        lent_from = self._lent_from
        if job.unique:
            job = self._unlock(job)
        kind = self._types.get(job.name)
        if kind is None:
            self._finish(_failed(job, "stray job: no handler"), lent_from, ("dead", now()))
            return
        self.observer.started(job)
        error = self._handle(job, self.observer)
        self.observer.done()
        self._finish(job if error is None else _failed(job, error), lent_from, _fate(kind, job, error))

    def _unlock(self, job: Job) -> Job:
        """The job that is to run: the one in the lock, if there is one."""
        key = job.unique_key or self._space.unique_key(job.name, job.args)
        value = self._space("GET", key)
        if value is None:
            return job
        self._space("DEL", key)
        return job if value == b"1" else read_job(value)

    def _finish(self, job: Job, lent_from: bytes, fate: tuple[str, int] | None) -> None:
        jobs = self._space.jobs
        commands: list[Sequence[Any]] = [
            ("LREM", lent_from, 1, job.raw),
            ("DECR", jobs(job.name, "lock")),
            ("HINCRBY", jobs(job.name, "lock_info"), self._pool, -1),
        ]
        if fate:
            commands.append(("ZADD", f"{self._space.prefix}{fate[0]}", fate[1], job.document()))
        attempt(lambda: self._space.together(*commands, transaction=True))


def _failed(job: Job, error: str) -> Job:
    return replace(job, fails=job.fails + 1, err=error, failed_at=now())


def _fate(kind: JobType, job: Job, error: str | None) -> tuple[str, int] | None:
    """(set, score) of what remains of the job, if anything."""
    if error is None:
        return None
    fails = job.fails + 1
    if kind.max_fails > fails:
        return "retry", now() + kind.wait(fails)
    return None if kind.skip_dead else ("dead", now())


def idle_waits() -> Sequence[float]:
    """Milliseconds by the number of misses."""
    given = os.environ.get("RECORDED_PEER_WAITS", "")
    return [float(wait) for wait in given.split(",")] if given else WAITS


class Requeuer:
    """Moves what is due in one sorted set, one job a call, re-encoded by the server."""

    def __init__(self, space: Space, zset: str, names: Sequence[str]) -> None:
        self._space, queues = space, [space.jobs(name) for name in names]
        self._keys = [f"{space.prefix}{zset}", f"{space.prefix}dead", *queues]

    def move_all(self) -> int:
        moved = 0
        while self._space.run(MOVE, self._keys, [f"{self._space.prefix}jobs:", now()]):
            moved += 1
        return moved


class Heart:
    """The pool's sign of life."""

    def __init__(self, space: Space, pool: str, names: Sequence[str], workers: Sequence[str]) -> None:
        self._space, self._pool = space, pool
        self.started_at, self.host, self.pid = now(), socket.gethostname(), os.getpid()
        self._names, self._workers = sorted(names), sorted(workers)

    def beat(self) -> None:
        key = f"{self._space.prefix}worker_pools"
        fields = {"heartbeat_at": now(), "started_at": self.started_at, "job_names": ",".join(self._names)}
        fields |= {"concurrency": len(self._workers), "worker_ids": ",".join(self._workers)}
        fields |= {"host": self.host, "pid": self.pid}
        parts = [part for pair in fields.items() for part in pair]
        self._space.together(("SADD", key, self._pool), ("HMSET", f"{key}:{self._pool}", *parts))

    def stop(self) -> None:
        key = f"{self._space.prefix}worker_pools"
        self._space.together(("SREM", key, self._pool), ("DEL", f"{key}:{self._pool}"))


class Reaper:
    """Takes the jobs of silent pools back to their queues."""

    def __init__(self, space: Space, names: Sequence[str]) -> None:
        self._space, self._names = space, names

    def reap(self) -> None:
        key = f"{self._space.prefix}worker_pools"
        for pool, names in self._dead(key):
            if names is not None:
                self._reenqueue(pool, names)
                self._space("DEL", f"{key}:{pool}")
            self._space("SREM", key, pool)
            jobs = self._space.jobs
            locks = [jobs(name, part) for name in names or self._names for part in ("lock", "lock_info")]
            self._space.run(REAP_LOCKS, locks, [pool])

    def _dead(self, key: str) -> Iterator[tuple[str, list[str] | None]]:
        """(pool, its job names); None: it never beat."""
        for pool in sorted(text(member) for member in self._space("SMEMBERS", key)):
            beat = self._space("HGET", f"{key}:{pool}", "heartbeat_at")
            if beat is None:
                yield pool, None
            elif int(beat) + DEAD_AFTER <= now():
                names = self._space("HGET", f"{key}:{pool}", "job_names")
                if names is not None:
                    yield pool, text(names).split(",")

    def _reenqueue(self, pool: str, names: Sequence[str]) -> None:
        jobs, keys = self._space.jobs, list[str]()
        for name in names:
            keys += (jobs(name, pool, "inprogress"), jobs(name), jobs(name, "lock"), jobs(name, "lock_info"))
        while self._space.run(REENQUEUE, keys, [pool]):
            pass


class Periodic:
    """Puts the firings of the next four minutes on the schedule."""

    def __init__(self, space: Space, entries: Sequence[tuple[str, str]]) -> None:
        self._space, self._entries = space, entries

    def enqueue(self) -> bool:
        key, at = f"{self._space.prefix}last_periodic_enqueue", now()
        last = self._space("GET", key)
        if last is not None and int(last) >= at - GUARD:
            return False
        for spec, name in self._entries:
            for tick in fire_times(spec, at, at + HORIZON):
                job = Job(name, f"periodic:{name}:{spec}:{tick}", tick)
                self._space("ZADD", f"{self._space.prefix}scheduled", tick, job.document())
        self._space("SET", key, at)
        return True


_DESCRIPTORS = {
    **dict.fromkeys(("@yearly", "@annually"), "0 0 0 1 1 *"),
    **dict.fromkeys(("@daily", "@midnight"), "0 0 0 * * *"),
    "@monthly": "0 0 0 1 * *",
    "@weekly": "0 0 0 * * 0",
    "@hourly": "0 0 * * * *",
}
_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_DAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
_NAMES = {name: place for names, first in ((_MONTHS, 1), (_DAYS, 0)) for place, name in enumerate(names, first)}
_BOUNDS = ((0, 59), (0, 59), (0, 23), (1, 31), (1, 12), (0, 6))


def fire_times(spec: str, after: int, before: int) -> Iterator[int]:
    """Every second between the two that the expression names; `@every` in whole hours, minutes and seconds."""
    zone, rest = None, spec
    if spec.startswith(("TZ=", "CRON_TZ=")):
        name, _, rest = spec.partition("=")[2].partition(" ")
        zone = zoneinfo.ZoneInfo(name)
    if rest.startswith("@every "):
        parts = re.findall(r"(\d+)([hms])", rest)
        period = sum(int(number) * {"h": 3600, "m": 60, "s": 1}[unit] for number, unit in parts)
        yield from range(after + period, before, period)
        return
    fields = _DESCRIPTORS.get(rest, rest).split()
    fields = ["0", *fields] if len(fields) == 5 else fields
    allowed = [_allowed(item, *bounds) for item, bounds in zip(fields, _BOUNDS, strict=True)]
    either = not any(part in ("*", "?", "*/1", "?/1") for item in (fields[3], fields[5]) for part in item.split(","))
    yield from (at for at in range(after + 1, before) if _fires(datetime.fromtimestamp(at, zone), allowed, either))


def _fires(at: datetime, allowed: Sequence[set[int]], either: bool) -> bool:
    second, minute, hour, day, month, weekday = allowed
    if at.second not in second or at.minute not in minute or at.hour not in hour or at.month not in month:
        return False
    days = (at.day in day, at.isoweekday() % 7 in weekday)
    return any(days) if either else all(days)


def _allowed(text: str, low: int, high: int) -> set[int]:
    found: set[int] = set()
    for item in filter(None, text.lower().split(",")):
        span, _, step = item.partition("/")
        first, _, last = span.partition("-")
        start = low if first in ("*", "?") else _point(first)
        end = high if first in ("*", "?") or (step and not last) else _point(last or first)
        found.update(range(start, end + 1, int(step or 1)))
    return found


def _point(text: str) -> int:
    return int(_NAMES.get(text, text))


class Pool:
    """Everything one `work` runs."""

    def __init__(
        self,
        space: Space,
        types: Sequence[JobType],
        concurrency: int,
        periodic: Sequence[tuple[str, str]],
        handle: Callable[[Job, Observer], str | None],
    ) -> None:
        self.id, self._space, self._types = new_id(), space, types
        names = [kind.name for kind in types]
        by_name = {kind.name: kind for kind in types}
        self._workers = [Worker(space.another(), self.id, by_name, handle) for _ in range(concurrency)]
        self._heart = Heart(space.another(), self.id, names, [worker.id for worker in self._workers])
        retry, scheduled = (Requeuer(space.another(), zset, names) for zset in ("retry", "scheduled"))
        reaper, enqueuer = Reaper(space.another(), names), Periodic(space.another(), periodic)
        self._loops = [
            Loop(self._heart.beat, first=BEAT, period=lambda: BEAT),
            Loop(retry.move_all, first=1.0, period=lambda: 1.0),
            Loop(scheduled.move_all, first=1.0, period=lambda: 1.0),
            Loop(reaper.reap, first=FIRST_REAP, period=lambda: REAP + random.randrange(30)),
            Loop(enqueuer.enqueue, first=0.0, period=lambda: PERIODIC + random.randrange(30)),
        ]

    def register(self) -> None:
        for kind in self._types:
            self._space("SET", self._space.jobs(kind.name, "max_concurrency"), kind.max_concurrency)
        if self._types:
            self._space("SADD", f"{self._space.prefix}known_jobs", *(kind.name for kind in self._types))

    def start(self) -> None:
        self.register()
        for worker in self._workers:
            worker.start()
        attempt(self._heart.beat)
        for loop in self._loops:
            loop.start()

    def stop(self) -> None:
        for worker in self._workers:
            worker.quiet()
        for worker in self._workers:
            worker.stop()
        for loop in self._loops:
            loop.stop()
        attempt(self._heart.stop)


def run_work(argv: list[str]) -> None:
    parser = flags("work")
    parser.add_argument("-concurrency", "--concurrency", type=int, default=2)
    parser.add_argument("-backoff", "--backoff", type=int, default=-1)
    for name in ("jobs", "skip-dead", "periodic"):
        parser.add_argument(f"-{name}", f"--{name}", default="")
    options = parser.parse_args(argv)
    skipped = options.skip_dead.split(",")
    types = [read_type(item, skipped, options.backoff) for item in _items(options.jobs, ",")]
    periodic = [(spec, name) for spec, _, name in (item.rpartition("=") for item in _items(options.periodic, ";"))]
    pool = Pool(Space(options.redis, options.ns), types, options.concurrency, periodic, handle)
    stopping = stop_requested()
    pool.start()
    emit({"event": "ready"})
    stopping.wait()
    pool.stop()
    emit({"event": "stopped"})


def _items(text: str, separator: str) -> list[str]:
    return [item.strip() for item in text.split(separator) if item.strip()]


def read_type(item: str, skipped: Sequence[str], backoff: int) -> JobType:
    """name[:maxfails[:priority[:maxconcurrency]]]; an empty or 0 part keeps the library's default."""
    name, *parts = item.split(":")
    given = dict(zip(("max_fails", "priority", "max_concurrency"), parts, strict=False))
    numbers = {option: int(part) for option, part in given.items() if part and int(part)}
    return JobType(name, skip_dead=name in skipped, backoff=backoff, **numbers)


def stop_requested() -> threading.Event:
    """Set at the end of stdin, or by a signal."""
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())

    def watch() -> None:
        while os.read(0, 4096):
            pass
        stopping.set()

    threading.Thread(target=watch, daemon=True).start()
    return stopping


def handle(job: Job, observer: Observer) -> str | None:
    """Do what the arguments ask for; answers the text of the error, if it is to fail."""
    start = {"event": "start", "name": job.name, "id": job.id, "args": job.args}
    emit({**start, "fails": job.fails, "t": job.t, "unique": job.unique})
    error = behave(job, observer)
    emit({"event": "end", "name": job.name, "id": job.id, "error": error})
    return error


def behave(job: Job, observer: Observer) -> str | None:
    args = job.args or {}
    if isinstance(args.get("_checkin"), str):
        observer.checkin(job.id, args["_checkin"])
    if isinstance(args.get("_sleep_ms"), float):
        time.sleep(args["_sleep_ms"] / 1000)
    while isinstance(args.get("_until"), str) and not Path(args["_until"]).exists():
        time.sleep(0.01)
    if isinstance(args.get("_fail"), str):
        return str(args["_fail"])
    times = args.get("_fail_times")
    if isinstance(times, float) and job.fails < times:
        return f"failure {job.fails + 1} of {int(times)}"
    return None


# client


class ClientError(Exception):
    """What the library's client answers instead."""


class Client:
    """An operator's view and hand."""

    def __init__(self, space: Space) -> None:
        self._space = space

    def queues(self) -> list[dict[str, Any]]:
        names = sorted(text(name) for name in self._space("SMEMBERS", f"{self._space.prefix}known_jobs"))
        counts = self._space.together(*(("LLEN", self._space.jobs(name)) for name in names)) if names else []
        found = [{"job_name": name, "count": count, "latency": 0} for name, count in zip(names, counts, strict=True)]
        busy = [queue for queue in found if queue["count"]]
        nexts = self._space.together(*(("LINDEX", self._space.jobs(queue["job_name"]), -1) for queue in busy))
        for queue, raw in zip(busy, nexts, strict=True):
            queue["latency"] = now() - read_job(raw).t
        return found

    def pools(self) -> list[dict[str, Any]]:
        key = f"{self._space.prefix}worker_pools"
        ids = sorted(text(pool) for pool in self._space("SMEMBERS", key))
        beats = self._space.together(*(("HGETALL", f"{key}:{pool}") for pool in ids)) if ids else []
        return [_pool_view(pool, _texts(beat)) for pool, beat in zip(ids, beats, strict=True)]

    def observations(self) -> list[dict[str, Any]]:
        ids = [worker for pool in self.pools() for worker in pool["worker_ids"] or ()]
        found = self._space.together(*(("HGETALL", f"{self._space.prefix}worker:{worker}") for worker in ids))
        return [_observation_view(worker, _texts(fields)) for worker, fields in zip(ids, found, strict=True)]

    def page(self, zset: str, time_name: str, page: int) -> dict[str, Any]:
        key, first = f"{self._space.prefix}{zset}", (max(1, page) - 1) * PAGE
        flat = self._space("ZRANGEBYSCORE", key, "-inf", "+inf", "WITHSCORES", "LIMIT", first, PAGE)
        jobs: list[dict[str, Any]] = []
        for raw, score in zip(flat[::2], flat[1::2], strict=True):
            if not re.fullmatch(rb"-?\d+", score):
                raise ClientError(f"cannot assign score: strconv.ParseInt: parsing {text(score)!r}: invalid syntax")
            jobs.append({time_name: int(score), **decode(read_job(raw).document())})
        return {"count": self._space("ZCARD", key), "jobs": jobs}

    def retry_dead(self, job_id: str, score: int) -> None:
        if not self._space.run(REVIVE_ONE, self._dead_keys(), [*self._moment(), score, job_id]):
            raise ClientError("nothing retried")

    def retry_all_dead(self) -> None:
        keys, moment = self._dead_keys(), self._moment()
        for _ in range(1000):
            if not self._space.run(REVIVE_ALL, keys, [*moment, 1000]):
                return

    def _dead_keys(self) -> list[str]:
        return [f"{self._space.prefix}dead", *(self._space.jobs(queue["job_name"]) for queue in self.queues())]

    def _moment(self) -> tuple[str, int]:
        return f"{self._space.prefix}jobs:", now()

    def delete_all_dead(self) -> None:
        self._space("DEL", f"{self._space.prefix}dead")

    def delete(self, zset: str, job_id: str, score: int) -> None:
        count, raw = self._space.run(DELETE, [f"{self._space.prefix}{zset}"], [score, job_id])
        job = read_job(raw) if zset == "scheduled" and raw else Job()
        if job.unique:
            self._space("DEL", self._space.unique_key(job.name, job.args))
        if not count:
            raise ClientError("nothing deleted")


def _pool_view(pool: str, fields: dict[str, str]) -> dict[str, Any]:
    numbers = {name: int(fields.get(name, 0)) for name in ("started_at", "heartbeat_at", "concurrency", "pid")}
    lists = {name: sorted(fields[name].split(",")) if name in fields else None for name in ("job_names", "worker_ids")}
    return {"worker_pool_id": pool, **numbers, **lists, "host": fields.get("host", "")}


def _observation_view(worker: str, fields: dict[str, str]) -> dict[str, Any]:
    texts = {name: fields.get(name, "") for name in ("job_name", "job_id", "checkin")}
    numbers = {name: int(fields.get(name, 0)) for name in ("started_at", "checkin_at")}
    return {"worker_id": worker, "is_busy": bool(fields), "args_json": fields.get("args", ""), **texts, **numbers}


def _texts(fields: dict[bytes, bytes]) -> dict[str, str]:
    return {text(name): text(value) for name, value in fields.items()}


def text(value: bytes) -> str:
    return value.decode(errors="replace")


def ask(client: Client, words: Sequence[str], page: int) -> Any:
    """The answer to one operation."""
    operation, *rest = words
    ok = {"status": "ok"}
    by_id: dict[str, Callable[[str, int], None]] = {
        "retry-dead": client.retry_dead,
        **{f"delete-{zset}": lambda id, score, zset=zset: client.delete(zset, id, score) for zset in _TIMES},
    }
    if operation in by_id:
        if len(rest) != 2:
            raise ClientError(f"{operation} needs ID SCORE")
        by_id[operation](rest[0], int(rest[1]))
        return ok
    if operation in _TIMES:
        return client.page(operation, _TIMES[operation], page)
    plain = ("queues", "pools", "observations", "retry-all-dead", "delete-all-dead")
    if operation not in plain:
        raise ClientError(f'unknown operation "{operation}"')
    found = getattr(client, operation.replace("-", "_"))()
    return ok if found is None else found


_TIMES = {"retry": "retry_at", "scheduled": "run_at", "dead": "died_at"}


def run_client(argv: list[str]) -> None:
    parser = flags("client")
    parser.add_argument("-page", "--page", type=int, default=1)
    parser.add_argument("words", nargs="+")
    options = parser.parse_intermixed_args(argv)
    try:
        emit(ask(Client(Space(options.redis, options.ns)), options.words, options.page))
    except (ClientError, ValueError, redis.RedisError) as error:
        emit({"error": str(error)})
        sys.exit(1)


# the program


def flags(name: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(f"recorded_peer.py {name}", allow_abbrev=False)
    parser.add_argument("-redis", "--redis", default="127.0.0.1:6379")
    parser.add_argument("-ns", "--ns", default="work")
    return parser


_writing = threading.Lock()


def emit(value: Any) -> None:
    """One JSON line in a single write."""
    line = f"{encode(value, html=False)}\n".encode(errors="replace")
    with _writing:
        while line:
            line = line[os.write(1, line) :]


def main() -> None:
    commands = {"enqueue": run_enqueue, "work": run_work, "client": run_client}
    if len(sys.argv) < 2 or sys.argv[1] not in commands:
        print("usage: recorded_peer.py enqueue|work|client [flags]", file=sys.stderr)
        sys.exit(2)
    commands[sys.argv[1]](sys.argv[2:])


if __name__ == "__main__":
    main()
