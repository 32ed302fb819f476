"""Django's own tasks, run by the project's worker.

`TASKS = {"default": {"BACKEND": "worksong.contrib.django.tasks.WorksongBackend"}}`, with Django 6, or before that with
the package django-tasks, which has the same under another name.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import wraps
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from django.core.exceptions import ImproperlyConfigured
from django.utils import timezone

from worksong.contrib.django.project import project_worker
from worksong.domain.errors import RegistrationError
from worksong.domain.job import Job
from worksong.engine.compile import is_coroutine
from worksong.engine.current import current

if TYPE_CHECKING:
    from django.tasks.backends.base import BaseTaskBackend
    from django.tasks.base import Task, TaskContext, TaskResult, TaskResultStatus
    from django.tasks.exceptions import InvalidTask
    from django.tasks.signals import task_enqueued
else:
    HOME = "django.tasks" if find_spec("django.tasks") else "django_tasks"
    BaseTaskBackend = import_module(f"{HOME}.backends.base").BaseTaskBackend
    _base, _exceptions = import_module(f"{HOME}.base"), import_module(f"{HOME}.exceptions")
    TaskContext, TaskResult, TaskResultStatus = _base.TaskContext, _base.TaskResult, _base.TaskResultStatus
    InvalidTask = getattr(_exceptions, "InvalidTask", None) or _exceptions.InvalidTaskError
    task_enqueued = import_module(f"{HOME}.signals").task_enqueued

P = ParamSpec("P")
R = TypeVar("R")

OF_TASKS = ("aliases", "queue", "unique")
"""Options of job types that Django's tasks say themselves, or cannot have."""


class WorksongBackend(BaseTaskBackend):
    """Each task is a job type of its own, called like its function with the module: `shop.tasks.send_receipt`.

    `OPTIONS` are those of job types, such as `{"max_fails": 1}`, for all tasks. What tasks return is asked of
    `worker.handle(result.id)`: Django would have to be told the task with it, and results do not keep that.
    """

    supports_defer = True
    supports_async_task = True

    def __init__(self, alias: str, params: dict[str, Any]) -> None:
        super().__init__(alias, params)
        refused = sorted(set(OF_TASKS) & set(self.options))
        if refused:
            raise ImproperlyConfigured(f"TASKS[{alias!r}]: OPTIONS cannot have {', '.join(refused)}")

    def validate_task(self, task: Task[..., Any]) -> None:
        """Django asks when a task is defined; that is when it becomes a job type."""
        super().validate_task(task)
        worker = project_worker()
        if worker.registry.find(task.module_path) is None:
            try:
                worker.register(task.module_path, self._handler(task), **self.options)
            except RegistrationError as wrong:
                raise InvalidTask(str(wrong)) from wrong

    def enqueue(self, task: Task[P, R], args: Sequence[Any], kwargs: Mapping[str, Any]) -> TaskResult[P, R]:
        """Enqueue it, with the commit of the open transaction; raises `InvalidArguments`."""
        self.validate_task(task)
        worker = project_worker()
        spec = worker.registry.find(task.module_path)
        assert spec is not None
        job = Job(spec.name, spec.signature.pack(tuple(args), kwargs), queue=task.queue_name)
        handle = worker.perform_at(job, _aware(task.run_after)) if task.run_after else worker.perform(job)
        assert handle is not None, "no task is unique"
        result = self._result(task, handle.job, TaskResultStatus.READY)
        task_enqueued.send(type(self), task_result=result)
        return result

    def _handler(self, task: Task[..., Any]) -> Callable[..., Any]:
        """The function of the task; where it takes Django's context first, within one that gives it that."""
        function: Callable[..., Any] = task.func
        if not task.takes_context:
            return function

        @wraps(function)
        def run(*args: Any, **kwargs: Any) -> Any:
            result = self._result(task, current().job, TaskResultStatus.RUNNING)
            return function(TaskContext(task_result=result), *args, **kwargs)

        @wraps(function)
        async def run_async(*args: Any, **kwargs: Any) -> Any:
            return await run(*args, **kwargs)

        wrapper = run_async if is_coroutine(function) else run
        signature = inspect.signature(function)
        without = signature.replace(parameters=list(signature.parameters.values())[1:])
        vars(wrapper)["__signature__"] = without
        return wrapper

    def _result(self, task: Task[P, R], job: Job, status: TaskResultStatus) -> TaskResult[P, R]:
        running = status is not TaskResultStatus.READY
        named, now = isinstance(job.args, dict), timezone.now()
        return TaskResult(
            task=task,
            id=job.id,
            status=status,
            enqueued_at=datetime.fromtimestamp(job.enqueued_at, UTC),
            started_at=now if running else None,
            finished_at=None,
            last_attempted_at=now if running else None,
            args=[] if named else list(job.args or ()),
            kwargs=dict(job.args) if isinstance(job.args, dict) else {},
            backend=self.alias,
            errors=[],
            worker_ids=["worksong"] * job.attempt if running else [],
        )


def _aware(when: datetime) -> datetime:
    """Without USE_TZ Django's times have no zone, and mean that of the setting."""
    return when if timezone.is_aware(when) else timezone.make_aware(when)
