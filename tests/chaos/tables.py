"""What must hold in the tables: reliability is proved on the rows, not by asking the code that wrote them."""

from __future__ import annotations

from chaos.theatre import NAMESPACE
from worksong.adapters import connect
from worksong.adapters.sql.backend import SqlBackend

_JOBS = f"SELECT count(*) FROM worksong_job AS job WHERE job.space = '{NAMESPACE}' AND "
_POOL = "SELECT 1 FROM worksong_pool AS pool WHERE pool.space = job.space AND pool.id = job.pool"
WRONG = {
    "run in a pool that is not registered": f"{_JOBS} job.state = 'running' AND NOT EXISTS ({_POOL})",
    "run without a fence": f"{_JOBS} job.state = 'running' AND job.fence = 0",
    "do not run, and belong to a pool": f"{_JOBS} job.state <> 'running' AND job.pool IS NOT NULL",
    "are dead, and hold a lock": f"{_JOBS} job.state = 'dead' AND job.unique_key IS NOT NULL",
    "hold a lock, and are not unique": f"{_JOBS} job.unique_key IS NOT NULL AND job.unique_mode IS NULL",
}
"""What would be wrong with jobs -> how many there are, in a statement that every database takes."""


async def make(url: str) -> None:
    """Create them, or bring them up to date."""
    backend = connect(url, namespace=NAMESPACE)
    assert isinstance(backend, SqlBackend)
    try:
        await backend.migrate()
    finally:
        await backend.close()
