"""Progress: how far a pipeline is, for one who follows it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import NamedTuple

from worksong.domain.chain import stage_of
from worksong.domain.record import JobRecord, PipelineRecord, Status
from worksong.entries import CHUNK
from worksong.ledger import Ledger
from worksong.ports.backend import BusyView
from worksong.service import refusals
from worksong.service.redaction import without_logins
from worksong.wire.record import decode, ref_of


class Moved(NamedTuple):
    """A job of it that has changed, or said something."""

    job: JobRecord
    checkin: str = ""
    """What its handler said last of its progress, if that is new."""


class Advance(NamedTuple):
    """Something that has become of a pipeline, or of its jobs."""

    id: str
    """Which one: whoever has seen it is told only of later ones, and once more what running jobs said last."""
    kind: str
    """`status` of the pipeline, `progress` of its jobs, or `end`, after which nothing comes."""
    pipeline: PipelineRecord
    done: int
    """How many of its jobs have succeeded."""
    jobs: Sequence[Moved]
    """Those that have moved since the last event, in order; in the first one all."""


class Progress:
    """Looks at one pipeline, and remembers what it has seen.

    A job that has succeeded does not change any more, and one behind a stage that is not through has not begun: so each
    look reads the pipeline and what is left of one stage, however many jobs there are.
    """

    def __init__(
        self, ledger: Ledger, said: Callable[[], Awaitable[Mapping[str, BusyView]]], pipeline_id: str, seen: str
    ) -> None:
        """`said`: what running jobs said last, by id. `seen`: the id of the last event that was told."""
        self._ledger, self._said, self._id = ledger, said, pipeline_id
        self._version, self._number = _parsed(seen)
        """Of the newest records that were seen, and of the last event that told what jobs have said."""
        self._said_at: dict[str, float] = {}
        """By id: they come with the beats of several processes, so a later look may find an earlier one."""
        self._known: dict[str, tuple[int, JobRecord]] = {}
        """By id: the version of its record, and what that says."""
        self._status: Status | None = None

    async def look(self) -> Advance | None:
        """What is new since the last look, or since what was seen; raises `Missing` when the pipeline is gone."""
        (record,) = await self._ledger.store.read([ref_of(PipelineRecord, self._id)])
        if record is None:
            raise refusals.no_pipeline(self._id)
        pipeline, before = decode(record, PipelineRecord), {known: told for known, (told, _) in self._known.items()}
        await self._read_on(pipeline)
        said = {} if pipeline.status.ended else await self._checkins()
        version = record.version + sum(one for one, _ in self._known.values())
        is_new, seen, was = version > self._version, self._version, self._status
        self._version, self._status = max(version, seen), pipeline.status
        if not (is_new or said or pipeline.status.ended):
            return None
        moved = [
            Moved(job, said.get(job_id, ""))
            for job_id, (told, job) in self._known.items()
            if job_id in said or (is_new and before.get(job_id) != told)
        ]
        done = sum(job.status is Status.COMPLETED for _, job in self._known.values())
        kind = "end" if pipeline.status.ended else "status" if is_new and pipeline.status is not was else "progress"
        self._number += bool(said)
        event_id = f"{version}-{self._number}" if said else f"{version}"
        return Advance(event_id, kind, pipeline, done, moved)

    async def wait(self, seconds: float) -> bool:
        """Until it ends, so long at most; whether it has."""
        return await self._ledger.wait_pipeline(self._id, seconds) is not None

    async def _read_on(self, pipeline: PipelineRecord) -> None:
        """Its jobs as they are by now: those of the stage that it has come to, and at its ends all."""
        if not self._known or pipeline.status.ended:
            await self._read(pipeline.job_ids)
        at: range | None = None
        while (stage := self._stage(pipeline)) != at and stage is not None:
            at = stage
            await self._read([job_id for job_id in pipeline.job_ids[at.start : at.stop] if self._goes_on(job_id)])

    def _stage(self, pipeline: PipelineRecord) -> range | None:
        """Where it is; None: it is through. One whose record is gone counts as through."""
        ahead = (number for number, job_id in enumerate(pipeline.job_ids) if self._goes_on(job_id))
        return stage_of(pipeline, number) if (number := next(ahead, None)) is not None else None

    def _goes_on(self, job_id: str) -> bool:
        known = self._known.get(job_id)
        return known is not None and known[1].status is not Status.COMPLETED

    async def _read(self, job_ids: Sequence[str]) -> None:
        for begin in range(0, len(job_ids), CHUNK):
            refs = [ref_of(JobRecord, job_id) for job_id in job_ids[begin : begin + CHUNK]]
            for record in await self._ledger.store.read(refs):
                if record:
                    self._known[record.ref.id] = record.version, decode(record, JobRecord)

    async def _checkins(self) -> dict[str, str]:
        """What its jobs have said since, by id."""
        said: dict[str, str] = {}
        views = await self._said()
        for job_id, (_, job) in self._known.items():
            view = views.get(job_id) if job.status is Status.IN_PROGRESS else None
            if view and view.checkin and view.checkin_at > self._said_at.get(job_id, 0.0):
                self._said_at[job_id] = view.checkin_at
                said[job_id] = without_logins(view.checkin)
        return said


def _parsed(seen: str) -> tuple[int, int]:
    """The version and the number in the id of an event; what is none counts as nothing seen."""
    version, _, number = seen.partition("-")
    try:
        return int(version[:18]), int(number[:18] or 0)
    except ValueError:
        return 0, 0
