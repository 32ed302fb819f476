"""Periodic jobs: how their expressions are shown, and when they fire next."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from datetime import UTC, datetime, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

from worksong.domain.cron import Schedule
from worksong.engine.firings import Firing
from worksong.engine.pauses import Standing
from worksong.registry import Periodic
from worksong.service.cronwords import words


def ticks(schedule: Schedule, after: float, count: int) -> list[float]:
    """The next firings, as workers fire it: `@every` by the clock they all share."""
    return list(itertools.islice(schedule.ticks(after, math.inf), count))


def bare_spec(schedule: Schedule) -> str:
    """The expression without its zone."""
    return schedule.spec.partition(" ")[2] if schedule.spec.startswith(("TZ=", "CRON_TZ=")) else schedule.spec


def entry_fields(entry: Periodic, firings: Sequence[float], standing: Standing | None) -> dict[str, Any]:
    """A periodic job for programs; `next`: when it would fire, were it not paused. No `standing`: that is not known."""
    schedule = entry.schedule
    return {
        "job": entry.handler,
        "spec": schedule.spec,
        "words": words(schedule),
        "zone": schedule.zone,
        "queue": entry.queue,
        "paused": standing.paused if standing else None,
        "paused_at": float(standing.at) if standing and standing.paused else None,
        "next": [firing_fields(at, zone_of(schedule)) for at in firings],
    }


def fired_fields(firing: Firing) -> dict[str, Any]:
    """A firing that ran, for programs; `drift`: how late it began, in seconds."""
    times = {name: float(getattr(firing, name)) for name in ("due", "began", "ended")}
    return {**times, "ending": firing.ending, "attempt": firing.attempt, "drift": firing.drift}


def stopped_fields(standing: Standing) -> dict[str, Any]:
    """A paused schedule for programs."""
    return {"job": standing.handler, "spec": standing.spec, "paused_at": float(standing.at)}


def firing_fields(at: float, zone: tzinfo) -> dict[str, Any]:
    """A firing for programs."""
    return {"unix": at, "local": datetime.fromtimestamp(at, zone).isoformat()}


def local(at: float, zone: tzinfo) -> str:
    """A firing by the clock of its zone."""
    return datetime.fromtimestamp(at, zone).strftime("%a %Y-%m-%d %H:%M:%S")


def zone_of(schedule: Schedule) -> tzinfo:
    """Where its clock is."""
    return UTC if schedule.zone == "UTC" else ZoneInfo(schedule.zone)
