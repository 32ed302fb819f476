"""Django's system checks: whether the setting WORKSONG can work."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error
from django.core.checks import Warning as Caution

from worksong.contrib.django.project import project_worker
from worksong.domain.capability import Capability
from worksong.domain.errors import ConfigError


def check_setting(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """What is wrong with it; nothing is asked of a server."""
    try:
        worker = project_worker()
    except ConfigError as wrong:
        return [Error(str(wrong), id="worksong.E001")]
    if Capability.SHARED not in worker.capabilities and not settings.DEBUG:
        hint = "name a database of the project, or a server: WORKSONG = {'DATABASE': 'default'}"
        return [Caution(f"jobs on {worker.url} end with the process", hint=hint, id="worksong.W001")]
    return []
