"""Failing jobs, grouped by job type and error."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import msgspec

from worksong.domain.job import JobView
from worksong.domain.lifecycle import State
from worksong.service.fields import last_line
from worksong.service.redaction import without_logins

LONGEST = 200
REMEMBERED = 5_000
"""Errors whose group is known without a look: pages that stay open show the same ones again and again."""

_VARYING = re.compile(r"\b0x[0-9a-f]+\b|\b(?=[0-9a-f]*\d)[0-9a-f]{8,}\b|\d+|[\"*]+", re.IGNORECASE)


class Group(msgspec.Struct, kw_only=True):
    """Jobs of one type that failed in the same way."""

    handler: str
    error: str
    """What they have in common; `*` where numbers and ids differ."""
    sample: str
    """The error of the latest of them."""
    dead: int = 0
    retry: int = 0
    first_at: float = 0.0
    last_at: float = 0.0


def grouped(views: Iterable[JobView]) -> list[Group]:
    """The largest group first."""
    groups: dict[tuple[str, str], Group] = {}
    for view in views:
        sample = _sample(view)
        key = view.handler, _common(sample)
        group = groups.get(key) or groups.setdefault(key, Group(handler=key[0], error=key[1], sample=sample))
        _count(group, view, sample)
    return sorted(groups.values(), key=lambda group: (-group.dead - group.retry, group.handler, group.error))


def key_of(view: JobView) -> tuple[str, str]:
    """The job type and the error of the group to which a job belongs."""
    return view.handler, _common(_sample(view))


def _sample(view: JobView) -> str:
    return without_logins(view.reason or last_line(view.job.error)).strip()[:LONGEST]


@lru_cache(REMEMBERED)
def _common(sample: str) -> str:
    return _VARYING.sub("*", sample)


def _count(group: Group, view: JobView, sample: str) -> None:
    group.dead += view.state is State.DEAD
    group.retry += view.state is State.RETRY
    at = float(view.job.failed_at or (view.at if view.state is State.DEAD else 0.0))
    if at:
        group.first_at = min(group.first_at or at, at)
        if at >= group.last_at:
            group.last_at, group.sample = at, sample


def group_fields(group: Group) -> dict[str, Any]:
    """A group for programs."""
    return dict(msgspec.to_builtins(group))
