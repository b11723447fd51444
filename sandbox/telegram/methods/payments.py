"""Methods about money: invoices, Stars and their way back. The app's side of it is `checkout`."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any, Final

from sandbox.telegram.payments.invoices import parse_invoice
from sandbox.telegram.payments.payments import star_amount
from sandbox.telegram.protocol.errors import bad_request
from sandbox.telegram.text.keyboards import parse_markup

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection

    from sandbox.telegram.chats.chats import Chats, Message
    from sandbox.telegram.chats.sending import Sending
    from sandbox.telegram.payments.checkout import Checkout
    from sandbox.telegram.payments.payments import Payments
    from sandbox.telegram.protocol.arguments import Arguments

TRANSACTIONS_LIMIT: Final = 100


class PaymentMethods:
    """One coroutine a method; each takes the call's arguments and returns the call's result."""

    def __init__(
        self,
        chats: Chats,
        sending: Sending,
        payments: Payments,
        checkout: Checkout,
        provider_tokens: Collection[str],
    ) -> None:
        self._chats = chats
        self._sending = sending
        self._payments = payments
        self._checkout = checkout
        self._provider_tokens = provider_tokens

    def table(self) -> dict[str, Callable[[Arguments], Awaitable[Any]]]:
        """The methods by lower-case name."""
        return {
            "sendinvoice": self.send_invoice,
            "createinvoicelink": self.create_link,
            "refundstarpayment": self.refund,
            "getstartransactions": self.get_transactions,
            "getmystarbalance": self.get_balance,
            "edituserstarsubscription": self.edit_subscription,
        }

    async def send_invoice(self, arguments: Arguments) -> Message:
        """Offer something in a chat; the first button pays, whatever its text."""
        invoice = parse_invoice(arguments, self._provider_tokens)
        markup = parse_markup(arguments.text("reply_markup"))
        account = self._chats.open_chat(arguments.text("chat_id"))
        options = self._sending.options(arguments, account)
        markup = markup or {"inline_keyboard": [[invoice.pay_button]]}
        message = self._sending.send(account, {"invoice": invoice.shown()} | options, markup)
        self._payments.offer(str(message["message_id"]), invoice)
        return message

    async def create_link(self, arguments: Arguments) -> str:
        """A link any user can pay at, repeatedly; the only way to sell a subscription."""
        if arguments.text("business_connection_id"):
            raise bad_request("business connection not found")
        invoice = parse_invoice(arguments, self._provider_tokens, link=True)
        slug = f"${secrets.token_urlsafe(16)}"
        self._payments.offer(slug, invoice)
        return f"https://t.me/{slug}"

    def _payer(self, arguments: Arguments) -> int:
        user_id = arguments.integer("user_id")
        if user_id not in self._chats.accounts:
            raise bad_request("invalid user_id specified")
        return user_id

    async def refund(self, arguments: Arguments) -> bool:
        """Give the Stars of one charge back, once."""
        user_id, charge_id = self._payer(arguments), arguments.text("telegram_payment_charge_id")
        if not charge_id:
            raise bad_request('parameter "telegram_payment_charge_id" is required')
        self._checkout.refund(user_id, charge_id)
        return True

    async def get_transactions(self, arguments: Arguments) -> dict[str, Any]:
        """Star transactions, oldest first, at most 100; what is out of range is brought into it."""
        offset = max(arguments.integer("offset"), 0)
        limit = min(max(arguments.integer("limit", TRANSACTIONS_LIMIT), 1), TRANSACTIONS_LIMIT)
        return {"transactions": self._payments.transactions[offset : offset + limit]}

    async def get_balance(self, _arguments: Arguments) -> dict[str, int]:
        """The bot's Stars."""
        return star_amount(self._payments.balance + self._payments.balance_off)

    async def edit_subscription(self, arguments: Arguments) -> bool:
        """End a subscription's renewals in the payer's place, or allow them again."""
        user_id = self._payer(arguments)
        subscription = self._payments.subscription(arguments.text("telegram_payment_charge_id"))
        if subscription is None or subscription.user_id != user_id:
            raise bad_request("CHARGE_NOT_FOUND")
        self._payments.save_subscription(subscription, canceled_by_bot=arguments.flag("is_canceled"))
        self._chats.changes.tell()
        return True
