"""The recorded peer against the recordings: given the same store, it sends the same commands in the same order."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

import servers
from interop import recorded_peer as peer

RECORDED = {
    case["case"]: case for case in json.loads((Path(__file__).parents[1] / "golden/gocraft-work.json").read_text())
}
DATABASE = 9
"""Of the run's server; emptied for each case."""
POOL, WORKER = "a" * 24, "b" * 23 + "0"
GREETING = ("HELLO", "SELECT", "CLIENT")
SCRIPTS = {
    "enqueue_unique": peer.ENQUEUE_UNIQUE,
    "enqueue_unique_in": peer.ENQUEUE_UNIQUE_IN,
    "fetch": peer.FETCH,
    "zrem_lpush": peer.MOVE,
    "requeue_single_dead": peer.REVIVE_ONE,
    "requeue_all_dead": peer.REVIVE_ALL,
    "delete_single": peer.DELETE,
    "reenqueue": peer.REENQUEUE,
    "reap_stale_locks": peer.REAP_LOCKS,
}
NOT_REPEATED = {
    "enqueue_invalid_utf8": "a line of JSON cannot hold such bytes",
    "enqueue_float32_bytes_time": "a line of JSON has no such types",
    "enqueue_twice_same_enqueuer": "two calls; the memory of names is seen in all others",
    "client_pages": "four calls; the recorded Web UI asks for pages as well",
    "client_worker_observations": "two calls",
    "client_page_fractional_score": "the text of the error differs",
    "process_middleware_mutates_args": "the peer has no middleware",
    "reap_live_but_late_pool_then_finish": "a story of two pools",
}


def cases(*prefixes: str) -> list[str]:
    return [
        name
        for name, case in RECORDED.items()
        if name.startswith(prefixes) and case["calls"] and name not in NOT_REPEATED
    ]


class Replay:
    """One recorded case: its store and clock, and what the server was sent meanwhile."""

    def __init__(self, url: str, port: int, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.case = RECORDED[name]
        self.inputs, self.calls = self.case["inputs"], self.case["calls"]
        self.space = peer.Space(url, self.inputs.get("namespace", "work"))
        self._port = port
        monkeypatch.setattr(peer, "now", lambda: self.clock)
        monkeypatch.setattr(peer, "new_id", lambda: self.id)
        monkeypatch.setattr(peer.random, "choices", lambda items, _: [items[0]])
        monkeypatch.setenv("TZ", "UTC")
        time.tzset()
        self.space("FLUSHDB")
        for key, value in self.case["redis_before"].items():
            self._restore(key, value)
        for script in SCRIPTS.values():
            self.space("SCRIPT", "LOAD", script.text)

    @property
    def document(self) -> dict[str, Any]:
        """The last job that the peer itself wrote."""
        texts = [
            word
            for call in self.calls
            if call["from"] == "client"
            for word in call["cmd"]
            if word.startswith(('{"name"', '{"id"'))
        ]
        return json.loads(texts[-1], parse_int=lambda text: -0.0 if text == "-0" else int(text)) if texts else {}

    @property
    def clock(self) -> int:
        """The recorder's clock went on where it says so."""
        seen = [call["cmd"] for call in self.calls if call["cmd"][0] == "HMSET" and "job_name" in call["cmd"]]
        return int(seen[0][seen[0].index("started_at") + 1]) if seen else self.case["clock"]

    id = ""

    def _restore(self, key: str, stored: dict[str, Any]) -> None:
        value = stored["value"]
        match stored["type"]:
            case "list":
                self.space("RPUSH", key, *value)
            case "set":
                self.space("SADD", key, *value)
            case "hash":
                self.space("HSET", key, *(part for pair in value.items() for part in pair))
            case "zset":
                self.space("ZADD", key, *(part for item in value for part in (item["score"], item["member"])))
            case _:
                self.space("SET", key, value)

    def sent(self, act: Callable[[], object]) -> list[tuple[str, list[str]]]:
        """(client or lua, command) of all that the server is told while `act` runs."""
        with socket.create_connection(("127.0.0.1", self._port)) as listener, listener.makefile("rb") as lines:
            listener.sendall(b"MONITOR\r\n")
            assert lines.readline() == b"+OK\r\n"
            act()
            self.space("ECHO", "that was all")
            return list(self._until_echo(lines))

    @staticmethod
    def _until_echo(lines: Any) -> Iterator[tuple[str, list[str]]]:
        for line in lines:
            words = [_unescaped(word) for word in re.findall(rb'"((?:[^"\\]|\\.)*)"', line)]
            if words[0] == "ECHO":
                return
            where = line.partition(b'"')[0]
            if f"[{DATABASE} ".encode() in where and words[0] not in GREETING:
                yield "lua" if b"lua] " in where else "client", words

    @property
    def recorded(self) -> list[tuple[str, list[str]]]:
        return [(call["from"], call["cmd"]) for call in self.calls]


_ESCAPES = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"a": b"\a", b"b": b"\b"}


def _unescaped(word: bytes) -> str:
    def plain(found: re.Match[bytes]) -> bytes:
        code = found[1]
        return bytes([int(code[1:], 16)]) if code.startswith(b"x") and len(code) > 1 else _ESCAPES.get(code, code)

    return re.sub(rb"\\(x[0-9a-f]{2}|.)", plain, word).decode(errors="surrogateescape")


def alike(calls: list[tuple[str, list[str]]]) -> list[tuple[str, list[Any]]]:
    """Scripts by name; what Lua writes without its order of members; the clock of a heartbeat left out."""
    shas = {script.sha: f"<script {name}>" for name, script in SCRIPTS.items()}
    found: list[tuple[str, list[Any]]] = []
    for origin, words in calls:
        named: list[Any] = [shas.get(word, word) for word in words]
        if origin == "lua":
            named = [json.loads(w, parse_int=str, parse_float=str) if w.startswith('{"') else w for w in named]
        found.append((origin, named))
    return found


@pytest.fixture
def replay(
    redis_server: servers.Redis, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Replay]:
    url = f"{redis_server.url.rpartition('/')[0]}/{DATABASE}"
    case = Replay(url, redis_server.port, request.param, monkeypatch)
    yield case
    case.space.redis.close()
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize("replay", cases("enqueue_", "unique_"), indirect=True)
def test_it_enqueues_as_recorded(replay: Replay) -> None:
    inputs = replay.inputs
    call = re.findall(r"Enqueue\w*", inputs["call"])[-1]
    last = {name: value[-1] if isinstance(value, list) else value for name, value in inputs.items()}
    request = {"call": call, "name": replay.document.get("name"), "args": replay.document.get("args")}
    request |= {"key": last.get("key_map"), "in": last.get("seconds", 0)}
    replay.id = replay.document["id"]
    replay.case["clock"] = replay.document["t"]
    line = json.dumps(request).encode()

    sent = replay.sent(lambda: peer.answer(peer.Enqueuer(replay.space), peer.exact(peer.decode(line))))

    assert alike(sent) == alike(replay.recorded)


@pytest.mark.parametrize("replay", cases("fetch_"), indirect=True)
def test_it_fetches_as_recorded(replay: Replay) -> None:
    worker = a_worker(replay, None)

    sent = replay.sent(lambda: tolerant(worker.fetch))

    assert alike(sent) == alike(replay.recorded)


@pytest.mark.parametrize("replay", cases("process_"), indirect=True)
def test_it_ends_jobs_as_recorded(replay: Replay) -> None:
    failed = "skip_dead" in replay.case["case"] or any(call["cmd"][0] == "ZADD" for call in replay.calls)
    worker = a_worker(replay, replay.document.get("err", "") if failed else None)

    def work() -> None:
        job = worker.fetch()
        assert job
        worker.process(job)
        worker.observer.flush()

    assert alike(replay.sent(work)) == alike(replay.recorded)


def a_worker(replay: Replay, error: str | None) -> peer.Worker:
    """A worker whose only job fails with `error` (None: succeeds), and ends where the recorded one ended."""
    fates = [call["cmd"] for call in replay.calls if call["cmd"][0] == "ZADD"]
    backoff = int(fates[0][2]) - replay.clock if fates else 0
    retried = bool(fates) and fates[0][1].endswith(":retry")
    fetch = replay.calls[0]["cmd"]
    names = [key.rpartition(":")[2] for key in fetch[3 : 3 + int(fetch[2]) : 6]]
    skip = "skip_dead" in replay.case["case"]
    types = {name: peer.JobType(name, 99 if retried else 1, skip_dead=skip, backoff=backoff) for name in names}

    replay.id = WORKER
    worker = peer.Worker(replay.space, POOL, types, lambda *_: error)
    worker.observer = peer.Observer(replay.space, WORKER)
    return worker


@pytest.mark.parametrize("replay", cases("requeue_"), indirect=True)
def test_it_moves_what_is_due_as_recorded(replay: Replay) -> None:
    zset = replay.inputs["zset"].rpartition(":")[2]
    requeuer = peer.Requeuer(replay.space, zset, replay.inputs["known_job_names"])

    sent = replay.sent(lambda: tolerant(requeuer.move_all))

    assert alike(sent) == alike(replay.recorded)


@pytest.mark.parametrize("replay", cases("reap_"), indirect=True)
def test_it_reaps_as_recorded(replay: Replay) -> None:
    beats = [int(value["value"]["heartbeat_at"]) for value in beating(replay.case["redis_before"])]
    reaper = peer.Reaper(replay.space, replay.inputs["reaper_job_names"])
    replay.case["clock"] = max(beats, default=0) + {"reap_live_pool": 9, "reap_just_dead": 10}.get(
        replay.case["case"], 60
    )

    assert alike(replay.sent(reaper.reap)) == alike(replay.recorded)


def beating(store: dict[str, Any]) -> list[Any]:
    return [value for key, value in store.items() if ":worker_pools:" in key and "heartbeat_at" in value["value"]]


@pytest.mark.parametrize("replay", cases("periodic_"), indirect=True)
def test_it_schedules_periodic_jobs_as_recorded(replay: Replay) -> None:
    replay.case["clock"] = int(replay.case["redis_after"]["work:last_periodic_enqueue"]["value"])
    if not replay.case["result"]["enqueued"]:
        replay.case["clock"] += 2
    periodic = peer.Periodic(replay.space, [(spec, name) for spec, name in replay.inputs["jobs"]])

    assert alike(replay.sent(periodic.enqueue)) == alike(replay.recorded)


CLIENT = {
    "client_queues": ["queues"],
    "client_retry_dead_job": ["retry-dead", "d1", "1699991000"],
    "client_retry_dead_job_wrong_id": ["retry-dead", "nope", "1699991000"],
    "client_retry_dead_job_wrong_score": ["retry-dead", "d1", "1699991001"],
    "client_retry_dead_job_unknown_queue": ["retry-dead", "d1", "1699991000"],
    "client_retry_all_dead": ["retry-all-dead"],
    "client_retry_all_dead_unique": ["retry-all-dead"],
    "client_delete_dead_job": ["delete-dead", "d1", "1699991000"],
    "client_delete_dead_job_missing": ["delete-dead", "d1", "1699991000"],
    "client_delete_all_dead": ["delete-all-dead"],
    "client_delete_retry_job": ["delete-retry", "r1", "1700000009"],
    "client_delete_scheduled_unique": ["delete-scheduled", "d0c0ffee0000000000000001", "1700000300"],
    "client_delete_scheduled_by_key": ["delete-scheduled", "d0c0ffee0000000000000001", "1700000300"],
}


@pytest.mark.parametrize("replay", cases("client_"), indirect=True)
def test_its_client_works_as_recorded(replay: Replay) -> None:
    answers: list[Any] = []
    words = CLIENT[replay.case["case"]]

    def act() -> None:
        try:
            answers.append(peer.ask(peer.Client(replay.space), words, 1))
        except peer.ClientError as error:
            answers.append(str(error))

    assert alike(replay.sent(act)) == alike(replay.recorded)
    recorded = replay.case.get("result") or {"status": "ok"}
    assert answers == [recorded["queues"]] if "queues" in recorded else [recorded]


@pytest.mark.parametrize("replay", ["webui_populated"], indirect=True)
def test_its_client_lists_what_the_web_page_showed(replay: Replay) -> None:
    for request in replay.case["result"]:
        operation, page = peer_operation(request["path"])
        if request["status"] == 200:
            found = peer.ask(peer.Client(replay.space), [operation], page)
            if operation == "observations":
                found = [worker for worker in found if worker["is_busy"]]
            assert json.loads(peer.encode(found)) == json.loads(request["body"])


def peer_operation(path: str) -> tuple[str, int]:
    names = {"worker_pools": "pools", "busy_workers": "observations"}
    name, _, page = path.strip("/").partition("?page=")
    return names.get(name, name.removesuffix("_jobs")), int(page) if page.isdigit() else 1


@pytest.mark.parametrize("replay", ["heartbeat", "heartbeat_removed_on_stop"], indirect=True)
def test_it_beats_as_recorded(replay: Replay) -> None:
    heart = peer.Heart(replay.space, POOL, ["zaz", "alpha"], [WORKER[:-1] + "1", WORKER])
    heart.started_at, heart.host, heart.pid = 1699999940, "host1", 4242

    sent = replay.sent(heart.stop if "stop" in replay.case["case"] else heart.beat)

    assert alike(sent) == alike(replay.recorded)


@pytest.mark.parametrize("replay", ["pool_start_writes"], indirect=True)
def test_it_starts_as_recorded(replay: Replay) -> None:
    types = [peer.JobType(name, max_concurrency=most) for name, most in replay.inputs["max_concurrency"].items()]
    pool = peer.Pool(replay.space, types, 1, (), lambda *_: None)

    def ordered(calls: list[tuple[str, list[str]]]) -> list[tuple[str, list[str]]]:
        return sorted((origin, sorted(words)) for origin, words in calls)

    assert ordered(replay.sent(pool.register)) == ordered(replay.recorded)


@pytest.mark.parametrize("replay", cases("observation_"), indirect=True)
def test_it_tells_what_it_does_as_recorded(replay: Replay) -> None:
    observer = peer.Observer(replay.space, WORKER)
    at = {"now": replay.case["clock"]}

    def act() -> None:
        """Repeat each recorded state as the events that led to it."""
        for call in replay.calls:
            command, _, *parts = call["cmd"]
            fields = dict(zip(parts[::2], parts[1::2], strict=False))
            if command == "HMSET":
                args = json.loads(fields["args"]) if fields["args"] else None
                at["now"] = int(fields["started_at"])
                observer.started(peer.Job(fields["job_name"], fields["job_id"], args=args))
                if "checkin_at" in fields or ("empty" in replay.case["case"] and observer._written):
                    at["now"] = int(fields.get("checkin_at", at["now"]))
                    observer.checkin(fields["job_id"], fields.get("checkin", ""))
            elif command == "DEL":
                observer.done()
            if command != "EXPIRE":
                observer.flush()

    with pytest.MonkeyPatch.context() as turned:
        turned.setattr(peer, "now", lambda: at["now"])
        sent = replay.sent(act)

    assert alike(sent) == alike(replay.recorded)


def tolerant(act: Callable[[], object]) -> None:
    """What cannot be read, and a script that fails: seen in the commands."""
    with contextlib.suppress(ValueError, redis.ResponseError):
        act()
