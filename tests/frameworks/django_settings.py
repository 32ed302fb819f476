"""A project for `django_cases`: jobs in memory, users in a file of the directory it is started in."""

from __future__ import annotations

SECRET_KEY = "only for tests"
ALLOWED_HOSTS = ["shop.example"]
ROOT_URLCONF = "frameworks.django_urls"
USE_TZ = True
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "worksong.contrib.django",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": "users.db",
        "OPTIONS": {"transaction_mode": "IMMEDIATE", "timeout": 60},
        "TEST": {"NAME": "users-test.db"},
    }
}
LOGIN_URL = "/sign-in"
TASKS = {"default": {"BACKEND": "worksong.contrib.django.tasks.WorksongBackend", "OPTIONS": {"max_fails": 1}}}
WORKSONG = {"URL": "memory://", "NAME": "cases"}
