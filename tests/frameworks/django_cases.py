"""What a Django project is promised; `test_django` runs these in a process of their own."""

from __future__ import annotations

import contextlib
import io
import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest import mock

import pymysql
from asgiref.sync import sync_to_async
from django.contrib.auth.models import Permission, User
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.db import connection, transaction
from django.db.utils import ConnectionHandler
from django.test import AsyncClient, Client, SimpleTestCase, TestCase, TransactionTestCase, override_settings

from worksong import ConfigError, InvalidArguments, Job
from worksong.contrib.django import worker as shared
from worksong.contrib.django.checks import check_setting
from worksong.contrib.django.project import DjangoWorker, project_worker
from worksong.contrib.django.setting import Setting, read, url_of
from worksong.contrib.django.tasks import HOME, WorksongBackend
from worksong.domain.lifecycle import State
from worksong.testing import drain, inline

task = import_module(HOME).task
SAME = {"Sec-Fetch-Site": "same-origin"}
HOST = "shop.example"


class TheSetting(SimpleTestCase):
    def test_what_cannot_be_meant_is_refused_with_what_could_be(self) -> None:
        for given, words in (
            ({"URLS": "memory://"}, "did you mean 'URL'"),
            ({"url": "memory://"}, "did you mean 'URL'"),
            ({"COLOUR": 1}, "it knows URL, DATABASE, NAME"),
            ({"CONCURRENCY": "many"}, "Expected `int`, got `str`"),
            ("memory://", "is a dict, not str"),
        ):
            with override_settings(WORKSONG=given), self.assertRaisesRegex(ConfigError, words):
                read()

    def test_jobs_are_in_one_place(self) -> None:
        with self.assertRaisesRegex(ConfigError, "name one of them"):
            url_of(Setting(url="memory://", database="default"))
        with mock.patch.dict("os.environ", {"WORKSONG_URL": ""}), self.assertRaisesRegex(ConfigError, "nothing says"):
            url_of(Setting())
        with mock.patch.dict("os.environ", {"WORKSONG_URL": "redis://r"}):
            self.assertEqual(url_of(Setting()), "redis://r")
            self.assertEqual(url_of(Setting(url="memory://")), "memory://")

    def test_a_database_of_the_project_is_named_by_its_alias(self) -> None:
        pymysql.version_info = (2, 2, 7, "final", 0)  # Django asks which mysqlclient it is
        pymysql.install_as_MySQLdb()
        for engine, said, url in (
            ("sqlite3", {"NAME": "/srv/a b.db"}, "sqlite:////srv/a%20b.db"),
            ("postgresql", {"NAME": "shop"}, "postgresql://localhost/shop"),
            (
                "postgresql",
                {"NAME": "shop", "USER": "ann", "PASSWORD": "p@/s:", "HOST": "db", "PORT": 6432},
                "postgresql://ann:p%40%2Fs%3A@db:6432/shop",
            ),
            ("postgresql", {"NAME": "shop", "HOST": "::1"}, "postgresql://[::1]/shop"),
            ("postgresql", {"NAME": "shop", "HOST": "/run/pg"}, "postgresql://localhost/shop?host=%2Frun%2Fpg"),
            (
                "postgresql",
                {"NAME": "shop", "OPTIONS": {"sslmode": "require"}},
                "postgresql://localhost/shop?sslmode=require",
            ),
            ("mysql", {"NAME": "shop", "HOST": "/run/my"}, "mysql://localhost/shop?unix_socket=%2Frun%2Fmy"),
            ("mysql", {"NAME": "shop", "OPTIONS": {"ssl_mode": "DISABLED"}}, "mysql://localhost/shop"),
            ("mysql", {"NAME": "shop", "OPTIONS": {"ssl_mode": "REQUIRED"}}, "mysql://localhost/shop?ssl=on"),
            ("mysql", {"NAME": "shop", "OPTIONS": {"ssl": True}}, "mysql://localhost/shop?ssl=on"),
        ):
            with databases(engine, said):
                self.assertEqual(url_of(Setting(database="default")), url)

    def test_tls_of_mysql_goes_along_or_is_refused(self) -> None:
        own = {"NAME": "shop", "OPTIONS": {"ssl": {"ca": "/srv/own.pem"}}}
        with databases("mysql", own):
            with mock.patch.dict("os.environ", {"SSL_CERT_FILE": "/srv/own.pem"}):
                self.assertEqual(url_of(Setting(database="default")), "mysql://localhost/shop?ssl=on")
            with (
                mock.patch.dict("os.environ", {"SSL_CERT_FILE": ""}),
                self.assertRaisesRegex(ConfigError, "SSL_CERT_FILE to /srv/own.pem"),
            ):
                url_of(Setting(database="default"))
        mutual = {"NAME": "shop", "OPTIONS": {"ssl": {"cert": "/srv/a.pem", "key": "/srv/a.key"}}}
        with databases("mysql", mutual), self.assertRaisesRegex(ConfigError, "say cert, key of TLS"):
            url_of(Setting(database="default"))

    def test_a_database_that_cannot_hold_jobs_is_refused(self) -> None:
        for engine, name, words in (
            ("sqlite3", ":memory:", "is in memory"),
            ("sqlite3", "file:x?mode=memory", "is in memory"),
        ):
            with databases(engine, {"NAME": name}), self.assertRaisesRegex(ConfigError, words):
                url_of(Setting(database="default"))
        with self.assertRaisesRegex(ConfigError, "'other', which DATABASES does not have"):
            url_of(Setting(database="other"))

    def test_the_check_says_what_is_wrong(self) -> None:
        try:
            for given, found in (
                ({"URL": "memory://"}, "worksong.W001"),
                ({"URL": "carrier-pigeon://"}, "worksong.E001"),
                ({"URL": "sqlite:///jobs.db"}, None),
                ({"NAME": ""}, "worksong.E001"),
            ):
                project_worker.cache_clear()
                with override_settings(WORKSONG=given):
                    self.assertEqual([message.id for message in check_setting(None)], [found] if found else [])
        finally:
            project_worker.cache_clear()


@contextlib.contextmanager
def databases(engine: str, said: dict[str, Any]) -> Iterator[None]:
    """A project with this database."""
    handler = ConnectionHandler({"default": {"ENGINE": f"django.db.backends.{engine}", **said}})
    with mock.patch("worksong.contrib.django.setting.connections", handler):
        yield


class Enqueueing(TransactionTestCase):
    """Jobs elsewhere than in the project's database."""

    def setUp(self) -> None:
        self.worker = DjangoWorker(Setting(url="memory://"))
        self.note = self.worker.register("note", lambda number=0: number)

    def waiting(self) -> int:
        counts = self.worker.admin.counts()
        return counts[State.QUEUED] + counts[State.SCHEDULED]

    def test_outside_of_a_transaction_it_is_at_once(self) -> None:
        self.note.perform(1)
        self.assertEqual(self.waiting(), 1)

    def test_in_a_transaction_it_is_with_the_commit(self) -> None:
        with transaction.atomic():
            handle = self.note.perform(1)
            self.note.perform_in(600, 2)
            self.note.perform_at(datetime.now(UTC) + timedelta(hours=1), 3)
            self.worker.perform_many([self.note.job(4), self.note.job(5)])
            self.worker.perform(Job("note", {"number": 6}, id="six"))
            with transaction.atomic():
                self.note.perform(7)
            self.assertEqual(self.waiting(), 0)
        self.assertEqual(self.waiting(), 7)
        # And a handle that was given before is that of the job
        drain(self.worker)
        self.assertEqual(handle.result(60), 1)

    def test_what_is_rolled_back_is_not_enqueued(self) -> None:
        with contextlib.suppress(ZeroDivisionError), transaction.atomic():
            self.note.perform(1)
            raise ZeroDivisionError
        with transaction.atomic(), contextlib.suppress(ZeroDivisionError), transaction.atomic():
            self.note.perform(2)
            raise ZeroDivisionError
        self.assertEqual(self.waiting(), 0)

    def test_what_does_not_fit_is_refused_where_it_is_called(self) -> None:
        with transaction.atomic(), self.assertRaisesRegex(InvalidArguments, "colour"):
            self.note.perform(colour="red")
        with transaction.atomic(), self.assertRaisesRegex(InvalidArguments, "negative"):
            self.note.perform_in(-1, 1)

    def test_a_project_may_have_it_at_once(self) -> None:
        at_once = DjangoWorker(Setting(url="memory://", on_commit=False))
        note = at_once.register("note", lambda: None)
        with transaction.atomic():
            note.perform()
            self.assertEqual(at_once.admin.counts()[State.QUEUED], 1)

    def test_inline_it_runs_at_once_all_the_same(self) -> None:
        with transaction.atomic(), inline(self.worker) as ran:
            self.note.perform(1)
            self.assertEqual(len(ran), 1)


class Elsewhere(TransactionTestCase):
    """The database of a test stands in for the one that the jobs are in."""

    def setUp(self) -> None:
        with databases("sqlite3", {"NAME": "real.db"}):
            self.worker = DjangoWorker(Setting(database="default"))
        self.note = self.worker.register("note", lambda number=0: number)

    def check_untouched(self) -> None:
        self.assertFalse(Path("real.db").exists())

    def test_nothing_reaches_the_real_one(self) -> None:
        for enqueue in (
            self.note.perform,
            lambda: self.worker.perform_many([self.note.job()]),
            lambda: self.note.perform_in(60),
        ):
            with self.assertRaisesRegex(ConfigError, "worksong.testing.inline"):
                enqueue()
            with self.assertRaisesRegex(ConfigError, "worksong.testing.inline"), transaction.atomic():
                enqueue()
        self.check_untouched()

    async def test_nor_do_the_verbs_for_async_code(self) -> None:
        with self.assertRaisesRegex(ConfigError, "worksong.testing.inline"):
            await self.note.aperform()
        self.check_untouched()

    def test_inline_it_runs(self) -> None:
        with inline(self.worker) as ran:
            self.note.perform(1)
        self.assertEqual(len(ran), 1)


class Connections(TransactionTestCase):
    """What a job leaves of Django's connections."""

    def test_a_job_leaves_none_open(self) -> None:
        worker, used = DjangoWorker(Setting(url="memory://")), []

        def ask() -> None:
            self.assertIsNone(connection.connection)
            User.objects.count()
            self.assertIsNotNone(connection.connection)
            used.append(own())

        async def ask_in_loop() -> None:
            await User.objects.acount()
            used.append(await sync_to_async(own)())

        for handler in (ask, ask_in_loop):
            worker.register(handler.__name__, handler).perform()
        self.assertEqual(drain(worker).done, 2)
        self.assertEqual([each.connection for each in used], [None, None])

    def test_coroutines_do_not_wait_for_the_queries_of_one_another(self) -> None:
        worker, meeting = DjangoWorker(Setting(url="memory://")), threading.Barrier(2, timeout=30)

        async def meet() -> None:
            await sync_to_async(meeting.wait)()

        both = worker.register("meet", meet)
        worker.perform_many([both.job(), both.job()])
        self.assertEqual(drain(worker).done, 2)


def own() -> Any:
    """The connection of the thread."""
    from django.db import connections

    return connections["default"]


@override_settings(ALLOWED_HOSTS=[HOST])
class TheConsole(TestCase):
    def setUp(self) -> None:
        self.client = Client(enforce_csrf_checks=True, headers={"Host": HOST, "Accept": "text/html"})
        pay = shared.registry.find("pay") or shared.register("pay", lambda: None)
        with self.captureOnCommitCallbacks(execute=True):  # Django's way to see a commit in a test
            shared.perform(Job(pay.name))

    def enter(self, name: str, *, staff: bool = True, operates: bool = False, administers: bool = False) -> None:
        user = User.objects.create_user(name, is_staff=staff)
        if operates:
            user.user_permissions.add(Permission.objects.get(codename="operate"))
        if administers:
            user.user_permissions.add(Permission.objects.get(codename="administer"))
        self.client.force_login(user)

    def order(self, **headers: str) -> int:
        form = {"queue": "default", "act": "pause"}
        body = "&".join(f"{name}={value}" for name, value in form.items())
        kind = "application/x-www-form-urlencoded"
        return self.client.post("/back/office/act/queue", body, content_type=kind, headers=headers).status_code

    def test_nobody_is_sent_to_sign_in(self) -> None:
        answer = self.client.get("/back/office/jobs?state=dead")
        self.assertRedirects(answer, "/sign-in?next=/back/office/jobs%3Fstate%3Ddead", fetch_redirect_response=False)
        self.assertEqual(self.client.get("/back/office/api/v1/counts").status_code, 403)
        self.assertEqual(self.order(**SAME), 302)

    def test_who_is_not_staff_is_refused(self) -> None:
        self.enter("carl", staff=False, operates=True)
        self.assertEqual(self.client.get("/back/office/").status_code, 403)
        self.assertEqual(self.order(**SAME), 403)

    def test_staff_looks_and_changes_nothing(self) -> None:
        self.enter("dora")
        for path in ("", "queues", "jobs", "workers", "cron", "errors", "static/console.css"):
            answer = self.client.get(f"/back/office/{path}")
            self.assertEqual(answer.status_code, 200, path)
            self.assertIn("default-src 'none'", answer["Content-Security-Policy"])
        page = self.client.get("/back/office/queues").content.decode()
        self.assertIn('href="/back/office/jobs"', page)
        self.assertNotIn("sign out", page)
        self.assertEqual(self.client.get("/back/office/api/v1/counts").json()["dead"], 0)
        self.assertEqual(self.order(**SAME), 403)

    def test_who_has_the_permission_acts_but_through_no_page_of_others(self) -> None:
        self.enter("eve", operates=True)
        self.addCleanup(shared.admin.resume, "default")
        self.assertEqual(self.order(**SAME), 303)
        self.assertEqual(self.client.get("/back/office/api/v1/counts").json()["paused"], ["default"])
        self.assertEqual(self.order(**{"Sec-Fetch-Site": "cross-site"}), 403)
        self.assertEqual(self.order(), 403)

    def test_what_sweeps_needs_a_permission_of_its_own_and_is_told_by_name(self) -> None:
        purge = json.dumps({"queue": "default", "act": "purge", "dry_run": True})
        for name, status in (("eve", 403), ("adam", 200)):
            self.enter(name, operates=True, administers=name == "adam")
            answer = self.client.post("/back/office/api/v1/queues", purge, content_type="application/json")
            self.assertEqual(answer.status_code, status)
            self.assertEqual(self.client.get("/back/office/audit").status_code, status)
        page = self.client.get("/back/office/audit").content.decode()
        self.assertIn("eve", page)
        self.assertIn('data-changes=""', page)

    def test_another_name_is_refused_as_django_does(self) -> None:
        self.enter("eve", operates=True)
        self.assertEqual(self.client.get("/back/office/", headers={"Host": "evil.example"}).status_code, 400)

    @override_settings(ALLOWED_HOSTS=["testserver"])
    async def test_it_works_under_asgi_as_well(self) -> None:
        user = await User.objects.acreate(username="eve", is_staff=True, is_superuser=True)
        client = AsyncClient()
        await client.aforce_login(user)
        answer = await client.get("/back/office/jobs?state=dead")
        self.assertEqual(answer.status_code, 200)
        self.assertIn(b"No dead jobs", answer.content)


@task
def add(a: int, b: int = 0) -> int:
    return a + b


@task(takes_context=True)
def told(context: Any, name: str) -> list[Any]:
    return [name, context.attempt, context.task_result.kwargs]


@task(takes_context=True)
async def told_in_loop(context: Any, name: str) -> list[Any]:
    return [name, context.attempt]


class Tasks(TransactionTestCase):
    """Django's own tasks."""

    def value(self, result: Any) -> Any:
        drain(shared)
        return shared.handle(result.id).result(60)

    def test_a_task_is_a_job_type_of_its_own(self) -> None:
        result = add.enqueue(1, b=2)
        self.assertEqual((result.kwargs, result.is_finished), ({"a": 1, "b": 2}, False))
        self.assertEqual(self.value(result), 3)
        spec = shared.registry.find("frameworks.django_cases.add")
        assert spec
        self.assertEqual(spec.options.max_fails, 1)

    def test_it_may_be_told_of_itself(self) -> None:
        self.assertEqual(self.value(told.enqueue("ann")), ["ann", 1, {"name": "ann"}])
        self.assertEqual(self.value(told_in_loop.enqueue(name="ann")), ["ann", 1])

    def test_it_comes_with_the_commit_and_at_its_time(self) -> None:
        before = shared.admin.scheduled().total
        with transaction.atomic():
            add.using(run_after=datetime.now(UTC) + timedelta(hours=1)).enqueue(1)
            self.assertEqual(shared.admin.scheduled().total, before)
        self.assertEqual(shared.admin.scheduled().total, before + 1)

    async def test_coroutines_enqueue_as_well(self) -> None:
        result = await add.aenqueue(5)
        self.assertEqual(await sync_to_async(self.value)(result), 5)

    def test_what_cannot_be_is_refused(self) -> None:
        with self.assertRaisesRegex(InvalidArguments, "colour"):
            add.enqueue(colour="red")
        with self.assertRaisesRegex(Exception, "priority"):
            add.using(priority=5)
        with self.assertRaisesRegex(ImproperlyConfigured, "cannot have unique"):
            WorksongBackend("default", {"OPTIONS": {"unique": True}})


class TheCommand(SimpleTestCase):
    def test_it_is_that_of_worksong(self) -> None:
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            call_command("worksong", "status", "--json")
        self.assertIn("queued", json.loads(said.getvalue()))
