"""Showing: what every face tells of a record, with what its job type redacts taken out."""

from __future__ import annotations

from typing import Any

from worksong.domain.record import JobRecord, PipelineRecord
from worksong.registry import Registry
from worksong.service.redaction import HIDDEN


def shown_params(record: JobRecord, registry: Registry) -> dict[str, Any] | None:
    """The parameters of a job, without those that its type redacts."""
    spec = registry.find(record.task) if record.params else None
    hidden = spec.options.redact if spec else ()
    if not hidden or record.params is None:
        return record.params
    names = [*record.params] if record.whole and "params" in hidden else hidden
    return {name: HIDDEN if name in names else value for name, value in record.params.items()}


def milliseconds(record: JobRecord | PipelineRecord) -> int | None:
    """Whole milliseconds of what has ended."""
    if not record.status.ended or not record.completed_at:
        return None
    # Floats of today's time are exact to a microsecond or so, and 0.3 s may look like 0.29999995.
    return round((record.completed_at - (record.started_at or record.completed_at)) * 1e6) // 1000
