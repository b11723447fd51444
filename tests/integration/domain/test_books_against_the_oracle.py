"""Random happenings, told to the oracle and posted in SQL: after each, every account and every wallet is the same in both."""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from lib.db.connection import Connection, Timeouts
from lib.db.invariants import queries
from lib.db.transaction import Transaction
from lib.domain import reconciliation, reports
from lib.oracle import Sum
from tests.integration.domain import money_rows
from tests.integration.domain.booked import NANO, Happenings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")

_KINDS = ("subscription", "top_up", "gift")
_LATER = datetime(3000, 1, 1, tzinfo=UTC)
_CHECKED = ("balances_are_their_entries", "transfer_is_of_its_day")


class Draw:
    """What happens, drawn step by step; a step that has nothing to go on does nothing."""

    def __init__(self, data: st.DataObject, shop: Happenings) -> None:
        self._data, self._shop, self._books = data, shop, shop.books
        self._further: dict[str, str] = {}

    def step(self) -> str:
        """One happening, by its name."""
        steps: dict[str, Callable[[], None]] = {
            "paid": self._paid,
            "paid from balance": self._paid_from_balance,
            "stray": self._stray,
            "out of suspense": self._out_of_suspense,
            "late fee": self._late_fee,
            "gift": self._gift,
            "reward": self._reward,
            "withdrawal": self._withdrawal,
            "refund": self._refund,
            "refund of a further charge": self._refund_of_charge,
            "between own accounts": self._own,
            "operator": self._operator,
            "erased": self._erased,
            "undone": self._undone,
            "days end": self._days_end,
        }
        name = self._data.draw(st.sampled_from(sorted(steps)))
        event(name)
        steps[name]()
        return name

    def _one(self, choices: list[T]) -> T | None:
        return self._data.draw(st.sampled_from(choices)) if choices else None

    def _number(self, most: int = 400) -> int:
        return self._data.draw(st.integers(1, most))

    def _yes(self) -> bool:
        return self._data.draw(st.booleans())

    def _customer(self) -> int:
        return self._data.draw(st.sampled_from(self._shop.customers))

    def _fee(self) -> int | None:
        return self._number(50) if self._yes() else None

    def _paid(self) -> None:
        provider = self._data.draw(st.sampled_from(("card", "cryptobot", "stars", "transfer")))
        kind = self._data.draw(st.sampled_from(_KINDS))
        name = self._shop.order(
            self._customer(), kind, provider, listed=self._number(), percent=self._data.draw(st.sampled_from((0, 30)))
        )
        over = self._number(90) if self._yes() else 0
        asset = self._number(9_000_000) if provider == "cryptobot" else None
        self._shop.pay(name, provider, over=over * (NANO if provider == "stars" else 1), asset=asset, fee=self._fee())

    def _paid_from_balance(self) -> None:
        percent = self._data.draw(st.sampled_from((0, 30, 100)))
        kind = self._data.draw(st.sampled_from(("subscription", "gift")))
        name = self._shop.order(self._customer(), kind, "balance", listed=self._number(), percent=percent)
        if not self._shop.pay_from_balance(name):
            self._shop.tx.execute("update orders set status = 'expired' where id = :id", id=self._shop.orders[name])
            self._books.orders[name].state = "expired"

    def _stray(self) -> None:
        paid = [name for name, one in self._books.orders.items() if one.state != "open" and one.provider]
        name = self._one(paid) if self._yes() else None
        anyone = st.sampled_from(("card", "cryptobot", "stars"))
        provider = self._books.orders[name].provider if name else self._data.draw(anyone)
        if name:
            came = Sum(self._books.orders[name].price, self._books.orders[name].currency)
        else:
            minor = self._number(40_000)
            came = {"stars": Sum(minor * NANO, "XTR"), "cryptobot": Sum(minor, "USDT")}.get(provider, Sum(minor))
        told = self._shop.stray(provider, came, name, self._fee())
        if name:
            self._further[told] = name

    def _out_of_suspense(self) -> None:
        name = self._one([one for one, charge in self._books.charges.items() if charge.in_suspense])
        if name is None:
            return
        ways = ["given back", "paid back", "credited"] + ([] if name in self._further else ["assigned", "superseded"])
        way = self._one(ways)
        if way == "given back":
            self._shop.give_back(name)
        elif way == "paid back":
            self._shop.pay_back(name, self._number(9_000), self._number(3) - 1)
        elif way == "credited":
            order = self._further.get(name)
            customer = self._books.orders[order].customer if order else self._customer()
            self._shop.credit(name, customer, self._number(9_000))
        elif way == "superseded":
            self._superseded(name)
        else:
            kind = self._data.draw(st.sampled_from(_KINDS))
            order = self._shop.order(self._customer(), kind, "card", listed=self._number())
            self._shop.assign(name, order, self._number(40_000))

    def _superseded(self, name: str) -> None:
        charge = self._books.charges[name]
        kind = self._data.draw(st.sampled_from(_KINDS))
        order = self._shop.order(self._customer(), kind, charge.provider, listed=self._number())
        over = self._number(90) if self._yes() else 0
        self._shop.pay(
            order,
            charge.provider,
            over=over * (NANO if charge.provider == "stars" else 1),
            asset=self._number(9_000_000) if charge.provider == "cryptobot" else None,
            fee=None if charge.fee_known and charge.fee is None else self._fee(),
            said_of=name,
        )

    def _late_fee(self) -> None:
        if name := self._one(list(self._books.charges)):
            self._shop.late_fee(name, self._number(50))

    def _gift(self) -> None:
        gifts = [
            name
            for name, one in self._books.orders.items()
            if one.kind == "gift" and one.state == "paid" and not one.given_back
        ]
        if name := self._one(gifts):
            if self._yes():
                self._shop.claim(name)
            else:
                self._shop.return_gift(name, erased=self._yes())

    def _reward(self) -> None:
        fresh = [name for name in self._shop.payments if name in self._books.orders and name not in self._books.rewards]
        held = [name for name, one in self._books.rewards.items() if one.state == "held"]
        live = [name for name, one in self._books.rewards.items() if one.state != "reversed"]
        way = self._data.draw(st.sampled_from(("new", "released", "taken back")))
        if way == "new" and (name := self._one(fresh)):
            self._shop.reward(name, self._customer(), self._number(4_000))
        elif way == "released" and (name := self._one(held)):
            self._shop.release(name)
        elif way == "taken back" and (name := self._one(live)):
            self._shop.take_back(name)

    def _withdrawal(self) -> None:
        asked = [name for name, one in self._books.withdrawals.items() if one.state == "requested"]
        paid = [name for name, one in self._books.withdrawals.items() if one.state == "paid"]
        way = self._data.draw(st.sampled_from(("asked", "ended", "paid", "bounced")))
        if way == "asked":
            customer = self._customer()
            if all(self._books.withdrawals[name].customer != customer for name in asked):
                self._shop.withdraw(customer, self._number(3_500))
        elif way == "ended" and (name := self._one(asked)):
            self._shop.end_withdrawal(name)
        elif way == "paid" and (name := self._one(asked)):
            by_asset = Sum(self._number(9_000_000), "USDT") if self._yes() else None
            self._shop.pay_withdrawal(
                name, by_asset or Sum(self._books.withdrawals[name].amount), 0 if by_asset else self._number(3) - 1
            )
        elif way == "bounced" and (name := self._one(paid)):
            by_asset = Sum(self._number(9_000_000), "USDT") if self._yes() else None
            self._shop.bounce_withdrawal(name, by_asset or Sum(self._books.withdrawals[name].amount))

    def _refund(self) -> None:
        orders = [
            name
            for name, one in self._books.orders.items()
            if one.state in {"paid", "claimed", "returned"} and not one.given_back
        ]
        name = self._one(orders)
        if name is None:
            return
        order = self._books.orders[name]
        if order.gone or (
            order.kind != "gift" and order.from_wallets is None and order.price > 1 and self._number(4) == 1
        ):
            self._refund_of_part(name)
            return
        if order.from_wallets is not None:
            if order.state != "returned":  # what went back already is no refund's
                self._shop.refund(name, "wallets", None)
            return
        routes = ["provider", "outside", "chargeback"] + ([] if order.rest else ["hand"])
        if order.kind != "top_up" and order.state != "returned":
            routes.append("balance")
        route = self._one(routes)
        assert route is not None
        self._shop.refund(name, route, None if route == "balance" else self._fee())

    def _refund_of_part(self, name: str) -> None:
        """Its provider takes it bit by bit, and the last bit ends it."""
        route = self._one(["outside", "chargeback"])
        assert route is not None
        gone = self._books.orders[name].gone
        self._shop.refund_of_part(name, route, self._fee(), gone + (1 - gone) * Fraction(self._number(7), 7))

    def _refund_of_charge(self) -> None:
        credited = [
            name
            for name in self._further
            if self._books.charges[name].credited is not None and not self._books.charges[name].given_back
        ]
        if name := self._one(credited):
            route = self._data.draw(st.sampled_from(("provider", "outside", "chargeback")))
            self._shop.refund_of_charge(name, self._further[name], route)

    def _own(self) -> None:
        way = self._data.draw(st.sampled_from(("second debit", "payout", "owner", "commission")))
        provider = self._data.draw(st.sampled_from(("card", "stars", "cryptobot")))
        listed = [one for one in self._books.charges if f"event:{one}:second_debit" not in self._shop.transfers]
        moved = Sum(self._number(9_000), {"stars": "XTR", "cryptobot": "USDT"}.get(provider, "RUB"))
        if way == "second debit":
            if name := self._one(listed):
                self._shop.second_debit(name, self._number(3) - 1)
        elif way == "payout":
            self._shop.payout(provider, moved, self._number(9_000), self._number(3) - 1)
        elif way == "owner":
            where = "transfer" if moved.currency == "RUB" else provider
            self._shop.owner(where, moved, comes=self._yes())
        else:
            self._shop.commission(self._number(20))

    def _operator(self) -> None:
        if self._yes():
            self._shop.operator_credit(self._customer(), self._number(40_000))
        else:
            self._shop.operator_debit(self._customer(), self._number(40_000))

    def _erased(self) -> None:
        open_for = {one.customer for one in self._books.withdrawals.values() if one.state == "requested"}
        erased = {int(key.partition(":")[2]) for key in self._shop.transfers if key.startswith("erasure:")}
        candidates = [one for one in self._shop.customers if one not in open_for | erased]
        # others stay, or later steps have no wallets to go on
        if len(erased) < 1 and (customer := self._one(candidates)):
            self._shop.erase(customer)

    def _days_end(self) -> None:
        days = self._data.draw(st.sampled_from((1, 2, 40)))
        closed = self._shop.days_end(days)
        assert closed in {days - 1, days}  # the last one is 3 h over, or not yet

    def _undone(self) -> None:
        if key := self._one(list(self._shop.transfers)):
            self._shop.reverse(key)


@pytest.fixture
def session(database_url: str) -> Iterator[Connection]:
    """For one transaction that is rolled back."""
    with closing(Connection(database_url, application="oracle", timeouts=Timeouts())) as connection:
        yield connection


def _begun(shop: Happenings) -> None:
    """Everyone has something in both wallets, and there is one of most things that a step goes on from."""
    buyer, referrer, other = shop.customers
    for customer in shop.customers:
        shop.operator_credit(customer, 9_000)
        for released in (True, False):
            name = shop.order(buyer, "subscription", "card", listed=149)
            shop.pay(name, "card", fee=400)
            shop.reward(name, customer, 3_000)
            if released:
                shop.release(name)
    for kind, provider in (("gift", "stars"), ("top_up", "cryptobot"), ("gift", "balance")):
        name = shop.order(other, kind, provider, listed=100)
        if provider == "balance":
            shop.pay_from_balance(name)
        else:
            shop.pay(name, provider, asset=900_000 if provider == "cryptobot" else None)
    shop.withdraw(referrer, 2_000)
    shop.compare()


def _reported(shop: Happenings) -> None:
    """The month adds up to what the oracle says; and what each provider's account has is the sum of its lines, and nothing else."""
    month = reports.month(shop.tx)
    closing = {(one.code, one.currency): one.closing for one in month.standings if one.closing}
    said = {(code, currency): shop.books.of(code, currency) for code, currency, _ in shop.books.balances}
    assert closing == {account: held for account, held in said.items() if held}
    assert all(one.value == one.closing for one in month.standings if one.currency == "RUB")
    earned: Counter[tuple[str, str]] = Counter()
    for one in month.results:
        earned[one.code, one.currency] += one.amount
        assert one.currency != "RUB" or one.value == one.amount
    moved = {
        (one.code, one.currency): one.credit - one.debit
        for one in month.standings
        if one.type in {"income", "contra-income", "expense"}
    }
    assert {account: amount for account, amount in earned.items() if amount} == {
        account: amount for account, amount in moved.items() if amount
    }
    for provider in ("card", "cryptobot", "stars"):
        kinds, following = reconciliation.booked_since(shop.tx, provider, None, 0, 10_000)
        assert following is None
        lines = reconciliation.booked(shop.tx, provider, sorted(kinds), _LATER)
        held: dict[str, Fraction] = {}
        for line in lines.values():
            assert line.before == {asset: amount for asset, amount in line.side.net().items() if amount}
            for asset, amount in line.before.items():
                held[asset] = held.get(asset, Fraction(0)) + Fraction(amount)
        known = {asset: Fraction(amount) for asset, amount in reconciliation.held(shop.tx, provider, _LATER).items()}
        assert {asset: amount for asset, amount in held.items() if amount} == known


@dataclass
class Beginnings:
    """A shop in which something has happened, in a transaction that stays open: each example goes on from it, and is taken back."""

    session: Connection
    shop: Happenings

    def example(self, data: st.DataObject) -> None:
        """What happens next, and whether the books and the oracle say the same of it."""
        self.session.simple("savepoint example")
        try:
            self._happens(data, self.shop.copied())
        finally:
            self.session.simple("rollback to savepoint example; release savepoint example")

    def _happens(self, data: st.DataObject, shop: Happenings) -> None:
        draw = Draw(data, shop)
        for _ in range(data.draw(st.integers(1, 25))):
            name = draw.step()
            shop.compare()
            assert name
        _reported(shop)
        self.session.simple("set constraints all immediate")  # as at COMMIT
        for name in _CHECKED:
            assert self.session.execute(queries()[name], {})[1] == [], name


@pytest.fixture
def beginnings(database_url: str) -> Iterator[Beginnings]:
    """One for all examples."""
    with closing(Connection(database_url, application="oracle", timeouts=Timeouts())) as session:
        session.begin()
        tx = Transaction(session, lambda: False, "oracle")
        shop = Happenings(tx, customers=[money_rows.customer(tx) for _ in range(3)])
        _begun(shop)
        session.simple("set constraints all immediate; set constraints all deferred")  # of these once
        yield Beginnings(session, shop)
        session.rollback()


_ROUTES = ("provider", "outside", "chargeback", "hand", "balance")


def _superseded_each_way(shop: Happenings, kind: str) -> None:
    """What stood in suspense never was: with the fee that came with it, but not with one that was known later."""
    customer = shop.customers[0]
    for provider, came in (("card", Sum(5_000)), ("stars", Sum(40 * NANO, "XTR")), ("cryptobot", Sum(7, "USDT"))):
        for first, late, then in ((5, False, 6), (5, False, None), (None, False, 6), (None, True, None)):
            told = shop.stray(provider, came, None, first)
            if late:
                shop.late_fee(told, 3)
            elif first and then is None and provider == "stars":
                shop.reverse(f"event:{told}")  # nothing of it is in suspense any more
            name = shop.order(customer, kind, provider, listed=100)
            asset = 900_000 if provider == "cryptobot" else None
            shop.pay(name, provider, over=7, asset=asset, fee=then, said_of=told)
            shop.late_fee(told, 4)  # refused, unless no fee stands in the books
            shop.days_end(1)
    shop.compare()


def _each_way(shop: Happenings) -> None:
    customer = shop.customers[0]
    shop.operator_credit(customer, 900_000)
    for kind in _KINDS:
        for provider, unit in (("card", 1), ("stars", NANO), ("cryptobot", 1), ("transfer", 1)):
            for over in (0, 7):
                for route in _ROUTES if not over else ("provider", "outside", "chargeback"):
                    if kind == "top_up" and route == "balance":
                        continue
                    name = shop.order(customer, kind, provider, listed=100, percent=30)
                    asset = 900_000 if provider == "cryptobot" else None
                    shop.pay(name, provider, over=over * unit, asset=asset, fee=3)
                    if kind == "gift" and provider != "card":
                        (shop.claim if provider == "stars" else partial(shop.return_gift, erased=False))(name)
                    if not (route == "balance" and shop.books.orders[name].state == "returned"):
                        shop.refund(name, route, None if route == "balance" else 5)
        for came in (Sum(5_000), Sum(15_000), Sum(15_000), Sum(40 * NANO, "XTR")):
            event_name = shop.stray("card" if came.currency == "RUB" else "stars", came, None, 5)
            shop.assign(event_name, shop.order(customer, kind, "card", listed=100), 12_000)
        _superseded_each_way(shop, kind)
    shop.operator_debit(customer, 1 + shop.books.wallet(customer, "topped_up"))  # both parts
    shop.compare()


def _each_way_with_too_little(shop: Happenings) -> None:
    """What the provider took already is had back as far as it is there, to the last digit."""
    customer = shop.customers[1]
    for kind in ("subscription", "top_up"):
        for provider, unit in (("card", 1), ("stars", NANO), ("cryptobot", 1)):
            for route in ("outside", "chargeback"):
                name = shop.order(customer, kind, provider, listed=100)
                shop.pay(name, provider, over=97 * unit, asset=900_001 if provider == "cryptobot" else None, fee=3)
                has = shop.books.wallet(customer, "topped_up") + shop.books.wallet(customer, "earned")
                shop.operator_debit(customer, has)
                shop.operator_credit(customer, 41)
                shop.refund(name, route, fee=5 if provider == "card" else None)
                for _ in range(2):  # the second time it is refused, as after a fee that was known at once
                    shop.late_fee_of_refund(name, 6)
    shop.compare()


def test_each_way_that_money_comes_and_goes(session: Connection) -> None:
    session.begin()
    try:
        tx = Transaction(session, lambda: False, "oracle")
        shop = Happenings(tx, customers=[money_rows.customer(tx) for _ in range(3)])
        _begun(shop)
        _each_way(shop)
        _each_way_with_too_little(shop)
        _reported(shop)
        session.simple("set constraints all immediate")
        for key in list(shop.transfers)[-40:]:
            shop.reverse(key)
        shop.compare()
        _reported(shop)
        session.simple("set constraints all immediate")
    finally:
        session.rollback()


_SHARED = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]


@settings(max_examples=20, deadline=None, suppress_health_check=_SHARED)
@given(data=st.data())
def test_the_books_are_what_the_oracle_says(beginnings: Beginnings, data: st.DataObject) -> None:
    beginnings.example(data)


@pytest.mark.full
@settings(max_examples=300, deadline=None, suppress_health_check=_SHARED)
@given(data=st.data())
def test_the_books_are_what_the_oracle_says_over_many_days(beginnings: Beginnings, data: st.DataObject) -> None:
    beginnings.example(data)
