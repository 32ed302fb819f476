"""What the stand-in keeps: jobs in queues, sets and under reservation, by a clock that tests turn."""

from __future__ import annotations

import json
import random
import re
from collections import Counter, deque
from datetime import UTC, datetime
from typing import Any

TEXTS = ("jid", "jobtype", "queue", "at", "created_at", "enqueued_at")
NUMBERS = ("reserve_for", "retry", "backtrace")
MEMBERS = ("retry", "failure", "custom", "jid", "queue", "jobtype", "created_at", "enqueued_at", "at", "args")
MEMBERS += ("reserve_for", "backtrace")
"""In the order in which the server writes them."""
QUEUE = re.compile(r"[a-zA-Z0-9._-]+")
DAY = 86400


class Wrong(Exception):
    """What is answered with -ERR."""


Stored = dict[str, Any]


class Store:
    """All times are Unix seconds of `now`, which stands still unless it is turned."""

    def __init__(self, now: float) -> None:
        self.now = now
        self._tick = 0
        self.usual_retry = 25
        """Of a job that says nothing; the last PUSH has changed it."""
        self.clear()

    def clear(self) -> None:
        self.queues: dict[str, deque[Stored]] = {}
        self.paused: set[str] = set()
        self.sets: dict[str, list[tuple[float, Stored]]] = {"scheduled": [], "retries": [], "dead": []}
        self.working: dict[str, tuple[float, Stored]] = {}
        """jid -> (end of the reservation, job)"""
        self.counts: Counter[str] = Counter()

    # in

    def push(self, job: Stored) -> None:
        """Validated in the server's order."""
        if len(job.get("jid") or "") < 8:
            raise Wrong("jobs must have a reasonable jid parameter")
        if not job.get("jobtype"):
            raise Wrong("jobs must have a jobtype parameter")
        if job.get("args") is None:
            raise Wrong("jobs must have an args parameter")
        if (job.get("reserve_for") or 0) > DAY:
            raise Wrong("jobs cannot be reserved for more than one day")
        at = moment(job.get("at") or "")
        job = {**job, "queue": job.get("queue") or "default", "created_at": job.get("created_at") or self.stamp()}
        if job.get("retry") is None:
            job["retry"] = self.usual_retry
        if at > self.now:
            self.sets["scheduled"].append((at, job))
        else:
            self.enqueue(job)

    def enqueue(self, job: Stored) -> None:
        self.queue(job["queue"]).append({**job, "enqueued_at": self.stamp()})
        self.counts["enqueued"] += 1

    def queue(self, name: str) -> deque[Stored]:
        if name not in self.queues and not QUEUE.fullmatch(name):
            raise Wrong(f'cannot get "{name}" queue: queue names must match {QUEUE.pattern}')
        return self.queues.setdefault(name, deque())

    def release(self) -> None:
        """Every reservation ends, as if its job were done."""
        self.working.clear()

    # out

    def fetch(self, names: list[str]) -> Stored | None:
        for name in names:
            queue = self.queues.get(name)
            if queue and name not in self.paused:
                job = queue.popleft()
                self.working[job["jid"]] = (self.now + max(job.get("reserve_for") or 1800, 60), job)
                return job
        return None

    def acknowledge(self, jid: str) -> None:
        if self.working.pop(jid, None):
            self.counts["processed"] += 1

    def fail(self, jid: str, kind: str, message: str, trace: list[str]) -> None:
        if jid not in self.working:
            raise Wrong(f"Job not found {jid}")
        _, job = self.working.pop(jid)
        self.counts["processed"] += 1
        self.counts["failures"] += 1
        before = job.get("failure")
        count = before["retry_count"] + 1 if before else 0
        failure = {
            "retry_count": count,
            "remaining": max(0, before["remaining"] - 1) if before else job["retry"],
            "failed_at": before["failed_at"] if before else self.stamp(),
            "message": cut(message or "unknown", 1000),
            "errtype": cut(kind or "unknown", 100),
            "backtrace": trace[:50],
        }
        job = {**job, "failure": failure}
        if job["retry"] == 0:
            return
        if count < job["retry"]:
            again = self.now + count**4 + 15 + random.randint(0, 29) * (count + 1)
            failure["next_at"] = self.stamp(again)
            self.sets["retries"].append((again, job))
        else:
            self.sets["dead"].append((self.now + 180 * DAY, job))

    # time

    def scan(self) -> int:
        """What the scanners move, when their turn has come; how many were queued."""
        moved = 0
        for name in ("scheduled", "retries"):
            due = sorted((entry for entry in self.sets[name] if entry[0] <= self.now), key=lambda entry: entry[0])
            self.sets[name] = [entry for entry in self.sets[name] if entry[0] > self.now]
            for _, job in due:
                try:
                    self.enqueue(job)
                except Wrong:
                    continue  # lost, with a line in the server's log
                moved += 1
        self.sets["dead"] = [entry for entry in self.sets["dead"] if entry[0] > self.now]
        return moved

    def reap(self) -> int:
        """Reservations that have run out count as failures."""
        late = [jid for jid, (until, _) in self.working.items() if until < self.now]
        for jid in late:
            self.fail(jid, "ReservationExpired", "Faktory job reservation expired", [])
        self.counts["reaped"] += len(late)
        return len(late)

    # orders

    def mutate(self, order: Stored) -> None:
        target = order.get("target")
        if target not in self.sets:
            raise Wrong("invalid target for mutation command")
        if order.get("cmd") not in ("clear", "kill", "discard", "requeue"):
            raise Wrong("unknown mutate operation")
        chosen = chooser(order.get("filter") or {})
        taken = [job for _, job in self.sets[target] if order["cmd"] == "clear" or chosen(job)]
        ids = {id(job) for job in taken}
        self.sets[target] = [entry for entry in self.sets[target] if id(entry[1]) not in ids]
        for job in taken:
            if order["cmd"] == "kill":
                self.sets["dead"].append((self.now + 180 * DAY, job))
            elif order["cmd"] == "requeue":
                self.queue(job["queue"]).append(job)  # as it is: one that was only scheduled has no time yet

    def latency(self, name: str) -> float:
        queue = self.queues.get(name)
        if queue and "enqueued_at" not in queue[0]:
            raise Wrong('QUEUE: parsing time "" as "2006-01-02T15:04:05.999999999Z07:00": cannot parse "" as "2006"')
        return self.now - moment(queue[0]["enqueued_at"]) if queue else 0.0

    def stamp(self, at: float | None = None) -> str:
        """RFC 3339 with nanoseconds; two moments of one clock reading differ."""
        self._tick += 1
        whole = datetime.fromtimestamp(int(self.now if at is None else at), UTC)
        return (
            f"{whole.isoformat().replace('+00:00', '')}.{self._tick % 1_000_000_000:09d}".rstrip("0").rstrip(".") + "Z"
        )


def chooser(wanted: Stored) -> Any:
    if wanted.get("jids"):  # quoted as in Go, where JSON would escape more, and wherever they are
        texts = [f'"jid":{json.dumps(jid, ensure_ascii=False)}' for jid in wanted["jids"]]
        return lambda job: any(text in written(job) for text in texts)
    if wanted.get("jobtype"):
        return lambda job: f'"jobtype":{json.dumps(wanted["jobtype"], ensure_ascii=False)}' in written(job)
    if wanted.get("regexp"):
        pattern = glob(wanted["regexp"])
        return lambda job: bool(pattern.fullmatch(written(job)))
    return lambda _: True


def glob(text: str) -> re.Pattern[str]:
    """As Redis matches: * ? [...] and a backslash before what means itself."""
    parts = re.findall(r"\\.|\[[^\]]*\]|.", text, re.DOTALL)
    kinds = {"*": ".*", "?": "."}
    return re.compile(
        "".join(
            kinds.get(part) or (part if len(part) > 1 and part[0] == "[" else re.escape(part[-1])) for part in parts
        ),
        re.DOTALL,
    )


def moment(text: str) -> float:
    if not text:
        return 0.0
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise Wrong(f"invalid timestamp for 'at': {text!r}") from None
    if found.tzinfo is None:
        raise Wrong(f"invalid timestamp for 'at': {text!r} has no offset")
    return found.timestamp()


def cut(text: str, size: int) -> str:
    return text.strip().encode()[:size].decode(errors="replace")


# JSON as the server reads and writes it


def parse(text: bytes) -> Any:
    def constant(name: str) -> None:
        raise Wrong(f"invalid JSON: invalid character {name[0]!r} looking for beginning of value")

    try:
        return json.loads(text, parse_constant=constant)
    except (ValueError, RecursionError) as wrong:
        raise Wrong(f"invalid JSON: {wrong}") from None


def job_of(value: Any) -> Stored:
    """The known members, whatever their case, with the types that they must have; all others are dropped."""
    if not isinstance(value, dict):
        raise Wrong("invalid JSON: json: cannot unmarshal into Go value of type client.Job")
    job: Stored = {}
    for spelling, member in value.items():
        name = spelling.lower()
        if name not in MEMBERS or member is None:
            continue
        job[name] = floats(typed(name, member))
    return job


def typed(name: str, member: Any) -> Any:
    kind = str if name in TEXTS else int if name in NUMBERS else list if name == "args" else dict
    if not isinstance(member, kind) or isinstance(member, bool):
        raise Wrong(f"invalid JSON: json: cannot unmarshal {member!r} into Go struct field Job.{name}")
    return member


def floats(value: Any) -> Any:
    """Every number goes through a float of 64 bits."""
    if isinstance(value, dict):
        return {key: floats(item) for key, item in value.items()}
    if isinstance(value, list):
        return [floats(item) for item in value]
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        number = float(value)
        return int(number) if number.is_integer() and abs(number) < 1e21 else number
    return value


def written(job: Stored) -> str:
    """The payload as the server writes it."""
    ordered = {name: _sorted(job[name]) for name in MEMBERS if name in job}
    text = json.dumps(ordered, ensure_ascii=False, separators=(",", ":"))
    for char in "<>&\u2028\u2029":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return text


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _sorted(value[name]) for name in sorted(value)}
    return [_sorted(item) for item in value] if isinstance(value, list) else value
