"""Paying in the app: the pre-checkout and its deadline, the charge, what both sides see, renewals, money taken back."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Literal

from sandbox.telegram.payments.invoices import STARS
from sandbox.telegram.payments.payments import Charge, Subscription, new_charge_id
from sandbox.telegram.protocol.errors import bad_request

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sandbox.stand_in.clock import Clock
    from sandbox.telegram.chats.accounts import Account
    from sandbox.telegram.chats.chats import Chats
    from sandbox.telegram.payments.invoices import Invoice
    from sandbox.telegram.payments.payments import Payments
    from sandbox.telegram.state.queries import Queries
    from sandbox.telegram.updates.updates import Updates

RECEIPT: Final = {"text": "Receipt", "pay": True}


@dataclass(frozen=True)
class Payment:
    """How pressing Pay ended: `reason` is what the bot said, or the app's words; one charge id for each time money went."""

    status: Literal["paid", "refused", "timeout", "too_poor"]
    reason: str = ""
    charge_ids: tuple[str, ...] = ()


class Checkout:
    """The part of Telegram between an app and a bot that moves money.

    Args:
        asked: open pre-checkouts.
        answers: how the bot answered them, by query id: empty = go on, else the reason.
    """

    def __init__(
        self,
        chats: Chats,
        updates: Updates,
        clock: Clock,
        payments: Payments,
        *,
        asked: Queries,
        answers: Mapping[str, str],
    ) -> None:
        self._chats = chats
        self._updates = updates
        self._clock = clock
        self._payments = payments
        self._asked = asked
        self._answers = answers
        self._renewing: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Renew subscriptions when their time comes."""
        self._renewing = asyncio.create_task(self._renew_in_time())

    async def stop(self) -> None:
        """Renew no more."""
        if self._renewing is not None:
            self._renewing.cancel()
            await asyncio.wait([self._renewing])
            self._renewing = None

    # -- paying --------------------------------------------------------------------------------------------------------

    async def pay_message(self, account: Account, message_id: int, tip: int, charges: int, method: str) -> Payment:
        """Press Pay on an invoice in the chat; once paid, its button is the receipt.

        Raises:
            ValueError: no unpaid invoice, a deleted account, or a tip the invoice does not take.
        """
        message = self._chats.message(account.id, message_id)
        invoice = self._payments.invoice(str(message_id))
        if message is None or "invoice" not in message or invoice is None:
            raise ValueError(f"message {message_id} is no invoice")
        return await self._pay(account, invoice, tip, charges, method, message_id=message_id)

    async def pay_link(self, account: Account, url: str, tip: int, charges: int, method: str) -> Payment:
        """Pay what a link of createInvoiceLink offers: any user, any number of times.

        Raises:
            ValueError: no such link, a deleted account, or a tip the invoice does not take.
        """
        invoice = self._payments.invoice(url.removeprefix("https://t.me/")) if "/$" in url else None
        if invoice is None:
            raise ValueError(f"there is no invoice at {url}")
        return await self._pay(account, invoice, tip, charges, method)

    async def _pay(
        self, account: Account, invoice: Invoice, tip: int, charges: int, method: str, *, message_id: int | None = None
    ) -> Payment:
        """Ask the bot and take the money; with a `message_id` the invoice is paid once, and its button tells."""
        if not 0 <= tip <= invoice.max_tip or charges < 1:
            raise ValueError(f"a tip of 0 to {invoice.max_tip} and at least one charge")
        total = invoice.total + tip
        if refusal := self._cannot_pay(account, invoice, total * charges, message_id):
            return refusal
        answer = await self._ask(account, invoice, total)
        if answer is None:
            return Payment("timeout", "the bot did not confirm the payment in time")
        if answer:
            return Payment("refused", answer)
        if invoice.currency != STARS and method == "declined":
            return Payment("refused", "the card was declined")
        # While the bot thought, another payment may have taken the Stars or paid this very message.
        if refusal := self._cannot_pay(account, invoice, total * charges, message_id):
            return refusal
        with self._payments.transaction():
            charge_ids = tuple([self._charge(account, invoice, total).charge_id for _ in range(charges)])
            if message_id is not None:
                self._leave_receipt(account, message_id)
        return Payment("paid", "", charge_ids)

    def _cannot_pay(self, account: Account, invoice: Invoice, cost: int, message_id: int | None) -> Payment | None:
        """What stands against the payment now; None when nothing does.

        Raises:
            ValueError: a deleted account, or an invoice message that is paid.
        """
        if account.deleted:
            raise ValueError("this account is deleted")
        message = None if message_id is None else self._chats.message(account.id, message_id)
        if message is not None and _first_button(message) == RECEIPT:
            raise ValueError("already paid")
        if invoice.currency == STARS and account.stars < cost:
            return Payment("too_poor", f"{account.stars} Stars of {cost}")
        return None

    def _leave_receipt(self, account: Account, message_id: int) -> None:
        message = self._chats.message(account.id, message_id)
        if message is not None:
            message["reply_markup"]["inline_keyboard"][0][0] = RECEIPT
            self._chats.replace_message(message)

    async def _ask(self, account: Account, invoice: Invoice, total: int) -> str | None:
        """The bot's answer to a new pre-checkout; None when it came late or not at all."""
        query_id = self._asked.ask(account.id)
        query = {
            "id": query_id,
            "from": account.user(),
            "currency": invoice.currency,
            "total_amount": total,
            "invoice_payload": invoice.payload,
        }
        self._updates.emit("pre_checkout_query", query | _order_info(account, invoice))
        late = asyncio.create_task(self._clock.sleep(self._asked.deadline))
        try:
            while True:
                seen = self._chats.changes.count
                if query_id in self._answers:
                    return self._answers[query_id]
                if late.done():
                    return None
                changed = asyncio.create_task(self._chats.changes.after(seen))
                await asyncio.wait([changed, late], return_when=asyncio.FIRST_COMPLETED)
                changed.cancel()
        finally:
            late.cancel()

    def _charge(self, account: Account, invoice: Invoice, total: int, renewed: Subscription | None = None) -> Charge:
        """Take the money, tell the chat and the bot; inside a transaction, so that a crash leaves all of it or nothing."""
        stars = invoice.currency == STARS
        charge_id = new_charge_id(invoice.currency)
        affiliate_id, per_mille = self._payments.affiliate_of(account.id) if stars else (0, 0)
        charge = Charge(
            charge_id,
            account.id,
            invoice.currency,
            total,
            invoice.payload,
            self._chats.now,
            "" if stars else f"ch_{charge_id}",
            invoice.subscription_period,
            to_provider={} if stars else _to_provider(account, invoice),
            affiliate_id=affiliate_id,
            commission_per_mille=per_mille,
        )
        self._payments.save_charge(charge)
        if stars:
            account.stars -= total
            self._list("source", charge, charge.date)
        # Who pays by a link has a chat with the bot from then on.
        account.started = True
        self._chats.save(account)
        paid: dict[str, Any] = {
            "currency": charge.currency,
            "total_amount": charge.amount,
            "invoice_payload": charge.payload,
            "telegram_payment_charge_id": charge.charge_id,
            "provider_payment_charge_id": charge.provider_charge_id,
        }
        paid |= _order_info(account, invoice) | self._recurring(charge, invoice, renewed)
        message = self._chats.add_message(account, account.user(), {"successful_payment": paid})
        self._updates.emit("message", message)
        return charge

    # -- subscriptions -------------------------------------------------------------------------------------------------

    def _recurring(self, charge: Charge, invoice: Invoice, renewed: Subscription | None) -> dict[str, Any]:
        """Begin or extend the subscription; the answer is what successful_payment says of it."""
        period = invoice.subscription_period
        if not period:
            return {}
        if renewed is None:
            until = charge.date + period
            self._payments.save_subscription(Subscription(charge.charge_id, charge.user_id, invoice, until))
            return {"subscription_expiration_date": until, "is_recurring": True, "is_first_recurring": True}
        until = renewed.paid_until + period
        self._payments.save_subscription(renewed, paid_until=until)
        return {"subscription_expiration_date": until, "is_recurring": True}

    async def _renew_in_time(self) -> None:
        while True:
            seen = self._payments.renewals.count
            self.renew_due()
            due = [one.paid_until for one in self._payments.subscriptions if one.renews]
            waits = [asyncio.create_task(self._payments.renewals.after(seen))]
            if due:
                moment = datetime.fromtimestamp(min(due), UTC)
                waits.append(asyncio.create_task(_none(self._clock.sleep_until(moment))))
            try:
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for wait in waits:
                    wait.cancel()

    def renew_due(self) -> None:
        """Take the Stars of every subscription whose time is up, once for each period that passed."""
        for subscription in self._payments.subscriptions:
            now = subscription
            while now.renews and now.paid_until <= self._chats.now:
                self._renew(now)
                now = self._payments.subscription(now.charge_id) or now

    def _renew(self, subscription: Subscription) -> None:
        account = self._chats.accounts[subscription.user_id]
        if account.deleted or account.stars < subscription.invoice.total:
            self._payments.save_subscription(subscription, failed=True)
            self._tell(subscription, "failed")
            return
        with self._payments.transaction():
            self._charge(account, subscription.invoice, subscription.invoice.total, subscription)

    def _tell(self, subscription: Subscription, state: Literal["active", "canceled", "failed"]) -> int:
        user = self._chats.accounts[subscription.user_id].user()
        content = {"user": user, "invoice_payload": subscription.invoice.payload, "state": state}
        return self._updates.emit("subscription", content)

    def subscriptions_of(self, user_id: int) -> list[Subscription]:
        """A person's subscriptions, oldest first."""
        return [one for one in self._payments.subscriptions if one.user_id == user_id]

    def switch(self, user_id: int, charge_id: str, *, canceled: bool) -> int:
        """A person ends a subscription's renewals, or lets them go on; the answer is the update's id.

        Raises:
            ValueError: not theirs, over, so already, or ended by the bot.
        """
        subscription = self._payments.subscription(charge_id)
        if subscription is None or subscription.user_id != user_id:
            raise ValueError("they have no such subscription")
        if subscription.failed or subscription.paid_until <= self._chats.now or subscription.canceled_by_bot:
            raise ValueError("this subscription is over")
        if subscription.canceled == canceled:
            raise ValueError("it is canceled already" if canceled else "it is not canceled")
        self._payments.save_subscription(subscription, canceled=canceled)
        self._chats.changes.tell()
        return self._tell(subscription, "canceled" if canceled else "active")

    # -- money that goes back ------------------------------------------------------------------------------------------

    def _give_back(self, user_id: int, charge_id: str) -> Charge:
        charge = self._payments.charge(charge_id)
        if charge is None or charge.user_id != user_id or charge.currency != STARS:
            raise bad_request("CHARGE_NOT_FOUND")
        if charge.returned:
            raise bad_request("CHARGE_ALREADY_REFUNDED")
        self._payments.save_charge(replace(charge, returned=True, returned_at=self._chats.now))
        self._list("receiver", charge, self._chats.now)
        return charge

    def _list(self, side: str, charge: Charge, date: int) -> None:
        user = self._chats.accounts[charge.user_id].user()
        affiliate = self._chats.accounts[charge.affiliate_id].user() if charge.affiliate_id else None
        self._payments.add_transaction(side, charge, user, date, affiliate)

    def refund(self, user_id: int, charge_id: str) -> None:
        """Give a charge's Stars back; the chat and the bot get a `refunded_payment`.

        Raises:
            ApiError: no such charge of that person, one through a provider, or given back before.
        """
        with self._payments.transaction():
            charge = self._give_back(user_id, charge_id)
            account = self._chats.accounts[user_id]
            account.stars += charge.amount
            self._chats.save(account)
            refunded = {
                "currency": STARS,
                "total_amount": charge.amount,
                "invoice_payload": charge.payload,
                "telegram_payment_charge_id": charge.charge_id,
            }
            message = self._chats.add_message(account, account.user(), {"refunded_payment": refunded})
            self._updates.emit("message", message)

    def charge_back(self, charge_id: str, *, again: bool = False) -> None:
        """The store the Stars were bought in, or the card's bank, takes the money back from the bot, without an update.

        Args:
            charge_id: of a charge.
            again: although it was given back before: a second debit of one charge.

        Raises:
            ApiError: no such charge, or given back before.
        """
        charge = self._payments.charge(charge_id)
        if charge is not None and charge.currency != STARS:
            if charge.returned:
                raise bad_request("CHARGE_ALREADY_REFUNDED")
            self._payments.save_charge(replace(charge, returned=True, returned_at=self._chats.now))
            return
        with self._payments.transaction():
            if again and charge is not None and charge.returned:
                self._list("receiver", charge, self._chats.now)
                return
            self._give_back(charge.user_id if charge else 0, charge_id)

    def move(self, side: str, partner: dict[str, Any], nanostars: int) -> str:
        """What moves the bot's Stars beside charges; the answer is the transaction's id.

        Raises:
            ValueError: nothing moves.
        """
        if nanostars <= 0:
            raise ValueError("an amount above zero")
        return self._payments.add_other(side, partner, nanostars, self._chats.now)


def _order_info(account: Account, invoice: Invoice) -> dict[str, Any]:
    """The field of a pre-checkout and of a payment that holds what the invoice asked for."""
    filled_in = account.particulars()
    return {"order_info": {name: filled_in[name] for name in invoice.asks}} if invoice.asks else {}


def _to_provider(account: Account, invoice: Invoice) -> dict[str, str]:
    filled_in = account.particulars()
    data = {"provider_data": invoice.provider_data} if invoice.provider_data else {}
    return data | {name: filled_in[name] for name in invoice.shares}


async def _none(wait: Any) -> int:
    await wait
    return 0


def _first_button(message: dict[str, Any]) -> dict[str, Any]:
    button: dict[str, Any] = message["reply_markup"]["inline_keyboard"][0][0]
    return button
