"""The console below a path of the project: `path("jobs/", include("worksong.contrib.django.urls"))`."""

from __future__ import annotations

from django.urls import path, re_path

from worksong.contrib.django.console import console

app_name = "worksong"
urlpatterns = [path("", console, name="console"), re_path(r"^(?P<rest>.+)$", console)]
