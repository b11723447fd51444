"""What can be done with queues and tasks: creation with its checks, dispatching, faults on demand."""

from __future__ import annotations

import asyncio
import random
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from google.cloud.tasks_v2.types import HttpMethod

from sandbox.cloud.cloudtasks.checks import QUEUE_ID, check_queue, check_task
from sandbox.cloud.cloudtasks.dispatch import Dispatcher
from sandbox.cloud.cloudtasks.errors import BAD_QUEUE_NAME, NO_QUEUE, ApiError
from sandbox.cloud.cloudtasks.faults import Doubling
from sandbox.cloud.cloudtasks.queues import Queue, StoredTask, as_datetime
from sandbox.cloud.cloudtasks.tasks import Tasks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from sandbox.stand_in.clock import Clock

_DEADLINE_DEFAULT_S = 600.0
QUEUE_TOMBSTONE = timedelta(days=7)


class TaskService(Tasks):
    """Queues and their tasks.

    `start()` begins to dispatch. Any project and location is accepted: a queue is known by its id.

    `faults` is what goes wrong on purpose.

    Args:
        queues: what exists from the start, as described here whatever was done to it before; more can be made through the API.
        clock: the sandbox's; schedule times, backoff, rates and tombstones follow it, attempt deadlines are real time.
        store: SQLite file that keeps tasks, used names and what was done to queues between runs; None keeps nothing.
        tombstone: how long a used name stays used.
        grants: queues by caller, for callers that say who they are (`api.CALLERS`): another queue is 403, as it is where Terraform
            granted none.
        acts_as: accounts by caller, as whom such a caller may have its tasks call; another account is 403.
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
        grants: Mapping[str, Iterable[str]] | None = None,
        acts_as: Mapping[str, Iterable[str]] | None = None,
    ) -> None:
        super().__init__(clock=clock, store=store, tombstone=tombstone, deadline_limit=deadline_limit)
        self.grants = {caller: frozenset(queues) for caller, queues in (grants or {}).items()}
        self.acts_as = {caller: frozenset(accounts) for caller, accounts in (acts_as or {}).items()}
        self.purged: dict[str, datetime] = {}
        self._deleted_queues = self._store.deleted_queues()
        self._dispatchers: dict[str, Dispatcher] = {}
        self._retired: list[Dispatcher] = []
        for queue in queues:
            self.add_queue(queue)
        for queue in self._store.made_queues():
            if queue.name not in self._dispatchers:
                self.add_queue(queue)
        for name in self._store.paused():
            if name in self._dispatchers:
                self._dispatchers[name].paused = True
        for task in self._store.tasks():
            if task.queue in self._dispatchers:
                self.tasks[task.name] = task
                self._dispatchers[task.queue].schedule(task)

    # -- start and stop ----------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Begin to dispatch."""
        for dispatcher in self._dispatchers.values():
            dispatcher.start()

    async def stop(self) -> None:
        """End for good: attempts under way are cut, and tried again by the next `CloudTasks` on the same store."""
        await asyncio.gather(*(dispatcher.stop() for dispatcher in self._all_dispatchers()))
        await self.close()

    async def idle(self, timeout: float = 30.0, *, include_scheduled: bool = False) -> None:  # noqa: ASYNC109 - a bound is the point of it
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
        soon = self.clock.now() + timedelta(seconds=self.faults.disorder_s)
        for dispatcher in self._all_dispatchers():
            if dispatcher.running:
                return True
            task = None if dispatcher.paused else dispatcher.first()
            if task is not None and (include_scheduled or task.due <= soon):
                return True
        return False

    def _all_dispatchers(self) -> list[Dispatcher]:
        self._retired = [dispatcher for dispatcher in self._retired if dispatcher.running]
        return [*self._dispatchers.values(), *self._retired]

    # -- queues --------------------------------------------------------------------------------------------------------

    def add_queue(self, queue: Queue) -> None:
        """Make a queue. Raises ValueError for a bad id or one that exists."""
        if not QUEUE_ID.fullmatch(queue.name) or queue.name in self._dispatchers:
            raise ValueError(f"bad or used queue id {queue.name!r}")
        self._dispatchers[queue.name] = Dispatcher(self, queue)

    def create_queue(self, name: str, message: Any) -> None:
        """CreateQueue: check it, make it and dispatch from it.

        Raises:
            ApiError: as the real service answers.
        """
        check_queue(message)
        if not QUEUE_ID.fullmatch(name):
            raise ApiError(400, BAD_QUEUE_NAME)
        if name in self._dispatchers:
            raise ApiError(409, "Queue already exists")
        if self._deleted_queues.get(name, self.clock.now()) > self.clock.now():
            raise ApiError(
                400,
                "The queue cannot be created because a queue with this name existed too recently.",
                "FAILED_PRECONDITION",
            )
        self._deleted_queues.pop(name, None)
        queue = Queue.from_message(name, message)
        self.add_queue(queue)
        self._store.save_queue(queue)
        self._dispatchers[name].start()

    def update_queue(self, name: str, message: Any, paths: Iterable[str]) -> None:
        """UpdateQueue: change what the paths name, all without any; a queue that does not exist is made.

        Raises:
            ApiError: as the real service answers.
        """
        if name not in self._dispatchers:
            self.create_queue(name, message)
            return
        check_queue(message)
        try:
            queue = self._dispatchers[name].queue.changed(message, paths)
        except ValueError as error:
            raise ApiError(400, f'Invalid field in the update mask: "{error}".') from error
        self._dispatchers[name].configure(queue)
        self._store.save_queue(queue)

    def delete_queue(self, name: str) -> None:
        """DeleteQueue: with all its tasks; its name is used up for a week. KeyError when there is none."""
        dispatcher = self._dispatchers[name]
        self.purge(name)
        del self._dispatchers[name]
        del self.purged[name]
        dispatcher.retire()
        self._retired.append(dispatcher)
        self._deleted_queues[name] = self.clock.now() + QUEUE_TOMBSTONE
        self._store.remove_queue(name, self._deleted_queues[name])
        self.changed()

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
        self.faults.lose_next(queue, count)

    def fail_next_create(self, queue: str, count: int = 1, *, status: int = 503, stored: bool = False) -> None:
        """The next creates are answered with an error; with `stored` the task is there all the same (an unclear outcome)."""
        self.faults.fail_next_create(queue, count, status, stored=stored)

    def double_next(self, queue: str, count: int = 1, *, later: bool = False) -> None:
        """The next tasks created are delivered twice, as at-least-once delivery may do: at once, or again when they were done."""
        self.faults.double_next(queue, count, Doubling.LATER if later else Doubling.AT_ONCE)

    def slow_start(self, queue: str) -> None:
        """Let the queue dispatch as a new or idle one does, slowly at first; by itself it does so never."""
        self._dispatchers[queue].throttle.slow_start(self.clock.now())

    # -- tasks ---------------------------------------------------------------------------------------------------------

    def create(self, parent: str, message: Any) -> Any:
        """CreateTask: check, name and store; returns the task's message.

        Raises:
            ApiError: as the real service answers.
        """
        queue = parent.rpartition("/")[2]
        if queue not in self._dispatchers:
            raise ApiError(404, NO_QUEUE)
        failure = self.faults.takes_failure(queue)
        if failure is not None and not failure[1]:
            raise ApiError(failure[0], "the sandbox was told to fail this")
        now = self.clock.now()
        check_task(parent, message, now)
        self.drop_expired(now)
        if not message.name:
            message.name = f"{parent}/tasks/{random.randrange(10**18, 10**19)}"  # noqa: S311 - an id, not a secret
        elif message.name in self.tasks:
            raise ApiError(409, "Requested entity already exists")
        elif self._tombstones.holds(message.name, now):
            raise ApiError(409, "The task cannot be created because a task with this name existed too recently.")
        self._fill_in(message, now)
        task = StoredTask(queue, message)
        if self.faults.takes_loss(queue):
            self._bury(task.name, now)
        else:
            task.doubled = self.faults.takes_doubling(queue)
            self.tasks[task.name] = task
            self._store.save(task)
            self._dispatchers[queue].schedule(task)
        if failure is not None:
            raise ApiError(failure[0], "the sandbox was told to fail this after storing it")
        return message

    def readdress(self, moved: Callable[[str], str]) -> None:
        """Write to another address what waits for a target that moved: `moved` makes the new URL, or audience, of the old."""
        for task in self.tasks.values():
            request = task.message.http_request
            before = request.SerializeToString()
            request.url = moved(request.url)
            if request.oidc_token.audience:
                request.oidc_token.audience = moved(request.oidc_token.audience)
            if request.SerializeToString() != before:
                self._store.save(task)

    def run_now(self, name: str) -> StoredTask:
        """RunTask: attempt now, whatever the queue's state, rate or the task's time. KeyError when there is no such task.

        A task that is being attempted is attempted once more beside it.
        """
        task = self.tasks[name]
        task.message.schedule_time.FromDatetime(self.clock.now())
        self._dispatchers[task.queue].run(task)
        return task

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
