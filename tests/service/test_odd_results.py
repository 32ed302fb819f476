"""G4: results that cannot be kept, or are not kept any more: the job has succeeded all the same, and that is told."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from service.browser import asking
from service.scenarios import LATER, NOBODY
from service.stage import Firm, a_job, a_pipeline
from worksong.domain.record import Status
from worksong.faces.http import HttpFace
from worksong.ports.records import Kind, Record, Ref
from worksong.service.refusals import Gone, Missing

ODD: dict[str, tuple[Any, str]] = {
    "large": ("x" * 10_000_000, "it takes 10,000,002 bytes, more than 1,048,576; store it elsewhere"),
    "no number": (float("nan"), "the result is nan, which JSON cannot carry: pass None or a text"),
    "infinite": ({"deep": [float("inf")]}, "inf, which JSON cannot carry"),
    "an object": (object(), "the result is of type object, which JSON cannot carry"),
    "a set": ({1, 2}, "a set has no order, pass sorted(...)"),
}


@pytest.mark.parametrize(("value", "why"), ODD.values(), ids=ODD)
async def test_a_value_that_cannot_be_kept_is_lost_and_the_job_has_succeeded(firm: Firm, value: Any, why: str) -> None:
    @firm.worker.task("odd")
    async def odd(params: dict[str, Any]) -> Any:
        return value

    created = await firm.service.create_job(a_job("odd"))
    ended = await firm.ended(created.id)
    assert (ended.status, ended.failure_reason) == (Status.COMPLETED, "")
    async with asking(HttpFace(firm.service)) as browser:
        told = [
            await browser.get(path) for path in (f"/api/v1/jobs/{created.id}/result", f"/api/jobs/{created.id}/results")
        ]
    assert [answer.status_code for answer in told] == [200, 200]
    assert told[0].json() == told[1].json()
    assert told[0].json().keys() == {"job_id", "lost"}
    assert why in told[0].json()["lost"]


async def test_a_result_that_is_not_there_yet_and_one_that_is_not_any_more_are_told_apart(firm: Firm) -> None:
    # Given a job for later, and one that has ended and whose result is deleted
    later = await firm.service.create_job(a_job(run_at=LATER))
    ended = await firm.service.create_job(a_job())
    await firm.ended(ended.id)
    await firm.service.delete_result(ended.id)
    async with asking(HttpFace(firm.service)) as browser:
        ids = (later.id, ended.id, NOBODY)
        told = [await browser.get(f"/api/v1/jobs/{one}/result?wait=0") for one in ids]
        valets = [await browser.get(f"/api/jobs/{one}/results") for one in ids]
    # Then that is told apart, but not to clients of Valet, which know one answer only
    kinds = [(answer.status_code, answer.json()["error"]["type"]) for answer in told]
    assert kinds == [(404, "not_found"), (410, "gone"), (404, "not_found")]
    assert [answer.status_code for answer in valets] == [404, 404, 404]
    assert valets[1].json()["message"] == f"job result with ID: {ended.id} not found"


async def test_a_job_that_is_retried_while_its_result_is_read_has_none_yet(
    firm: Firm, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a job that has failed
    failed = await firm.service.create_job(a_job("fail"))
    before = await firm.ended(failed.id)
    assert firm.worker.ledgers is not None
    ledger = firm.worker.ledgers.here()
    read = ledger.store.read

    # When it is opened anew between the look at the job and the one at its result
    async def meanwhile(refs: Sequence[Ref]) -> list[Record | None]:
        if {ref.kind for ref in refs} == {Kind.RESULT}:
            monkeypatch.undo()
            await ledger.reopen(before)
        return await read(refs)

    monkeypatch.setattr(ledger.store, "read", meanwhile)
    with pytest.raises(Missing) as refused:
        await firm.service.result(failed.id)
    # Then nobody is told that its result is gone for good
    assert not isinstance(refused.value, Gone)


@pytest.mark.parametrize("looked_at", [Kind.JOB, Kind.RESULT])
async def test_a_pipeline_that_goes_on_again_while_its_result_is_read_has_none_yet(
    firm: Firm, monkeypatch: pytest.MonkeyPatch, looked_at: Kind
) -> None:
    # Given a pipeline that has failed
    pipeline, (failed, _) = await firm.service.create_pipeline(a_pipeline("fail", "double"))
    before = await firm.ended(failed.id)
    assert firm.worker.ledgers is not None
    ledger = firm.worker.ledgers.here()
    read = ledger.store.read

    # When its job is opened anew behind the look at the pipeline
    async def meanwhile(refs: Sequence[Ref]) -> list[Record | None]:
        if {ref.kind for ref in refs} == {looked_at}:
            monkeypatch.undo()
            await ledger.reopen(before)
        return await read(refs)

    monkeypatch.setattr(ledger.store, "read", meanwhile)
    with pytest.raises(Missing, match="pipeline result") as refused:
        await firm.service.pipeline_result(pipeline.id)
    # Then nobody is told that its result is gone for good
    assert not isinstance(refused.value, Gone)
    assert not (await firm.service.pipeline(pipeline.id)).status.ended
