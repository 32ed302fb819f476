"""Pages of the shop, its admin, and the console of its jobs for staff."""

from __future__ import annotations

from django.contrib import admin
from django.urls import include, path

from shop import views

urlpatterns = [
    path("orders", views.buy),
    path("orders/<int:order_id>", views.show),
    path("admin/", admin.site.urls),
    path("jobs/", include("worksong.contrib.django.urls")),
]
