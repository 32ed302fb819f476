"""Prometheus metrics of a worker: as text, as an ASGI application, or served by `worksong run --metrics`.

Needs the extra `metrics`. What is counted is told in docs/guides/monitoring.md.
"""

from __future__ import annotations

from worksong.metrics.app import metrics_app
from worksong.metrics.metrics import Metrics

__all__ = ["Metrics", "metrics_app"]
