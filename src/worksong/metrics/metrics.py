"""The metrics of a worker, as text for whoever scrapes them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from worksong.domain.capability import Capability
from worksong.domain.errors import ConfigError
from worksong.engine.measures import Measures
from worksong.metrics.stock import Stocktaking
from worksong.worker import Worker

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

BLOCKED = 30.0
"""Seconds without a turn of the event loop after which a process is not healthy."""


class Metrics:
    """Make it before the worker starts: what ran before is not counted. Its registry is its own."""

    def __init__(self, worker: Worker, *, measures: Callable[[], Sequence[Measures]] | None = None) -> None:
        """`measures`: of several processes; None: of this one. `ConfigError` without the package that is needed."""
        try:
            from prometheus_client import CollectorRegistry

            from worksong.metrics.collector import JobCollector
        except ModuleNotFoundError as missing:
            raise ConfigError(
                f"metrics need the package {missing.name!r}: pip install 'worksong[metrics]'"
            ) from missing
        meter = None if measures else worker.measured()
        self._measures = measures or (lambda: [meter.measures] if meter else [])
        elsewhere = measures is not None and Capability.SHARED not in worker.capabilities
        self._stock = Stocktaking(worker)
        self.registry: CollectorRegistry = CollectorRegistry()
        """Where an application may register metrics of its own, to be served together."""
        self.registry.register(JobCollector(self._measures, (lambda: None) if elsewhere else self._stock.take))

    def text(self, accept: str = "") -> tuple[bytes, str]:
        """All metrics, and their media type: OpenMetrics for those who accept it, else Prometheus' own.

        Asks the backend, and waits for its answer for some seconds: in async code call it in a thread.
        """
        from prometheus_client.exposition import choose_encoder

        encode, kind = choose_encoder(accept)
        return encode(self.registry), kind

    @property
    def ailment(self) -> str:
        """Why this is no healthy process; empty when it is. A backend that is away is no ailment of a process."""
        late = max((one.lag for one in self._measures()), default=0.0)
        return f"an event loop is blocked, or its process frozen, for {late:.0f} s" if late > BLOCKED else ""

    def close(self) -> None:
        """Let go of the connection by which the backend was asked."""
        self._stock.close()
