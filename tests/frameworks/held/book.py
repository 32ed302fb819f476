"""The example for Flask, held: as an application for servers, and for its command."""

from __future__ import annotations

from examples.flask_app.app import create_app, jobs

from frameworks.held.holding import hold_jobs_of
from frameworks.held.wsgi import Held

hold_jobs_of(jobs.worker)
app = create_app()
application = Held(app)
