"""No table: a name for the permissions to act, and for the link in the admin."""

from __future__ import annotations

from django.db import models


class Console(models.Model):
    """The web console."""

    class Meta:
        managed = False
        default_permissions = ()
        permissions = (
            ("operate", "Can retry, run, cancel and delete jobs, and pause queues"),
            ("administer", "Can purge queues, delete all jobs of a state, end workers, and see who ordered what"),
        )
        verbose_name = "job console"
        verbose_name_plural = "job console"
