"""Django: the example project as its users have it, and what is particular to a framework that knows its users."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from frameworks.stage import ROOT, Python, Site
from patience import until

MANAGE = str(ROOT / "examples" / "django_shop" / "manage.py")
ORDER = {"email": "ann@example.com", "cents": "4900", "card": "4242"}


class Project:
    """The shop, in a database of its own."""

    def __init__(self, python: Python, place: Path) -> None:
        self._python, self._place = python, place

    def start(self, *args: str, **env: str) -> Site:
        return Site(self._python(MANAGE, *args, SHOP_DB=str(self._place / "shop.db"), **env), "development server at")

    def manage(self, *args: str, **env: str) -> str:
        """A command that must succeed; what it prints."""
        program = self._python(MANAGE, *args, SHOP_DB=str(self._place / "shop.db"), **env)
        assert program.wait() == 0, program.output
        return program.output


@pytest.fixture
def project(python: Python, tmp_path: Path) -> Project:
    return Project(python, tmp_path)


def test_an_order_and_its_job_are_one_transaction_and_a_command_runs_it(project: Project) -> None:
    project.manage("migrate", "--verbosity", "0")
    site = project.start("runserver", "--noreload", "127.0.0.1:0")
    # When one order is paid and another one's card is refused
    paid = site.post("/orders", data=ORDER)
    assert paid.status_code == 201, paid.text
    assert site.post("/orders", data={**ORDER, "card": "0000"}).status_code == 402
    # Then only the first has a job, which waits for a worker
    assert json.loads(project.manage("worksong", "status", "--json"))["queued"] == 1
    assert site.get(f"/orders/{paid.json()['order']}").json()["receipt"] == ""
    # And a worker of the project, in two processes, finds the order
    project.manage("worksong", "run", "--burst", "--processes", "2")
    assert site.get(f"/orders/{paid.json()['order']}").json()["receipt"] == "ann@example.com paid 49.00"
    # And whoever is staff finds the console through the admin
    project.manage("createsuperuser", "--noinput", "--username", "eve", "--email", "", DJANGO_SUPERUSER_PASSWORD="eve")
    sign_in(site, "eve")


def sign_in(site: Site, name: str) -> None:
    page = site.get("/jobs/", follow_redirects=True)
    assert page.url.path == "/admin/login/"
    token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page.text)
    assert token
    fields = {"username": name, "password": name, "csrfmiddlewaretoken": token[1], "next": "/admin/"}
    cookies = {"csrftoken": page.cookies.get("csrftoken") or ""}
    answer = site.post("/admin/login/", data=fields, cookies=cookies)
    assert answer.status_code == 302, answer.text
    signed_in = {"sessionid": answer.cookies["sessionid"]}
    assert "/admin/worksong/console/" in site.get("/admin/", cookies=signed_in).text
    page = site.get("/admin/worksong/console/", cookies=signed_in, follow_redirects=True)
    assert page.url.path == "/jobs/"
    until(lambda: site.get("/jobs/queues", cookies=signed_in).status_code == 200, "the page is there")


def test_the_tests_of_the_example_pass(project: Project) -> None:
    assert "OK" in project.manage("test", "shop")


def test_its_migrations_are_all_there(project: Project) -> None:
    assert "No changes" in project.manage("makemigrations", "--check", "--dry-run")


def test_in_a_project(python: Python) -> None:
    """The cases of `django_cases`, which need a process of their own: Django is set up once in each."""
    ran = python("-m", "django", "test", "frameworks.django_cases", DJANGO_SETTINGS_MODULE="frameworks.django_settings")
    assert ran.wait() == 0, ran.output


def test_a_broken_registration_is_told_by_django_and_a_broken_setting_by_its_check(
    python: Python, tmp_path: Path
) -> None:
    # Given a project, one of whose apps registers what cannot be
    app = tmp_path / "shop"
    app.mkdir()
    (app / "__init__.py").touch()
    (app / "jobs.py").write_text(
        "from worksong.contrib.django import worker\n\n@worker.job(colour=1)\ndef pay() -> None: ...\n"
    )
    settings = "from frameworks.django_settings import *\n\nINSTALLED_APPS = [*INSTALLED_APPS, 'shop']\n"
    (tmp_path / "broken.py").write_text(settings)
    (tmp_path / "unset.py").write_text(f"{settings}WORKSONG = {{'URLS': 'memory://'}}\n")
    path = f"{ROOT / 'tests'}:{tmp_path}"
    # When it starts, then it says so, and does not go on without the job
    started = python("-m", "django", "check", DJANGO_SETTINGS_MODULE="broken", PYTHONPATH=path)
    assert started.wait() == 1
    assert "RegistrationError" in started.output
    # And a setting that cannot be is what the check is for
    checked = python("-m", "django", "check", DJANGO_SETTINGS_MODULE="unset", PYTHONPATH=path)
    assert checked.wait() == 1
    assert "worksong.E001" in checked.output
