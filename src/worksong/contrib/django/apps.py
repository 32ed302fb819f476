"""The app: finds the jobs of a project, checks its setting, and makes the tables of jobs with those of the project."""

from __future__ import annotations

from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import register
from django.db.models.signals import post_migrate
from django.utils.module_loading import autodiscover_modules

from worksong.domain.errors import ConfigError


class WorksongConfig(AppConfig):
    """`"worksong.contrib.django"` in INSTALLED_APPS."""

    name = "worksong.contrib.django"
    label = "worksong"
    verbose_name = "Background jobs"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from worksong.contrib.django.checks import check_setting
        from worksong.contrib.django.project import project_worker

        register(check_setting)
        post_migrate.connect(_make_tables, sender=self)
        try:
            project_worker()
        except ConfigError:  # the check says so, as Django does
            return
        autodiscover_modules("jobs")
        if _has_tasks():
            autodiscover_modules("tasks")


def _has_tasks() -> bool:
    """Whether Django's own tasks are run by worksong: then a worker must know them."""
    tasks: dict[str, Any] = getattr(settings, "TASKS", {})
    return any(str(said.get("BACKEND", "")).startswith(__package__ or "") for said in tasks.values())


def _make_tables(using: str, **_: Any) -> None:
    """`manage.py migrate` makes, or upgrades, the tables of jobs that are in a database of the project."""
    from worksong.contrib.django.project import project_worker

    project_worker().migrate(using)
