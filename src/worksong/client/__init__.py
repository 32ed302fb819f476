"""A client of the job service, for programs that hold neither its queue nor its tasks."""

from __future__ import annotations

from worksong.client.answers import Job, JobEvent, Moved, Page, Pipeline, PipelineEvent, Status
from worksong.client.client import Client
from worksong.client.errors import Conflict, Forbidden, Gone, NotFound, NotNow, TooManyRequests
from worksong.client.requests import Step

__all__ = [
    "Client",
    "Conflict",
    "Forbidden",
    "Gone",
    "Job",
    "JobEvent",
    "Moved",
    "NotFound",
    "NotNow",
    "Page",
    "Pipeline",
    "PipelineEvent",
    "Status",
    "Step",
    "TooManyRequests",
]
