"""Where a worker keeps its jobs, and who keeps results and records; each event loop has connections of its own."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from worksong.adapters import connect, connect_records, connect_results
from worksong.domain.errors import BackendUnavailable, ConfigError
from worksong.ledger import Ledger
from worksong.perloop import PerLoop
from worksong.ports.backend import Allowance, Backend
from worksong.ports.clock import Clock
from worksong.ports.results import Results, ResultStore


class Stores:
    """The stores of one worker; all are kept apart by its name."""

    def __init__(
        self,
        url: str,
        namespace: str,
        *,
        results: str | None,
        clock: Clock,
        allowance: Callable[[str], Allowance | None],
    ) -> None:
        """`results`: the URL of a store for what handlers return; None: the backend keeps it, where it can.

        `allowance`: what a job type allows its runs, for backends that count failures or time runs by themselves.
        """
        self._results_url, self._records_url = results, ""
        self._clock, self._allowance = clock, allowance
        self.jobs = self._backend(url, namespace)
        self._results = self._result_store(namespace)
        self.ledgers: PerLoop[Ledger] | None = None
        """What the job service knows of its jobs, results included; None: no records are kept."""

    def check_unused(self) -> None:
        """Refuse to give up a store that has been used."""
        for store in (self.jobs, self.apart):
            if store and store.loops:
                raise ConfigError(f"this worker already uses {store.origin.name}: connect it before it does anything")

    def connect(self, url: str, namespace: str) -> None:
        """Take another backend."""
        self.jobs = self._backend(url, namespace)

    def rename(self, namespace: str) -> None:
        """Keep results and records under another name."""
        self._results = self._result_store(namespace)
        if self.ledgers:
            self.keep_records(self._records_url, namespace, retention=self.ledgers.origin.retention)

    def keep_records(self, url: str, namespace: str, *, retention: float) -> None:
        """Keep records, and all results with them; `retention`: for how many seconds, once their jobs have ended."""
        if self._results:
            raise ConfigError("results are kept together with records: give results= or records=, not both")
        self.ledgers = PerLoop(Ledger(connect_records(url, namespace=namespace), self._clock, retention=retention))
        self._records_url = url

    @property
    def apart(self) -> PerLoop[ResultStore] | PerLoop[Ledger] | None:
        """Who keeps results, if it is not the backend."""
        return self.ledgers or self._results

    def results(self) -> Results:
        """Where results come from, for the running event loop."""
        return (self.apart or self.jobs).here()

    async def try_out(self) -> None:
        """One that refuses what it is asked is met now, not by the first ending; one that is away may come back."""
        if self.apart:
            with contextlib.suppress(BackendUnavailable):
                await self.apart.here().wait_result("", 0.0)

    async def close(self) -> None:
        """Close the running loop's connections."""
        await self.jobs.close()
        if self.apart:
            await self.apart.close()

    def _backend(self, url: str, namespace: str) -> PerLoop[Backend]:
        backend = connect(url, namespace=namespace)
        backend.advise(self._allowance)
        return PerLoop(backend)

    def _result_store(self, namespace: str) -> PerLoop[ResultStore] | None:
        return None if self._results_url is None else PerLoop(connect_results(self._results_url, namespace=namespace))
