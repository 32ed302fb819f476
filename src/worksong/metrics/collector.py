"""From measures to Prometheus' families; its names and units are a promise to dashboards and alerts."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from worksong import __version__
from worksong.domain.lifecycle import State
from worksong.domain.tally import BOUNDS, ENDINGS, Spread, Tally
from worksong.engine.measures import Measures, running, tallied
from worksong.metrics.stock import Stock

LIMITS = [*map(str, BOUNDS), "+Inf"]
"""How Prometheus spells the bounds of the buckets."""


class JobCollector(Collector):
    """Reads at each scrape what was counted anyhow; running a job costs nothing more for it."""

    def __init__(self, measures: Callable[[], Sequence[Measures]], stock: Callable[[], Stock | None]) -> None:
        """`measures`: of each process; `stock`: what waits in the backend, None where it cannot tell."""
        self._measures, self._stock = measures, stock

    def describe(self) -> Iterator[Metric]:
        """Nothing: the registry would collect everything to know the names."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """All families."""
        every = self._measures()
        yield _build()
        yield from _jobs(tallied(every))
        yield from _processes(every)
        stock = self._stock()
        if stock:
            yield from _waiting(stock)


def _build() -> Metric:
    facts = {"version": __version__, "python": platform.python_version()}
    return InfoMetricFamily("worksong_build", "The worksong and the Python that run the jobs.", value=facts)


def _jobs(tallies: Mapping[tuple[str, str], Tally]) -> Iterator[Metric]:
    labels = ["handler", "queue"]
    ended = CounterMetricFamily(
        "worksong_jobs", "Runs of jobs that have ended, by how they did.", labels=[*labels, "outcome"]
    )
    ran = HistogramMetricFamily("worksong_job_run_seconds", "How long runs of jobs took.", labels=labels)
    waited = HistogramMetricFamily(
        "worksong_job_wait_seconds", "How long jobs were ready to run before they were begun.", labels=labels
    )
    for key, tally in sorted(tallies.items()):
        for ending in ENDINGS:
            ended.add_metric([*key, ending], tally.ended(ending))
        _add(ran, key, tally.ran)
        _add(waited, key, tally.waited)
    yield from (ended, ran, waited)


def _add(family: HistogramMetricFamily, key: tuple[str, str], spread: Spread) -> None:
    below = list(zip(LIMITS, map(float, accumulate(spread.counts)), strict=True))
    family.add_metric(list(key), below, spread.seconds)


def _processes(every: Sequence[Measures]) -> Iterator[Metric]:
    alive = [one for one in every if one.slots]
    now = GaugeMetricFamily("worksong_jobs_running", "Jobs that run now.", labels=["handler"])
    for handler, count in sorted(running(alive).items()):
        now.add_metric([handler], count)
    yield now
    slots = sum(one.slots for one in alive)
    yield GaugeMetricFamily("worksong_slots", "Jobs that could run at once.", value=slots)
    yield GaugeMetricFamily("worksong_processes", "Processes that run jobs.", value=len(alive))
    lag = max((one.lag for one in every), default=0.0)
    yield GaugeMetricFamily(
        "worksong_event_loop_lag_seconds", "How late the event loop is; the latest one of several.", value=lag
    )
    refused = sum(one.refused for one in every)
    yield CounterMetricFamily(
        "worksong_endings_refused", "Endings that came too late: the job was given to another worker.", value=refused
    )


def _waiting(stock: Stock) -> Iterator[Metric]:
    yield GaugeMetricFamily("worksong_backend_up", "Whether the backend answered.", value=stock.up)
    states = GaugeMetricFamily("worksong_backend_jobs", "Jobs in the backend, by state.", labels=["state"])
    for state in State:
        if state in stock.counts:
            states.add_metric([str(state)], stock.counts[state])
    yield states
    waiting = GaugeMetricFamily("worksong_queue_jobs", "Jobs that are ready to run.", labels=["queue"])
    oldest = GaugeMetricFamily(
        "worksong_queue_oldest_seconds", "How long the oldest of them has been waiting.", labels=["queue"]
    )
    paused = GaugeMetricFamily("worksong_queue_paused", "Whether the queue is paused.", labels=["queue"])
    for queue in stock.queues:
        waiting.add_metric([queue.name], queue.count)
        oldest.add_metric([queue.name], queue.latency)
        paused.add_metric([queue.name], queue.paused)
    yield from (waiting, oldest, paused)
