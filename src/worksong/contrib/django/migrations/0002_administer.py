"""The permission to do more in the console than daily business."""

from __future__ import annotations

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = (("worksong", "0001_initial"),)
    operations = (
        migrations.AlterModelOptions(
            name="console",
            options={
                "verbose_name": "job console",
                "verbose_name_plural": "job console",
                "permissions": (
                    ("operate", "Can retry, run, cancel and delete jobs, and pause queues"),
                    (
                        "administer",
                        "Can purge queues, delete all jobs of a state, end workers, and see who ordered what",
                    ),
                ),
                "managed": False,
                "default_permissions": (),
            },
        ),
    )
