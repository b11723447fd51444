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
NANOSTARS = 10**9
_PER_MILLE = 1000


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
    # Who brought the payer, and what they get of each 1000 Stars.
    affiliate_id: int = 0
    commission_per_mille: int = 0

    @property
    def commission(self) -> int:
        """The affiliate's part, in nanostars, rounded down."""
        return self.amount * NANOSTARS * self.commission_per_mille // _PER_MILLE


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


def star_amount(nanostars: int) -> dict[str, int]:
    """Bot API's two fields of an amount: both have its sign, and the second is there when it is not zero."""
    sign = -1 if nanostars < 0 else 1
    whole, part = divmod(abs(nanostars), NANOSTARS)
    return {"amount": sign * whole} | ({"nanostar_amount": sign * part} if part else {})


def _nanostars(transaction: Transaction) -> int:
    return int(transaction["amount"]) * NANOSTARS + int(transaction.get("nanostar_amount", 0))


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
        self._affiliates = {
            int(name): (body["user_id"], body["per_mille"]) for name, body in store.records("affiliate")
        }
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
        """The bot's Stars, in nanostars."""
        return sum(_nanostars(one) if "source" in one else -_nanostars(one) for one in self._transactions)

    @property
    def balance_off(self) -> int:
        """So many nanostars `getMyStarBalance` says more than there are: a fault, on purpose."""
        return int(self._store.setting("star_balance_off") or 0)

    @balance_off.setter
    def balance_off(self, nanostars: int) -> None:
        self._store.save_setting("star_balance_off", nanostars)

    def refer(self, payer_id: int, affiliate_id: int, per_mille: int) -> None:
        """From now on this person's payments bring an affiliate so much of each 1000 Stars."""
        self._affiliates[payer_id] = (affiliate_id, per_mille)
        self._store.save_record("affiliate", str(payer_id), {"user_id": affiliate_id, "per_mille": per_mille})

    def affiliate_of(self, payer_id: int) -> tuple[int, int]:
        """Who brought this person, and what they get of each 1000 Stars; zeros when they came by themselves."""
        return self._affiliates.get(payer_id, (0, 0))

    def add_transaction(
        self, side: str, charge: Charge, user: dict[str, Any], date: int, affiliate: dict[str, Any] | None = None
    ) -> None:
        """Book a charge in Stars: `source` = it came in, `receiver` = it went back. The bot's own is without its affiliate's part."""
        partner: dict[str, Any] = {
            "type": "user",
            "transaction_type": "invoice_payment",
            "user": user,
            "invoice_payload": charge.payload,
        }
        if charge.subscription_period:
            partner["subscription_period"] = charge.subscription_period
        if affiliate is not None:
            part = charge.commission if side == "source" else -charge.commission
            partner["affiliate"] = {
                "affiliate_user": affiliate,
                "commission_per_mille": charge.commission_per_mille,
                **star_amount(part),
            }
        amount = charge.amount * NANOSTARS - charge.commission
        self._book({"id": charge.charge_id, **star_amount(amount), "date": date, side: partner})

    def add_other(self, side: str, partner: dict[str, Any], nanostars: int, date: int) -> str:
        """Book what is no charge: a withdrawal, advertising, a deposit. The answer is its id."""
        transaction_id = f"stx{secrets.token_urlsafe(30)}"
        self._book({"id": transaction_id, **star_amount(nanostars), "date": date, side: partner})
        return transaction_id

    def _book(self, transaction: Transaction) -> None:
        self._transactions.append(transaction)
        self._store.save_record("transaction", f"{len(self._transactions)} {transaction['id']}", transaction)

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
