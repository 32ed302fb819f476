"""The link from the admin to the console, where the project has one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import NoReverseMatch, reverse

from worksong.contrib.django.console import role_of
from worksong.contrib.django.models import Console
from worksong.faces.web import Role

if TYPE_CHECKING:  # what type checkers know of Django has parameters that Django itself has not
    ModelAdmin = admin.ModelAdmin[Console]
else:
    ModelAdmin = admin.ModelAdmin


@admin.register(Console)
class ConsoleAdmin(ModelAdmin):
    """A line in the index of the admin that leads to the console."""

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return role_of(request.user) is not Role.NOBODY and _is_mounted()

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        return redirect("worksong:console")


def _is_mounted() -> bool:
    try:
        reverse("worksong:console")
    except NoReverseMatch:
        return False
    return True
