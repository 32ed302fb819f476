"""Emptying a namespace that nobody needs any more."""

from __future__ import annotations

from worksong.adapters import connect


async def sweep(url: str, namespace: str) -> None:
    """Drop everything in the namespace."""
    backend = connect(url, namespace=namespace)
    try:
        await backend.erase()
    finally:
        await backend.close()
