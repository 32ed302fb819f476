"""The job service over gRPC: Valet's services, health, reflection, and events of jobs."""

from __future__ import annotations

from worksong.faces.grpc.server import GrpcServer, Options

__all__ = ["GrpcServer", "Options"]
