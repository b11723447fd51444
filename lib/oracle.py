"""All money of the shop in memory: what every account holds after what happened, and what is refused.

The books are judged by it: property tests, the simulation and `make books` tell it what happened and compare. So it knows nothing of the
code that it judges and of the posting table: it says what each happening does to each account, and `exchange` is whatever a currency
then lacks. It is slow, keeps everything, and no function imports it.

Amounts are minor units of the books, whole numbers above zero. Balances are debits less credits, so what is owed or earned is
below zero; `Books.wallet` tells what a customer has the other way round.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from fractions import Fraction
from math import floor

Account = tuple[str, str, int | None]
"""Code, currency, and whose wallet it is."""
Move = tuple[str, str, int | None, int]
"""The same, and what is debited to it; below zero it is credited."""

SHOP = "RUB"
"""The currency of the books: of wallets, values and rewards."""
_PARTS = ("user:topped_up", "user:earned")


class Refused(Exception):
    """It must not happen, and nothing has changed."""


class TooLittle(Refused):
    """A wallet would be below zero."""


@dataclass(frozen=True)
class Sum:
    """An amount with its currency."""

    minor: int
    currency: str = SHOP


@dataclass
class Order:
    """What was agreed.

    Attributes:
        kind: subscription, top_up or gift.
        listed, price: in `currency`.
        value: the price in the currency of the books.
        state: open; paid; for a gift also claimed or returned.
        from_wallets: its parts, when the balance paid.
        received: what came for it and is still there to be given back.
        rest: what was credited beyond the price; `rest_received` is what came for that.
        given_back: it went back, by a refund or by force.
        to_balance: it went back to the customer's balance, and its provider may still take it from there.
        refund_fee_known: what that cost is booked.
        gone: what part of it its provider took so far.
    """

    customer: int
    kind: str
    listed: int
    price: int
    value: int
    currency: str = SHOP
    state: str = "open"
    provider: str = ""
    from_wallets: tuple[int, int] | None = None
    received: Sum = field(default_factory=lambda: Sum(0))
    rest: int = 0
    rest_received: Sum = field(default_factory=lambda: Sum(0))
    given_back: bool = False
    to_balance: bool = False
    refund_fee_known: bool = False
    gone: Fraction = Fraction(0)

    def cut(self, amount: int, until: Fraction) -> int:
        """What of an amount goes when so much of it is gone after that."""
        return floor(amount * until) - floor(amount * self.gone)


@dataclass
class Charge:
    """Money that a provider told of.

    Attributes:
        fee: what it cost, as far as the news itself said so.
        fee_known: it is booked, with the news or later.
        credited: to which customer's balance it went out of suspense, and how much.
        given_back: that went back.
    """

    provider: str
    received: Sum
    fee: Sum | None
    fee_known: bool
    in_suspense: bool
    credited: tuple[int, int] | None = None
    given_back: bool = False


@dataclass
class Reward:
    """A referrer's part of an order's money: held, earned, or reversed."""

    referrer: int
    amount: int
    state: str = "held"


@dataclass
class Withdrawal:
    """Earned money to be paid out: requested, returned, paid, bounced."""

    customer: int
    amount: int
    state: str = "requested"


@dataclass
class Transfer:
    """What one happening did to each account."""

    key: str
    moved: Counter[Account]
    reversed: bool = False


@dataclass
class Books:
    """All of it.

    Attributes:
        balances: debits less credits of every account.
        transfers: in the order in which they happened.
    """

    balances: Counter[Account] = field(default_factory=Counter)
    transfers: list[Transfer] = field(default_factory=list)
    orders: dict[str, Order] = field(default_factory=dict)
    charges: dict[str, Charge] = field(default_factory=dict)
    rewards: dict[str, Reward] = field(default_factory=dict)
    withdrawals: dict[str, Withdrawal] = field(default_factory=dict)

    # What is there ------------------------------------------------------------------------------------------------

    def wallet(self, customer: int, part: str) -> int:
        """What a customer has in `topped_up` or `earned`."""
        return -self.balances[f"user:{part}", SHOP, customer]

    def of(self, code: str, currency: str = SHOP) -> int:
        """The balance of an account of the shop; of wallets, all customers' together."""
        return sum(amount for (known, of, _), amount in self.balances.items() if (known, of) == (code, currency))

    def _move(self, key: str, *moves: Move) -> Transfer:
        """One transfer; `exchange` takes up what a currency lacks."""
        if any(done.key == key for done in self.transfers):
            raise Refused(f"{key} has happened")
        moved: Counter[Account] = Counter()
        for code, currency, customer, amount in moves:
            moved[code, currency, customer] += amount
        lacking: Counter[str] = Counter()
        for (_, currency, _), amount in moved.items():
            lacking[currency] -= amount
        if len(lacking) == 1 and any(lacking.values()):
            raise AssertionError(f"{key}: one currency does not come to nothing")
        for currency, amount in lacking.items():
            moved["exchange", currency, None] += amount
        return self._apply(Transfer(key, Counter({account: amount for account, amount in moved.items() if amount})))

    def _apply(self, transfer: Transfer) -> Transfer:
        for account, amount in transfer.moved.items():
            if account[0] in _PARTS and self.balances[account] + amount > 0:
                raise TooLittle(f"{transfer.key}: {account[0]} of {account[2]}")
        for account, amount in transfer.moved.items():
            self.balances[account] += amount
        self.transfers.append(transfer)
        return transfer

    @staticmethod
    def _clearing(provider: str) -> str:
        return "bank" if provider == "transfer" else f"clearing:{provider}"

    def _parts(self, customer: int, amount: int) -> tuple[int, int]:
        """Topped up first, then earned."""
        first = min(amount, self.wallet(customer, "topped_up"))
        if self.wallet(customer, "earned") < amount - first:
            raise TooLittle(f"{customer} has less than {amount}")
        return first, amount - first

    # Money comes --------------------------------------------------------------------------------------------------

    def order(self, name: str, order: Order) -> None:
        """Something is agreed; no money moves."""
        self.orders[name] = order

    def charge(
        self,
        event: str,
        provider: str,
        amount: Sum,
        *,
        order: str | None = None,
        received: Sum | None = None,
        fee: Sum | None = None,
    ) -> str:
        """Money came: `settled`, `duplicate`, or `unmatched` (product.md, Payment methods).

        `amount` is what the agreement counts; `received` what really came, where that is another asset. Of a charge that is in suspense
        the provider may say more, which takes the place of what was said first: it is told here when it fits an order.
        """
        known = self.charges.get(event)
        if known is not None and not known.in_suspense:
            raise Refused(f"{event} had its effect")
        came = received or amount
        where = self._clearing(provider)
        moves: list[Move] = [(where, came.currency, None, came.minor)]
        if fee is not None:
            moves += [(where, fee.currency, None, -fee.minor), ("provider_fees", fee.currency, None, fee.minor)]
        agreed = self.orders[order] if order is not None else None
        fits = agreed is not None and agreed.currency == amount.currency and amount.minor >= agreed.price
        if agreed is None or not fits or agreed.state != "open":
            if known is not None:
                raise Refused(f"what is said of {event} fits no order")
            self._move(f"event:{event}", *moves, ("suspense", came.currency, None, -came.minor))
            self.charges[event] = Charge(provider, came, fee, fee is not None, in_suspense=True)
            return "duplicate" if agreed is not None and fits else "unmatched"
        fee_came_later = known is not None and known.fee_known and known.fee is None
        if fee_came_later and fee is not None:
            raise Refused(f"the fee of {event} is booked")
        undone = any(one.key == f"event:{event}" and one.reversed for one in self.transfers)
        fee_stays = known is not None and known.fee_known and (known.fee is None or undone)
        if known is not None and not undone:
            self._supersede(event)
        beyond = amount.minor - agreed.price
        rest = beyond * agreed.value // agreed.price
        moves += [*self._bought(agreed, agreed.price), ("user:topped_up", SHOP, agreed.customer, -rest)]
        self._move(f"payment:{order}", *moves)
        agreed.state, agreed.provider = "paid", provider
        agreed.rest, agreed.rest_received = rest, Sum(came.minor * beyond // amount.minor, came.currency)
        agreed.received = Sum(came.minor - agreed.rest_received.minor, came.currency)
        self.charges[event] = Charge(provider, came, fee, fee is not None or fee_stays, in_suspense=False)
        return "settled"

    @staticmethod
    def _bought(order: Order, paid: int) -> list[Move]:
        """What an order brings to the account that stands for what was bought, of `paid` in its currency."""
        if order.kind == "gift":
            return [("gifts_outstanding", order.currency, None, -paid)]
        if order.kind == "top_up":
            return [("user:topped_up", SHOP, order.customer, -order.value)]
        less = order.listed - order.price
        return [("revenue", order.currency, None, -paid - less), ("discounts", order.currency, None, less)]

    def pay_from_balance(self, name: str) -> None:
        """The wallets pay an order, or nothing does at 100 % off."""
        order = self.orders[name]
        if order.state != "open":
            raise Refused(f"{name} is {order.state}")
        first, then = self._parts(order.customer, order.price)
        moves: list[Move] = [
            ("user:topped_up", SHOP, order.customer, first),
            ("user:earned", SHOP, order.customer, then),
            *self._bought(order, order.price),
        ]
        if any(amount for *_, amount in moves):
            self._move(f"payment:{name}", *moves)
        order.state, order.from_wallets = "paid", (first, then)

    def late_fee(self, event: str, fee: Sum) -> None:
        """What a charge cost is known now."""
        charge = self.charges[event]
        if charge.fee_known:
            raise Refused(f"the fee of {event} is booked")
        where = self._clearing(charge.provider)
        self._move(
            f"fee:{event}", (where, fee.currency, None, -fee.minor), ("provider_fees", fee.currency, None, fee.minor)
        )
        charge.fee_known = True

    # Money that fits nothing --------------------------------------------------------------------------------------

    def _resolve(self, event: str, *moves: Move) -> Charge:
        charge = self.charges[event]
        if not charge.in_suspense:
            raise Refused(f"nothing of {event} is in suspense")
        self._move(
            f"event:{event}:resolved", ("suspense", charge.received.currency, None, charge.received.minor), *moves
        )
        charge.in_suspense = False
        return charge

    def _supersede(self, event: str) -> None:
        """It leaves by the way it came, with the fee that came with it: it never was what the first news said."""
        charge = self.charges[event]
        where, came = self._clearing(charge.provider), charge.received
        moves: list[Move] = [(where, came.currency, None, -came.minor)]
        if (fee := charge.fee) is not None:
            moves += [(where, fee.currency, None, fee.minor), ("provider_fees", fee.currency, None, -fee.minor)]
        self._resolve(event, *moves)

    def give_back(self, event: str) -> None:
        """The provider gives it back."""
        charge = self.charges[event]
        came = charge.received
        self._resolve(event, (self._clearing(charge.provider), came.currency, None, -came.minor))

    def pay_back(self, event: str, paid: Sum, fee: int = 0) -> None:
        """An operator gives it back by hand."""
        cost = [("bank", SHOP, None, -fee), ("provider_fees", SHOP, None, fee)] if fee else []
        self._resolve(event, ("bank", paid.currency, None, -paid.minor), *cost)

    def credit(self, event: str, customer: int, counted: int) -> None:
        """It goes to a customer's balance, at what it counts in the currency of the books."""
        self._resolve(event, ("user:topped_up", SHOP, customer, -counted)).credited = (customer, counted)

    def assign(self, event: str, name: str, counted: int | None = None) -> None:
        """It is for this order: short is made good, over goes to the balance; a top-up is credited with what came.

        `counted` is its worth in the order's currency, where another one came.
        """
        order, came = self.orders[name], self.charges[event].received
        if order.state != "open":
            raise Refused(f"{name} is {order.state}")
        worth = came.minor if counted is None else counted
        if order.kind == "top_up":
            self._resolve(event, ("user:topped_up", SHOP, order.customer, -worth))
            order.state, order.value = "paid", worth
            order.received = came
        else:
            beyond = max(0, worth - order.price)
            rest = beyond * order.value // order.price
            missing = max(0, order.price - worth)
            short = [("goodwill", order.currency, None, missing)] if missing else []
            over = [("user:topped_up", SHOP, order.customer, -rest)] if rest else []
            self._resolve(event, *self._bought(order, order.price), *short, *over)
            order.state, order.rest = "paid", rest
            order.rest_received = Sum(came.minor * beyond // worth, came.currency)
            order.received = Sum(came.minor - order.rest_received.minor, came.currency)
        order.provider = self.charges[event].provider

    # Gifts, rewards, withdrawals ----------------------------------------------------------------------------------

    def claim(self, name: str) -> None:
        """A gift is claimed: now it is sold."""
        order = self._unclaimed(name)
        less = order.listed - order.price
        self._move(
            f"gift:{name}:claimed",
            ("gifts_outstanding", order.currency, None, order.price),
            ("revenue", order.currency, None, -order.listed),
            ("discounts", order.currency, None, less),
        )
        order.state = "claimed"

    def return_gift(self, name: str, *, erased: bool = False) -> None:
        """It was not claimed in time: back to what paid; of an erased customer the shop keeps it."""
        order = self._unclaimed(name)
        if erased:
            back: list[Move] = [("goodwill", order.currency, None, -order.price)]
        else:
            first, then = order.from_wallets or (order.value, 0)
            back = [("user:topped_up", SHOP, order.customer, -first), ("user:earned", SHOP, order.customer, -then)]
        moves = [("gifts_outstanding", order.currency, None, order.price), *back]
        if any(amount for *_, amount in moves):
            self._move(f"gift:{name}:returned", *moves)
        order.state = "returned"

    def _unclaimed(self, name: str) -> Order:
        order = self.orders[name]
        if order.kind != "gift" or order.state != "paid" or order.given_back:
            raise Refused(f"{name} is no gift to be claimed")
        return order

    def reward(self, name: str, referrer: int, amount: int) -> None:
        """A referrer's part of an order's money, on hold."""
        self._move(f"reward:{name}", ("referral_cost", SHOP, None, amount), ("referral_held", SHOP, None, -amount))
        self.rewards[name] = Reward(referrer, amount)

    def release(self, name: str) -> None:
        """The hold is over."""
        reward = self.rewards[name]
        if reward.state != "held":
            raise Refused(f"the reward of {name} is {reward.state}")
        self._move(
            f"reward:{name}:released",
            ("referral_held", SHOP, None, reward.amount),
            ("user:earned", SHOP, reward.referrer, -reward.amount),
        )
        reward.state = "earned"

    def take_back(self, name: str) -> None:
        """A reward is taken back; if the balance is short, a request not yet approved gives its whole amount back first."""
        reward = self.rewards[name]
        if reward.state == "reversed":
            raise Refused(f"the reward of {name} is reversed")
        key = f"reward:{name}:reversed"
        if reward.state == "held":
            self._move(key, ("referral_held", SHOP, None, reward.amount), ("referral_cost", SHOP, None, -reward.amount))
        else:
            for request, withdrawal in self.withdrawals.items():
                short = self.wallet(reward.referrer, "earned") < reward.amount
                if short and (withdrawal.customer, withdrawal.state) == (reward.referrer, "requested"):
                    self.end_withdrawal(request)
            taken = min(reward.amount, self.wallet(reward.referrer, "earned"))
            self._move(
                key,
                ("user:earned", SHOP, reward.referrer, taken),
                ("write_offs", SHOP, None, reward.amount - taken),
                ("referral_cost", SHOP, None, -reward.amount),
            )
        reward.state = "reversed"

    def withdraw(self, request: str, customer: int, amount: int) -> None:
        """Earned money is asked for: it leaves the balance at once."""
        if any((one.customer, one.state) == (customer, "requested") for one in self.withdrawals.values()):
            raise Refused(f"{customer} has asked already")
        self._move(
            f"withdrawal:{request}",
            ("user:earned", SHOP, customer, amount),
            ("withdrawals_payable", SHOP, None, -amount),
        )
        self.withdrawals[request] = Withdrawal(customer, amount)

    def _withdrawal(self, request: str, state: str) -> Withdrawal:
        withdrawal = self.withdrawals[request]
        if withdrawal.state != state:
            raise Refused(f"withdrawal {request} is {withdrawal.state}")
        return withdrawal

    def end_withdrawal(self, request: str) -> None:
        """Rejected or failed: it goes back."""
        withdrawal = self._withdrawal(request, "requested")
        self._move(
            f"withdrawal:{request}:returned",
            ("withdrawals_payable", SHOP, None, withdrawal.amount),
            ("user:earned", SHOP, withdrawal.customer, -withdrawal.amount),
        )
        withdrawal.state = "returned"

    def pay_withdrawal(self, request: str, paid: Sum, fee: int = 0) -> None:
        """It was paid out."""
        withdrawal = self._withdrawal(request, "requested")
        cost = [("bank", SHOP, None, -fee), ("provider_fees", SHOP, None, fee)] if fee else []
        self._move(
            f"withdrawal:{request}:paid",
            ("withdrawals_payable", SHOP, None, withdrawal.amount),
            ("bank", paid.currency, None, -paid.minor),
            *cost,
        )
        withdrawal.state = "paid"

    def bounce_withdrawal(self, request: str, returned: Sum) -> None:
        """It came back after it was paid."""
        withdrawal = self._withdrawal(request, "paid")
        self._move(
            f"withdrawal:{request}:bounced",
            ("bank", returned.currency, None, returned.minor),
            ("user:earned", SHOP, withdrawal.customer, -withdrawal.amount),
        )
        withdrawal.state = "bounced"

    # Money goes back ----------------------------------------------------------------------------------------------

    def refund(
        self,
        name: str,
        route: str,
        *,
        sent: Sum | None = None,
        fee: Sum | None = None,
        until: Fraction = Fraction(1),
    ) -> None:
        """An order's money goes back, once; or in parts, where its provider takes it: so much is gone then (`until`).

        `route`: `provider` (by us), `outside` (the provider did it), `chargeback`; `wallets` (bought from balance), `balance` (paid from
        outside), `hand`, where `sent` is what left the bank for the price, if not the price itself.
        """
        order = self.orders[name]
        from_there = order.to_balance and route in {"outside", "chargeback"}
        if order.state == "open" or (order.given_back and not from_there):
            raise Refused(f"{name} has nothing to give back")
        if not order.gone < until <= 1 or (route not in {"outside", "chargeback"} and (order.gone or until < 1)):
            raise Refused(f"{order.gone} of {name} is gone")
        came = order.received
        total = order.cut(came.minor + order.rest_received.minor, until)
        rest_came = order.cut(order.rest_received.minor, until)
        in_parts = order.gone > 0 or until < 1
        same = in_parts and came.currency == order.currency
        price = total - rest_came if same else order.cut(order.price, until)
        moves = self._owed_for(order, route, price)
        if route == "wallets":
            first, then = order.from_wallets or (0, 0)
            moves += [("user:topped_up", SHOP, order.customer, -first), ("user:earned", SHOP, order.customer, -then)]
        elif route == "balance":
            moves += [("user:topped_up", SHOP, order.customer, -order.value)]
        elif self._is_in_balance(order):
            where = self._leaves(order, route)
            left = sent or Sum(total, came.currency)
            whole = in_parts and came.currency == SHOP and order.value == came.minor
            credited = total if whole else order.cut(order.value + order.rest, until)
            moves = self._from_balance(order.customer, where, route, credited, left)
        else:
            where = self._leaves(order, route)
            left = sent or Sum(total - rest_came, came.currency)
            moves += [(where, left.currency, None, -left.minor)]
            if order.rest:
                rest = order.cut(order.rest, until)
                moves += self._from_balance(order.customer, where, route, rest, Sum(rest_came, came.currency))
        if fee is not None:
            where = self._leaves(order, route)
            moves += [(where, fee.currency, None, -fee.minor), ("provider_fees", fee.currency, None, fee.minor)]
        if any(amount for *_, amount in moves):
            part = f":{until}" if until < 1 else ""
            self._move(f"refund:{name}{':from the balance' if from_there else ''}{part}", *moves)
        # what went to the balance has not left its provider, which may still take it
        order.gone = Fraction(0) if route == "balance" else until
        if until < 1:
            return
        order.given_back, order.refund_fee_known = True, fee is not None
        order.to_balance = route == "balance"

    def late_fee_of_refund(self, name: str, fee: Sum) -> None:
        """What the provider took for a refund or a chargeback is known now."""
        order = self.orders[name]
        if not order.given_back or order.refund_fee_known:
            raise Refused(f"no fee of a refund of {name} is to come")
        where = self._clearing(order.provider)
        self._move(
            f"fee:refund:{name}",
            (where, fee.currency, None, -fee.minor),
            ("provider_fees", fee.currency, None, fee.minor),
        )
        order.refund_fee_known = True

    def _leaves(self, order: Order, route: str) -> str:
        return "bank" if route == "hand" else self._clearing(order.provider)

    @staticmethod
    def _is_in_balance(order: Order) -> bool:
        """A top-up, what was given back to the balance, a gift that went back there: the money is in the customer's wallet."""
        return order.kind == "top_up" or order.state == "returned" or order.to_balance

    @staticmethod
    def _owed_for(order: Order, route: str, price: int) -> list[Move]:
        """What an order's price is taken from when it goes back."""
        if order.kind == "gift" and order.state == "paid":
            return [("gifts_outstanding", order.currency, None, price)]
        return [("chargebacks" if route == "chargeback" else "refunds", order.currency, None, price)]

    def refund_of_charge(self, event: str, route: str) -> None:
        """Money that was credited out of suspense goes back, once; `route` as of `refund`."""
        charge = self.charges[event]
        if charge.credited is None or charge.given_back:
            raise Refused(f"{event} has nothing to give back")
        customer, credited = charge.credited
        where = self._clearing(charge.provider)
        self._move(f"refund:{event}", *self._from_balance(customer, where, route, credited, charge.received))
        charge.given_back = True

    def _from_balance(self, customer: int, where: str, route: str, credited: int, left: Sum) -> list[Move]:
        """As far as it is there; ours is refused beyond that, of what is gone already the shop bears the remainder."""
        there = self.wallet(customer, "topped_up")
        if there < credited and route in {"provider", "hand"}:
            raise TooLittle(f"{customer} has {there} of {credited}")
        taken = min(credited, there)
        lost = left.minor - (left.minor * taken // credited if credited else 0)
        return [
            ("user:topped_up", SHOP, customer, taken),
            ("chargebacks", left.currency, None, lost),
            (where, left.currency, None, -left.minor),
        ]

    def second_debit(self, event: str, amount: Sum, provider: str, fee: int = 0) -> None:
        """The provider takes a charge once more, and what that costs."""
        self._move(
            f"event:{event}:second_debit",
            ("write_offs", amount.currency, None, amount.minor),
            ("provider_fees", amount.currency, None, fee),
            (self._clearing(provider), amount.currency, None, -amount.minor - fee),
        )

    # The operator's own -------------------------------------------------------------------------------------------

    def payout(self, operation: str, provider: str, settled: Sum, arrived: Sum, kept: int = 0) -> None:
        """A provider pays to the bank; `kept` is what it kept of `settled`'s currency beside."""
        self._move(
            f"payout:{operation}",
            ("bank", arrived.currency, None, arrived.minor),
            ("provider_fees", settled.currency, None, kept),
            (self._clearing(provider), settled.currency, None, -settled.minor - kept),
        )

    def owner(self, operation: str, where: str, amount: Sum, *, comes: bool) -> None:
        """Money that is not the shop's comes to a provider's account or to `transfer`'s, the bank, or leaves it."""
        minor = amount.minor if comes else -amount.minor
        self._move(
            f"owner_movement:{operation}",
            (self._clearing(where), amount.currency, None, minor),
            ("owner", amount.currency, None, -minor),
        )

    def commission(self, operation: str, amount: Sum) -> None:
        """Telegram keeps an affiliate's part."""
        self._move(
            f"affiliate_commission:{operation}",
            ("provider_fees", amount.currency, None, amount.minor),
            ("clearing:stars", amount.currency, None, -amount.minor),
        )

    def operator_credit(self, operation: str, customer: int, amount: int) -> None:
        """An operator gives."""
        self._move(
            f"operator_credit:{operation}",
            ("goodwill", SHOP, None, amount),
            ("user:topped_up", SHOP, customer, -amount),
        )

    def operator_debit(self, operation: str, customer: int, amount: int) -> None:
        """An operator takes."""
        first, then = self._parts(customer, amount)
        self._move(
            f"operator_debit:{operation}",
            ("user:topped_up", SHOP, customer, first),
            ("user:earned", SHOP, customer, then),
            ("goodwill", SHOP, None, -amount),
        )

    def erase(self, customer: int) -> None:
        """What was topped up is paid out, what was earned or is held falls to the shop; an open withdrawal is decided before."""
        if any((one.customer, one.state) == (customer, "requested") for one in self.withdrawals.values()):
            raise Refused(f"{customer} has asked for a withdrawal")
        held = [one for one in self.rewards.values() if (one.referrer, one.state) == (customer, "held")]
        topped_up, earned = (self.wallet(customer, part) for part in ("topped_up", "earned"))
        on_hold = sum(one.amount for one in held)
        moves = [
            ("user:topped_up", SHOP, customer, topped_up),
            ("bank", SHOP, None, -topped_up),
            ("user:earned", SHOP, customer, earned),
            ("referral_held", SHOP, None, on_hold),
            ("referral_cost", SHOP, None, -earned - on_hold),
        ]
        if any(amount for *_, amount in moves):
            self._move(f"erasure:{customer}", *moves)
        for reward in held:
            reward.state = "reversed"

    def reverse(self, key: str) -> None:
        """A transfer is undone, once; what stands beside the books is not."""
        done = next((one for one in self.transfers if one.key == key), None)
        if done is None or done.reversed:
            raise Refused(f"{key} can't be reversed")
        self._apply(Transfer(f"correction:{key}", Counter({one: -amount for one, amount in done.moved.items()})))
        done.reversed = True
