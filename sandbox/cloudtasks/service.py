"""The tasks themselves: creation with its checks, names, and the state that the HTTP interface and the dispatchers share."""

from __future__ import annotations

import asyncio
import random
import re
from collections import Counter
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import httpx
from google.cloud.tasks_v2.types import HttpMethod

from sandbox.cloudtasks.api import make_app
from sandbox.cloudtasks.dispatch import Dispatcher
from sandbox.cloudtasks.errors import ApiError
from sandbox.cloudtasks.oidc import test_key_signer
from sandbox.cloudtasks.queues import RETENTION, Attempt, Queue, StoredTask, as_datetime
from sandbox.cloudtasks.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from sandbox.clock import Clock

_QUEUE_ID = re.compile(r"[A-Za-z0-9-]{1,100}")
_TASK_NAME = re.compile(
    r"projects/[A-Za-z0-9:.-]+/locations/[A-Za-z0-9-]+/queues/[A-Za-z0-9-]{1,100}/tasks/[A-Za-z0-9_-]{1,500}"
)
_TASK_SIZE_LIMIT = 100 * 1024
_URL_LIMIT = 2083
_HEADERS_LIMIT = 80 * 1024
_FURTHEST = timedelta(days=30)
_DEADLINE_RANGE_S = (15.0, 1800.0)
_DEADLINE_DEFAULT_S = 600.0
_ATTEMPTS_KEPT = 20_000
_WITH_BODY = {HttpMethod.POST, HttpMethod.PUT, HttpMethod.PATCH}


class CloudTasks:
    """Queues, their tasks, and the REST API over them.

    `app` is to be served on loopback; `start()` begins to dispatch. Any project and location is accepted: a queue is known by
    its id.

    Args:
        queues: what exists from the start; more can be made through the API.
        clock: the sandbox's; schedule times, backoff, rates and tombstones follow it, attempt deadlines are real time.
        store: SQLite file that keeps tasks, used names and paused queues between runs; None keeps nothing.
        tombstone: how long a used name stays used.
        deadline_limit: real seconds that no attempt may outlast whatever its own deadline says; for tests.
    """

    def __init__(
        self,
        queues: Iterable[Queue],
        *,
        clock: Clock,
        store: Path | None = None,
        tombstone: timedelta = timedelta(hours=24),
        deadline_limit: float | None = None,
    ) -> None:
        self.clock = clock
        self.attempts: list[Attempt] = []
        self.signer = test_key_signer()
        self.tombstone = tombstone
        self.deadline_limit = deadline_limit
        self.purged: dict[str, datetime] = {}
        self.tasks: dict[str, StoredTask] = {}
        self._store = Store(store)
        self._tombstones = self._store.tombstones()
        self._lost: Counter[str] = Counter()
        self._failing: dict[str, tuple[int, int, bool]] = {}
        self._doubling: Counter[str] = Counter()
        self._dispatchers: dict[str, Dispatcher] = {}
        self._client: httpx.AsyncClient | None = None
        self._changed = asyncio.Event()
        for queue in queues:
            self.add_queue(queue)
        for name in self._store.paused():
            if name in self._dispatchers:
                self._dispatchers[name].paused = True
        for task in self._store.tasks():
            if task.queue in self._dispatchers:
                self.tasks[task.name] = task
                self._dispatchers[task.queue].schedule(task)
        self.app = make_app(self)

    # -- life ----------------------------------------------------------------------------------------------------------

    @property
    def client(self) -> httpx.AsyncClient:
        """What attempts are made with."""
        if self._client is None:
            limits = httpx.Limits(max_connections=None, max_keepalive_connections=100)
            self._client = httpx.AsyncClient(timeout=httpx.Timeout(None, connect=10), limits=limits, trust_env=False)
        return self._client

    async def start(self) -> None:
        """Begin to dispatch."""
        for dispatcher in self._dispatchers.values():
            dispatcher.start()

    async def stop(self) -> None:
        """End for good: attempts under way are cut, and tried again by the next `CloudTasks` on the same store."""
        await asyncio.gather(*(dispatcher.stop() for dispatcher in self._dispatchers.values()))
        if self._client is not None:
            await self._client.aclose()
            self._client = None
        self._store.close()

    async def idle(self, timeout: float = 10.0, *, include_scheduled: bool = False) -> None:  # noqa: ASYNC109 - a bound is the point of it
        """Return when nothing runs and nothing of a running queue could be run now.

        Args:
            timeout: real seconds; TimeoutError after that.
            include_scheduled: wait also for what is due later (a retry, a schedule time), through waiting or time travel.
        """
        async with asyncio.timeout(timeout):
            while self._busy(include_scheduled=include_scheduled):
                changed = self._changed
                await changed.wait()

    def _busy(self, *, include_scheduled: bool) -> bool:
        now = self.clock.now()
        for task in self.tasks.values():
            if task.running:
                return True
            if not self._dispatchers[task.queue].paused and (include_scheduled or task.eta <= now):
                return True
        return any(dispatcher.running for dispatcher in self._dispatchers.values())

    def changed(self) -> None:
        """Wake everybody who waits in `idle`."""
        self._changed.set()
        self._changed = asyncio.Event()

    # -- queues --------------------------------------------------------------------------------------------------------

    def add_queue(self, queue: Queue) -> None:
        """Make a queue. Raises ValueError for a bad id or one that exists."""
        if not _QUEUE_ID.fullmatch(queue.name) or queue.name in self._dispatchers:
            raise ValueError(f"bad or used queue id {queue.name!r}")
        self._dispatchers[queue.name] = Dispatcher(self, queue)

    def dispatcher(self, queue: str) -> Dispatcher:
        """The queue by its id; KeyError when there is none."""
        return self._dispatchers[queue]

    @property
    def queues(self) -> dict[str, Queue]:
        """Configuration by queue id."""
        return {name: dispatcher.queue for name, dispatcher in self._dispatchers.items()}

    def is_paused(self, queue: str) -> bool:
        """Whether the queue is paused."""
        return self._dispatchers[queue].paused

    def pause(self, queue: str) -> None:
        """Stop dispatching from the queue; tasks can still be added."""
        self._set_paused(queue, paused=True)

    def resume(self, queue: str) -> None:
        """Dispatch again."""
        self._set_paused(queue, paused=False)

    def _set_paused(self, queue: str, *, paused: bool) -> None:
        dispatcher = self._dispatchers[queue]
        dispatcher.paused = paused
        dispatcher.wake()
        self._store.set_paused(queue, paused=paused)
        self.changed()

    def purge(self, queue: str) -> None:
        """Delete all tasks of the queue; what is being attempted ends unheard."""
        dispatcher = self._dispatchers[queue]
        self.purged[queue] = self.clock.now()
        for task in [task for task in self.tasks.values() if task.queue == dispatcher.queue.name]:
            self.forget(task)

    # -- faults on demand ----------------------------------------------------------------------------------------------

    def lose_next(self, queue: str, count: int = 1) -> None:
        """The next creates are answered 200 and then forgotten, names used up."""
        self._lost[queue] += count

    def fail_next_create(self, queue: str, count: int = 1, *, status: int = 503, stored: bool = False) -> None:
        """The next creates are answered with an error; with `stored` the task is there all the same (an unclear outcome)."""
        self._failing[queue] = (count, status, stored)

    def double_next(self, queue: str, count: int = 1) -> None:
        """The next tasks created are delivered twice at once, as at-least-once delivery may do."""
        self._doubling[queue] += count

    # -- tasks ---------------------------------------------------------------------------------------------------------

    def create(self, parent: str, message: Any) -> Any:
        """CreateTask: check, name and store; returns the task's message.

        Raises:
            ApiError: as the real service answers.
        """
        queue = parent.rpartition("/")[2]
        if queue not in self._dispatchers:
            raise ApiError(
                404,
                "Queue does not exist. If you just created the queue, wait at least a minute for the queue to initialize.",
            )
        failure = self._take_failure(queue)
        if failure is not None and not failure[1]:
            raise ApiError(failure[0], "the sandbox was told to fail this")
        self._check(parent, message)
        now = self.clock.now()
        if not message.name:
            message.name = f"{parent}/tasks/{random.randrange(10**18, 10**19)}"  # noqa: S311 - an id, not a secret
        elif self._is_used(message.name, now):
            raise ApiError(409, "Requested entity already exists")
        self._fill_in(message, now)
        task = StoredTask(queue, message)
        if self._lost[queue] > 0:
            self._lost[queue] -= 1
            self._bury(task.name, now)
        else:
            if self._doubling[queue] > 0:
                self._doubling[queue] -= 1
                task.doubled = True
            self.tasks[task.name] = task
            self._store.save(task)
            self._dispatchers[queue].schedule(task)
        if failure is not None:
            raise ApiError(failure[0], "the sandbox was told to fail this after storing it")
        return message

    def run_now(self, name: str) -> StoredTask:
        """RunTask: attempt now, whatever the queue's state, rate or the task's time. KeyError when there is no such task."""
        task = self.tasks[name]
        task.message.schedule_time.FromDatetime(self.clock.now())
        self.keep(task)
        self._dispatchers[task.queue].force(task)
        return task

    def keep(self, task: StoredTask) -> None:
        """Write a changed task through, unless it was deleted meanwhile."""
        if task.name in self.tasks:
            self._store.save(task)

    def forget(self, task: StoredTask) -> None:
        """The task is done, given up, deleted or purged: only its name stays."""
        if self.tasks.pop(task.name, None) is not None:
            self._bury(task.name, self.clock.now())
        self._dispatchers[task.queue].wake()
        self.changed()

    def record(self, attempt: Attempt) -> None:
        """Add to `attempts`, dropping the oldest of very many."""
        self.attempts.append(attempt)
        if len(self.attempts) > _ATTEMPTS_KEPT:
            del self.attempts[: _ATTEMPTS_KEPT // 4]

    def deadline(self, task: StoredTask) -> float:
        """Real seconds that an attempt of the task may take."""
        own: float = task.message.dispatch_deadline.ToTimedelta().total_seconds()
        return own if self.deadline_limit is None else min(own, self.deadline_limit)

    def _take_failure(self, queue: str) -> tuple[int, bool] | None:
        if queue not in self._failing:
            return None
        count, status, stored = self._failing.pop(queue)
        if count > 1:
            self._failing[queue] = (count - 1, status, stored)
        return status, stored

    def _is_used(self, name: str, now: datetime) -> bool:
        until = self._tombstones.get(name)
        if until is not None and until <= now:
            self._tombstones = {used: moment for used, moment in self._tombstones.items() if moment > now}
            self._store.forget_tombstones(now)
        return name in self.tasks or name in self._tombstones

    def _bury(self, name: str, now: datetime) -> None:
        self._tombstones[name] = now + self.tombstone
        self._store.remove(name, now + self.tombstone)

    def _check(self, parent: str, message: Any) -> None:
        _check_name(parent, message.name)
        if message.WhichOneof("message_type") != "http_request":
            raise ApiError(400, "Task.httpRequest must be set: App Engine targets are not part of the sandbox.")
        _check_request(message.http_request)
        if message.ByteSize() > _TASK_SIZE_LIMIT:
            raise ApiError(400, "Task size too large")
        if message.HasField("dispatch_deadline"):
            low, high = _DEADLINE_RANGE_S
            if not low <= message.dispatch_deadline.ToTimedelta().total_seconds() <= high:
                raise ApiError(400, "Task.dispatchDeadline must be between [15s, 30m].")
        if message.HasField("schedule_time") and as_datetime(message.schedule_time) > self.clock.now() + _FURTHEST:
            raise ApiError(
                400, "The Task.scheduleTime is too far in the future. It must be no more than 720h in the future."
            )

    def _fill_in(self, message: Any, now: datetime) -> None:
        for output_only in ("dispatch_count", "response_count", "first_attempt", "last_attempt", "create_time"):
            message.ClearField(output_only)
        message.create_time.FromDatetime(now.replace(microsecond=0))
        if not message.HasField("schedule_time") or as_datetime(message.schedule_time) < now:
            message.schedule_time.FromDatetime(now)
        if not message.HasField("dispatch_deadline"):
            message.dispatch_deadline.FromTimedelta(timedelta(seconds=_DEADLINE_DEFAULT_S))
        if not message.http_request.http_method:
            message.http_request.http_method = HttpMethod.POST
        message.http_request.headers["User-Agent"] = "Google-Cloud-Tasks"

    def is_expired(self, task: StoredTask) -> bool:
        """Kept longer than any task is."""
        return self.clock.now() - as_datetime(task.message.create_time) > RETENTION


def _check_name(parent: str, name: str) -> None:
    if not name:
        return
    if not _TASK_NAME.fullmatch(name):
        raise ApiError(
            400,
            "Task name must be formatted: "
            '"projects/<PROJECT_ID>/locations/<LOCATION_ID>/queues/<QUEUE_ID>/tasks/<TASK_ID>"',
        )
    if name.rpartition("/tasks/")[0] != parent:
        raise ApiError(
            400,
            f'The queue name from request ("{parent}") must be the same as the queue name in the named task ("{name}").',
        )


def _check_request(request: Any) -> None:
    if not request.url.startswith(("http://", "https://")):
        raise ApiError(400, "HttpRequest.url must start with 'http://' or 'https://'.")
    try:
        host = httpx.URL(request.url).host
    except httpx.InvalidURL:
        host = ""
    if not host:
        raise ApiError(400, "HttpRequest.url is malformed.")
    if len(request.url) > _URL_LIMIT:
        raise ApiError(400, f"HttpRequest.url must be at most {_URL_LIMIT} characters.")
    if sum(len(name) + len(value) for name, value in request.headers.items()) >= _HEADERS_LIMIT:
        raise ApiError(400, "HttpRequest.headers must be less than 80KB.")
    if request.body and request.http_method and request.http_method not in _WITH_BODY:
        raise ApiError(400, "HTTP request body is allowed only for POST, PUT and PATCH.")
