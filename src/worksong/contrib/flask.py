"""worksong in a Flask application: jobs run in its context, `flask worksong run` runs them, a path has the console.

jobs = Worksong()

@jobs.worker.job()
def send_receipt(order_id: int) -> None: ...

def create_app() -> Flask:
    app = Flask(__name__)
    jobs.init_app(app)
    return app
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, cast

import click
from flask import Flask, current_app, has_app_context
from flask.cli import ScriptInfo
from flask.ctx import AppContext
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from worksong.domain.errors import ConfigError, NotStarted
from worksong.engine.compile import is_coroutine
from worksong.faces.cli.project import ProjectCommands
from worksong.faces.web import WsgiConsole
from worksong.worker import Worker

APP = "worksong.contrib.flask:worker"
KEY = "worksong"
FLASK_APP = "FLASK_APP"


class Worksong:
    """The extension. It takes from the configuration of the application:

    `WORKSONG_URL`, `WORKSONG_NAME`: where the jobs are, and the worker's name; otherwise as the variable WORKSONG_URL
    says, or the worker itself. `WORKSONG_CONSOLE`: the path of the console, such as `/jobs`; none by default.
    `WORKSONG_CONSOLE_TOKEN`, `WORKSONG_CONSOLE_OPERATOR_TOKEN`, `WORKSONG_CONSOLE_VIEWER_TOKEN`: who is let in, as an
    admin, to operate or to look, and under which names `WORKSONG_CONSOLE_HOSTS`; without tokens, this machine only.
    """

    def __init__(self, app: Flask | None = None, worker: Worker | None = None) -> None:
        """`worker`: one with options of your own."""
        self.worker = worker or Worker()
        self.worker.enclose = self._in_context
        self._app: Flask | None = None
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Belong to this application from now on; raises `ConfigError`."""
        said = _said(app)
        url = said.get("WORKSONG_URL") or os.environ.get("WORKSONG_URL") or self.worker.url
        name = said.get("WORKSONG_NAME") or self.worker.name
        if (url, name) != (self.worker.url, self.worker.name):  # another application of a test may say the same again
            self.worker.connect(url, name=name)
        self._app = app
        app.extensions[KEY] = self
        app.cli.add_command(ProjectCommands("worksong", APP, self._called))
        if path := said.get("WORKSONG_CONSOLE"):
            self._mount(app, path)

    def _mount(self, app: Flask, path: str) -> None:
        said = _said(app)
        if not path.startswith("/") or path.endswith("/"):
            raise ConfigError(f"WORKSONG_CONSOLE is {path!r}: write a path like /jobs")
        console = WsgiConsole(
            self.worker,
            token=said.get("WORKSONG_CONSOLE_TOKEN"),
            operator_token=said.get("WORKSONG_CONSOLE_OPERATOR_TOKEN"),
            viewer_token=said.get("WORKSONG_CONSOLE_VIEWER_TOKEN"),
            allowed_hosts=said.get("WORKSONG_CONSOLE_HOSTS", ()),
        )
        # In place of the method, as Flask asks for; an assignment is what type checkers refuse.
        vars(app)["wsgi_app"] = DispatcherMiddleware(app.wsgi_app, {path: console})

    def _called(self) -> Worker:
        """For a command, whose other processes find the application as it was found here."""
        info = click.get_current_context().find_object(ScriptInfo)
        if info and info.app_import_path:
            os.environ[FLASK_APP] = info.app_import_path
        return self.worker

    def _in_context(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The handler within an application context of its own, as Flask runs a view or a command."""
        if is_coroutine(function):

            @wraps(function)
            async def run_async(*args: Any, **kwargs: Any) -> Any:
                with self._context():
                    return await function(*args, **kwargs)

            return run_async

        @wraps(function)
        def run(*args: Any, **kwargs: Any) -> Any:
            with self._context():
                return function(*args, **kwargs)

        return run

    def _context(self) -> AppContext:
        if self._app is None:
            raise NotStarted("the worker belongs to a Flask application, and init_app(app) was not called yet")
        return self._app.app_context()


def _said(app: Flask) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", app.config)


def __getattr__(name: str) -> Any:
    """`worker`: that of the application, for processes that were not begun by it."""
    if name != "worker":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    app = current_app if has_app_context() else ScriptInfo(os.environ.get(FLASK_APP)).load_app()
    if KEY not in app.extensions:
        raise ConfigError(
            f"the application {app.name!r} has no worker: worksong.contrib.flask.Worksong().init_app(app)"
        )
    return app.extensions[KEY].worker
