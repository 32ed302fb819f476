"""Aftermath: what an operator's order to chosen jobs means for their records, at once and not at the next audit.

Orders to all jobs of a state or a queue name none: of those the audit learns.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from worksong.domain.errors import BackendUnavailable
from worksong.domain.lifecycle import State
from worksong.domain.record import JobRecord, Status
from worksong.ledger import Ledger
from worksong.ports.backend import Backend
from worksong.service.acts import Act, Told


async def carry_out(act: Act, backend: Backend, ledger: Ledger | None, now: float) -> Told:
    """Do it, and have the records say so, where any are kept; what they cannot be told now, the audit finds."""
    if ledger is None:
        return await act.carry_out(backend, now)
    if act.order == "cancel":
        for job_id in act.job_ids:  # before the queue hears of it: whoever is lent the job after that drops it
            await ledger.cancel(job_id)
    failed = await _failed(act.job_ids, ledger) if act.order == "requeue" else []
    told = await act.carry_out(backend, now)
    with contextlib.suppress(BackendUnavailable):
        for job in failed:
            view = await backend.job(job.id)
            if view and view.state is not State.DEAD:
                await ledger.reopen(job)
        for job_id in act.job_ids if act.order == "delete" else ():
            if await backend.job(job_id) is None:
                await ledger.cancel(job_id)
    return told


async def _failed(job_ids: Sequence[str], ledger: Ledger) -> list[JobRecord]:
    found = [await ledger.job(job_id) for job_id in job_ids]
    return [job for job in found if job and job.status is Status.FAILED]
