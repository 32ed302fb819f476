"""Leave: who may ask what, one row for each route of every face. A route without a row fails its test."""

from __future__ import annotations

from worksong.service.access import Scope

ENQUEUE, READ, MANAGE = Scope.ENQUEUE, Scope.READ, Scope.MANAGE

HTTP: dict[str, Scope | None] = {
    "GET /api/status": READ,
    "GET /api/tasks": READ,
    "POST /api/jobs": ENQUEUE,
    "GET /api/jobs": READ,
    "GET /api/jobs/{id}": READ,
    "PATCH /api/jobs/{id}": MANAGE,
    "DELETE /api/jobs/{id}": MANAGE,
    "GET /api/jobs/{id}/results": READ,
    "DELETE /api/jobs/{id}/results": MANAGE,
    "POST /api/pipelines": ENQUEUE,
    "GET /api/pipelines": READ,
    "GET /api/pipelines/{id}": READ,
    "PATCH /api/pipelines/{id}": MANAGE,
    "DELETE /api/pipelines/{id}": MANAGE,
    "GET /api/pipelines/{id}/jobs": READ,
    "GET /api/v1/records": READ,
    "POST /api/v1/records": ENQUEUE,
    "GET /api/v1/jobs/{id}/result": READ,
    "GET /api/v1/jobs/{id}/events": READ,
    "POST /api/v1/jobs/{id}/cancel": MANAGE,
    "POST /api/v1/jobs/{id}/retry": MANAGE,
    "POST /api/v1/pipelines": ENQUEUE,
    "GET /api/v1/pipelines": READ,
    "GET /api/v1/pipelines/{id}": READ,
    "GET /api/v1/pipelines/{id}/result": READ,
    "GET /api/v1/pipelines/{id}/events": READ,
    "POST /api/v1/pipelines/{id}/cancel": MANAGE,
    "GET /healthz": None,
    "HEAD /healthz": None,
    "GET /readyz": None,
    "HEAD /readyz": None,
    "GET /api/openapi.json": READ,
    "GET /api/docs": READ,
    "GET /api/docs.css": READ,
    "GET /metrics": READ,
}
"""By method and path, the scope that opens it; None: anybody is answered."""

GRPC: dict[str, Scope | None] = {
    "job.Job/Create": ENQUEUE,
    "job.Job/Get": READ,
    "job.Job/GetJobs": READ,
    "job.Job/Update": MANAGE,
    "job.Job/Delete": MANAGE,
    "pipeline.Pipeline/Create": ENQUEUE,
    "pipeline.Pipeline/Get": READ,
    "pipeline.Pipeline/GetPipelines": READ,
    "pipeline.Pipeline/GetPipelineJobs": READ,
    "pipeline.Pipeline/Update": MANAGE,
    "pipeline.Pipeline/Delete": MANAGE,
    "jobresult.JobResult/Get": READ,
    "jobresult.JobResult/Delete": MANAGE,
    "task.Task/GetTasks": READ,
    "worksong.events.Events/Watch": READ,
    "worksong.events.Events/WatchPipeline": READ,
    "grpc.health.v1.Health/Check": None,
    "grpc.health.v1.Health/Watch": None,
    "grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": READ,
}
"""The same of each method, reflection included where it is on."""
