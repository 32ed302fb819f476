"""``python -m worksong.testing.contract [URL ...]`` prints the capability table; it connects to nothing."""

from __future__ import annotations

import sys

from worksong.adapters import connect
from worksong.testing.contract.table import capability_table

USUAL = (
    "memory://",
    "sqlite:///jobs.db",
    "postgresql://localhost/jobs",
    "mysql://localhost/jobs",
    "redis://localhost",
    "resque+redis://localhost",
    "amqp://localhost",
    "faktory://localhost",
)


def main(urls: list[str]) -> None:
    """Print the table of these backends."""
    backends = [connect(url, namespace="worksong") for url in urls or USUAL]
    sys.stdout.write(capability_table(backends))


if __name__ == "__main__":
    main(sys.argv[1:])
