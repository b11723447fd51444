"""Telegram on loopback: the Bot API, its delivery of updates, and people with apps."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Literal

from sandbox.telegram.calls.bot_api import BotApi
from sandbox.telegram.calls.limits import Throttle
from sandbox.telegram.calls.server import BotApiServer
from sandbox.telegram.chats.accounts import Account
from sandbox.telegram.chats.channels import HIGHEST_ID
from sandbox.telegram.chats.chats import Chats
from sandbox.telegram.chats.clicks import Clicks
from sandbox.telegram.chats.editing import Editing
from sandbox.telegram.chats.sending import Sending
from sandbox.telegram.methods.bot import BotMethods
from sandbox.telegram.methods.chats import ChatMethods
from sandbox.telegram.methods.media import MediaMethods
from sandbox.telegram.methods.messages import MessageMethods
from sandbox.telegram.methods.payments import PaymentMethods
from sandbox.telegram.methods.profile import ProfileMethods
from sandbox.telegram.methods.transfers import TransferMethods
from sandbox.telegram.methods.webhook import WebhookMethods
from sandbox.telegram.payments.checkout import Checkout
from sandbox.telegram.payments.payments import Payments
from sandbox.telegram.state.queries import Queries
from sandbox.telegram.state.store import Store
from sandbox.telegram.updates.delivery import SECRET_HEADER, Delivery, Timing
from sandbox.telegram.updates.updates import Updates, kind_of
from sandbox.telegram.user import User

if TYPE_CHECKING:
    import os
    from collections.abc import Collection

    import httpx

    from sandbox.stand_in.clock import Clock
    from sandbox.telegram.calls.bot_api import Call
    from sandbox.telegram.calls.faults import CallFaults
    from sandbox.telegram.calls.limits import Limits
    from sandbox.telegram.chats.channels import Channel
    from sandbox.telegram.updates.delivery import Attempt
    from sandbox.telegram.updates.updates import Pending


class TelegramService:
    """One bot on a stand-in for api.telegram.org.

    State lives in `store` (an SQLite file) and survives a restart; without one it lives in memory. Time is `clock`'s.
    `provider_tokens` are those of payment providers that sendInvoice may name; Stars need none.
    The webhook is set by setWebhook only; `allow_local_webhook` lets it be a loopback address, which the real one refuses.
    """

    def __init__(
        self,
        token: str,
        bot_username: str,
        clock: Clock,
        *,
        store: str | os.PathLike[str] | None = None,
        bot_name: str = "Atlas",
        allow_local_webhook: bool = True,
        timing: Timing | None = None,
        provider_tokens: Collection[str] = (),
        limits: Limits | None = None,
    ) -> None:
        timing = timing or Timing()
        bot = {"id": int(token.partition(":")[0]), "is_bot": True, "first_name": bot_name, "username": bot_username}
        self._store = Store(store)
        self._updates = Updates(self._store, clock)
        self._chats = Chats(self._store, clock, bot, self._updates)
        self._click_queries = Queries(clock, timing.callback_deadline)
        self._clicks = Clicks(self._click_queries, self._updates, clock, timing)
        self._checkouts = Queries(clock, timing.checkout_deadline)
        self._sending = Sending(self._chats)
        editing = Editing(self._chats)
        self._messages = MessageMethods(self._chats, self._sending, editing)
        self._media = MediaMethods(self._chats, self._sending, editing)
        self._bot = BotMethods(self._chats, self._store, self._clicks, self._checkouts)
        payments = Payments(self._store)
        self._checkout = Checkout(
            self._chats,
            self._updates,
            clock,
            payments,
            asked=self._checkouts,
            answers=self._bot.checkout_answers,
        )
        self._payments = PaymentMethods(self._chats, self._sending, payments, self._checkout, provider_tokens)
        self.payments = payments
        # Who the bot takes for its administrators; the chat page marks them.
        self.admins: frozenset[int] = frozenset()
        self._delivery = Delivery(self._updates, clock, timing, self._call_in_response)
        webhook = WebhookMethods(self._updates, self._delivery, clock, allow_local=allow_local_webhook)
        self._api = BotApi(
            clock,
            Throttle(clock, limits),
            {
                **self._messages.table(),
                **self._media.table(),
                **self._bot.table(),
                **self._payments.table(),
                **ProfileMethods(self._chats, self._store).table(),
                **ChatMethods(self._chats, self._updates, self._store).table(),
                **TransferMethods(self._chats, self._sending, payments).table(),
                **webhook.table(),
            },
        )
        self.server = BotApiServer(token, self._api, self._chats)
        # Origins whose pages the chat opens in a sheet of its own instead of a new tab: the sandbox's own Crypto Pay.
        self.framed: tuple[str, ...] = ()

    async def _call_in_response(self, method: str, arguments: Any) -> None:
        await self._api.call_in_response(method, arguments)

    async def start(self) -> None:
        """Begin to deliver updates."""
        self._api.start()
        self._checkout.start()
        await self._delivery.start()

    async def stop(self) -> None:
        """Stop delivering and let go of all who wait. What is undelivered stays in the store."""
        self._api.stop()
        self._clicks.stop()
        await self._checkout.stop()
        await self._delivery.stop()

    def close(self) -> None:
        """Close the store, after `stop`."""
        self._store.close()

    @property
    def bot(self) -> dict[str, Any]:
        """The bot as a Bot API `User`."""
        return dict(self._chats.bot)

    @property
    def chats(self) -> Chats:
        """All chats: what the page reads."""
        return self._chats

    @property
    def activity(self) -> dict[int, tuple[str, int]]:
        """What the bot is seen doing, by chat: the action and until when (POSIX seconds)."""
        return self._sending.activity

    @property
    def calls(self) -> list[Call]:
        """Calls of the bot, oldest first, those that came inside webhook responses included."""
        return self._api.calls

    @property
    def faults(self) -> CallFaults:
        """What goes wrong with calls on purpose."""
        return self._api.faults

    @property
    def limits(self) -> Limits | None:
        """How much the bot may send before it is answered 429; None = any amount. Setting it begins anew."""
        return self._api.throttle.limits

    @limits.setter
    def limits(self, limits: Limits | None) -> None:
        self._api.throttle.limits = limits

    @property
    def deliveries(self) -> list[Attempt]:
        """POSTs to the webhook, oldest first."""
        return self._delivery.attempts

    @property
    def pending(self) -> list[Pending]:
        """Updates not yet delivered."""
        return list(self._updates)

    @property
    def expired(self) -> list[Pending]:
        """Updates given up because they grew too old."""
        return self._updates.expired

    @property
    def checkout_answers(self) -> dict[str, str]:
        """How pre-checkouts were answered, by query id: empty = go on, else the reason."""
        return self._bot.checkout_answers

    @property
    def users(self) -> list[User]:
        """All people the stand-in knows."""
        return [self._user(account) for account in self._chats.accounts.values()]

    def _user(self, account: Account) -> User:
        return User(account, self._chats, self._updates, clicks=self._clicks, bot=self._bot, checkout=self._checkout)

    def user(
        self,
        user_id: int,
        first_name: str = "Anna",
        *,
        last_name: str = "",
        username: str = "",
        language_code: str = "",
    ) -> User:
        """A person with this id: the one there is, else a new one (who has not started the bot yet)."""
        account = self._chats.accounts.get(user_id)
        if account is None:
            if not 0 < user_id < 2**52 or user_id == self._chats.bot["id"]:
                raise ValueError("a Telegram user id is positive, below 2**52, and not the bot's")
            account = Account(user_id, first_name, last_name, username, language_code)
            self._chats.save(account)
        return self._user(account)

    def channel(
        self, channel_id: int, title: str = "Atlas news", *, username: str = "", owner: User | None = None
    ) -> Channel:
        """A channel with this id: the one there is, else a new one, which the bot is not in until `set_bot`.

        Args:
            channel_id: below -1 000 000 000 000.
            title: as its readers see it.
            username: without the @; none for a private channel.
            owner: a user of id 1 unless said.
        """
        found = self._chats.channels.get(channel_id)
        if found is not None:
            return found
        if channel_id >= HIGHEST_ID:
            raise ValueError("a channel's id is below -1000000000000")
        owner = owner or self.user(1, "Owner")
        return self._chats.channels.add(channel_id, title, username, owner.id)

    def inject(self, update: dict[str, Any]) -> int:
        """Queue a raw update as it is, of any kind and shape; the answer is its id (a new one when it has none).

        A query in it can be answered, and a person who writes or clicks in it has started the bot.
        """
        kind = kind_of(update)
        content = update.get(kind)
        sender = content.get("from") if isinstance(content, dict) else None
        if isinstance(content, dict) and isinstance(sender, dict) and isinstance(sender.get("id"), int):
            if kind in {"message", "callback_query"} and not sender.get("is_bot") and sender["id"] > 0:
                account = self.user(sender["id"], str(sender.get("first_name", "Anna"))).account
                account.started = True
                self._chats.save(account)
            queries = {"callback_query": self._click_queries, "pre_checkout_query": self._checkouts}.get(kind)
            if queries is not None and isinstance(content.get("id"), str):
                queries.ask(sender["id"], content["id"])
        return self._updates.put(update)

    async def post_raw(self, body: bytes, headers: dict[str, str | bytes | None] | None = None) -> httpx.Response:
        """One POST of these bytes at the webhook, outside all queues.

        JSON's content type and the right secret are sent unless `headers` says otherwise; None leaves a header out.
        """
        webhook = self._delivery.webhook
        secret = webhook.secret_token if webhook else ""
        return await self._delivery.post(body, {SECRET_HEADER: secret or None, **(headers or {})})

    async def idle(self, timeout: float = 30) -> None:  # noqa: ASYNC109 - the caller is told what is left, not a bare timeout
        """Wait until every update is delivered and every call that came in a response executed.

        Raises:
            AssertionError: not within so many real seconds; the text names what is left.
        """
        try:
            async with asyncio.timeout(timeout):
                while True:
                    seen = self._updates.changes.count
                    self._updates.drop_expired()
                    if not len(self._updates) and not self._delivery.busy:
                        return
                    await self._updates.changes.after(seen)
        except TimeoutError:
            left = ", ".join(f"{pending.update_id} ({pending.queue})" for pending in self._updates)
            last = self.deliveries[-1].complaint if self.deliveries else "none was sent"
            raise AssertionError(f"undelivered after {timeout} s: {left}; last attempt: {last}") from None

    def charge_back(self, charge_id: str, *, again: bool = False) -> None:
        """Take a charge back from the bot, as a phone's store or a card's bank may weeks later; no update tells of it.

        Stars leave their list and balance; of a card's charge its provider's statement alone tells.
        With `again` also although it was given back before: a second debit of one charge.

        Raises:
            ApiError: no such charge, or given back before.
        """
        self._checkout.charge_back(charge_id, again=again)

    def refer(self, payer: User, affiliate: User, per_mille: int) -> None:
        """The payer came by the affiliate's link: of each charge from now on the bot gets so much of each 1000 Stars less.

        Raises:
            ValueError: not between 1 and 999.
        """
        if not 0 < per_mille < 1000:  # noqa: PLR2004 - per mille
            raise ValueError("1 to 999 of each 1000 Stars")
        self.payments.refer(payer.id, affiliate.id, per_mille)

    def withdraw(self, nanostars: int) -> str:
        """The owner takes the bot's Stars out by Fragment; the answer is the transaction's id.

        Raises:
            ValueError: an amount of nothing.
        """
        state = {"type": "succeeded", "date": self._chats.now, "url": "https://fragment.com/"}
        return self._checkout.move("receiver", {"type": "fragment", "withdrawal_state": state}, nanostars)

    def move_stars(self, side: Literal["source", "receiver"], kind: str, nanostars: int) -> str:
        """Stars that come to the bot (`source`) or leave it (`receiver`) beside charges: `telegram_ads`, `other`, ...

        Raises:
            ValueError: an amount of nothing.
        """
        return self._checkout.move(side, {"type": kind}, nanostars)

    def refund(self, charge_id: str) -> None:
        """Give a charge's Stars back, as the bot's owner may past the shop; the chat and the bot get a `refunded_payment`.

        Raises:
            ApiError: no such charge, one by card, or given back before.
        """
        charge = self.payments.charge(charge_id)
        self._checkout.refund(0 if charge is None else charge.user_id, charge_id)

    def fail_next(
        self,
        method: str,
        code: int | Literal["hang"],
        description: str | None = None,
        retry_after: int | None = None,
        times: int = 1,
        *,
        executed: bool = False,
    ) -> None:
        """Answer the next `times` calls of `method` (`*` = any) with a failure.

        `retry_after` goes into `parameters` and the `Retry-After` header; `"hang"` never answers until the stand-in stops.
        With `executed` the call takes effect and only its answer is lost.
        """
        self.faults.fail_next(method, code, description, retry_after=retry_after, times=times, executed=executed)

    def forget_failures(self) -> None:
        """Take back every `fail_next` that no call has met."""
        self.faults.forget_failures()
