"""What Django has to know of the app; it has no tables. Those of the jobs are made by `manage.py worksong migrate`."""

from __future__ import annotations
