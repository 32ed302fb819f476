"""Right calls of the typed form: no type checker may find anything here."""

from __future__ import annotations

from collections.abc import Awaitable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, assert_type

from starlette.applications import Starlette

from worksong import Context, Discard, Handle, Job, JobType, Retry, Snooze, Worker, current


class Tenant(Context):
    """A context with a field of its own."""

    tenant: str = ""


worker = Worker(context=Tenant)
when = datetime.now(UTC) + timedelta(minutes=5)

# handlers of every form


@worker.job()
def total(amounts: list[int], tax: float = 0.0) -> float:
    return sum(amounts) * (1 + tax)


@worker.job(name="mail", max_fails=4, priority=10, queue="mails", timeout=5.0, retry_for=(OSError,))
async def send_email(user_id: int, subject: str = "hi") -> str:
    return f"{user_id}: {subject}"


@worker.job()
def with_job(job: Job, user_id: int) -> int:
    return job.attempt + user_id


@worker.job()
async def with_job_async(job: Job, user_id: int, /, *, urgent: bool = False) -> bytes:
    return f"{job.id} {user_id} {urgent}".encode()


@worker.job()
def with_context(ctx: Context, user_id: int) -> None:
    ctx.checkin(f"{user_id}")


@worker.job()
async def with_tenant(ctx: Tenant, user_id: int) -> str:
    ctx.progress(1, 2)
    return ctx.tenant


@worker.job(unique=True)
async def rebuild(index: str) -> int:
    return len(index)


@worker.job(unique="until_done")
def rebuild_once(ctx: Tenant, index: str) -> int:
    return len(index)


@worker.job(unique=False)
def never_unique(index: str) -> int:
    return len(index)


@worker.job()
def nothing() -> None: ...


@worker.job()
def decides(left: int) -> str | Retry | Snooze | Discard:
    return Retry(5) if left else "done"


@worker.job()
def takes_anything(value: object, times: int = 1) -> str:
    return str(value) * times


@worker.job()
async def takes_any(value: Any, times: int = 1) -> str:
    return str(value) * times


@worker.job(unique=True)
def takes_all(*values: Any, **more: Any) -> int:
    return len(values) + len(more)


@worker.job()
def takes_names(**amounts: int) -> int:
    return sum(amounts.values())


@worker.periodic("@hourly")
@worker.job()
def tick(count: int = 1) -> int:
    return count


@worker.middleware
def plain_layer(ctx: Context, call_next: object) -> object:
    return ctx


def raw(args: dict[str, object]) -> None: ...


class Mailer:
    def send(self, user_id: int) -> str:
        return str(user_id)


# the plain function is still there

assert_type(total([1, 2], tax=0.5), float)
assert_type(with_job(Job("with_job"), 7), int)
assert_type(with_context(Context(), user_id=7), None)
assert_type(rebuild_once(Tenant(), "users"), int)
assert_type(tick(2), int)


async def plain_calls() -> None:
    assert_type(await send_email(1), str)
    assert_type(await send_email(user_id=1, subject="x"), str)
    assert_type(await with_job_async(Job("x"), 7, urgent=True), bytes)
    assert_type(await with_tenant(Tenant(), 7), str)


# enqueueing: the injected parameter is none of the arguments


def enqueue() -> None:
    assert_type(total.perform([1, 2]), Handle[float])
    assert_type(total.perform(amounts=[1], tax=0.2), Handle[float])
    assert_type(send_email.perform(user_id=1), Handle[str])
    assert_type(send_email.perform(1, "x"), Handle[str])
    assert_type(with_job.perform(user_id=1), Handle[int])
    assert_type(with_job_async.perform(1, urgent=True), Handle[bytes])
    assert_type(with_context.perform(1), Handle[None])
    assert_type(with_tenant.perform(user_id=1), Handle[str])
    assert_type(nothing.perform(), Handle[None])
    assert_type(tick.perform(count=3), Handle[int])
    assert_type(decides.perform(0), Handle[str | Retry | Snooze | Discard])
    assert_type(send_email.perform(1).id, str)
    assert_type(send_email.perform(1).job, Job)


def enqueue_later() -> None:
    assert_type(send_email.perform_in(5, user_id=1), Handle[str])
    assert_type(send_email.perform_in(0.5, 1, subject="x"), Handle[str])
    assert_type(send_email.perform_in(timedelta(days=1), 1), Handle[str])
    assert_type(send_email.perform_at(when, user_id=1), Handle[str])
    assert_type(with_job.perform_in(5, 1), Handle[int])
    assert_type(with_tenant.perform_at(when, 1), Handle[str])


async def enqueue_async() -> None:
    assert_type(await send_email.aperform(user_id=1), Handle[str])
    assert_type(await with_context.aperform(1), Handle[None])
    assert_type(await with_job_async.aperform_in(5, 1, urgent=True), Handle[bytes])
    assert_type(await with_tenant.aperform_at(when, user_id=1), Handle[str])


# unique jobs: an enqueue may answer None


def enqueue_unique() -> None:
    assert_type(rebuild.perform("users"), Handle[int] | None)
    assert_type(rebuild_once.perform_in(5, index="users"), Handle[int] | None)
    assert_type(never_unique.perform("users"), Handle[int])
    assert_type(send_email.with_options(unique=True).perform(user_id=1), Handle[str] | None)
    assert_type(send_email.with_options(unique="until_done", unique_by={"user": 1}).perform(1), Handle[str] | None)
    assert_type(send_email.with_options(unique=False).perform(1), Handle[str])
    assert_type(send_email.with_options(queue="low", id="mail-1").perform(user_id=1), Handle[str])
    assert_type(send_email.with_options(connection=object()).perform(user_id=1), Handle[str])
    assert_type(send_email.with_options(unique=True, connection=object()).perform(user_id=1), Handle[str] | None)
    assert_type(with_tenant.with_options(queue="low").perform_in(5, user_id=1), Handle[str])
    handle = rebuild.perform("users")
    if handle is not None:
        assert_type(handle, Handle[int])


async def enqueue_unique_async() -> None:
    assert_type(await rebuild.aperform("users"), Handle[int] | None)
    assert_type(await send_email.with_options(unique=True).aperform(1), Handle[str] | None)


# a first parameter that takes anything is no injected one


def enqueue_anything() -> None:
    takes_anything.perform(5)
    takes_anything.perform(value="x", times=2)
    takes_any.perform_in(5, {"a": 1}, times=2)
    takes_all.perform(1, "x", more=[])
    assert_type(takes_names.perform(a=1, b=2), Handle[int])


# jobs as data


def enqueue_jobs() -> None:
    assert_type(send_email.job(user_id=1), Job)
    assert_type(with_tenant.job(1), Job)
    assert_type(worker.perform_many([send_email.job(1), with_job.job(user_id=2)]), list[Handle[Any] | None])
    worker.perform(Job("mail", {"user_id": 1}))
    worker.perform(Job(handler="mail", args=[1, "x"], queue="default"))
    worker.perform_in(Job("mail", {"user_id": 1}), timedelta(seconds=5))
    worker.perform_at(Job("mail", {"user_id": 1}), when)


async def enqueue_jobs_async() -> None:
    async with worker:
        await worker.aperform(send_email.job(1))
        await worker.aperform_in(send_email.job(1), 5)
        await worker.aperform_at(send_email.job(1), when)
        assert_type(await worker.aperform_many([]), list[Handle[Any] | None])


# register takes any callable; its job type takes anything

worker.register("raw", raw)
worker.register("bound", Mailer().send, max_fails=2)
worker.register("partial", partial(total, tax=0.2))
worker.register("lambda", lambda: None).perform()


# job types are values: handed on, they keep what they know


def schedule(job_type: JobType[[int], Handle[str], [int], str], user_id: int) -> Handle[str]:
    return job_type.perform(user_id)


def narrow(user_id: int) -> str:
    return str(user_id)


assert_type(schedule(worker.job()(narrow), 1), Handle[str])


async def awaits(job_type: JobType[[int], Handle[str], [int], Awaitable[str]]) -> str:
    assert_type(await job_type.aperform(1), Handle[str])
    return await job_type(1)


def deep_inside() -> Job:
    return current().job


# a handle of something is a handle of anything wider

wide: Handle[object] = send_email.perform(user_id=1)

# an application

Starlette(lifespan=worker.lifespan)
Starlette(lifespan=partial(worker.lifespan, worker_off=True, grace=60))
