"""No table: a name for the permission to act, and for the link in the admin."""

from __future__ import annotations

from django.db import models


class Console(models.Model):
    """The web console."""

    class Meta:
        managed = False
        default_permissions = ()
        permissions = (("operate", "Can retry, run, cancel, delete, pause and purge jobs"),)
        verbose_name = "job console"
        verbose_name_plural = "job console"
