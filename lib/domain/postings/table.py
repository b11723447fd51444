"""The posting table as data: every fact that is booked, and from which account to which (docs/postings.md is made of it).

A row of a fact moves an amount from the debited to the credited account. The amounts of a fact come by name, each in a currency of
its own. Where a row names two, the sides may differ in currency: then both legs pass through `exchange` (`building.py`). Nothing
else posts, but for a correction, which is the transfer that it names the other way round.
"""

from __future__ import annotations

from dataclasses import dataclass

CLEARING = "clearing"
"""Stands for the account of the provider that the fact is about."""

AMOUNTS = {
    "price": "what was agreed, in the order's currency",
    "discount": "list price less price, in the order's currency",
    "value": "the order's value, in the currency of the books",
    "received": "what came, in the asset that came",
    "rest": "what came beyond the price, in the currency of the books: floor(rest x value / price)",
    "rest_received": "the same as it came; nothing where `received` holds all of it",
    "fee": "what was kept of it, in its asset",
    "topped_up": "its part in that wallet",
    "earned": "its part in that wallet",
    "counted": "what came, in the currency of what it counts for",
    "missing": "what it is short of the price",
    "given_back": "what left for it, in the asset that left",
    "rest_given_back": "what left for the rest, in the asset that left; nothing where `given_back` holds all of it",
    "taken": "what of it the balance still holds",
    "lost": "what of it could not be had back",
    "reward": "the referrer's part",
    "held": "rewards on hold",
    "withdrawn": "what was asked for",
    "paid": "what left the bank",
    "returned": "what came back to the bank",
    "arrived": "what came to the bank",
    "settled": "what the provider's account gave for it, in its asset",
    "moved": "what an operator says was moved",
}
"""What each name of an amount stands for."""


@dataclass(frozen=True, slots=True)
class Leg:
    """One row of a fact.

    Attributes:
        debit, credit: codes of the chart; `CLEARING` stands for the provider's, `user:...` for the customer's wallet.
        amount: name of what the credited side gets.
        debited: name of what the debited side gives, where that may be in another currency.
        optional: the fact may lack it.
    """

    debit: str
    credit: str
    amount: str
    debited: str = ""
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Fact:
    """What can be booked.

    Attributes:
        name: in words.
        kind: of the transfer.
        key: its idempotency key, made of what the fact is about.
        legs: empty where nothing moves: then nothing is posted.
        about: what it names beside what is in its key.
        by_operator: an operator did it, and said why.
        says_why: it has a reason, also where no operator did it.
    """

    name: str
    kind: str
    key: str
    legs: tuple[Leg, ...] = ()
    about: tuple[str, ...] = ()
    by_operator: bool = False
    says_why: bool = False


_FEE = Leg("provider_fees", CLEARING, "fee", optional=True)
_BANK_FEE = Leg("provider_fees", "bank", "fee", optional=True)
_DISCOUNT = Leg("discounts", "revenue", "discount", optional=True)
_LOST = Leg("chargebacks", CLEARING, "lost", optional=True)


def _in(account: str, amount: str = "price") -> tuple[Leg, ...]:
    """Money from outside: IN(account), what came beyond the price, and the fee, once a charge."""
    return (
        Leg(CLEARING, account, amount, "received"),
        Leg(CLEARING, "user:topped_up", "rest", "rest_received", optional=True),
        _FEE,
    )


def _assigned(account: str) -> tuple[Leg, ...]:
    """Money from suspense for an order: short is made good by the shop, what is over goes to the balance."""
    return (
        Leg("suspense", account, "counted", "received"),
        Leg("goodwill", account, "missing", optional=True),
        Leg("suspense", "user:topped_up", "rest", "rest_received", optional=True),
    )


def _out(account: str, to: str, amount: str = "price") -> tuple[Leg, ...]:
    """Money back to outside, at the amounts booked when it came; what came beyond the price is had back from the balance."""
    return (
        Leg(account, to, "given_back", amount),
        Leg("user:topped_up", to, "rest_given_back", "rest", optional=True),
    )


_FROM_WALLETS = (("user:topped_up", "topped_up"), ("user:earned", "earned"))


def _spent(account: str) -> tuple[Leg, ...]:
    return tuple(Leg(wallet, account, part) for wallet, part in _FROM_WALLETS)


def _to_wallets(account: str) -> tuple[Leg, ...]:
    return tuple(Leg(account, wallet, part) for wallet, part in _FROM_WALLETS)


# Sold ----------------------------------------------------------------------------------------------------------------

_PAYMENT, _ORDER, _BUYER = "payment:{payment_id}", ("order_id",), ("order_id", "account_id")

SALE = Fact("sale from outside", "sale", _PAYMENT, (*_in("revenue"), _DISCOUNT), _ORDER)
SALE_FROM_BALANCE = Fact("sale from balance", "sale", _PAYMENT, (*_spent("revenue"), _DISCOUNT), _BUYER)
SALE_FREE = Fact("sale at 100 % off", "sale", _PAYMENT, (Leg("discounts", "revenue", "discount"),), _ORDER)
TOP_UP = Fact("top-up", "top_up", _PAYMENT, _in("user:topped_up", "value"), _BUYER)

# Gifts ---------------------------------------------------------------------------------------------------------------

_GIFT_BOUGHT, _GIFT_RETURNED = "gift_bought", "gift:{order_id}:returned"

GIFT_BOUGHT = Fact("gift bought from outside", _GIFT_BOUGHT, _PAYMENT, _in("gifts_outstanding"), _ORDER)
GIFT_BOUGHT_FROM_BALANCE = Fact("gift bought from balance", _GIFT_BOUGHT, _PAYMENT, _spent("gifts_outstanding"), _BUYER)
GIFT_BOUGHT_FREE = Fact("gift bought at 100 % off", _GIFT_BOUGHT, _PAYMENT, (), _ORDER)
GIFT_CLAIMED = Fact(
    "gift claimed",
    "gift_claimed",
    "gift:{order_id}:claimed",
    (Leg("gifts_outstanding", "revenue", "price"), _DISCOUNT),
)
GIFT_RETURNED = Fact(
    "gift returned, paid from outside",
    "gift_returned",
    _GIFT_RETURNED,
    (Leg("gifts_outstanding", "user:topped_up", "value", "price"),),
    ("account_id",),
)
GIFT_RETURNED_TO_WALLETS = Fact(
    "gift returned, paid from balance",
    "gift_returned",
    _GIFT_RETURNED,
    _to_wallets("gifts_outstanding"),
    ("account_id",),
)
GIFT_RETURNED_FREE = Fact("gift returned, at 100 % off", "gift_returned", _GIFT_RETURNED)
GIFT_OF_ERASED = Fact(
    "gift that would return to an erased customer",
    "gift_returned",
    _GIFT_RETURNED,
    (Leg("gifts_outstanding", "goodwill", "price"),),
)

# Money that fits nothing ----------------------------------------------------------------------------------------------

_EVENT, _RESOLVED = "event:{event_id}", "event:{event_id}:resolved"

SUSPENSE = Fact(
    "further charge of a paid order, money that fits nothing",
    "suspense",
    _EVENT,
    (Leg(CLEARING, "suspense", "received"), _FEE),
)
SUSPENSE_SUPERSEDED = Fact(
    "suspense left by the way it came: what was said later of the same charge is booked in its place",
    "suspense_resolved",
    _RESOLVED,
    (Leg("suspense", CLEARING, "received"), Leg(CLEARING, "provider_fees", "fee", optional=True)),
    says_why=True,
)
SUSPENSE_GIVEN_BACK = Fact(
    "suspense given back by the provider",
    "suspense_resolved",
    _RESOLVED,
    (Leg("suspense", CLEARING, "received"),),
    says_why=True,
)
SUSPENSE_PAID_BACK = Fact(
    "suspense given back by hand",
    "suspense_resolved",
    _RESOLVED,
    (Leg("suspense", "bank", "paid", "received"), _BANK_FEE),
    by_operator=True,
)
SUSPENSE_CREDITED = Fact(
    "suspense credited to a customer",
    "suspense_resolved",
    _RESOLVED,
    (Leg("suspense", "user:topped_up", "counted", "received"),),
    ("account_id",),
    says_why=True,
)
SUSPENSE_TO_SALE = Fact(
    "suspense assigned to a sale",
    "suspense_resolved",
    _RESOLVED,
    (*_assigned("revenue"), _DISCOUNT),
    ("payment_id", "order_id"),
    by_operator=True,
)
SUSPENSE_TO_GIFT = Fact(
    "suspense assigned to a gift",
    "suspense_resolved",
    _RESOLVED,
    _assigned("gifts_outstanding"),
    ("payment_id", "order_id"),
    by_operator=True,
)
SUSPENSE_TO_TOP_UP = Fact(
    "suspense assigned to a top-up, credited with what came",
    "suspense_resolved",
    _RESOLVED,
    (Leg("suspense", "user:topped_up", "counted", "received"),),
    ("payment_id", "order_id", "account_id"),
    by_operator=True,
)
FEE = Fact(
    "fee of a charge, or of a second debit, known only later",
    "fee",
    "fee:event:{event_id}",
    (Leg("provider_fees", CLEARING, "fee"),),
)
REFUND_FEE = Fact(
    "fee of a refund or chargeback, known only later",
    "fee",
    "fee:refund:{refund_id}",
    (Leg("provider_fees", CLEARING, "fee"),),
)

# Rewards and withdrawals ----------------------------------------------------------------------------------------------

_REWARD = ("order_id", "account_id")
_TAKEN_BACK = "reward:{payment_id}:reversed"

REWARD = Fact("reward", "reward", "reward:{payment_id}", (Leg("referral_cost", "referral_held", "reward"),), _REWARD)
REWARD_RELEASED = Fact(
    "reward released",
    "reward_released",
    "reward:{payment_id}:released",
    (Leg("referral_held", "user:earned", "reward"),),
    _REWARD,
)
HELD_REWARD_TAKEN_BACK = Fact(
    "reward taken back while it is held",
    "reward_reversed",
    _TAKEN_BACK,
    (Leg("referral_held", "referral_cost", "reward"),),
    _REWARD,
)
REWARD_TAKEN_BACK = Fact(
    "reward taken back after it was released",
    "reward_reversed",
    _TAKEN_BACK,
    (Leg("user:earned", "referral_cost", "taken"), Leg("write_offs", "referral_cost", "lost", optional=True)),
    _REWARD,
)
WITHDRAWAL_ASKED = Fact(
    "withdrawal asked",
    "withdrawal_asked",
    "withdrawal:{withdrawal_id}",
    (Leg("user:earned", "withdrawals_payable", "withdrawn"),),
    ("account_id",),
)
WITHDRAWAL_RETURNED = Fact(
    "withdrawal rejected or failed",
    "withdrawal_returned",
    "withdrawal:{withdrawal_id}:returned",
    (Leg("withdrawals_payable", "user:earned", "withdrawn"),),
    ("account_id",),
)
WITHDRAWAL_PAID = Fact(
    "withdrawal paid",
    "withdrawal_paid",
    "withdrawal:{withdrawal_id}:paid",
    (Leg("withdrawals_payable", "bank", "paid", "withdrawn"), _BANK_FEE),
    ("account_id",),
)
WITHDRAWAL_BOUNCED = Fact(
    "withdrawal bounced after it was paid",
    "withdrawal_bounced",
    "withdrawal:{withdrawal_id}:bounced",
    (Leg("bank", "user:earned", "withdrawn", "returned"),),
    ("account_id",),
)

# Given back -----------------------------------------------------------------------------------------------------------

_REFUND, _OF_REFUND = "refund:{provider}:{external_id}", ("refund_id", "payment_id", "order_id")
_OF_BUYER = (*_OF_REFUND, "account_id")
# of money that fitted nothing and was credited there is no payment
_OF_BALANCE = ("refund_id", "account_id")

REFUND_BY_PROVIDER = Fact(
    "refund of a sale by the provider", "refund", _REFUND, (*_out("refunds", CLEARING), _FEE), _OF_REFUND
)
REFUND_FROM_OUTSIDE = Fact(
    "refund of a sale that the provider made by itself",
    "refund",
    _REFUND,
    (*_out("refunds", CLEARING), _LOST, _FEE),
    _OF_REFUND,
)
REFUND_TO_WALLETS = Fact(
    "refund of a sale to the wallets that paid", "refund", _REFUND, _to_wallets("refunds"), _OF_BUYER
)
REFUND_TO_BALANCE = Fact(
    "refund of a sale from outside to the balance",
    "refund",
    _REFUND,
    (Leg("refunds", "user:topped_up", "value", "price"),),
    _OF_BUYER,
)
REFUND_BY_HAND = Fact("refund of a sale by hand", "refund", _REFUND, (*_out("refunds", "bank"), _BANK_FEE), _OF_REFUND)

REFUND_OF_BALANCE_BY_PROVIDER = Fact(
    "refund by the provider of what is in the balance (top-up, rest, credited duplicate, returned gift)",
    "refund",
    _REFUND,
    (Leg("user:topped_up", CLEARING, "given_back", "taken"), _FEE),
    _OF_BALANCE,
)
REFUND_OF_BALANCE_FROM_OUTSIDE = Fact(
    "refund of the same that the provider made by itself",
    "refund",
    _REFUND,
    (Leg("user:topped_up", CLEARING, "given_back", "taken"), _LOST, _FEE),
    _OF_BALANCE,
)
REFUND_OF_BALANCE_BY_HAND = Fact(
    "refund of the same by hand",
    "refund",
    _REFUND,
    (Leg("user:topped_up", "bank", "given_back", "taken"), _BANK_FEE),
    _OF_BALANCE,
)

REFUND_OF_GIFT_BY_PROVIDER = Fact(
    "refund of an unclaimed gift by the provider",
    "refund",
    _REFUND,
    (*_out("gifts_outstanding", CLEARING), _FEE),
    _OF_REFUND,
)
REFUND_OF_GIFT_FROM_OUTSIDE = Fact(
    "refund of an unclaimed gift that the provider made by itself",
    "refund",
    _REFUND,
    (*_out("gifts_outstanding", CLEARING), _LOST, _FEE),
    _OF_REFUND,
)
REFUND_OF_GIFT_TO_WALLETS = Fact(
    "refund of an unclaimed gift to the wallets that paid",
    "refund",
    _REFUND,
    _to_wallets("gifts_outstanding"),
    _OF_BUYER,
)
REFUND_OF_GIFT_TO_BALANCE = Fact(
    "refund of an unclaimed gift from outside to the balance",
    "refund",
    _REFUND,
    (Leg("gifts_outstanding", "user:topped_up", "value", "price"),),
    _OF_BUYER,
)
REFUND_OF_GIFT_BY_HAND = Fact(
    "refund of an unclaimed gift by hand",
    "refund",
    _REFUND,
    (*_out("gifts_outstanding", "bank"), _BANK_FEE),
    _OF_REFUND,
)
REFUND_OF_GIFT_FREE = Fact("refund of an unclaimed gift at 100 % off", "refund", _REFUND)

# Taken back by force --------------------------------------------------------------------------------------------------

CHARGEBACK = Fact(
    "chargeback of a sale or of a claimed gift",
    "chargeback",
    _REFUND,
    (*_out("chargebacks", CLEARING), _LOST, _FEE),
    _OF_REFUND,
)
CHARGEBACK_OF_BALANCE = Fact(
    "chargeback of what is in the balance (top-up, rest, credited duplicate, returned gift)",
    "chargeback",
    _REFUND,
    (Leg("user:topped_up", CLEARING, "given_back", "taken"), _LOST, _FEE),
    _OF_BALANCE,
)
CHARGEBACK_OF_GIFT = Fact(
    "chargeback of an unclaimed gift",
    "chargeback",
    _REFUND,
    (*_out("gifts_outstanding", CLEARING), _LOST, _FEE),
    _OF_REFUND,
)
GIVEN_BACK_ALREADY = Fact("the provider says that it was given back already (event `no_money`)", "", "")
SECOND_DEBIT = Fact(
    "what a provider took again of one charge, or beyond it",
    "second_debit",
    "event:{event_id}:second_debit",
    (Leg("write_offs", CLEARING, "lost"), _FEE),
)

# Between the operator's own accounts ------------------------------------------------------------------------------------

_MOVEMENT = "owner_movement:{operation}"

PAYOUT = Fact(
    "payout by a provider to us",
    "payout",
    "payout:{provider}:{external_id}",
    (
        Leg("bank", CLEARING, "settled", "arrived"),
        Leg("provider_fees", CLEARING, "fee", optional=True),
    ),
)
OPENING_AT_PROVIDER = Fact(
    "opening balance at a provider, money not ours that came to it",
    "owner_movement",
    _MOVEMENT,
    (Leg(CLEARING, "owner", "moved"),),
    by_operator=True,
)
OPENING_IN_BANK = Fact(
    "opening balance of the bank, money not ours that came to it",
    "owner_movement",
    _MOVEMENT,
    (Leg("bank", "owner", "moved"),),
    by_operator=True,
)
OWNER_TAKES_FROM_PROVIDER = Fact(
    "money not ours that left a provider",
    "owner_movement",
    _MOVEMENT,
    (Leg("owner", CLEARING, "moved"),),
    by_operator=True,
)
OWNER_TAKES_FROM_BANK = Fact(
    "money not ours that left the bank",
    "owner_movement",
    _MOVEMENT,
    (Leg("owner", "bank", "moved"),),
    by_operator=True,
)
AFFILIATE_COMMISSION = Fact(
    "affiliate commission",
    "affiliate_commission",
    "affiliate_commission:{provider}:{external_id}",
    (Leg("provider_fees", CLEARING, "fee"),),
)
OPERATOR_CREDIT = Fact(
    "operator's credit",
    "operator_credit",
    "operator_credit:{operation}",
    (Leg("goodwill", "user:topped_up", "topped_up"),),
    ("account_id",),
    by_operator=True,
)
OPERATOR_DEBIT = Fact(
    "operator's debit",
    "operator_debit",
    "operator_debit:{operation}",
    _spent("goodwill"),
    ("account_id",),
    by_operator=True,
)
ERASURE = Fact(
    "erased customer",
    "erasure",
    "erasure:{account_id}",
    (
        Leg("user:topped_up", "bank", "paid", "topped_up"),
        _BANK_FEE,
        Leg("user:earned", "referral_cost", "earned"),
        Leg("referral_held", "referral_cost", "held"),
    ),
)
CORRECTION = Fact(
    "correction: the transfer that it names, the other way round",
    "correction",
    "correction:{reverses_id}",
    by_operator=True,
)

FACTS = tuple(fact for fact in globals().values() if isinstance(fact, Fact))
"""Every fact, in the order of this file."""
