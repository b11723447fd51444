"""Delivery to the webhook as Telegram does it.

At least once; strictly in order inside a queue and side by side between queues; 2xx or it did not happen. The first
failure is repeated at once, then after 2, 4, 8 ... seconds of the sandbox's clock, until the update expires. After 60 s
without an answer the connection is dropped and the update sent again while the first handler may still be running. A bot that failed
for long gets its connections back slowly (`connections`).
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

import httpx

from sandbox.stand_in.outgoing import outgoing_client
from sandbox.telegram.protocol.arguments import Arguments, parse_arguments
from sandbox.telegram.protocol.errors import ApiError
from sandbox.telegram.updates.connections import Connections

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from datetime import datetime

    from sandbox.stand_in.clock import Clock
    from sandbox.telegram.updates.updates import Pending, Updates

SECRET_HEADER: Final = "X-Telegram-Bot-Api-Secret-Token"  # noqa: S105 - the header's name
MAX_RETRY_AFTER: Final = 3600
GONE_FOR: Final = timedelta(hours=23)
_DOUBLINGS: Final = 6
_DIGITS: Final = 10  # of a Retry-After that can be read as a number at all
SUCCESS: Final = 2  # hundred
KEPT: Final = 20_000
ANSWER_KEPT: Final = 4000  # characters


@dataclass(frozen=True)
class Timing:
    """Seconds of the sandbox's clock. `backoff` stretches or shrinks the pauses between attempts, nothing else; tests make it small."""

    request_timeout: float = 60.0
    backoff: float = 1.0
    callback_deadline: float = 15.0  # undocumented; users report failures after 10-20 s
    checkout_deadline: float = 10.0
    click_resend: float = 10.0  # after which the app sends an unanswered click again, with new ids (users report it)
    click_resends: int = 2

    def pause(self, failures: int) -> float:
        """Before the next attempt after so many failures in a row: 0, 2, 4 ... 32, ~60, then 60 to 120."""
        if failures <= 1:
            return 0.0
        if failures <= _DOUBLINGS:
            return self.backoff * float(2 ** (failures - 1))
        longest = 64.0 if failures == _DOUBLINGS + 1 else 120.0
        return self.backoff * random.uniform(60.0, longest)  # noqa: S311 - spreads load, guards nothing


@dataclass(frozen=True)
class Webhook:
    """What setWebhook set."""

    url: str
    secret_token: str = ""
    max_connections: int = 40
    ip_address: str = ""


@dataclass
class Attempt:
    """One POST to the webhook: `started` on the sandbox's clock, `duration` in real seconds."""

    update_id: int
    queue: str
    attempt: int
    started: datetime
    duration: float = 0.0
    status: int | None = None
    error: str | None = None
    method: str | None = None
    update: dict[str, Any] = field(default_factory=dict, repr=False)
    answer: str = field(default="", repr=False)
    """The beginning of the response's body."""

    @property
    def delivered(self) -> bool:
        """Answered 2xx."""
        return self.status is not None and self.status // 100 == SUCCESS

    @property
    def complaint(self) -> str:
        """The failure in getWebhookInfo's words."""
        if self.status is None:
            return self.error or ""
        return f"Wrong response from the webhook: {self.status} {_phrase(self.status)}"


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


class Delivery:
    """The workers, one per queue that holds something. `execute` runs a call that came inside a response."""

    def __init__(
        self,
        updates: Updates,
        clock: Clock,
        timing: Timing,
        execute: Callable[[str, Arguments], Awaitable[None]],
    ) -> None:
        self._updates = updates
        self._clock = clock
        self._timing = timing
        self._execute = execute
        self.attempts: list[Attempt] = []
        self.last_error: tuple[int, str] | None = None
        kept = updates.store.setting("webhook")
        self.webhook: Webhook | None = Webhook(**kept) if kept else None
        self._gone_since: datetime | None = None
        self._client: httpx.AsyncClient | None = None
        self._dispatcher: asyncio.Task[None] | None = None
        self._calls: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Begin to deliver."""
        self._client = outgoing_client(kept_alive=100)  # as many at once as setWebhook allows, counted by us
        self._client.headers.update({"Content-Type": "application/json", "Accept-Encoding": "gzip, deflate"})
        self._restart()

    async def stop(self) -> None:
        """Drop what is in flight; it stays undelivered."""
        if self._dispatcher is not None:
            await _cancel(self._dispatcher)
            self._dispatcher = None
        for task in list(self._calls):
            await _cancel(task)
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    def set_webhook(self, webhook: Webhook | None) -> None:
        """Deliver there from now on, or nowhere: waits end, attempts in flight are dropped."""
        self.webhook = webhook
        self._updates.store.save_setting("webhook", asdict(webhook) if webhook else None)
        self.last_error = self._gone_since = None
        self._restart()

    def _restart(self) -> None:
        old, self._dispatcher = self._dispatcher, None
        if old is not None:
            old.cancel()
        if self._client is not None and self.webhook is not None:
            self._dispatcher = asyncio.create_task(self._dispatch(self.webhook, old))

    @property
    def busy(self) -> bool:
        """Whether a call that came in a response is still being executed."""
        return bool(self._calls)

    async def post(self, body: bytes, headers: Mapping[str, str | bytes | None]) -> httpx.Response:
        """One bare POST to the webhook, outside all queues. A header given as None is left out."""
        if self._client is None or self.webhook is None:
            raise RuntimeError("no webhook is set, or the stand-in is not started")
        request = self._client.build_request("POST", self.webhook.url, content=body)
        for name, value in headers.items():
            request.headers.pop(name, None)
            if value is not None:
                raw = value.encode() if isinstance(value, str) else value
                request.headers = httpx.Headers([*request.headers.raw, (name.encode(), raw)])
        sending = asyncio.create_task(self._client.send(request))
        late = asyncio.create_task(self._clock.sleep(self._timing.request_timeout))
        try:
            await asyncio.wait([sending, late], return_when=asyncio.FIRST_COMPLETED)
            if not sending.done():
                raise TimeoutError
            return sending.result()
        finally:
            late.cancel()
            if not sending.done():
                await _cancel(sending)

    async def _dispatch(self, webhook: Webhook, old: asyncio.Task[None] | None) -> None:
        """Keep a worker for each queue that holds something."""
        if old is not None:
            await _cancel(old)
        connections = Connections(webhook.max_connections, self._clock, self._timing.backoff)
        workers: dict[str, asyncio.Task[None]] = {}
        try:
            while True:
                seen = self._updates.changes.count
                for queue in self._updates.queues():
                    if queue not in workers or workers[queue].done():
                        workers[queue] = asyncio.create_task(self._drain(queue, webhook, connections))
                for queue in [queue for queue, worker in workers.items() if worker.done()]:
                    workers.pop(queue).result()  # a worker never fails; if it does, let it be seen
                await self._updates.changes.after(seen)
        finally:
            for worker in workers.values():
                worker.cancel()
            await asyncio.gather(*workers.values(), return_exceptions=True)

    async def _drain(self, queue: str, webhook: Webhook, connections: Connections) -> None:
        """One update at a time, until the queue is empty."""
        failures = steps = 0
        position = None
        while (pending := self._updates.head(queue)) is not None:
            if pending.position != position:
                position, failures, steps = pending.position, 0, 0
            async with connections.slot():
                attempt, retry_after = await self._attempt(pending, webhook, failures + 1)
                connections.tell(delivered=attempt.delivered, answered=attempt.status is not None)
            removed = self._given_up(attempt)
            if attempt.delivered:
                self._updates.remove(pending)
                continue
            # A pause the bot asked for takes no step on the ladder, and the first failure is the step of no pause.
            steps += failures == 0 or not retry_after
            failures += 1
            pause = retry_after or self._timing.pause(steps)
            if self._clock.now().timestamp() + pause > pending.expires_at:
                self._updates.expire(pending)  # at once, not when its time is up: what waits behind it goes on now
                pause = 0.0
            if removed:
                self.set_webhook(None)
                return
            await self._clock.sleep(pause)

    def _given_up(self, attempt: Attempt) -> bool:
        """Whether the webhook answered 410 for 23 hours: nothing else in between, silence and broken connections apart."""
        if attempt.status is None:
            return False
        if attempt.status != HTTPStatus.GONE:
            self._gone_since = None
            return False
        self._gone_since = self._gone_since or self._clock.now()
        return self._clock.now() - self._gone_since >= GONE_FOR

    async def _attempt(self, pending: Pending, webhook: Webhook, number: int) -> tuple[Attempt, int]:
        """One POST. Returns what came of it and the pause the bot asked for, 0 for none."""
        attempt = Attempt(pending.update_id, pending.queue, number, self._clock.now(), update=pending.body)
        self.attempts.append(attempt)
        del self.attempts[:-KEPT]
        headers = {SECRET_HEADER: webhook.secret_token} if webhook.secret_token else {}
        began = time.monotonic()
        retry_after = 0
        try:
            response = await self.post(_body(pending.body), headers)
        except TimeoutError:
            attempt.error = "Read timeout expired"
        except httpx.ConnectError:
            attempt.error = "Connection refused"
        except httpx.HTTPError as error:
            attempt.error = f"Connection closed: {type(error).__name__}"
        else:
            attempt.status, attempt.answer = response.status_code, response.text[:ANSWER_KEPT]
            if attempt.delivered:
                self._run_call(response, attempt)
            else:
                retry_after = _retry_after(response)
        attempt.duration = time.monotonic() - began
        if not attempt.delivered:
            self.last_error = (int(self._clock.now().timestamp()), attempt.complaint)
        self._updates.changes.tell()
        return attempt, retry_after

    def _run_call(self, response: httpx.Response, attempt: Attempt) -> None:
        """Execute the call that a 2xx response may carry; the bot learns neither result nor error."""
        try:
            arguments = parse_arguments(response.headers.get("content-type", ""), response.content)
        except ApiError:
            return  # an unreadable answer is as good as an empty one: the update was delivered
        method = arguments.values.pop("method", "")
        if method:
            attempt.method = method
            task = asyncio.create_task(self._finish(self._execute(method, arguments)))
            self._calls.add(task)
            task.add_done_callback(self._called)

    async def _finish(self, call: Awaitable[None]) -> None:
        await call

    def _called(self, task: asyncio.Task[None]) -> None:
        self._calls.discard(task)
        self._updates.changes.tell()


async def _cancel(task: asyncio.Task[Any]) -> None:
    task.cancel()
    await asyncio.wait([task])


def _body(update: dict[str, Any]) -> bytes:
    """One Update, `update_id` first, everything beyond ASCII escaped."""
    ordered = {"update_id": update["update_id"], **update}
    return json.dumps(ordered, separators=(",", ":")).encode()


def _retry_after(response: httpx.Response) -> int:
    """The seconds a failed webhook asks for, an hour at most; 0, and with it the usual pause, for anything but a number."""
    given = response.headers.get("retry-after", "")
    if not given.isascii() or not given.isdigit() or len(given) > _DIGITS:
        return 0
    return min(int(given), MAX_RETRY_AFTER)
