"""Money that changed hands: invoices on offer, charges, Star transactions and subscriptions, kept in the store."""

from __future__ import annotations

import secrets
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from sandbox.telegram.payments.invoices import STARS, Invoice
from sandbox.telegram.state.changes import Changes

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from sandbox.telegram.state.store import Store

Transaction = dict[str, Any]


@dataclass(frozen=True)
class Charge:
    """One taking of money. `amount` is in the currency's smallest unit, `date` in POSIX seconds."""

    charge_id: str
    user_id: int
    currency: str
    amount: int
    payload: str
    date: int
    provider_charge_id: str = ""
    subscription_period: int = 0
    # Given back, by the bot or by the bank; once either way. When, in POSIX seconds; 0 as long as it was not.
    returned: bool = False
    returned_at: int = 0
    # What the provider was told for its receipt: the bot's `provider_data`, and of the payer what the invoice shares.
    to_provider: dict[str, str] = field(default_factory=dict, hash=False)


@dataclass(frozen=True)
class Subscription:
    """A Star subscription, named by its first charge. `paid_until` is in POSIX seconds."""

    charge_id: str
    user_id: int
    invoice: Invoice
    paid_until: int
    canceled: bool = False
    canceled_by_bot: bool = False
    failed: bool = False

    @property
    def renews(self) -> bool:
        """Whether Stars will be taken again when `paid_until` comes."""
        return not (self.canceled or self.canceled_by_bot or self.failed)


def new_charge_id(currency: str) -> str:
    """Longer than 128 characters for Stars, as seen in production."""
    return f"stx{secrets.token_urlsafe(105)}" if currency == STARS else str(secrets.randbits(90))


class Payments:
    """Everything about money. `renewals` moves when a subscription begins or changes."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.renewals = Changes()
        self._invoices = {name: Invoice(**body) for name, body in store.records("invoice")}
        self._charges = {name: Charge(**body) for name, body in store.records("charge")}
        self._transactions: list[Transaction] = [body for _, body in store.records("transaction")]
        self._subscriptions = {
            name: Subscription(**body | {"invoice": Invoice(**body["invoice"])})
            for name, body in store.records("subscription")
        }

    def transaction(self) -> AbstractContextManager[None]:
        """All that is written inside, of chats and updates too, or nothing: a crash neither makes nor loses money."""
        return self._store.transaction()

    def offer(self, name: str, invoice: Invoice) -> None:
        """Keep an invoice under a message's id or a link's slug."""
        self._invoices[name] = invoice
        self._store.save_record("invoice", name, asdict(invoice))

    def invoice(self, name: str) -> Invoice | None:
        """What is offered under that name."""
        return self._invoices.get(name)

    def charge(self, charge_id: str) -> Charge | None:
        """One charge."""
        return self._charges.get(charge_id)

    @property
    def charges(self) -> list[Charge]:
        """Every charge, oldest first."""
        return list(self._charges.values())

    def save_charge(self, charge: Charge) -> None:
        """Keep a charge that is new or was given back."""
        self._charges[charge.charge_id] = charge
        self._store.save_record("charge", charge.charge_id, asdict(charge))

    @property
    def transactions(self) -> list[Transaction]:
        """Bot API `StarTransaction`s, oldest first."""
        return list(self._transactions)

    @property
    def balance(self) -> int:
        """The bot's Stars."""
        return sum(one["amount"] if "source" in one else -one["amount"] for one in self._transactions)

    @property
    def balance_off(self) -> int:
        """So many nanostars `getMyStarBalance` says more than there are: a fault, on purpose."""
        return int(self._store.setting("star_balance_off") or 0)

    @balance_off.setter
    def balance_off(self, nanostars: int) -> None:
        self._store.save_setting("star_balance_off", nanostars)

    def add_transaction(self, side: str, charge: Charge, user: dict[str, Any], date: int) -> None:
        """Book a charge in Stars: `source` = it came in, `receiver` = it went back."""
        partner: dict[str, Any] = {
            "type": "user",
            "transaction_type": "invoice_payment",
            "user": user,
            "invoice_payload": charge.payload,
        }
        if charge.subscription_period:
            partner["subscription_period"] = charge.subscription_period
        transaction = {"id": charge.charge_id, "amount": charge.amount, "date": date, side: partner}
        self._transactions.append(transaction)
        self._store.save_record("transaction", f"{side} {charge.charge_id}", transaction)

    @property
    def subscriptions(self) -> list[Subscription]:
        """All there ever were, oldest first."""
        return list(self._subscriptions.values())

    def subscription(self, charge_id: str) -> Subscription | None:
        """The one that this charge, its first, began."""
        return self._subscriptions.get(charge_id)

    def save_subscription(self, subscription: Subscription, **changed: Any) -> Subscription:
        """Keep a subscription that is new, or one with these fields changed."""
        kept = replace(subscription, **changed)
        self._subscriptions[kept.charge_id] = kept
        self._store.save_record("subscription", kept.charge_id, asdict(kept))
        self.renewals.tell()
        return kept
