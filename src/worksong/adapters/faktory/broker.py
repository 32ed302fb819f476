"""Jobs in, and the endings of those that were lent."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence

import msgspec
from msgspec.structs import replace

from worksong.adapters.faktory.client import Client, NoAnswer, NotSent, Reply, Said
from worksong.adapters.faktory.ledger import Ledger, Lending
from worksong.domain.errors import BackendRefused, BackendUnavailable, EnqueueOutcomeUnknown, InvalidArguments
from worksong.domain.job import Job, new_id
from worksong.domain.names import one_line
from worksong.domain.outcome import Buried, Discarded, Done, Released, Retried, Settlement, Snoozed
from worksong.domain.poison import Poison
from worksong.ports.backend import Allowance
from worksong.wire import faktory as wire
from worksong.wire import faktory_talk as talk

MOST, HEAVY = 1000, 8 << 20
"""Jobs, and bytes, in one PUSHB."""
CRON = "periodic:"
"""How the ids of periodic jobs begin: every process offers each firing several times before it is due."""
MARGIN = 10.0
"""Seconds before it is due from which on a firing is not put on the schedule anew: it may be in its queue already."""
TIMEOUT_MARGIN = 60.0
"""Seconds that a reservation outlasts the timeout of the job's type: for its start, and for its ending to arrive."""

log = logging.getLogger("worksong.faktory")


class Broker:
    """Pushes and settles."""

    def __init__(self, client: Client, ledger: Ledger, allowance: Callable[[str], Allowance | None]) -> None:
        self._client, self._ledger, self._allowance = client, ledger, allowance
        self._strays: set[asyncio.Task[None]] = set()
        self._complained: set[str] = set()
        self._batches = True
        """Whether the server takes PUSHB, as those from 1.6 on do."""

    # push

    async def push(self, jobs: Sequence[Job], now: float, *, once: bool) -> list[bool]:
        """See `Broker.push`. The server does not know ids again; see `_offer` for those of periodic jobs."""
        ready = [(job.id, self._written(job)) for job in jobs]
        if once:
            await self._offer([job for job in jobs if job.run_at and job.id.startswith(CRON)], now)
        refused: dict[str, str] = {}
        begun = False
        for portion in _portions(ready):
            try:
                refused |= await self._push(portion)
            except NotSent as away:
                if begun:
                    raise EnqueueOutcomeUnknown([job.id for job in jobs], str(away)) from away
                raise
            except NoAnswer as lost:
                raise EnqueueOutcomeUnknown([job.id for job in jobs], str(lost)) from lost
            begun = True
        return _answers(jobs, refused)

    def _written(self, job: Job) -> bytes:
        allowed = self._allowance(job.handler) or Allowance()
        reserve = None if allowed.timeout is None else allowed.timeout + TIMEOUT_MARGIN
        return wire.encode(self._placed(job), retry=_retry(allowed), reserve_for=reserve)

    def _placed(self, job: Job) -> Job:
        if wrong := wire.wrong_with_queue(job.queue):
            raise InvalidArguments(f"job {job.handler!r}: {wrong}")
        return replace(job, queue=self._client.address.queue(job.queue))

    async def _offer(self, firings: Sequence[Job], now: float) -> None:
        """A firing takes the place of those of its id that are on the schedule, whoever put them there."""
        ids = [job.id for job in firings if job.run_at > now + MARGIN]
        if ids:
            await self._client.mutate("discard", "scheduled", ids)

    async def _push(self, ready: Sequence[tuple[str, bytes]]) -> dict[str, str]:
        """Id -> why it was refused. One job goes as many do: PUSH would make its `retry` that of all jobs without."""
        if not self._batches:
            return await self._push_singly(ready)
        try:
            reply = await self._client.ask("PUSHB", b"[%s]" % b",".join([payload for _, payload in ready]))
        except Said as refusal:
            if "unknown command" not in str(refusal):
                raise
            self._batches = False
            return await self._push_singly(ready)
        return msgspec.json.decode(reply if isinstance(reply, bytes) else b"{}", type=dict[str, str])

    async def _push_singly(self, ready: Sequence[tuple[str, bytes]]) -> dict[str, str]:
        refused: dict[str, str] = {}
        for number, (job_id, payload) in enumerate(ready):
            try:
                await self._client.ask("PUSH", payload)
            except Said as refusal:
                refused[job_id] = f"{refusal.code} {refusal}"
            except NotSent as away:
                if number:  # a part of them is there
                    raise NoAnswer(str(away)) from away
                raise
        return refused

    # settle

    async def settle(self, batch: Sequence[Settlement], now: float) -> list[bool]:
        """See `Broker.settle`. Carries out all it can, and then raises what it could not."""
        if len({one.delivery.fence for one in batch}) < len(batch) or len(batch) == 1:
            return [await self._settle(one, now) for one in batch]  # of two endings of one job the first counts
        through = [one for one in batch if isinstance(one.outcome, (Done, Discarded))]
        others = [one for one in batch if not isinstance(one.outcome, (Done, Discarded))]
        ended = iter(await self._acknowledge_all(through))
        settled = iter(await asyncio.gather(*[self._settle(one, now) for one in others], return_exceptions=True))
        answers = [next(ended if isinstance(one.outcome, (Done, Discarded)) else settled) for one in batch]
        failures = [answer for answer in answers if isinstance(answer, BaseException)]
        for failure in sorted(failures, key=lambda failure: isinstance(failure, BackendUnavailable)):
            raise failure
        return [answer is True for answer in answers]

    async def _acknowledge_all(self, batch: Sequence[Settlement]) -> list[bool | BaseException]:
        """Those that are over, a few in one go: nearly all endings are these. What one met is in its place."""
        lendings: list[Lending] = [one.delivery.receipt for one in batch]
        held = [self._ledger.holds(lending) for lending in lendings]
        jids = [lending.found.jid for lending, may in zip(lendings, held, strict=True) if may]
        replies = iter(await self._client.ask_all("ACK", list(map(talk.acknowledged, jids))))
        return [
            self._over(lending, next(replies) if may else None, held=may)
            for lending, may in zip(lendings, held, strict=True)
        ]

    def _over(self, lending: Lending, reply: Reply | BaseException, *, held: bool) -> bool | BaseException:
        """Whether its ending counts; of what met a failure, nothing is known, and it may be told again."""
        if isinstance(reply, BaseException):
            return reply
        return self._ledger.end(lending) and held

    async def _settle(self, settlement: Settlement, now: float) -> bool:
        lending: Lending = settlement.delivery.receipt
        if not self._ledger.holds(lending):
            self._ledger.end(lending)
            return False
        match settlement.outcome:
            case Done() | Discarded():
                held = await self._acknowledge(lending)
            case Retried(_, error, usual=True):
                held = await self._fail(lending, error)
            case Retried(run_at, error):
                job = lending.found.job
                again = replace(job, attempt=job.attempt + 1, error=error, failed_at=now, run_at=run_at)
                held = await self._enqueue_anew(lending, again)
            case Snoozed(run_at):
                held = await self._enqueue_anew(lending, replace(lending.found.job, run_at=run_at))
            case Released():
                held = await self._enqueue_anew(lending, lending.found.job)
            case Buried(error, failure):
                held = await self._bury(lending, error, failure.trace if failure else "")
        return self._ledger.end(lending) and held

    async def hand_back(self, lendings: Iterable[Lending]) -> int:
        """Enqueue again, as they came, what nobody has begun; answers how many."""
        claimed = [lending for lending in lendings if not lending.over]
        back = 0
        for lending in claimed:
            if self._ledger.holds(lending) and await self._enqueue_anew(lending, lending.found.job):
                back += 1
            self._ledger.end(lending)
        return back

    async def _acknowledge(self, lending: Lending) -> bool:
        await self._client.ask("ACK", talk.acknowledged(lending.found.jid))
        return True

    async def _fail(self, lending: Lending, error: str, trace: str = "") -> bool:
        """False: the server does not know the job any more, and we have not told it before."""
        before, lending.tried = lending.tried, True
        try:
            await self._client.ask("FAIL", talk.failed(lending.found.jid, error, trace))
        except Said as refusal:
            if "not found" not in str(refusal).lower():
                raise
            return before
        return True

    async def _bury(self, lending: Lending, error: str, trace: str) -> bool:
        """What the server would try again is taken from its retries to the dead: it knows no way to do both at once."""
        found = lending.found
        held = await self._fail(lending, error, trace)
        if held and found.retry >= 0:
            await self._client.mutate("kill", "retries", [found.jid])
        return held

    async def _enqueue_anew(self, lending: Lending, job: Job) -> bool:
        """A copy under a jid of its own, then the end of the old one: in between it is there twice, never not at all.

        Under the old jid the acknowledgement could end the reservation of whoever has the copy by then.
        """
        found = lending.found
        if not lending.copied:
            if lending.copy and job.run_at:  # the answer was lost: if it is on the schedule, it is there once again
                await self._client.mutate("discard", "scheduled", [lending.copy])
            else:
                lending.copy = new_id()
            payload = wire.encode(
                self._placed(job),
                jid=lending.copy,
                retry=wire.left(found.retry, found.failures + job.fails - found.job.fails),
                reserve_for=found.reserve_for,
                fence=lending.fence,
            )
            if refused := await self._push([(lending.copy, payload)]):
                raise Said(f"ERR {one_line(refused[lending.copy])}")
            lending.copied = True
        return await self._acknowledge(lending)

    # what cannot be run

    async def reject(self, raw: bytes, wrong: Poison) -> None:
        """A payload that cannot be read fails for good: its bytes lie among the dead jobs."""
        log.error("a job that cannot be read goes to the dead jobs: %s", wrong)
        jid = wire.jid_of(raw)
        if jid:
            await self._client.ask("FAIL", talk.failed(jid, f"Poison: {wrong}"))
            await self._client.mutate("kill", "retries", [jid])

    def refuse(self, lending: Lending) -> None:
        """Begin to fail a job that no handler here knows: the server tries it again, perhaps where one does."""
        job = lending.found.job
        if job.handler not in self._complained:
            self._complained.add(job.handler)
            log.error(
                "no handler here knows %r (queue %r): such jobs fail, and are tried again; work on other queues, "
                "or register it",
                one_line(job.handler),
                one_line(job.queue),
            )
        stray = asyncio.get_running_loop().create_task(self._refuse(lending))
        self._strays.add(stray)
        stray.add_done_callback(self._strays.discard)

    async def _refuse(self, lending: Lending) -> None:
        try:
            await self._fail(lending, f"UnknownHandler: no handler for {lending.found.job.handler!r}")
        except (BackendUnavailable, BackendRefused) as failure:
            log.warning("job %s waits for the end of its reservation: %s", one_line(lending.found.jid), failure)
        finally:
            self._ledger.end(lending)

    async def refused(self) -> None:
        """Wait until all that was begun is through."""
        if self._strays:
            await asyncio.wait(self._strays)


def _retry(allowed: Allowance) -> int | None:
    """How often the server may try a job of this type again; -1 buries the first failure, and 0 drops it."""
    if allowed.max_fails is None:
        return None
    if allowed.max_fails > 1:
        return allowed.max_fails - 1
    return 0 if allowed.skip_dead else -1


def _portions(ready: Sequence[tuple[str, bytes]]) -> Iterator[Sequence[tuple[str, bytes]]]:
    start = size = 0
    for place, (_, payload) in enumerate(ready):
        if place > start and (place - start == MOST or size + len(payload) > HEAVY):
            yield ready[start:place]
            start, size = place, 0
        size += len(payload)
    if start < len(ready):
        yield ready[start:]


def _answers(jobs: Sequence[Job], refused: dict[str, str]) -> list[bool]:
    """Which are new. Servers that know unique jobs refuse their duplicates; all else that is refused is raised."""
    wrong = {job_id: why for job_id, why in refused.items() if not why.startswith("NOTUNIQUE")}
    if wrong:
        shown = "; ".join(f"{one_line(job_id)}: {one_line(why)}" for job_id, why in list(wrong.items())[:3])
        raise BackendRefused(f"{len(wrong)} of {len(jobs)} jobs were refused, the others are enqueued ({shown})")
    return [job.id not in refused for job in jobs]
