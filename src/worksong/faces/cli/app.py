"""From `module:attribute` to the Worker it names."""

from __future__ import annotations

import os
import sys
import traceback
from importlib import import_module
from operator import attrgetter
from pathlib import Path
from types import ModuleType
from typing import Any

import click

from worksong.domain.errors import ConfigError
from worksong.worker import Worker


def load(app: str) -> Worker:
    """Import the worker; the working directory comes first on the path."""
    name, _, attribute = app.partition(":")
    if not name or not attribute:
        raise click.BadParameter(f"{app!r} is not module:attribute, as in myapp.jobs:worker", param_hint="APP")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    found = _attribute(_module(name), attribute)
    if not isinstance(found, Worker):
        raise ConfigError(f"{app} is a {type(found).__name__}, not a Worker")
    return found


def directory(app: str) -> Path:
    """Where the app's source is: that of the outermost package of its (imported) module; where the command was given,
    if that package is ours, since then a framework knows the app."""
    if app.startswith("worksong."):
        return Path.cwd()
    outermost = sys.modules[app.partition(":")[0].partition(".")[0]]
    places = getattr(outermost, "__path__", None)
    file = outermost.__file__
    if places:
        return Path(next(iter(places)))
    return Path(file).parent if file else Path.cwd()


def _module(name: str) -> ModuleType:
    try:
        return import_module(name)
    except ModuleNotFoundError as missing:
        if missing.name and (name == missing.name or name.startswith(f"{missing.name}.")):
            raise ConfigError(_no_module(name, missing.name)) from missing
        raise ConfigError(
            f"{name} cannot be imported: it needs the module {missing.name!r}, which is not installed"
        ) from missing
    except (Exception, SystemExit) as broken:
        raise ConfigError(f"{name} cannot be imported: {type(broken).__name__}: {broken}{_place(broken)}") from broken


def _no_module(name: str, missing: str) -> str:
    if Path(missing.replace("/", os.sep)).suffix == ".py" or "/" in name or name.endswith(".py"):
        dotted = name.removesuffix(".py").replace("/", ".")
        return f"{name!r} is a file; name the module instead: {dotted}:..."
    return f"there is no module {missing!r} in {Path.cwd()} or on the Python path"


def _place(broken: BaseException) -> str:
    """File and line of the app where it went wrong."""
    if isinstance(broken, SyntaxError):
        return ""
    frames = [f for f in traceback.extract_tb(broken.__traceback__) if "importlib" not in f.filename]
    return f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if len(frames) > 1 else ""


def _attribute(module: ModuleType, path: str) -> Any:
    try:
        return attrgetter(path)(module)
    except AttributeError:
        workers = [name for name, value in vars(module).items() if isinstance(value, Worker)]
        hint = f"; it has {', '.join(f'{module.__name__}:{name}' for name in workers)}" if workers else ""
        raise ConfigError(f"the module {module.__name__!r} has no {path!r}{hint}") from None
