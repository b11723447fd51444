"""Webhooks: signed over the raw body, tried 17 times over three days, then disabled and the owner told."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import itertools
import json
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import httpx

from sandbox.cryptopay.invoices import iso
from sandbox.cryptopay.store import Pending
from sandbox.stand_in.outgoing import outgoing_client

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sandbox.cryptopay.faults import Faults
    from sandbox.cryptopay.store import Store
    from sandbox.stand_in.clock import Clock

# 17 attempts over 3 days; the real spacing is not published.
RETRY_AFTER_S = (5, 10, 20, 40, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400, 28800, 86400, 114645)
_UPDATE_IDS = 3  # update_id is documented as not unique, so there are only a few
_KEPT = 20_000
_NOTICES_KEPT = 20
LOST = "lost on the way"
ANSWER_LOST = "the answer was lost"


@dataclass(slots=True)
class Delivery:
    """One attempt to deliver, kept for people and tests. `duration` is in real seconds, `start` in the sandbox's time.

    The attempts of one webhook share its `number`; a copy has another.
    """

    number: int
    invoice_id: int
    attempt: int
    url: str
    start: datetime
    body: bytes
    status: int | None = None
    reason: str = ""
    duration: float | None = None

    @property
    def ok(self) -> bool:
        """Answered 2xx."""
        return self.status is not None and 200 <= self.status < 300  # noqa: PLR2004 - the class of success


@dataclass(frozen=True, slots=True)
class Notice:
    """What the service told the app's owner, and when."""

    at: datetime
    text: str


def sign(body: bytes, token: str) -> str:
    """The header crypto-pay-api-signature: hex HMAC-SHA-256 of the raw body under SHA-256(token)."""
    return hmac.new(hashlib.sha256(token.encode()).digest(), body, hashlib.sha256).hexdigest()


class Webhooks:
    """Everything on its way to the application.

    Args:
        invoice: the API's object of an invoice by its id; KeyError when it is gone.
        faults: what happens to attempts on their way.
        retry_after: seconds of sandbox time between one attempt and the next; after the last the webhook is disabled.
        timeout: real seconds that one attempt may take.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        store: Store,
        token: str,
        invoice: Callable[[int], dict[str, Any]],
        faults: Faults,
        retry_after: Sequence[float],
        timeout: float,
    ) -> None:
        self.url: str | None = None
        self.deliveries: list[Delivery] = []
        self._clock = clock
        self._store = store
        self._token = token
        self._invoice = invoice
        self._faults = faults
        self._retry_after = tuple(retry_after)
        self._timeout = timeout
        self._update_ids = itertools.count()
        self._lost_first: dict[int, int] = {}
        self._lost_next: list[bool] = []  # for each of the next attempts: whether it arrives before it is lost
        waiting = store.pending()
        self._numbers = itertools.count(max((pending.number for pending in waiting), default=0) + 1)
        self._waiting: dict[int, Pending] = {pending.number: pending for pending in waiting}
        self._running: dict[int, asyncio.Task[Delivery | None]] = {}
        self._releasing: set[asyncio.Task[None]] = set()
        self._client: httpx.AsyncClient | None = None
        self._changed = asyncio.Event()
        self._started = False
        self._in_flight = 0

    async def start(self) -> None:
        """Begin to deliver, what a former run left included."""
        self._started = True
        for pending in list(self._waiting.values()):
            self._launch(pending)

    async def stop(self) -> None:
        """Cut what is under way; the store keeps it."""
        self._started = False
        tasks = [*self._releasing, *self._running.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    # -- switches ------------------------------------------------------------------------------------------------------

    @property
    def disabled_at(self) -> datetime | None:
        """Since when nothing is sent; None while it is."""
        kept = self._store.switch("webhooks_disabled_at")
        return None if kept is None else datetime.fromisoformat(kept)

    @property
    def notices(self) -> list[Notice]:
        """What the owner was told, oldest first."""
        kept = self._store.switch("notices") or []
        return [Notice(datetime.fromisoformat(at), text) for at, text in kept]

    def clear_notices(self) -> None:
        """The owner has read them."""
        self._store.turn("notices", [])

    def disable(self) -> None:
        """Switch off, as the owner may in the bot: nothing is sent, and what was on its way is given up."""
        self._disable(self._clock.now())

    def _disable(self, at: datetime) -> None:
        self._store.turn("webhooks_disabled_at", iso(at))
        for pending in list(self._waiting.values()):
            self._finish(pending)
        self._wake()

    def enable(self) -> None:
        """Switch on again. What was given up does not come back: the application finds it by asking."""
        self._store.turn("webhooks_disabled_at", None)

    @property
    def holding(self) -> bool:
        """Whether new webhooks wait for `release`."""
        return bool(self._store.switch("webhooks_held"))

    def hold(self) -> None:
        """Let new webhooks wait, so that they can be released in another order."""
        self._store.turn("webhooks_held", value=True)

    def release(self, *, newest_first: bool = True) -> None:
        """Send what was held, one after the other, by default in the opposite order; later ones are not held."""
        self._store.turn("webhooks_held", value=False)
        held = [pending for pending in self._waiting.values() if pending.held]
        held.sort(key=lambda pending: pending.number, reverse=newest_first)
        for pending in held:
            pending.held, pending.due = False, self._clock.now()
            self._store.keep(pending)
        if self._started:
            task = asyncio.create_task(self._send_in_order(held))
            self._releasing.add(task)
            task.add_done_callback(self._releasing.discard)

    async def _send_in_order(self, pendings: list[Pending]) -> None:
        for pending in pendings:
            if pending.number in self._waiting:
                self._launch(pending)
                await self.first_attempt(pending)

    def lose_next(self, times: int = 1, *, answer_only: bool = False) -> None:
        """Lose the next attempts on the way, or only their answers; both are made again by the schedule."""
        self._lost_next += [answer_only] * times

    # -- sending -------------------------------------------------------------------------------------------------------

    def body(self, invoice_id: int) -> bytes:
        """A webhook's raw body, as it would be sent now; KeyError when there is no such invoice."""
        invoice = dict(self._invoice(invoice_id))
        if "fee_amount" in invoice:  # deprecated, only here, still sent
            invoice |= {"fee": invoice["fee_amount"], "usd_rate": invoice["paid_usd_rate"]}
        update = {
            "update_id": next(self._update_ids) % _UPDATE_IDS + 1,
            "update_type": "invoice_paid",
            "request_date": iso(self._clock.now()),
            "payload": invoice,
        }
        return json.dumps(update, ensure_ascii=False, separators=(",", ":")).encode()

    def send(self, invoice_id: int, copies: int, delay: float = 0.0, lost: int = 0) -> list[Pending]:
        """Put so many copies on their way, each with retries of its own. Nothing when no URL is set or it is disabled.

        A standing fault makes more copies of each, or lets them set out later.

        Args:
            invoice_id: whose.
            copies: how many.
            delay: seconds of sandbox time before they set out.
            lost: how many first attempts of each are lost on the way.
        """
        if self.url is None or self.disabled_at is not None:
            return []
        standing, holding = self._faults.standing, self.holding
        made = []
        for _ in range(copies * standing.copies):
            due = self._clock.now() + timedelta(seconds=delay + self._faults.dice.uniform(0, standing.late_s))
            made.append(Pending(next(self._numbers), invoice_id, 1, due, holding))
        for pending in made:
            self._waiting[pending.number] = pending
            self._lost_first[pending.number] = lost
            self._store.keep(pending)
            if self._started:
                self._launch(pending)
        return made

    async def first_attempt(self, pending: Pending) -> Delivery | None:
        """Wait until its next attempt was made."""
        task = self._running.get(pending.number)
        if task is None:
            return None
        await asyncio.wait({task})  # not `await task`: it may be cancelled, which is not our cancellation
        return None if task.cancelled() else task.result()

    @property
    def waiting(self) -> list[Pending]:
        """Everything that is still on its way, held ones included."""
        return list(self._waiting.values())

    def waiting_for(self, invoice_id: int) -> list[Pending]:
        """What is still on its way for an invoice."""
        return [pending for pending in self._waiting.values() if pending.invoice_id == invoice_id]

    async def idle(self) -> None:
        """Return when nothing is under way or due now."""
        while self._busy():
            changed = self._changed
            await changed.wait()

    def _busy(self) -> bool:
        now = self._clock.now()
        due = any(pending.due <= now and not pending.held for pending in self._waiting.values())
        return self._in_flight > 0 or (self._started and due)

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def _launch(self, pending: Pending) -> None:
        if pending.held:
            return
        task = asyncio.create_task(self._deliver(pending))
        self._running[pending.number] = task
        task.add_done_callback(lambda done: self._attempted(pending, done))

    def _attempted(self, pending: Pending, task: asyncio.Task[Delivery | None]) -> None:
        if self._running.get(pending.number) is task:
            del self._running[pending.number]
        if not task.cancelled() and pending.number in self._waiting:  # else it was given up meanwhile
            self._settle(pending, task.result())
        self._wake()

    def _settle(self, pending: Pending, delivery: Delivery | None) -> None:
        if delivery is None or delivery.ok:
            self._finish(pending)
        elif pending.attempt > len(self._retry_after):
            self._give_up(delivery)
        else:
            pending.due = self._clock.now() + timedelta(seconds=self._retry_after[pending.attempt - 1])
            pending.attempt += 1
            self._store.keep(pending)
            if self._started:
                self._launch(pending)

    def _give_up(self, delivery: Delivery) -> None:
        now = self._clock.now()
        self._disable(now)
        text = (
            f"Webhooks to {delivery.url} are disabled: {delivery.attempt} attempts to tell about invoice"
            f" {delivery.invoice_id} failed, the last one with {delivery.status or delivery.reason}."
        )
        kept = [[iso(notice.at), notice.text] for notice in self.notices]
        self._store.turn("notices", [*kept[1 - _NOTICES_KEPT :], [iso(now), text]])

    def _finish(self, pending: Pending) -> None:
        self._waiting.pop(pending.number, None)
        self._lost_first.pop(pending.number, None)
        self._store.drop(pending)
        task = self._running.pop(pending.number, None)
        if task is not None:
            task.cancel()

    async def _deliver(self, pending: Pending) -> Delivery | None:
        await self._clock.sleep_until(pending.due)
        try:
            body = self.body(pending.invoice_id)
        except KeyError:
            return None  # deleted meanwhile
        if self.url is None:
            return None
        delivery = Delivery(pending.number, pending.invoice_id, pending.attempt, self.url, self._clock.now(), body)
        self.deliveries.append(delivery)
        if len(self.deliveries) > _KEPT:
            del self.deliveries[: _KEPT // 4]
        fate = self._fate(pending)
        if fate == LOST:
            delivery.reason, delivery.duration = LOST, 0.0
            return delivery
        await self._post(delivery)
        if fate == ANSWER_LOST:
            delivery.status, delivery.reason = None, ANSWER_LOST
        return delivery

    def _fate(self, pending: Pending) -> str:
        standing = self._faults.standing
        if pending.attempt <= self._lost_first.get(pending.number, 0):
            return LOST
        if self._lost_next:
            return ANSWER_LOST if self._lost_next.pop(0) else LOST
        if self._faults.happens(standing.lost):
            return LOST
        return ANSWER_LOST if self._faults.happens(standing.unanswered) else ""

    async def _post(self, delivery: Delivery) -> None:
        if self._client is None:
            self._client = outgoing_client()
        headers = {"Content-Type": "application/json", "crypto-pay-api-signature": sign(delivery.body, self._token)}
        began = time.monotonic()
        self._in_flight += 1
        try:
            async with asyncio.timeout(self._timeout):
                response = await self._client.post(delivery.url, content=delivery.body, headers=headers)
            delivery.status = response.status_code
        except TimeoutError:
            delivery.reason = "no answer in time"
        except httpx.HTTPError as error:
            delivery.reason = type(error).__name__
        except asyncio.CancelledError:
            delivery.reason = "cut off"  # the sandbox stopped, or webhooks were disabled
            raise
        finally:
            self._in_flight -= 1
            delivery.duration = time.monotonic() - began
