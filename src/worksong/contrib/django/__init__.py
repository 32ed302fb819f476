"""worksong in a Django project: add it to INSTALLED_APPS, write `jobs.py` files, run `manage.py worksong run`.

`from worksong.contrib.django import worker` is the project's worker, made of the setting WORKSONG.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from worksong.contrib.django.project import DjangoWorker

    worker: DjangoWorker

__all__ = ["worker"]


def __getattr__(name: str) -> Any:
    """The worker is made when it is first asked for: settings are not there before."""
    if name != "worker":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import django
    from django.apps import apps

    if not (apps.ready or apps.loading):  # a process of its own, as those of `--processes`
        django.setup()
    from worksong.contrib.django.project import project_worker

    return project_worker()
