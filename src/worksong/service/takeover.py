"""Takeover: everything that Valet kept becomes records of the service, and what had not run is queued.

A unit - a job, or a pipeline with its jobs - is written in one step, under the ids that it has; what is there already
is passed over. So an import that was interrupted is given again, and goes on where it stopped. A mark is written with
it, which outlives its records: what has run here and was forgotten since does not come again.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Sequence

import msgspec
from msgspec.structs import replace

from worksong.adapters.valet import ValetStore
from worksong.domain.capability import Capability
from worksong.domain.errors import ConfigError
from worksong.entries import CHUNK
from worksong.ports.records import Change, Ref
from worksong.registry import Registry
from worksong.service.adoption import Adopted, Adoption, Known, Running
from worksong.service.outbox import Outbox, Swept
from worksong.wire.valet import Misfit, Unit
from worksong.worker import Worker

KINDS = ("jobs", "pipelines", "results")


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What was taken over, or would be. Counts are by `KINDS`."""

    found: dict[str, int]
    """What Valet keeps."""
    taken: dict[str, int]
    """What was not there yet."""
    known: dict[str, int]
    """What was there already: of an import before, as a rule."""
    dropped: int
    """Results of jobs that run again."""
    misfits: Sequence[Misfit]
    """What is left out because it cannot be read, or could not run here."""
    running: Sequence[Misfit]
    """What is left out because it runs in Valet."""
    waiting: int
    """Jobs and pipelines that had not ended, of those taken now."""
    queued: int = 0
    """Of these, and of those that an import before has left behind, how many are in the queue by now."""
    refused: int = 0
    """How many the queue did not take; the log says why."""
    missing: Sequence[str] = ()
    """Ids of what should be kept and is not."""

    @property
    def left(self) -> dict[str, int]:
        """What is left out, for whatever reason."""
        left = [*self.misfits, *self.running]
        return {
            "jobs": sum(one.jobs for one in left),
            "pipelines": sum(one.kind == "pipeline" for one in left),
            "results": sum(one.results for one in left) + self.dropped,
        }

    @property
    def unseen(self) -> int:
        """How many rows came or went while others were read."""
        left = self.left
        return sum(abs(self.found[kind] - self.taken[kind] - self.known[kind] - left[kind]) for kind in KINDS)


class _Tasks:
    """The application's, as an adoption asks for them."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def find(self, name: str) -> Known | None:
        spec = self._registry.find(name)
        return Known(spec.options.queue, spec.signature.of_valets_form) if spec else None


class Takeover:
    """From one of Valet's stores to the records of a worker; one object takes over once."""

    def __init__(
        self,
        worker: Worker,
        source: ValetStore,
        *,
        unit: float = 1.0,
        running: Running = Running.QUEUE,
        told: Callable[[int], None] = lambda _: None,
    ) -> None:
        """`unit`: seconds in one of Valet's timeouts. `told` hears how many jobs and pipelines were looked at."""
        if worker.ledgers is None:
            raise ConfigError("there is nowhere to keep what Valet kept: give the worker records=URL")
        self._worker, self._source, self._told = worker, source, told
        self._store = worker.ledgers.here().store
        self._adoption = Adoption(
            _Tasks(worker.registry),
            unit=unit,
            running=running,
            retention=worker.ledgers.origin.retention,
            now=worker.clock.now(),
            delays=Capability.DELAY in worker.capabilities,
        )
        self._taken, self._known = Counter[str](), Counter[str]()
        self._misfits: list[Misfit] = []
        self._missing: list[str] = []
        self._looked = self._waiting = self._dropped = 0

    async def survey(self) -> Report:
        """What `run` would do; changes nothing."""
        async for page in self._pages():
            for adopted in await self._new(page):
                self._count(adopted)
        return await self._report()

    async def run(self) -> Report:
        """Take over everything, and read back what was written.

        Raises `BackendUnavailable` while a store or the queue is away: what was taken by then is kept, and what waits
        of it is queued by `worksong serve`, or when this is done again.
        """
        async for page in self._pages():
            await self._keep(await self._new(page))
        swept = await Outbox(self._worker).swept() if Capability.DURABLE in self._worker.capabilities else Swept(0, 0)
        return replace(await self._report(), queued=swept.went, refused=swept.refused)

    async def _pages(self) -> AsyncGenerator[Sequence[Unit | Misfit]]:
        async with contextlib.aclosing(self._source.pages()) as pages:
            async for page in pages:
                yield page
                self._looked += sum(map(_size, page))
                self._told(self._looked)

    async def _new(self, page: Sequence[Unit | Misfit]) -> list[Adopted]:
        """What of a page is fit, and not there yet."""
        adopted = [found if isinstance(found, Misfit) else self._adoption.adopt(found) for found in page]
        self._misfits += [one for one in adopted if isinstance(one, Misfit)]
        fit = [one for one in adopted if isinstance(one, Adopted)]
        self._dropped += sum(one.dropped for one in fit)
        there = await self._there([ref for one in fit for ref in (one.whole, one.mark)])
        new: list[Adopted] = []
        for one in fit:
            if there.isdisjoint((one.whole, one.mark)):
                new.append(one)
            else:
                self._known.update(one.counts)
        return new

    async def _keep(self, new: Sequence[Adopted]) -> None:
        """In one step; each by itself where one of them is refused."""
        changes = [Change(record.ref, None, record) for one in new for record in one.records]
        if not await self._store.write(changes):
            if len(new) == 1:
                self._misfits.append(new[0].misfit("one of its ids belongs to another record here"))
                return
            for one in new:
                await self._keep([one])
            return
        there = await self._there([change.ref for change in changes])
        self._missing += [change.ref.id for change in changes if change.ref not in there]
        for one in new:
            self._count(one)

    def _count(self, one: Adopted) -> None:
        self._taken.update(one.counts)
        self._waiting += one.waits

    async def _there(self, refs: Sequence[Ref]) -> set[Ref]:
        found: set[Ref] = set()
        for start in range(0, len(refs), CHUNK):
            found.update(record.ref for record in await self._store.read(refs[start : start + CHUNK]) if record)
        return found

    async def _report(self) -> Report:
        """Rows are counted last: those that came while others were read are seen as such."""
        return Report(
            found=dict(zip(KINDS, await self._source.stock(), strict=True)),
            taken={kind: self._taken[kind] for kind in KINDS},
            known={kind: self._known[kind] for kind in KINDS},
            dropped=self._dropped,
            misfits=[one for one in self._misfits if not one.runs],
            running=[one for one in self._misfits if one.runs],
            waiting=self._waiting,
            missing=self._missing,
        )


def _size(found: Unit | Misfit) -> int:
    """How many jobs and pipelines it is."""
    if isinstance(found, Misfit):
        return found.jobs + (found.kind == "pipeline")
    return len(found.jobs) + (found.pipeline is not None)
