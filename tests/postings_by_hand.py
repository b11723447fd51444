"""Every posting of the books, written down by hand: what a fact moves, from which account to which, under which key.

It knows nothing of lib/domain/postings, which is compared with it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

Moved = tuple[str, str, int, str]
"""Debit, credit, minor units of the books, currency."""

RUB, XTR, USDT = "RUB", "XTR", "USDT"
NANO = 1_000_000_000
TOPPED_UP, EARNED = "user:topped_up", "user:earned"


@dataclass(frozen=True)
class Case:
    """One fact with amounts of its own.

    Attributes:
        fact: its name in the product's table.
        kind, key: of the transfer; see `ABOUT`.
        given: name of an amount -> minor units and currency.
        moved: what is posted, in order.
        provider: whose clearing account.
    """

    fact: str
    kind: str
    key: str
    given: dict[str, tuple[int, str]]
    moved: list[Moved] = field(default_factory=list)
    provider: str = "card"


ABOUT = {
    "order_id": 1,
    "payment_id": 1,
    "event_id": 1,
    "account_id": 1,
    "refund_id": 1,
    "withdrawal_id": 1,
    "external_id": "x-1",
    "operation": "a-1",
    "actor_id": 17,
    "reason": "a test",
}
"""What every case is about."""

_PAID, _RESOLVED = "payment:1", "event:1:resolved"

_SALES = {
    "a sale in the currency that came": Case(
        "SALE",
        "sale",
        _PAID,
        {"price": (14_900, RUB), "received": (14_900, RUB)},
        [("clearing:card", "revenue", 14_900, RUB)],
    ),
    "a sale less a discount, with a fee": Case(
        "SALE",
        "sale",
        _PAID,
        {"price": (10_430, RUB), "received": (10_430, RUB), "fee": (365, RUB), "discount": (4_470, RUB)},
        [
            ("clearing:card", "revenue", 10_430, RUB),
            ("provider_fees", "clearing:card", 365, RUB),
            ("discounts", "revenue", 4_470, RUB),
        ],
    ),
    "a sale for another asset, fee in its own": Case(
        "SALE",
        "sale",
        _PAID,
        {"price": (14_900, RUB), "received": (1_862_500, USDT), "fee": (55_875, USDT), "discount": (0, RUB)},
        [
            ("clearing:cryptobot", "exchange", 1_862_500, USDT),
            ("exchange", "revenue", 14_900, RUB),
            ("provider_fees", "clearing:cryptobot", 55_875, USDT),
        ],
        "cryptobot",
    ),
    "a sale for an asset that no list has": Case(
        "SALE",
        "sale",
        _PAID,
        {"price": (14_900, RUB), "received": (0, "NEWCOIN")},
        [("exchange", "revenue", 14_900, RUB)],
        "cryptobot",
    ),
    "a sale for Stars, more than agreed": Case(
        "SALE",
        "sale",
        _PAID,
        # 130 came for 120 that are worth 149 roubles: ten of them are floor(10 * 14900 / 120) kopecks
        {
            "price": (120 * NANO, XTR),
            "received": (120 * NANO, XTR),
            "rest_received": (10 * NANO, XTR),
            "rest": (1_241, RUB),
        },
        [
            ("clearing:stars", "revenue", 120 * NANO, XTR),
            ("clearing:stars", "exchange", 10 * NANO, XTR),
            ("exchange", TOPPED_UP, 1_241, RUB),
        ],
        "stars",
    ),
    "a sale for more than agreed in its currency": Case(
        "SALE",
        "sale",
        _PAID,
        {"price": (14_900, RUB), "received": (14_900, RUB), "rest_received": (100, RUB), "rest": (100, RUB)},
        [("bank", "revenue", 14_900, RUB), ("bank", TOPPED_UP, 100, RUB)],
        "transfer",
    ),
    "a sale for more than agreed in another asset": Case(
        "SALE",
        "sale",
        _PAID,
        {"price": (14_900, RUB), "received": (2_000_000, USDT), "rest_received": (0, USDT), "rest": (1_100, RUB)},
        [
            ("clearing:cryptobot", "exchange", 2_000_000, USDT),
            ("exchange", "revenue", 14_900, RUB),
            ("exchange", TOPPED_UP, 1_100, RUB),
        ],
        "cryptobot",
    ),
    "a sale from both wallets": Case(
        "SALE_FROM_BALANCE",
        "sale",
        _PAID,
        {"topped_up": (10_000, RUB), "earned": (430, RUB), "discount": (4_470, RUB)},
        [
            (TOPPED_UP, "revenue", 10_000, RUB),
            (EARNED, "revenue", 430, RUB),
            ("discounts", "revenue", 4_470, RUB),
        ],
    ),
    "a sale from one wallet": Case(
        "SALE_FROM_BALANCE",
        "sale",
        _PAID,
        {"topped_up": (14_900, RUB), "earned": (0, RUB)},
        [(TOPPED_UP, "revenue", 14_900, RUB)],
    ),
    "a sale at 100 % off": Case(
        "SALE_FREE", "sale", _PAID, {"discount": (14_900, RUB)}, [("discounts", "revenue", 14_900, RUB)]
    ),
    "a top-up": Case(
        "TOP_UP",
        "top_up",
        _PAID,
        {"value": (25_000, RUB), "received": (25_000, RUB), "fee": (875, RUB)},
        [("clearing:card", TOPPED_UP, 25_000, RUB), ("provider_fees", "clearing:card", 875, RUB)],
    ),
    "a top-up by Stars, at the order's value": Case(
        "TOP_UP",
        "top_up",
        _PAID,
        {"value": (25_000, RUB), "received": (200 * NANO, XTR)},
        [("clearing:stars", "exchange", 200 * NANO, XTR), ("exchange", TOPPED_UP, 25_000, RUB)],
        "stars",
    ),
    "a top-up by Stars for more than agreed": Case(
        "TOP_UP",
        "top_up",
        _PAID,
        # 205 came for 200 that are worth 250 roubles
        {"value": (25_000, RUB), "received": (200 * NANO, XTR), "rest": (625, RUB), "rest_received": (5 * NANO, XTR)},
        [
            ("clearing:stars", "exchange", 200 * NANO, XTR),
            ("exchange", TOPPED_UP, 25_000, RUB),
            ("clearing:stars", "exchange", 5 * NANO, XTR),
            ("exchange", TOPPED_UP, 625, RUB),
        ],
        "stars",
    ),
    "a top-up for more than agreed": Case(
        "TOP_UP",
        "top_up",
        _PAID,
        {"value": (25_000, RUB), "received": (25_000, RUB), "rest": (500, RUB), "rest_received": (500, RUB)},
        [("clearing:card", TOPPED_UP, 25_000, RUB), ("clearing:card", TOPPED_UP, 500, RUB)],
    ),
}

_GIFTS = {
    "a gift": Case(
        "GIFT_BOUGHT",
        "gift_bought",
        _PAID,
        {"price": (14_900, RUB), "received": (14_900, RUB), "fee": (500, RUB)},
        [("clearing:card", "gifts_outstanding", 14_900, RUB), ("provider_fees", "clearing:card", 500, RUB)],
    ),
    "a gift for more than agreed": Case(
        "GIFT_BOUGHT",
        "gift_bought",
        _PAID,
        {"price": (120 * NANO, XTR), "received": (120 * NANO, XTR), "rest": (124, RUB), "rest_received": (NANO, XTR)},
        [
            ("clearing:stars", "gifts_outstanding", 120 * NANO, XTR),
            ("clearing:stars", "exchange", NANO, XTR),
            ("exchange", TOPPED_UP, 124, RUB),
        ],
        "stars",
    ),
    "a gift for another asset": Case(
        "GIFT_BOUGHT",
        "gift_bought",
        _PAID,
        {"price": (14_900, RUB), "received": (1_862_500, USDT), "fee": (55_875, USDT)},
        [
            ("clearing:cryptobot", "exchange", 1_862_500, USDT),
            ("exchange", "gifts_outstanding", 14_900, RUB),
            ("provider_fees", "clearing:cryptobot", 55_875, USDT),
        ],
        "cryptobot",
    ),
    "a gift for more than agreed in its currency": Case(
        "GIFT_BOUGHT",
        "gift_bought",
        _PAID,
        {"price": (14_900, RUB), "received": (14_900, RUB), "rest": (100, RUB), "rest_received": (100, RUB)},
        [("clearing:card", "gifts_outstanding", 14_900, RUB), ("clearing:card", TOPPED_UP, 100, RUB)],
    ),
    "a gift from balance": Case(
        "GIFT_BOUGHT_FROM_BALANCE",
        "gift_bought",
        _PAID,
        {"topped_up": (9_000, RUB), "earned": (5_900, RUB)},
        [(TOPPED_UP, "gifts_outstanding", 9_000, RUB), (EARNED, "gifts_outstanding", 5_900, RUB)],
    ),
    "a gift at 100 % off": Case("GIFT_BOUGHT_FREE", "gift_bought", _PAID, {}),
    "a gift is claimed": Case(
        "GIFT_CLAIMED",
        "gift_claimed",
        "gift:1:claimed",
        {"price": (10_430, RUB), "discount": (4_470, RUB)},
        [("gifts_outstanding", "revenue", 10_430, RUB), ("discounts", "revenue", 4_470, RUB)],
    ),
    "a gift at 100 % off is claimed": Case(
        "GIFT_CLAIMED",
        "gift_claimed",
        "gift:1:claimed",
        {"price": (0, RUB), "discount": (14_900, RUB)},
        [("discounts", "revenue", 14_900, RUB)],
    ),
    "a gift goes back to the balance": Case(
        "GIFT_RETURNED",
        "gift_returned",
        "gift:1:returned",
        {"price": (14_900, RUB), "value": (14_900, RUB)},
        [("gifts_outstanding", TOPPED_UP, 14_900, RUB)],
    ),
    "a gift bought for Stars goes back to the balance": Case(
        "GIFT_RETURNED",
        "gift_returned",
        "gift:1:returned",
        {"price": (120 * NANO, XTR), "value": (14_900, RUB)},
        [("gifts_outstanding", "exchange", 120 * NANO, XTR), ("exchange", TOPPED_UP, 14_900, RUB)],
    ),
    "a gift goes back to the wallets that paid": Case(
        "GIFT_RETURNED_TO_WALLETS",
        "gift_returned",
        "gift:1:returned",
        {"topped_up": (9_000, RUB), "earned": (5_900, RUB)},
        [("gifts_outstanding", TOPPED_UP, 9_000, RUB), ("gifts_outstanding", EARNED, 5_900, RUB)],
    ),
    "a gift at 100 % off is over": Case("GIFT_RETURNED_FREE", "gift_returned", "gift:1:returned", {}),
    "a gift that would go back to an erased customer": Case(
        "GIFT_OF_ERASED",
        "gift_returned",
        "gift:1:returned",
        {"price": (120 * NANO, XTR)},
        [("gifts_outstanding", "goodwill", 120 * NANO, XTR)],
    ),
}

_SUSPENSE = {
    "money that fits nothing": Case(
        "SUSPENSE",
        "suspense",
        "event:1",
        {"received": (1_862_500, USDT), "fee": (55_875, USDT)},
        [
            ("clearing:cryptobot", "suspense", 1_862_500, USDT),
            ("provider_fees", "clearing:cryptobot", 55_875, USDT),
        ],
        "cryptobot",
    ),
    "the provider says later what it was": Case(
        "SUSPENSE_SUPERSEDED",
        "suspense_resolved",
        _RESOLVED,
        {"received": (1_862_500, USDT), "fee": (55_875, USDT)},
        [
            ("suspense", "clearing:cryptobot", 1_862_500, USDT),
            ("clearing:cryptobot", "provider_fees", 55_875, USDT),
        ],
        "cryptobot",
    ),
    "it is given back by the provider": Case(
        "SUSPENSE_GIVEN_BACK",
        "suspense_resolved",
        _RESOLVED,
        {"received": (120 * NANO, XTR)},
        [("suspense", "clearing:stars", 120 * NANO, XTR)],
        "stars",
    ),
    "it is given back by hand": Case(
        "SUSPENSE_PAID_BACK",
        "suspense_resolved",
        _RESOLVED,
        {"received": (1_862_500, USDT), "paid": (14_800, RUB), "fee": (50, RUB)},
        [
            ("suspense", "exchange", 1_862_500, USDT),
            ("exchange", "bank", 14_800, RUB),
            ("provider_fees", "bank", 50, RUB),
        ],
        "cryptobot",
    ),
    "it is given back by hand in its currency": Case(
        "SUSPENSE_PAID_BACK",
        "suspense_resolved",
        _RESOLVED,
        {"received": (10_000, RUB), "paid": (10_000, RUB)},
        [("suspense", "bank", 10_000, RUB)],
    ),
    "it is credited": Case(
        "SUSPENSE_CREDITED",
        "suspense_resolved",
        _RESOLVED,
        {"received": (14_900, RUB), "counted": (14_900, RUB)},
        [("suspense", TOPPED_UP, 14_900, RUB)],
    ),
    "another asset is credited": Case(
        "SUSPENSE_CREDITED",
        "suspense_resolved",
        _RESOLVED,
        {"received": (1_862_500, USDT), "counted": (14_900, RUB)},
        [("suspense", "exchange", 1_862_500, USDT), ("exchange", TOPPED_UP, 14_900, RUB)],
        "cryptobot",
    ),
    "too little is assigned to a sale": Case(
        "SUSPENSE_TO_SALE",
        "suspense_resolved",
        _RESOLVED,
        {"received": (10_000, RUB), "counted": (10_000, RUB), "missing": (430, RUB), "discount": (4_470, RUB)},
        [
            ("suspense", "revenue", 10_000, RUB),
            ("goodwill", "revenue", 430, RUB),
            ("discounts", "revenue", 4_470, RUB),
        ],
    ),
    "too much of another asset is assigned to a sale": Case(
        "SUSPENSE_TO_SALE",
        "suspense_resolved",
        _RESOLVED,
        {"received": (2_000_000, USDT), "counted": (14_900, RUB), "rest": (1_100, RUB), "rest_received": (0, USDT)},
        [
            ("suspense", "exchange", 2_000_000, USDT),
            ("exchange", "revenue", 14_900, RUB),
            ("exchange", TOPPED_UP, 1_100, RUB),
        ],
        "cryptobot",
    ),
    "too much is assigned to a sale": Case(
        "SUSPENSE_TO_SALE",
        "suspense_resolved",
        _RESOLVED,
        {"received": (14_900, RUB), "counted": (14_900, RUB), "rest": (100, RUB), "rest_received": (100, RUB)},
        [("suspense", "revenue", 14_900, RUB), ("suspense", TOPPED_UP, 100, RUB)],
    ),
    "too little is assigned to a gift": Case(
        "SUSPENSE_TO_GIFT",
        "suspense_resolved",
        _RESOLVED,
        {"received": (10_000, RUB), "counted": (10_000, RUB), "missing": (4_900, RUB)},
        [("suspense", "gifts_outstanding", 10_000, RUB), ("goodwill", "gifts_outstanding", 4_900, RUB)],
    ),
    "too much of another asset is assigned to a gift": Case(
        "SUSPENSE_TO_GIFT",
        "suspense_resolved",
        _RESOLVED,
        {"received": (2_000_000, USDT), "counted": (14_900, RUB), "rest": (1_100, RUB), "rest_received": (0, USDT)},
        [
            ("suspense", "exchange", 2_000_000, USDT),
            ("exchange", "gifts_outstanding", 14_900, RUB),
            ("exchange", TOPPED_UP, 1_100, RUB),
        ],
        "cryptobot",
    ),
    "too much is assigned to a gift": Case(
        "SUSPENSE_TO_GIFT",
        "suspense_resolved",
        _RESOLVED,
        {"received": (14_900, RUB), "counted": (14_900, RUB), "rest": (100, RUB), "rest_received": (100, RUB)},
        [("suspense", "gifts_outstanding", 14_900, RUB), ("suspense", TOPPED_UP, 100, RUB)],
    ),
    "what came is assigned to a top-up": Case(
        "SUSPENSE_TO_TOP_UP",
        "suspense_resolved",
        _RESOLVED,
        {"received": (10_000, RUB), "counted": (10_000, RUB)},
        [("suspense", TOPPED_UP, 10_000, RUB)],
    ),
    "another asset is assigned to a top-up": Case(
        "SUSPENSE_TO_TOP_UP",
        "suspense_resolved",
        _RESOLVED,
        {"received": (1_862_500, USDT), "counted": (14_900, RUB)},
        [("suspense", "exchange", 1_862_500, USDT), ("exchange", TOPPED_UP, 14_900, RUB)],
        "cryptobot",
    ),
    "a fee that is known later": Case(
        "FEE",
        "fee",
        "fee:event:1",
        {"fee": (365, RUB)},
        [("provider_fees", "clearing:card", 365, RUB)],
    ),
    "a refund's fee that is known later": Case(
        "REFUND_FEE",
        "fee",
        "fee:refund:1",
        {"fee": (365, RUB)},
        [("provider_fees", "clearing:card", 365, RUB)],
    ),
}

_OWED = {
    "a reward": Case(
        "REWARD", "reward", "reward:1", {"reward": (1_490, RUB)}, [("referral_cost", "referral_held", 1_490, RUB)]
    ),
    "a reward is released": Case(
        "REWARD_RELEASED",
        "reward_released",
        "reward:1:released",
        {"reward": (1_490, RUB)},
        [("referral_held", EARNED, 1_490, RUB)],
    ),
    "a reward on hold is taken back": Case(
        "HELD_REWARD_TAKEN_BACK",
        "reward_reversed",
        "reward:1:reversed",
        {"reward": (1_490, RUB)},
        [("referral_held", "referral_cost", 1_490, RUB)],
    ),
    "a reward is taken back as far as it goes": Case(
        "REWARD_TAKEN_BACK",
        "reward_reversed",
        "reward:1:reversed",
        {"taken": (1_000, RUB), "lost": (490, RUB)},
        [(EARNED, "referral_cost", 1_000, RUB), ("write_offs", "referral_cost", 490, RUB)],
    ),
    "a withdrawal is asked for": Case(
        "WITHDRAWAL_ASKED",
        "withdrawal_asked",
        "withdrawal:1",
        {"withdrawn": (50_000, RUB)},
        [(EARNED, "withdrawals_payable", 50_000, RUB)],
    ),
    "a withdrawal is rejected": Case(
        "WITHDRAWAL_RETURNED",
        "withdrawal_returned",
        "withdrawal:1:returned",
        {"withdrawn": (50_000, RUB)},
        [("withdrawals_payable", EARNED, 50_000, RUB)],
    ),
    "a withdrawal is paid": Case(
        "WITHDRAWAL_PAID",
        "withdrawal_paid",
        "withdrawal:1:paid",
        {"withdrawn": (50_000, RUB), "paid": (50_000, RUB), "fee": (75, RUB)},
        [("withdrawals_payable", "bank", 50_000, RUB), ("provider_fees", "bank", 75, RUB)],
    ),
    "a withdrawal is paid in another asset": Case(
        "WITHDRAWAL_PAID",
        "withdrawal_paid",
        "withdrawal:1:paid",
        {"withdrawn": (50_000, RUB), "paid": (6_100_000, USDT)},
        [("withdrawals_payable", "exchange", 50_000, RUB), ("exchange", "bank", 6_100_000, USDT)],
    ),
    "a withdrawal bounces": Case(
        "WITHDRAWAL_BOUNCED",
        "withdrawal_bounced",
        "withdrawal:1:bounced",
        {"withdrawn": (50_000, RUB), "returned": (50_000, RUB)},
        [("bank", EARNED, 50_000, RUB)],
    ),
    "a withdrawal in another asset bounces": Case(
        "WITHDRAWAL_BOUNCED",
        "withdrawal_bounced",
        "withdrawal:1:bounced",
        {"withdrawn": (50_000, RUB), "returned": (6_100_000, USDT)},
        [("bank", "exchange", 6_100_000, USDT), ("exchange", EARNED, 50_000, RUB)],
    ),
}


def _refund_key(provider: str) -> str:
    return f"refund:{provider}:x-1"


_SAME = {"price": (14_900, RUB), "given_back": (14_900, RUB)}
_ASSET = {"price": (14_900, RUB), "given_back": (1_862_500, USDT)}


def _sold_back(fact: str, kind: str, account: str, *, loses: bool) -> dict[str, Case]:
    """What leaves the provider for a sale or an unclaimed gift, from the account that stands for it."""
    lost: dict[str, tuple[int, str]] = {"lost": (40, RUB)} if loses else {}
    gone: list[Moved] = [("chargebacks", "clearing:card", 40, RUB)] if loses else []
    return {
        f"{fact} in its currency, with its rest and a fee": Case(
            fact,
            kind,
            _refund_key("card"),
            {**_SAME, "rest": (60, RUB), "rest_given_back": (60, RUB), "fee": (700, RUB), **lost},
            [
                (account, "clearing:card", 14_900, RUB),
                (TOPPED_UP, "clearing:card", 60, RUB),
                *gone,
                ("provider_fees", "clearing:card", 700, RUB),
            ],
        ),
        f"{fact} in another asset": Case(
            fact,
            kind,
            _refund_key("cryptobot"),
            _ASSET,
            [(account, "exchange", 14_900, RUB), ("exchange", "clearing:cryptobot", 1_862_500, USDT)],
            "cryptobot",
        ),
        f"{fact} in Stars, with a rest": Case(
            fact,
            kind,
            _refund_key("stars"),
            {
                "price": (120 * NANO, XTR),
                "given_back": (120 * NANO, XTR),
                "rest": (124, RUB),
                "rest_given_back": (NANO, XTR),
            },
            [
                (account, "clearing:stars", 120 * NANO, XTR),
                (TOPPED_UP, "exchange", 124, RUB),
                ("exchange", "clearing:stars", NANO, XTR),
            ],
            "stars",
        ),
    }


def _by_hand(fact: str, account: str) -> dict[str, Case]:
    return {
        f"{fact} in its currency": Case(
            fact,
            "refund",
            _refund_key("transfer"),
            {**_SAME, "rest": (60, RUB), "rest_given_back": (60, RUB), "fee": (50, RUB)},
            [(account, "bank", 14_900, RUB), (TOPPED_UP, "bank", 60, RUB), ("provider_fees", "bank", 50, RUB)],
            "transfer",
        ),
        f"{fact} of Stars": Case(
            fact,
            "refund",
            _refund_key("transfer"),
            {"price": (120 * NANO, XTR), "given_back": (14_000, RUB)},
            [(account, "exchange", 120 * NANO, XTR), ("exchange", "bank", 14_000, RUB)],
            "transfer",
        ),
        f"{fact} in another asset, with a rest": Case(
            fact,
            "refund",
            _refund_key("transfer"),
            {**_ASSET, "rest": (800, RUB), "rest_given_back": (100_000, USDT)},
            [
                (account, "exchange", 14_900, RUB),
                ("exchange", "bank", 1_862_500, USDT),
                (TOPPED_UP, "exchange", 800, RUB),
                ("exchange", "bank", 100_000, USDT),
            ],
            "transfer",
        ),
    }


def _to_balance(fact: str, account: str) -> dict[str, Case]:
    return {
        f"{fact} in its currency": Case(
            fact,
            "refund",
            _refund_key("balance"),
            {"price": (14_900, RUB), "value": (14_900, RUB)},
            [(account, TOPPED_UP, 14_900, RUB)],
            "balance",
        ),
        f"{fact} of Stars": Case(
            fact,
            "refund",
            _refund_key("balance"),
            {"price": (120 * NANO, XTR), "value": (14_900, RUB)},
            [(account, "exchange", 120 * NANO, XTR), ("exchange", TOPPED_UP, 14_900, RUB)],
            "balance",
        ),
    }


def _to_wallets(fact: str, account: str) -> dict[str, Case]:
    return {
        f"{fact} in both parts": Case(
            fact,
            "refund",
            _refund_key("balance"),
            {"topped_up": (9_000, RUB), "earned": (5_900, RUB)},
            [(account, TOPPED_UP, 9_000, RUB), (account, EARNED, 5_900, RUB)],
            "balance",
        )
    }


def _from_balance(fact: str, kind: str, *, loses: bool) -> dict[str, Case]:
    lost: dict[str, tuple[int, str]] = {"lost": (5_000, RUB)} if loses else {}
    gone: list[Moved] = [("chargebacks", "clearing:card", 5_000, RUB)] if loses else []
    return {
        f"{fact} as far as it is there": Case(
            fact,
            kind,
            _refund_key("card"),
            {"taken": (20_000, RUB), "given_back": (20_000, RUB), "fee": (700, RUB), **lost},
            [
                (TOPPED_UP, "clearing:card", 20_000, RUB),
                *gone,
                ("provider_fees", "clearing:card", 700, RUB),
            ],
        ),
        f"{fact} in Stars": Case(
            fact,
            kind,
            _refund_key("stars"),
            {"taken": (25_000, RUB), "given_back": (200 * NANO, XTR)},
            [(TOPPED_UP, "exchange", 25_000, RUB), ("exchange", "clearing:stars", 200 * NANO, XTR)],
            "stars",
        ),
    }


_REFUNDS = {
    **_sold_back("REFUND_BY_PROVIDER", "refund", "refunds", loses=False),
    **_sold_back("REFUND_FROM_OUTSIDE", "refund", "refunds", loses=True),
    **_to_wallets("REFUND_TO_WALLETS", "refunds"),
    **_to_balance("REFUND_TO_BALANCE", "refunds"),
    **_by_hand("REFUND_BY_HAND", "refunds"),
    **_from_balance("REFUND_OF_BALANCE_BY_PROVIDER", "refund", loses=False),
    **_from_balance("REFUND_OF_BALANCE_FROM_OUTSIDE", "refund", loses=True),
    "REFUND_OF_BALANCE_BY_HAND": Case(
        "REFUND_OF_BALANCE_BY_HAND",
        "refund",
        _refund_key("transfer"),
        {"taken": (20_000, RUB), "given_back": (20_000, RUB), "fee": (50, RUB)},
        [(TOPPED_UP, "bank", 20_000, RUB), ("provider_fees", "bank", 50, RUB)],
        "transfer",
    ),
    "REFUND_OF_BALANCE_BY_HAND in another asset": Case(
        "REFUND_OF_BALANCE_BY_HAND",
        "refund",
        _refund_key("transfer"),
        {"taken": (25_000, RUB), "given_back": (3_000_000, USDT)},
        [(TOPPED_UP, "exchange", 25_000, RUB), ("exchange", "bank", 3_000_000, USDT)],
        "transfer",
    ),
    **_sold_back("REFUND_OF_GIFT_BY_PROVIDER", "refund", "gifts_outstanding", loses=False),
    **_sold_back("REFUND_OF_GIFT_FROM_OUTSIDE", "refund", "gifts_outstanding", loses=True),
    **_to_wallets("REFUND_OF_GIFT_TO_WALLETS", "gifts_outstanding"),
    **_to_balance("REFUND_OF_GIFT_TO_BALANCE", "gifts_outstanding"),
    **_by_hand("REFUND_OF_GIFT_BY_HAND", "gifts_outstanding"),
    "a gift at 100 % off is refunded": Case("REFUND_OF_GIFT_FREE", "refund", _refund_key("balance"), {}),
    **_sold_back("CHARGEBACK", "chargeback", "chargebacks", loses=True),
    **_from_balance("CHARGEBACK_OF_BALANCE", "chargeback", loses=True),
    **_sold_back("CHARGEBACK_OF_GIFT", "chargeback", "gifts_outstanding", loses=True),
    "given back already": Case("GIVEN_BACK_ALREADY", "", "", {}),
    "a second debit": Case(
        "SECOND_DEBIT",
        "second_debit",
        "event:1:second_debit",
        {"lost": (120 * NANO, XTR)},
        [("write_offs", "clearing:stars", 120 * NANO, XTR)],
        "stars",
    ),
    "a second debit with its fee": Case(
        "SECOND_DEBIT",
        "second_debit",
        "event:1:second_debit",
        {"lost": (14_900, RUB), "fee": (365, RUB)},
        [("write_offs", "clearing:card", 14_900, RUB), ("provider_fees", "clearing:card", 365, RUB)],
    ),
}

_OWN = {
    "a payout in its currency, less what was kept": Case(
        "PAYOUT",
        "payout",
        "payout:card:x-1",
        {"arrived": (96_000, RUB), "settled": (96_000, RUB), "fee": (4_000, RUB)},
        [("bank", "clearing:card", 96_000, RUB), ("provider_fees", "clearing:card", 4_000, RUB)],
    ),
    "a payout of an asset": Case(
        "PAYOUT",
        "payout",
        "payout:stars:x-1",
        {"arrived": (96_000, RUB), "settled": (900 * NANO, XTR)},
        [("bank", "exchange", 96_000, RUB), ("exchange", "clearing:stars", 900 * NANO, XTR)],
        "stars",
    ),
    "an opening balance at a provider": Case(
        "OPENING_AT_PROVIDER",
        "owner_movement",
        "owner_movement:a-1",
        {"moved": (5_000_000, USDT)},
        [("clearing:cryptobot", "owner", 5_000_000, USDT)],
        "cryptobot",
    ),
    "an opening balance of the bank": Case(
        "OPENING_IN_BANK",
        "owner_movement",
        "owner_movement:a-1",
        {"moved": (100_000, RUB)},
        [("bank", "owner", 100_000, RUB)],
    ),
    "the owner takes money from a provider": Case(
        "OWNER_TAKES_FROM_PROVIDER",
        "owner_movement",
        "owner_movement:a-1",
        {"moved": (5_000_000, USDT)},
        [("owner", "clearing:cryptobot", 5_000_000, USDT)],
        "cryptobot",
    ),
    "the owner takes money from the bank": Case(
        "OWNER_TAKES_FROM_BANK",
        "owner_movement",
        "owner_movement:a-1",
        {"moved": (100_000, RUB)},
        [("owner", "bank", 100_000, RUB)],
    ),
    "a commission": Case(
        "AFFILIATE_COMMISSION",
        "affiliate_commission",
        "affiliate_commission:stars:x-1",
        {"fee": (12 * NANO, XTR)},
        [("provider_fees", "clearing:stars", 12 * NANO, XTR)],
        "stars",
    ),
    "an operator's credit": Case(
        "OPERATOR_CREDIT",
        "operator_credit",
        "operator_credit:a-1",
        {"topped_up": (10_000, RUB)},
        [("goodwill", TOPPED_UP, 10_000, RUB)],
    ),
    "an operator's debit": Case(
        "OPERATOR_DEBIT",
        "operator_debit",
        "operator_debit:a-1",
        {"topped_up": (7_000, RUB), "earned": (3_000, RUB)},
        [(TOPPED_UP, "goodwill", 7_000, RUB), (EARNED, "goodwill", 3_000, RUB)],
    ),
    "an erased customer": Case(
        "ERASURE",
        "erasure",
        "erasure:1",
        {
            "topped_up": (7_000, RUB),
            "paid": (7_000, RUB),
            "fee": (50, RUB),
            "earned": (3_000, RUB),
            "held": (1_490, RUB),
        },
        [
            (TOPPED_UP, "bank", 7_000, RUB),
            ("provider_fees", "bank", 50, RUB),
            (EARNED, "referral_cost", 3_000, RUB),
            ("referral_held", "referral_cost", 1_490, RUB),
        ],
    ),
}

_OWN["an erased customer who is paid in another asset"] = Case(
    "ERASURE",
    "erasure",
    "erasure:1",
    {"topped_up": (7_000, RUB), "paid": (850_000, USDT), "earned": (0, RUB), "held": (0, RUB)},
    [(TOPPED_UP, "exchange", 7_000, RUB), ("exchange", "bank", 850_000, USDT)],
)

CASES = {**_SALES, **_GIFTS, **_SUSPENSE, **_OWED, **_REFUNDS, **_OWN}
"""By what happens."""
