"""What an attacker would write into every text that a console shows, and a store with all of it in it."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import time
from collections.abc import Sequence

from msgspec.structs import replace

from worksong import Worker
from worksong.domain import cron
from worksong.domain.job import Delivery, Job
from worksong.domain.outcome import Buried, Done, Failure, Outcome, Retried, Settlement
from worksong.domain.result import Result
from worksong.domain.tally import QUEUE
from worksong.domain.turns import Share
from worksong.engine.attempts import Attempts
from worksong.engine.current import CURRENT
from worksong.engine.firings import page_of
from worksong.engine.releases import announce
from worksong.engine.scribe import Scribe
from worksong.ports.backend import Backend, Beat, Pool, Running, Want
from worksong.ports.clock import SystemClock
from worksong.ports.context import Context
from worksong.ports.notebook import FOR_GOOD, Line
from worksong.registry import Periodic
from worksong.service.desk import Store
from worksong.service.journal import Journal, Order
from worksong.testing.contract.chronicles import a_tally
from worksong.wire import gojson

WAYS_OUT = ("", '">', "'>", "--></title></style></textarea></template></noscript>", "`]]>*/;//")
"""What ends the place that a text is in: an attribute, a comment, an element without markup, code."""
MARKUP = (
    *("<script>alert(1)</script>", "<ScRiPt>alert(1)</sCrIpT>", "<script/src=data:,alert(1)></script>"),
    *("<scr<script>ipt>alert(1)</script>", "<script\x0c>alert(1)</script>", "</script><script>alert(1)</script>"),
    *("<img src=x onerror=alert(1)>", "<img/src='x'/onerror='alert(1)'>", "<IMG SRC=x OnErRoR=alert`1`>"),
    *("<svg onload=alert(1)>", "<svg><script>alert(1)</script></svg>", "<svg><animate onbegin=alert(1) dur=1s>"),
    *(
        "<svg><a xlink:href='javascript:alert(1)'><text y=9>x</text></a></svg>",
        "<math><mi xlink:href=javascript:alert(1)>",
    ),
    *("<body onload=alert(1)>", "<details open ontoggle=alert(1)>", "<input autofocus onfocus=alert(1)>"),
    *(
        "<select autofocus onfocus=alert(1)>",
        "<video><source onerror=alert(1)></video>",
        "<audio src=x onerror=alert(1)>",
    ),
    *(
        "<marquee onstart=alert(1)>x</marquee>",
        "<iframe src=javascript:alert(1)>",
        "<iframe srcdoc='<script>alert(1)</script>'>",
    ),
    *("<object data=javascript:alert(1)>", "<embed src=javascript:alert(1)>", "<a href=javascript:alert(1)>x</a>"),
    *(
        "<a href='java\tscript:alert(1)'>x</a>",
        "<a href='&#106;avascript:alert(1)'>x</a>",
        "<form action=javascript:alert(1)><button>",
    ),
    *(
        "<button formaction=javascript:alert(1)>x",
        "<base href='//evil.example/'>",
        "<link rel=stylesheet href=//evil.example/x>",
    ),
    *("<meta http-equiv=refresh content='0;url=javascript:alert(1)'>", "<style>@import '//evil.example/x'</style>"),
    *(
        "<div style='background:url(//evil.example/x)'>",
        "<img src=//evil.example/x>",
        "<noscript><p title='</noscript><img src=x onerror=alert(1)>'>",
    ),
    *(
        "<div data-hx-get='javascript:alert(1)' data-hx-trigger=load>",
        "<div data-hx-on:load='alert(1)'>",
        "<p hx-on::load=alert(1)>",
    ),
    *(
        "<form id=live><input name=id>",
        "<dialog id=keys open onclose=alert(1)>",
        "<hx-partial hx-target=body><script>alert(1)</script>",
    ),
    *(
        "onmouseover=alert(1) x=",
        "javascript:alert(1)//",
        "{{7*7}}{% for x in y %}",
        "${alert(1)}",
        "%3Cscript%3Ealert(1)%3C/script%3E",
    ),
    *(
        "&lt;script&gt;alert(1)&lt;/script&gt;",
        "\uff1cscript\uff1ealert(1)\uff1c/script\uff1e",
        "<plaintext>",
        "<xmp><script>alert(1)",
    ),
)
VECTORS = tuple(dict.fromkeys(f"{out}{markup}" for out, markup in itertools.product(WAYS_OUT, MARKUP)))
TEXTS = (*VECTORS, " ".join(VECTORS))
"""Each alone, and all of them at once."""
LAST = len(TEXTS) - 1


async def hostile_store() -> tuple[Store, list[Beat]]:
    """A store with every vector in every text that is shown, and the beats of its pools."""
    worker, now = Worker(name="hostile"), time.time()
    backend = worker.backend()
    await _in_every_state(backend, now)
    beats = await _at_work(backend, now)
    daily = cron.parse("@daily")
    for text in TEXTS:
        worker.registry.add_periodic(Periodic(replace(daily, spec=text), text, {text: text}, text))
    await _told(backend, worker.registry.periodic, now)
    await _remembered(backend, now)
    return Store(lambda: backend, worker.clock, VECTORS[0], VECTORS[-1], registry=worker.registry), beats


async def _told(backend: Backend, entries: Sequence[Periodic], now: float) -> None:
    """Whoever writes on the pages of the notebook may write anything; and every other schedule is paused."""
    for entry in entries:
        ending = json.dumps([now - 90, now - 80, now - 70, entry.handler, 1])
        await backend.jot([Line(page_of(entry.handler, entry.schedule.spec), ending, 5, FOR_GOOD)], now)
    paused = [[entry.handler, entry.schedule.spec, 1, now] for entry in entries[::2]]
    await backend.jot([Line("schedules", json.dumps(paused), 20, FOR_GOOD)], now)


async def _remembered(backend: Backend, now: float) -> None:
    """What was done lately, which releases were started, how dead jobs failed, and who ordered what."""
    done = {text: a_tally(Done(), 2) + a_tally(Buried(text)) for text in TEXTS}
    await backend.note(done | {f"{QUEUE}{text}": tally for text, tally in done.items()}, now)
    await announce(backend, TEXTS[LAST][:200], now - 600)
    scribe = Scribe()
    attempts = Attempts(scribe)
    for job_id, text in zip(ids("d"), TEXTS, strict=True):
        context, run = Context(), Running(Delivery(Job(text, id=job_id), None, 0), 0, now - 9)
        context.begin(run, time.time)
        token = CURRENT.set(context)
        scribe.handle(logging.LogRecord(text, logging.INFO, "", 0, text, (), None))
        CURRENT.reset(token)
        attempts.note(run, Buried(text), now)
    await attempts.write(backend, now)
    journal = Journal(lambda: backend, SystemClock())
    for text in TEXTS:
        await journal.keep(Order(at=now, who=text, address=text, did=text, status=303, told=text, done=1))


async def _in_every_state(backend: Backend, now: float) -> None:
    """One dead, one retrying, one scheduled and one waiting job for each; and what the dead ones left as results."""
    for end, letter in ((Buried, "d"), (_retried, "r")):
        for number, text in enumerate(TEXTS):
            await _end(backend, _job(text, letter, number, now), end(f"Traceback:\n  {text}\n{text}"), now)
    await backend.push([_job(text, "q", number, now) for number, text in enumerate(TEXTS)], now)
    later = [replace(_job(text, "s", number, now), run_at=now + 3600) for number, text in enumerate(TEXTS)]
    await backend.push(later, now)
    failures = [
        Result(_id("d", number), now, failure=Failure(text, text, f"Traceback:\n  {text}"))
        for number, text in enumerate(TEXTS)
    ]
    values = [
        Result(_id("v", number), now, value=gojson.encode({text: [text, {text: text}]}))
        for number, text in enumerate(TEXTS)
    ]
    await backend.put([*failures, *values])


def _retried(error: str) -> Outcome:
    return Retried(time.time() + 3600, error)


def _job(text: str, letter: str, number: int, now: float) -> Job:
    return Job(text, {text: text, "in": [text, {text: text}]}, text, id=_id(letter, number), enqueued_at=now - 60)


def _id(letter: str, number: int) -> str:
    """Hostile as well, but for the one that would be too long for an address."""
    return f"{letter}{number}" if number == LAST else f"{letter}{number}{TEXTS[number]}"


def ids(letter: str) -> list[str]:
    """The ids of the jobs in a state: dead, retrying, queued, scheduled, running; `v`: of results without jobs."""
    return [_id(letter, number) for number in range(len(TEXTS))]


async def _end(backend: Backend, job: Job, outcome: Outcome, now: float) -> None:
    pool = Pool(id="seed", handlers=(job.handler,), worker_ids=("seed",))
    await backend.enlist(pool, now)
    await backend.push([job], now)
    lent = await _lent(backend, pool, job, now)
    await backend.settle([Settlement(delivery, outcome) for delivery in lent], now)
    await backend.leave(pool, now)


async def _at_work(backend: Backend, now: float) -> list[Beat]:
    """A pool for each, which runs a job that has something to say."""
    beats: list[Beat] = []
    for number, text in enumerate(TEXTS):
        pool = Pool(
            id=f"p{number}{text}", handlers=(text,), worker_ids=(text,), host=text, pid=number, started_at=now - 60
        )
        await backend.enlist(pool, now)
        job = replace(_job(text, "x", number, now), queue=f"running {text}")
        await backend.push([job], now)
        lent = await _lent(backend, pool, job, now)
        running = tuple(Running(one, 0, now, checkin=text, checkin_at=now) for one in lent)
        beats.append(Beat(pool, running, tuple(lent)))
    await beat(backend, beats)
    return beats


async def beat(backend: Backend, beats: Sequence[Beat]) -> None:
    """All pools live."""
    for each in beats:
        await backend.beat(each, time.time())
    await asyncio.sleep(0)


async def _lent(backend: Backend, pool: Pool, job: Job, now: float) -> list[Delivery]:
    return list(await backend.fetch(Want(pool.id, 1, 0.0, (Share(job.handler, 1),), (job.queue,)), now))
