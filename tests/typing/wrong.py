"""Planted mistakes: every line marked `# error`, and no other, must be reported by each type checker."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from worksong import Context, Handle, Job, Worker


class Tenant(Context):
    tenant: str = ""


worker = Worker(context=Tenant)
when = datetime.now(UTC)


@worker.job()
def resize(image_id: int, width: int = 100) -> bytes:
    return bytes(width)


@worker.job(priority=10)
async def send_email(user_id: int, subject: str = "hi") -> str:
    return f"{user_id}: {subject}"


@worker.job()
def with_job(job: Job, user_id: int) -> int:
    return user_id


@worker.job()
async def with_context(ctx: Context, user_id: int) -> str:
    return ctx.job.id


@worker.job()
async def with_tenant(ctx: Tenant, user_id: int) -> str:
    return ctx.tenant


@worker.job(unique=True)
async def rebuild(index: str) -> int:
    return len(index)


# wrong type


def wrong_types() -> None:
    resize.perform("12")  # error
    resize.perform(image_id=12, width="wide")  # error
    send_email.perform(user_id="12")  # error
    with_job.perform(user_id=None)  # error
    with_tenant.perform("12")  # error
    resize.job(image_id="12")  # error


# missing


def missing() -> None:
    resize.perform()  # error
    send_email.perform(subject="x")  # error
    with_job.perform()  # error
    with_context.perform()  # error


# misspelt, or too many


def misspelt() -> None:
    resize.perform(12, widths=5)  # error
    send_email.perform(user_di=12)  # error
    with_tenant.perform(user_id=12, tenant="x")  # error
    resize.perform(1, 2, 3)  # error


# through delays and times


def later() -> None:
    send_email.perform_in(5, user_id="12")  # error
    send_email.perform_in(5)  # error
    send_email.perform_in("5", user_id=12)  # error
    send_email.perform_in(user_id=12)  # error
    with_job.perform_in(timedelta(seconds=5), user_di=12)  # error
    resize.perform_at(when, image_id="12")  # error
    resize.perform_at(5, image_id=12)  # error
    worker.perform_at(resize.job(12), 5)  # error


# through options


def options() -> None:
    send_email.with_options(unique=True).perform(user_id="12")  # error
    send_email.with_options(queue="low").perform_in(5, user_di=12)  # error
    with_tenant.with_options(queue="low").perform()  # error
    send_email.with_options(queues="low")  # error
    send_email.with_options(unique="until_dawn")  # error
    send_email.perform(user_id=12, queue="low")  # error


# async


async def twins() -> None:
    await send_email.aperform(user_id="12")  # error
    await with_context.aperform()  # error
    await with_job.aperform_in(5, user_di=12)  # error
    await resize.aperform_at(when, 12, width=None)  # error


# the result of a handle


async def results() -> None:
    one: Handle[bytes] = send_email.perform(user_id=12)  # error
    two: Handle[str] = with_job.perform(user_id=12)  # error
    three: Handle[int] = rebuild.perform("users")  # error
    four: Handle[int] = await with_tenant.aperform(user_id=12)  # error
    five: Handle[str] = send_email.with_options(unique=True).perform(user_id=12)  # error
    six = rebuild.perform("users").id  # error
    print(one, two, three, four, five, six)


# what is injected is not given


def injected() -> None:
    with_job.perform(Job("with_job"), 12)  # error
    with_job.perform(job=Job("with_job"), user_id=12)  # error
    with_context.perform(ctx=Context(), user_id=12)  # error
    with_tenant.perform(Tenant(), 12)  # error


# but in the plain call it is


async def plain() -> None:
    with_job(12)  # error
    await with_tenant(Context(), 12)  # error
    resize("12")  # error
    width: int = await send_email(12)  # error
    print(width)
