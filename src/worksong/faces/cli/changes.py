"""Changes of an app's source, for `run --reload`."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from importlib import import_module
from pathlib import Path
from typing import Any

from worksong.domain.errors import ConfigError


def watch(directory: Path) -> AsyncIterator[object]:
    """Yields whenever Python files below `directory` changed, many changes at once as one."""
    try:
        watchfiles: Any = import_module("watchfiles")
    except ImportError as missing:
        raise ConfigError("--reload needs the package 'watchfiles': pip install 'worksong[cli]'") from missing
    logging.getLogger("watchfiles").setLevel(logging.WARNING)
    changes: AsyncIterator[object] = watchfiles.awatch(directory, watch_filter=watchfiles.PythonFilter(), debounce=400)
    return changes
