"""The example for Django, held: its `manage.py`, and as an application for servers."""

from __future__ import annotations

import sys

from django.core.management import execute_from_command_line
from django.core.wsgi import get_wsgi_application

from frameworks.held.holding import hold_jobs_of
from frameworks.held.wsgi import Held
from worksong.contrib.django import worker

application = Held(get_wsgi_application())
hold_jobs_of(worker)

if __name__ == "__main__":
    execute_from_command_line(sys.argv)
