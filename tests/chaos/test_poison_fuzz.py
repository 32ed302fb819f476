"""E2: whatever a foreign program wrote, its readers answer it or refuse it by name, and soon."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import runpy
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from chaos.certificates import Certify
from chaos.scale import FULL, SEED
from worksong.adapters.gocraft import space, views
from worksong.adapters.redis import address, observation
from worksong.blocking import Background
from worksong.domain import cron, go_duration
from worksong.domain.errors import ConfigError, InvalidArguments, WorksongError
from worksong.domain.job import Job
from worksong.domain.lifecycle import State
from worksong.domain.poison import Poison
from worksong.domain.result import Result
from worksong.reader import ResultReader
from worksong.registry import Registry
from worksong.wire import gocraft
from worksong.wire import result as results

EXAMPLES = 600 if FULL else 60
SIZE = 1 << 20 if FULL else 1 << 17
"""Bytes of a document."""
LINE = 1 << 14
"""Characters that nobody writes who means well, in a line of settings."""
SLOW = 0.1 if FULL else 2.0
"""Seconds of the processor that a reader may take for a document of so many bytes, or for a line of settings."""
CORPUS: list[tuple[str, bytes, Any]] = runpy.run_path(str(Path(__file__).parent.parent / "corpus.py"))["CORPUS"]
SMALL = [raw for _, raw, _ in CORPUS if len(raw) <= 4096]
TOKENS: Sequence[bytes] = (
    *(b'"name":', b'"args":', b'"t":', b'"fails":', b'"unique":true,', b'"unique_key":"work:unique:a:"', b'"id":"1",'),
    *(b'"poison":{"reason":"too_large","where":"queue","key":"k"}', b'"unknown":', b'"unique_until":"done"'),
    *(b"{", b"}", b"[", b"]", b",", b":", b'"', b"\\", b"null", b"true", b"-", b"0", b"1e999", b"-0", b"1.5"),
    *(b"9223372036854775808", b"1" * 400, b"\\ud800", b"\\u0000", b"\xff", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"[" * 70),
)
RESULTS = [
    results.encode(Result("1", 1.0, b'{"a":[1,2,"x"]}')),
    results.encode(Result("1", 1.0, lost="it was too large")),
    b'{"at":1,"value":"x","failure":{"type":"E","message":"m","trace":"t"}}',
    b'{"at":1e400}',
]
SPECS = [
    "* * * * *",
    "*/5 1-3,7 * JAN-mar MON",
    "@every 1h30m",
    "CRON_TZ=Europe/Berlin 0 0 29 2 *",
    "@daily",
    "0 0 31 2 ?",
]
DURATIONS = ["1h30m", "-1.5s", "\u00b5s", "9223372036854775807ns", "1e3s", "+0", "."]
URLS = [
    "redis://user:p%40ss@host:6379/3?namespace=x&timeout=1",
    "rediss://[::1]:1/0?ssl_cert_reqs=none",
    "redis+unix:///tmp/x.sock?db=1",
    "redis+sentinel://a:1,b:2/master/1?sentinel_password=x",
    "redis://host/0?result_ttl=1e400&medic=yes",
]


@st.composite
def mutated(draw: st.DrawFn, seeds: Sequence[bytes], tokens: Sequence[bytes] = TOKENS) -> bytes:
    """A known text with some parts dropped, doubled, exchanged or put in."""
    raw = draw(st.sampled_from(seeds))
    for _ in range(draw(st.integers(1, 5))):
        at = draw(st.integers(0, len(raw)))
        end = min(len(raw), at + draw(st.integers(0, 12)))
        part = draw(
            st.one_of(st.sampled_from(tokens), st.binary(max_size=6), st.just(raw[at:end] * 3), st.sampled_from(seeds))
        )
        raw = raw[:at] + part + raw[end:]
    return raw


def texts(seeds: Sequence[str], alphabet: str) -> st.SearchStrategy[str]:
    """The same of texts; also what no UTF-8 is."""
    encoded = mutated([seed.encode() for seed in seeds], [letter.encode() for letter in alphabet] + [b"9" * 5000])
    anything = st.text(st.characters(exclude_categories=[]), max_size=60)
    return st.one_of(encoded.map(lambda raw: raw.decode("utf-8", "surrogateescape")), anything)


DOCUMENTS = st.one_of(mutated(SMALL), st.binary(max_size=400))
FIELDS = st.dictionaries(
    st.sampled_from(
        [
            *(b"heartbeat_at", b"started_at", b"job_names", b"concurrency", b"worker_ids", b"host", b"pid"),
            *(b"job_name", b"job_id", b"args", b"checkin", b"checkin_at", b"\xff", b""),
        ]
    ),
    st.one_of(
        st.binary(max_size=40), st.integers().map(lambda n: str(n).encode()), st.sampled_from([b"9" * 5000, b"1e3"])
    ),
    max_size=9,
)


# jobs


@settings(max_examples=EXAMPLES, deadline=None)
@given(DOCUMENTS)
def test_any_document_is_a_job_or_poison(raw: bytes) -> None:
    read_job(raw)


def read_job(raw: bytes) -> Job | None:
    """Everything that is done with the bytes of a job."""
    space.view(raw, State.DEAD, 1.0)
    space.view(raw, State.RETRY, float("inf"))
    views._queue_view("a", [1, raw, 0, b"x", None], 1.0)
    try:
        job = gocraft.decode(raw)
    except Poison:
        with contextlib.suppress(Poison):
            gocraft.rewrite(raw, {"t": 5})
        return None
    again = gocraft.decode(gocraft.rewrite(raw, {"t": 5}, ["unique", "unique_key"]), limit=4 << 20)
    assert (again.handler, again.id, again.args, again.enqueued_at) == (job.handler, job.id, job.args, 5)
    assert not again.unique
    gocraft.unwrap_poison(job)
    space.kept_apart(job)
    space.unlocked(job, raw)
    return job


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.text(max_size=20), DOCUMENTS)
def test_any_arguments_make_a_unique_key_or_are_refused(name: str, raw: bytes) -> None:
    try:
        args = json.loads(raw)
    except (ValueError, RecursionError):
        return
    if isinstance(args, dict):
        try:
            assert gocraft.unique_key("work:unique:", name, args).startswith("work:unique:")
        except InvalidArguments:
            return


# pools


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.text(max_size=10), FIELDS)
def test_any_hash_is_a_pool_or_an_observation(name: str, fields: dict[bytes, bytes]) -> None:
    flat = [part for field in fields.items() for part in field]
    observation.pool_view(name, flat)
    observation.busy_view(name, name, flat)


# results


class OneResult:
    """A store that holds one document, and the rest that a reader asks of its worker."""

    def __init__(self, document: bytes) -> None:
        self._document = document
        self.registry, self.background = Registry(), Background()

    def results(self) -> OneResult:
        return self

    async def wait_result(self, job_id: str, seconds: float) -> Result:
        return results.decode(job_id, self._document)


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.one_of(mutated(RESULTS), st.binary(max_size=60)))
@example(b"[" * 100_000)
@example(b'{"at":1,"value":' + b"[" * 100_000)
@example(b'{"at":1,"value":[1e400]}')
@example(b'{"at":1,"value":"\xff"}')
def test_any_document_is_a_result_or_a_lost_one(raw: bytes) -> None:
    read_result(raw)


def read_result(raw: bytes) -> None:
    try:
        asyncio.run(ResultReader(OneResult(raw)).aread(Job("a", id="1"), 0.0))
    except WorksongError:
        return


# what people write


@settings(max_examples=EXAMPLES, deadline=None)
@given(texts(SPECS, "*/-,?@# 0123456789LWabcdefghij=_\t\n\u0661"))
def test_any_text_is_a_schedule_or_refused(spec: str) -> None:
    try:
        schedule = cron.parse(spec)
    except cron.CronError:
        return
    if not schedule.never:
        assert all(1e9 < tick < 1e9 + 1000 for tick in schedule.ticks(1e9, 1e9 + 1000))


@settings(max_examples=EXAMPLES, deadline=None)
@given(texts(DURATIONS, "+-.0123456789hmsun\u00b5\u03bce\u0661 "))
def test_any_text_is_a_duration_or_refused(text: str) -> None:
    try:
        assert abs(go_duration.seconds(text)) < 1e10
    except go_duration.DurationError:
        return


@settings(max_examples=EXAMPLES, deadline=None)
@given(texts(URLS, ":/?#[]@!$&'()*+,;=%0123456789abcxyz.\u00df\u0661\t"))
def test_any_text_is_the_address_of_a_server_or_refused(url: str) -> None:
    try:
        found = address.parse(url)
    except ConfigError:
        return
    assert found.password is None or len(found.password) < 4 or f":{found.password}@" not in f"{found!r}{found.shown}"


def test_a_url_that_is_no_text_is_refused() -> None:
    with pytest.raises(ConfigError):
        assert address.parse("redis://\udc80user:password@host").shown


# time


def _large(chance: random.Random) -> dict[str, bytes]:
    """Documents of that size that are as awkward as documents can be."""
    head = b'{"name":"a","id":"1","t":1,"args":'
    shapes = {
        "brackets": b"[" * SIZE,
        "braces": b'{"a":' * (SIZE // 5),
        "numbers": b'{"a":[' + b"1," * (SIZE // 2) + b"1]}",
        "digits": b'{"a":' + b"1" * SIZE + b"}",
        "fraction": b'{"a":1.' + b"9" * SIZE + b"}",
        "exponent": b'{"a":1e' + b"9" * SIZE + b"}",
        "escapes": b'{"a":"' + rb"\u00e9" * (SIZE // 6) + b'"}',
        "surrogates": b'{"a":"' + rb"\ud83d\ude00" * (SIZE // 12) + b'"}',
        "quotes": b'{"a":"' + rb"\"" * (SIZE // 2) + b'"}',
        "backslashes": b'{"a":"' + b"\\" * SIZE + b'"}',
        "keys": b"{" + b",".join(b'"%d":0' % n for n in range(SIZE // 10)) + b"}",
        "equal keys": b"{" + b'"a":0,' * (SIZE // 6) + b'"a":0}',
        "objects": b'{"a":[' + b"{}," * (SIZE // 3) + b"{}]}",
        "empty texts": b'{"a":[' + b'"",' * (SIZE // 3) + b'""]}',
        "spaces": b" " * SIZE + b"null",
        "deep": b'{"a":[' + b"[" * 60 + b"]" * 60 + b",0" * (SIZE // 2 - 70) + b"]}",
        "noise": b'{"a":"' + chance.randbytes(SIZE) + b'"}',
    }
    documents = {name: (head + args + b"}")[:SIZE] for name, args in shapes.items()}
    documents["names"] = (b'{"name":"a",' + b'"name":"a",' * (SIZE // 11))[:SIZE]
    documents["members"] = (b'{"name":"a"' + b"".join(b',"m%d":1' % n for n in range(SIZE // 11)) + b"}")[:SIZE]
    documents["poison"] = b'{"name":"a","args":{"poison":{"reason":"invalid_json","where":"queue","base64":"%s"}}}' % (
        b"A" * (SIZE - 100)
    )
    return documents


READERS: dict[str, tuple[Callable[[Any], object], type[Exception]]] = {
    "schedule": (cron.parse, cron.CronError),
    "duration": (go_duration.seconds, go_duration.DurationError),
    "address": (address.parse, ConfigError),
}
LONG = {
    "digits": "1" * LINE,
    "letters": "a" * LINE,
    "spaces": " " * LINE,
    "stars": "* " * (LINE // 2),
    "commas": "1," * (LINE // 2) + " * * * *",
    "parts": "1h" * (LINE // 2),
    "points": "." * LINE,
    "every": "@every " + "1s" * (LINE // 2),
    "zone": "CRON_TZ=" + "a/" * (LINE // 2) + " * * * * *",
    "hosts": "redis+sentinel://" + "a:1," * (LINE // 4) + "a:1/m",
    "login": "redis://" + "a:b@" * (LINE // 4) + "h",
    "options": "redis://h/0?" + "timeout=1&" * (LINE // 10),
    "brackets": "redis://[" + ":" * LINE + "]",
    "percent": "redis://:" + "%41" * (LINE // 3) + "@h",
}


def test_no_document_keeps_a_reader_busy(certify: Certify) -> None:
    took: dict[str, float] = {}
    for name, raw in _large(random.Random(SEED)).items():
        took[f"view of {name}"] = _seconds(lambda raw=raw: space.view(raw, State.DEAD, 1.0))
        took[f"job of {name}"] = _seconds(lambda raw=raw: gocraft.decode(raw), Poison)
        took[f"rewrite of {name}"] = _seconds(lambda raw=raw: gocraft.rewrite(raw, {"t": 5}), Poison)
        took[f"result of {name}"] = _seconds(lambda raw=raw: results.decode("1", raw))
    for name, text in LONG.items():
        for reader, (read, refusal) in READERS.items():
            took[f"{reader} of {name}"] = _seconds(lambda read=read, text=text: read(text), refusal)
    slowest = sorted(took, key=took.__getitem__)[:-6:-1]
    print({what: round(took[what] * 1000, 1) for what in slowest})
    assert took[slowest[0]] <= SLOW, f"{slowest[0]} took {took[slowest[0]]:.3f} s"
    certify(
        "E2",
        backend="documents of `redis://`",
        examples_per_reader=EXAMPLES,
        uncaught=0,
        slowest=took[slowest[0]],
    )


def _seconds(read: Callable[[], object], *refusals: type[Exception]) -> float:
    """Of the processor; the best of several, since others share its caches."""
    return min(_once(read, refusals) for _ in range(5 if FULL else 2))


def _once(read: Callable[[], object], refusals: tuple[type[Exception], ...]) -> float:
    begun = time.thread_time()
    with contextlib.suppress(*refusals):
        read()
    return time.thread_time() - begun
