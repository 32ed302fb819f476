"""Results of jobs: who keeps them, and who waits for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from worksong.domain.result import Result


class Results(Protocol):
    """Results are kept for a time only, and the latest ending of a job is the one that counts."""

    async def put(self, results: Sequence[Result]) -> None:
        """Keep them; again is the same as once. Raises `BackendUnavailable` when the server is away."""
        ...

    async def result(self, job_id: str) -> Result | None:
        """The job's result; None: it has not ended, is unknown, or its result was kept long enough."""
        ...

    async def wait_result(self, job_id: str, seconds: float) -> Result | None:
        """The same, as soon as it is there; None after `seconds`."""
        ...


class ResultStore(Results, Protocol):
    """Keeps results apart from the jobs."""

    @property
    def name(self) -> str:
        """How errors call it: the URL without secrets."""
        ...

    def sibling(self) -> ResultStore:
        """The same store, for use in another event loop."""
        ...

    async def close(self) -> None:
        """Let go of connections; a closed store opens them again when used."""
        ...


class ResultStoreFactory(Protocol):
    """What an entry point of `worksong.results` names."""

    def __call__(self, url: str, *, namespace: str) -> ResultStore:
        """A store for the URL; raises `ConfigError` for one that cannot work, and connects only when used."""
        ...
