"""Plays a scenario through the driver of a face, and checks what comes of it."""

from __future__ import annotations

from typing import Any, cast

from service.scenarios import Ask, Code, Driver, Scenario, Verb
from service.stage import Firm

BEFORE_THE_END = (Verb.CREATE_JOB, Verb.CREATE_PIPELINE)


async def play(scenario: Scenario, firm: Firm, driver: Driver) -> None:
    """Ask what was asked before, then what the scenario is about."""
    names: dict[str, str] = {}
    waited_for = not scenario.ended
    for ask in scenario.given:
        if ask.verb not in BEFORE_THE_END and not waited_for:
            await _all_ended(firm)
            waited_for = True
        done = await driver.ask(_named(ask, names))
        assert done.code is Code.DONE, done.body
        names |= _created(ask, done.body)
    if not waited_for:
        await _all_ended(firm)

    reply = await driver.ask(_named(scenario.ask, names))

    assert reply.code is scenario.code, reply.body
    if isinstance(scenario.body, str):
        assert reply.body == _filled(scenario.body, names)
    elif scenario.body is not None:
        check(reply.body, scenario.body)
        assert [name for name in scenario.lacks if name in reply.body] == []
    if scenario.jobs is not None:
        assert len(await firm.service.jobs()) == scenario.jobs
    if scenario.pipelines is not None:
        assert len(await firm.service.pipelines()) == scenario.pipelines


def check(found: Any, expected: Any) -> None:
    """Whether all that is expected is there; more may be."""
    if expected is ...:
        assert found is not None
    elif isinstance(expected, dict):
        members = cast("dict[str, Any]", expected)
        assert set(members) <= set(found), found
        for name, value in members.items():
            check(found[name], value)
    elif isinstance(expected, list):
        items = cast("list[Any]", expected)
        assert len(found) == len(items), found
        for one, value in zip(found, items, strict=True):
            check(one, value)
    else:
        assert found == expected


async def _all_ended(firm: Firm) -> None:
    """Whatever was created has come as far as it can."""
    for pipeline in await firm.service.pipelines():
        for job in await firm.service.pipeline_jobs(pipeline.id):
            if (await firm.ended(job.id)).failure_reason:
                break
    for job in await firm.service.jobs():
        if not job.pipeline_id:
            await firm.ended(job.id)


def _named(ask: Ask, names: dict[str, str]) -> Ask:
    return ask._replace(id=_filled(ask.id, names))


def _filled(text: str, names: dict[str, str]) -> str:
    for name, record_id in names.items():
        text = text.replace(f"{{{name}}}", record_id)
    return text


def _created(ask: Ask, body: Any) -> dict[str, str]:
    if ask.verb is Verb.CREATE_JOB:
        return {"job": body["id"]}
    if ask.verb is Verb.CREATE_PIPELINE:
        return {"pipeline": body["id"], "first": body["jobs"][0]["id"]}
    return {}
