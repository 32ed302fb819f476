"""The console, and no admin."""

from __future__ import annotations

from django.urls import include, path

urlpatterns = [path("back/office/", include("worksong.contrib.django.urls"))]
