"""Delivery: when a queue may attempt which task, how an attempt is made, and what follows from its outcome."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from datetime import timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import httpx
from google.cloud.tasks_v2.types import HttpMethod

from sandbox.cloud.cloudtasks.errors import rpc_code
from sandbox.cloud.cloudtasks.faults import Doubling
from sandbox.cloud.cloudtasks.oidc import Oidc
from sandbox.cloud.cloudtasks.queues import Attempt, Queue, StoredTask, Throttle, as_datetime

if TYPE_CHECKING:
    from datetime import datetime

    from sandbox.cloud.cloudtasks.tasks import Tasks

_REPLACED = ("host", "content-length", "user-agent", "authorization")
_REPLACED_PREFIXES = ("x-google-", "x-appengine-", "x-cloudtasks-")
_TOO_LATE = "DEADLINE_EXCEEDED"
# Task.lastAttempt.responseStatus by what came back; other answers are UNKNOWN.
_CODES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ABORTED",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    500: "INTERNAL",
    501: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


class Dispatcher:
    """One queue's delivery."""

    def __init__(self, tasks: Tasks, queue: Queue) -> None:
        self.queue = queue
        self.paused = False
        self.throttle = Throttle(queue.rate, queue.max_burst)
        self._tasks = tasks
        self._heap: list[tuple[datetime, int, str]] = []
        self._entries = itertools.count(1)
        self._wake = asyncio.Event()
        self._loop: asyncio.Task[None] | None = None
        self._attempts: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Begin to deliver."""
        if self._loop is None:
            self._loop = asyncio.create_task(self._run())

    def retire(self) -> None:
        """Deliver nothing more; what is under way ends unheard."""
        if self._loop is not None:
            self._loop.cancel()
            self._loop = None

    def configure(self, queue: Queue) -> None:
        """Go on by another configuration."""
        self.queue = queue
        self.throttle.configure(queue.rate, queue.max_burst)
        self.wake()

    async def stop(self) -> None:
        """Stop, and cut what is under way."""
        running = [*self._attempts, *([self._loop] if self._loop else [])]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        self._loop = None

    def wake(self) -> None:
        """Look again: something changed."""
        self._wake.set()

    def schedule(self, task: StoredTask) -> None:
        """Put the task where its time says; an earlier place is void."""
        task.entry = next(self._entries)
        task.held_s = self._tasks.faults.delay_s()
        heapq.heappush(self._heap, (task.due, task.entry, task.name))
        self.wake()

    def run(self, task: StoredTask) -> None:
        """Attempt the task now, whatever the queue's state and rate, even while it is being attempted."""
        self._begin(task)

    @property
    def running(self) -> int:
        """Attempts under way."""
        return len(self._attempts)

    def first(self) -> StoredTask | None:
        """The task that is next in time, of those that are not being attempted."""
        while self._heap:
            _, entry, name = self._heap[0]
            task = self._tasks.tasks.get(name)
            if task is not None and task.entry == entry and not task.running:
                return task
            heapq.heappop(self._heap)
        return None

    # -- choosing ------------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            await self._sleep(self._dispatch_what_may())

    def _dispatch_what_may(self) -> datetime | None:
        """Start everything allowed now; the sandbox moment when more is to do, None when only an event can tell."""
        now = self._tasks.clock.now()
        self._tasks.drop_expired(now)
        moments = [self._tasks.next_expiry()]
        while not self.paused and self.running < self.queue.max_concurrent:
            if (task := self.first()) is None:
                break
            wait = self.throttle.wait(now)
            if task.due > now or wait > 0:
                moments.append(max(task.due, now + timedelta(seconds=wait)))
                break
            self.throttle.take()
            self._begin(task)
        return min((moment for moment in moments if moment is not None), default=None)

    async def _sleep(self, moment: datetime | None) -> None:
        wake = asyncio.create_task(self._wake.wait())
        waits: set[asyncio.Task[Any]] = {wake}
        if moment is not None:
            waits.add(asyncio.create_task(self._tasks.clock.sleep_until(moment)))
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    # -- attempting ----------------------------------------------------------------------------------------------------

    def _begin(self, task: StoredTask) -> None:
        message, start = task.message, self._tasks.clock.now()
        headers = self._headers(task)
        task.attempts_running += 1
        message.dispatch_count += 1
        message.last_attempt.schedule_time.FromDatetime(task.eta)
        message.last_attempt.dispatch_time.FromDatetime(start)
        message.last_attempt.ClearField("response_time")
        message.last_attempt.ClearField("response_status")
        if not message.HasField("first_attempt"):
            message.first_attempt.dispatch_time.FromDatetime(start)
        self._tasks.keep(task)
        running = asyncio.create_task(self._attempt(task, headers, start))
        self._attempts.add(running)
        running.add_done_callback(self._ended)

    def _ended(self, attempt: asyncio.Task[None]) -> None:
        self._attempts.discard(attempt)
        self.wake()
        self._tasks.changed()
        if not attempt.cancelled():
            attempt.result()  # a defect of ours is to be seen, not swallowed

    async def _attempt(self, task: StoredTask, headers: dict[str, str], start: datetime) -> None:
        copies = 1
        if task.doubled is Doubling.AT_ONCE:
            task.doubled, copies = Doubling.NO, 2
        try:
            outcomes = await asyncio.gather(*(self._send(task, headers, start) for _ in range(copies)))
        finally:
            task.attempts_running -= 1
        self._finish_attempt(task, *outcomes[0])

    async def _send(
        self, task: StoredTask, headers: dict[str, str], start: datetime
    ) -> tuple[Attempt, httpx.Response | None]:
        request = task.message.http_request
        as_sent = httpx.Headers(headers, encoding="utf-8")  # whatever a task was given is no reason to lose it
        attempt = Attempt(
            self.queue.name, task.short_name, task.message.dispatch_count, request.url, start, request.body, headers
        )
        self._tasks.record(attempt)
        began = time.monotonic()
        response = None
        try:
            async with asyncio.timeout(self._tasks.deadline(task)):
                response = await self._tasks.client.request(
                    HttpMethod(request.http_method).name, request.url, content=request.body or None, headers=as_sent
                )
            attempt.status = response.status_code
            if not response.is_success:
                attempt.reason = f"HTTP status code {response.status_code}"
        except TimeoutError:
            attempt.reason = _TOO_LATE
        except httpx.HTTPError as error:
            attempt.reason = f"UNAVAILABLE: {type(error).__name__}"
        except asyncio.CancelledError:
            attempt.reason = "CANCELLED: the sandbox stopped"
            raise
        finally:
            attempt.duration = time.monotonic() - began
        return attempt, response

    def _headers(self, task: StoredTask) -> dict[str, str]:
        request = task.message.http_request
        own = {
            name: value
            for name, value in request.headers.items()
            if name.lower() not in _REPLACED and not name.lower().startswith(_REPLACED_PREFIXES)
        }
        if "authorization" in {name.lower() for name in request.headers} and not request.HasField("oidc_token"):
            own["Authorization"] = next(v for n, v in request.headers.items() if n.lower() == "authorization")
        added = {
            "User-Agent": "Google-Cloud-Tasks",
            "X-CloudTasks-QueueName": self.queue.name,
            "X-CloudTasks-TaskName": task.short_name,
            "X-CloudTasks-TaskRetryCount": str(task.message.dispatch_count),
            "X-CloudTasks-TaskExecutionCount": str(task.execution_count),
            "X-CloudTasks-TaskETA": f"{task.eta.timestamp():.6f}",
        }
        if task.previous_response:
            added["X-CloudTasks-TaskPreviousResponse"] = str(task.previous_response)
            added["X-CloudTasks-TaskRetryReason"] = ""  # has a text for App Engine targets only
        if request.HasField("oidc_token"):
            who = Oidc(request.oidc_token.service_account_email, request.oidc_token.audience)
            added["Authorization"] = f"Bearer {self._tasks.signer.token(who, request.url)}"
        return own | added

    # -- concluding ----------------------------------------------------------------------------------------------------

    def _finish_attempt(self, task: StoredTask, attempt: Attempt, response: httpx.Response | None) -> None:
        now = self._tasks.clock.now()
        done = response is not None and response.is_success
        self.throttle.outcome(ok=done, now=now)
        message = task.message
        if done and task.doubled is Doubling.LATER:
            task.doubled = Doubling.NO
            message.dispatch_count -= 1  # the same delivery once more, not a retry
            self.schedule(task)
            return
        if done:
            self._tasks.forget(task)
            return
        task.retry_reason = attempt.reason
        task.previous_response = HTTPStatus.GATEWAY_TIMEOUT if attempt.reason == _TOO_LATE else 0
        if response is not None:
            message.response_count += 1
            message.last_attempt.response_time.FromDatetime(now)
            task.previous_response = response.status_code
            if response.status_code < HTTPStatus.INTERNAL_SERVER_ERROR:
                task.execution_count += 1
            self.throttle.trouble(response.status_code, _retry_after(response, now), now)
        message.last_attempt.response_status.code = _code(attempt)
        message.last_attempt.response_status.message = attempt.reason
        rules = self._retry_rules(task)
        first = as_datetime(message.first_attempt.dispatch_time)
        if rules.is_used_up(message.dispatch_count, first, now):
            self._tasks.forget(task)
            return
        wait = rules.backoff(message.dispatch_count - 1)
        message.schedule_time.FromDatetime(now + timedelta(seconds=wait))
        self._tasks.keep(task)
        self.schedule(task)
        self._tasks.changed()

    def _retry_rules(self, task: StoredTask) -> Queue:
        if task.message.HasField("retry_config"):
            return self.queue.retrying_as(task.message.retry_config)
        return self.queue


def _code(attempt: Attempt) -> int:
    if attempt.status is not None:
        return rpc_code(_CODES.get(attempt.status, "UNKNOWN"))
    timed_out = attempt.reason == _TOO_LATE
    return rpc_code("DEADLINE_EXCEEDED" if timed_out else "UNAVAILABLE")


def _retry_after(response: httpx.Response, now: datetime) -> float:
    """Seconds that the worker asked for: a number or a date; 0 when there is none."""
    said = response.headers.get("retry-after", "").strip()
    if said.isascii() and said.isdigit():
        return float(said)
    try:
        return max(0.0, (parsedate_to_datetime(said) - now).total_seconds())
    except (ValueError, TypeError, OverflowError):
        return 0.0
