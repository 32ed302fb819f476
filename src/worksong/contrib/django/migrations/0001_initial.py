"""The permission to act in the console."""

from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True
    dependencies = ()
    operations = (
        migrations.CreateModel(
            name="Console",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID"))
            ],
            options={
                "verbose_name": "job console",
                "verbose_name_plural": "job console",
                "permissions": (("operate", "Can retry, run, cancel, delete, pause and purge jobs"),),
                "managed": False,
                "default_permissions": (),
            },
        ),
    )
