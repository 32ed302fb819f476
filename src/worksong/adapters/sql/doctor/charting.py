"""Asking a database what its specialist wants to know."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from worksong.adapters.sql import migrate
from worksong.adapters.sql.doctor.chart import Chart
from worksong.adapters.sql.steps import Row
from worksong.domain.errors import BackendRefused

if TYPE_CHECKING:
    from worksong.adapters.sql.store import Store


async def take(store: Store, now: float) -> Chart:
    """One question after the other; one that is refused costs no other. `now` is our clock at the call."""
    begun = time.monotonic()
    specialist, facts = store.specialist, await store.facts()
    if facts is None:
        return Chart(dialect=specialist.dialect, address=store.address, there=False, now=now)
    answers: dict[str, Sequence[Row]] = dict(facts)
    refused: dict[str, str] = {}
    offset = 0.0
    async with store.bedside() as say:

        async def ask(name: str, sql: str) -> None:
            try:
                answers[name] = await say(sql)
            except BackendRefused as refusal:
                refused[name] = str(refusal)

        left_out = specialist.left_out(facts)
        for name, sql in specialist.questions.items():
            if name not in left_out:
                asked = time.monotonic()
                await ask(name, sql)
                if name == "clock" and name in answers:
                    took, server_now = time.monotonic() - asked, float(answers[name][0][0])
                    offset = beyond(server_now - (now + (asked - begun) + took / 2), took / 2)
        if any(row[0].startswith("worksong_") for row in answers.get("tables", ())):
            await ask("schema", migrate.ASK)
    return Chart(
        dialect=specialist.dialect,
        address=store.address,
        version=answers["schema"][0][0] or 0 if "schema" in answers else 0,
        answers=answers,
        refused=refused,
        now=answers["clock"][0][0] if "clock" in answers else now,
        offset=offset,
    )


def beyond(offset: float, doubt: float) -> float:
    """As much of it as is certain."""
    if offset > 0:
        return max(0.0, offset - doubt)
    return min(0.0, offset + doubt)
