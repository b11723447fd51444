"""What happens to the shop's money, told to the oracle and posted in SQL: one method a happening.

The two are told the same and share nothing: the oracle has rules of its own, the books are posted by the posting table.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, field, fields, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from lib.db import StatementFailed
from lib.domain import books, ledger, suspense
from lib.domain.charges import Part, SaleParts
from lib.domain.ledger import BalanceTooLow, PostedBefore, ReversedBefore, lock_wallets
from lib.domain.postings import About, Amount, posting, table
from lib.domain.postings.amounts import HadBack, credited, had_back
from lib.oracle import Books, Order, Refused, Sum, TooLittle
from tests.integration.by_the_owner import travel
from tests.integration.domain import money_rows
from tests.integration.domain.money_rows import fresh

if TYPE_CHECKING:
    from collections.abc import Callable
    from fractions import Fraction

    from lib.db import Transaction
    from lib.domain.postings import Fact
    from lib.oracle import Account

NANO = 1_000_000_000
_BY_HAND = {"actor_id": 17, "reason": "a test"}
_SUMS = """
select coalesce(jsonb_agg(jsonb_build_array(code, currency, account_id, cast(moved as text))), '[]') from (
    select a.code, a.currency, a.account_id, sum(side.amount) as moved
    from ledger_entries e
    cross join lateral (values (e.debit_account_id, e.amount), (e.credit_account_id, -e.amount)) as side (id, amount)
    join ledger_accounts a on a.id = side.id
    where e.transfer_id = :transfer_id or cast(:transfer_id as bigint) is null
    group by a.code, a.currency, a.account_id having sum(side.amount) <> 0
) sums
"""
_CACHED = "select coalesce(jsonb_agg(jsonb_build_array(code, currency, account_id, cast(-balance as text))), '[]') from ledger_accounts where account_id is not null and balance <> 0"


def rub(minor: int) -> Amount:
    """Kopecks."""
    return Amount(minor, "RUB")


def _had_back(left: int, credit: int, there: int) -> HadBack:
    return had_back(left, credited=credit, there=there) if credit else HadBack(0, 0, left)


def amount(of: Sum) -> Amount:
    """The oracle's in the table's words."""
    return Amount(of.minor, of.currency)


@dataclass
class Happenings:
    """The oracle and the books, side by side.

    Attributes:
        orders, payments, events, withdrawals, refunds: the oracle's name of each -> its id in SQL.
        transfers: the oracle's key of each transfer -> its id in SQL.
    """

    tx: Transaction
    books: Books = field(default_factory=Books)
    customers: list[int] = field(default_factory=list)
    orders: dict[str, int] = field(default_factory=dict)
    payments: dict[str, int] = field(default_factory=dict)
    events: dict[str, int] = field(default_factory=dict)
    withdrawals: dict[str, int] = field(default_factory=dict)
    refunds: dict[str, int] = field(default_factory=dict)
    transfers: dict[str, int] = field(default_factory=dict)
    _posted: list[int] = field(default_factory=list)

    def copied(self) -> Happenings:
        """As it is now, to go on from and be thrown away; over the same transaction."""
        return replace(
            self,
            **{one.name: deepcopy(getattr(self, one.name)) for one in fields(self) if one.name != "tx"},
        )

    # Both together ------------------------------------------------------------------------------------------------

    def both(self, told: Callable[[], object], done: Callable[[], object]) -> bool:
        """What the oracle refuses is refused by the books, and what it does they do: False when it was refused."""
        known, self._posted = len(self.books.transfers), []
        try:
            told()
        except Refused as refused:
            if not self._refuses(done, too_little=isinstance(refused, TooLittle)):
                raise AssertionError(f"the books allow it: {refused}") from None
            return False
        done()
        new = self.books.transfers[known:]
        assert len(new) == len(self._posted)
        for transfer, transfer_id in zip(new, self._posted, strict=True):
            moved = self._sums(transfer_id)
            assert moved == {account: moves for account, moves in transfer.moved.items() if moves}, transfer.key
            self.transfers[transfer.key] = transfer_id
        return True

    def _refuses(self, done: Callable[[], object], *, too_little: bool) -> bool:
        try:
            with self.tx.savepoint("refused"):
                done()
        except (BalanceTooLow, PostedBefore, ReversedBefore) as error:
            return isinstance(error, BalanceTooLow) or not too_little
        except StatementFailed as error:
            return error.constraint == ("wallet_is_never_negative" if too_little else "fee_is_booked_once")
        return False

    def compare(self) -> None:
        """Every account and every wallet."""
        balances = {account: held for account, held in self.books.balances.items() if held}
        assert self._sums(None) == balances
        cached = {account: held for account, held in balances.items() if account[2] is not None}
        assert self._read(_CACHED) == cached
        of_shop = {(one.code, one.currency): one.balance for one in books.trial_balance(self.tx) if one.balance}
        known = {(code, currency): self.books.of(code, currency) for code, currency, _ in balances}
        assert of_shop == {account: held for account, held in known.items() if held}

    def days_end(self, days: int) -> int:
        """So many days pass, and those that are over are closed: how many. No money moves."""
        travel(self.tx, timedelta(days=days))
        closed = 0
        while books.close_next_day(self.tx) is not None:
            closed += 1
        return closed

    def _sums(self, transfer_id: int | None) -> dict[Account, int]:
        return self._read(_SUMS, transfer_id=transfer_id)

    def _read(self, sql: str, **parameters: object) -> dict[Account, int]:
        rows = self.tx.value(sql, **parameters)
        return {(code, currency, of): int(moved) for code, currency, of, moved in rows}

    def post(self, fact: Fact, about: About, **amounts: Amount | None) -> None:
        """By the table."""
        self._posted.append(ledger.post(self.tx, posting(fact, about, **amounts)))  # type: ignore[arg-type] # names of a table

    def _about(self, name: str, **more: object) -> About:
        return About(
            order_id=self.orders[name],
            payment_id=self.payments.get(name),
            account_id=self.books.orders[name].customer,
            **more,  # type: ignore[arg-type] # its own names
        )

    # Money comes --------------------------------------------------------------------------------------------------

    def order(self, customer: int, kind: str, provider: str, *, listed: int, percent: int = 0) -> str:
        """An order of a customer; `listed` in roubles or Stars."""
        name = fresh("order")
        stars = provider == "stars"
        percent = 0 if kind == "top_up" else percent
        cents = listed if stars else listed * 100
        price = cents - cents * percent // 100
        value = price * 124 if stars else price
        self.orders[name] = money_rows.order(
            self.tx,
            customer,
            kind=kind,
            listed=cents,
            value=value,
            currency="XTR" if stars else "RUB",
            percent=percent,
            provider=provider if price else "promo",
        )
        unit = NANO if stars else 1
        self.books.order(name, Order(customer, kind, cents * unit, price * unit, value, "XTR" if stars else "RUB"))
        return name

    def pay(
        self,
        name: str,
        provider: str,
        *,
        over: int = 0,
        asset: int | None = None,
        fee: int | None = None,
        said_of: str | None = None,
    ) -> str:
        """An order is paid from outside, `over` its price, in its currency or in so much of USDT.

        `said_of` is a charge in suspense, of which the provider says so now.
        """
        order, event = self.books.orders[name], said_of or fresh("event")
        sent = Sum(order.price + over, order.currency)
        came = sent if asset is None else Sum(asset, "USDT")
        cost = None if fee is None else Sum(fee, came.currency)

        def done() -> None:
            if said_of is None:
                self._told(event, provider, name, "settled")
            else:
                self._leave_as_they_came(said_of)
            self.payments[name] = money_rows.payment(self.tx, self.orders[name], self.events[event], provider=provider)
            price = Amount(order.price, order.currency)
            rest = rub(credited(over, value=order.value, price=order.price)) if over else None
            if asset is None:
                received, rest_received = price, Amount(over, order.currency) if over else None
            else:
                received, rest_received = amount(came), Amount(0, "USDT") if over else None
            about = self._about(name, provider=provider)
            costs = amount(cost) if cost else None
            if order.kind == "top_up":
                self.post(
                    table.TOP_UP,
                    about,
                    value=rub(order.value),
                    received=received,
                    rest=rest,
                    rest_received=rest_received,
                    fee=costs,
                )
            elif order.kind == "gift":
                self.post(
                    table.GIFT_BOUGHT,
                    about,
                    price=price,
                    received=received,
                    rest=rest,
                    rest_received=rest_received,
                    fee=costs,
                )
            else:
                discount = Amount(order.listed - order.price, order.currency)
                self.post(
                    table.SALE,
                    about,
                    price=price,
                    received=received,
                    rest=rest,
                    rest_received=rest_received,
                    fee=costs,
                    discount=discount,
                )

        self.both(lambda: self.books.charge(event, provider, sent, order=name, received=came, fee=cost), done)
        return event

    def _told(self, event: str, provider: str, name: str | None, status: str) -> None:
        order = self.orders[name] if name else None
        self.events[event] = money_rows.event(self.tx, provider, status=status, order_id=order)

    def _leave_as_they_came(self, event: str) -> None:
        event_id = self.events[event]
        held = suspense.lying(self.tx, event_id)
        money_rows.event_is_settled(self.tx, event_id)
        if held is not None:  # an operator may have undone it
            left = suspense.superseded(held, event_id, self.books.charges[event].provider)
            self._posted.append(ledger.post(self.tx, left))

    def stray(self, provider: str, came: Sum, name: str | None, fee: int | None) -> str:
        """Money that fits nothing, or a further charge of an order that is paid."""
        event = fresh("event")
        cost = None if fee is None else Sum(fee, came.currency)

        def done() -> None:
            self._told(event, provider, name, "duplicate" if name else "unmatched")
            if name:
                self.payments[event] = money_rows.payment(
                    self.tx, self.orders[name], self.events[event], kind="duplicate", provider=provider
                )
            about = About(provider=provider, event_id=self.events[event])
            self.post(table.SUSPENSE, about, received=amount(came), fee=amount(cost) if cost else None)

        self.both(lambda: self.books.charge(event, provider, came, order=name, fee=cost), done)
        return event

    def pay_from_balance(self, name: str) -> bool:
        """By the wallets, or by nothing at 100 % off."""
        order = self.books.orders[name]

        def done() -> None:
            parts = lock_wallets(self.tx, order.customer)[order.customer].spent(order.price)
            self.payments[name] = money_rows.payment(
                self.tx, self.orders[name], provider="balance" if order.price else "promo"
            )
            about, first, then = self._about(name), rub(parts.topped_up), rub(parts.earned)
            if order.kind == "gift":
                if order.price:
                    self.post(table.GIFT_BOUGHT_FROM_BALANCE, about, topped_up=first, earned=then)
            elif order.price:
                discount = rub(order.listed - order.price)
                self.post(table.SALE_FROM_BALANCE, about, topped_up=first, earned=then, discount=discount)
            else:
                self.post(table.SALE_FREE, about, discount=rub(order.listed))

        return self.both(lambda: self.books.pay_from_balance(name), done)

    def late_fee(self, event: str, fee: int) -> None:
        """What a charge cost is known now."""
        charge = self.books.charges[event]
        cost = Sum(fee, charge.received.currency)
        about = About(provider=charge.provider, event_id=self.events[event])
        self.both(lambda: self.books.late_fee(event, cost), lambda: self.post(table.FEE, about, fee=amount(cost)))

    # Out of suspense ----------------------------------------------------------------------------------------------

    def give_back(self, event: str) -> None:
        """By its provider."""
        charge = self.books.charges[event]
        about = About(provider=charge.provider, event_id=self.events[event], reason="a further charge")
        self.both(
            lambda: self.books.give_back(event),
            lambda: self.post(table.SUSPENSE_GIVEN_BACK, about, received=amount(charge.received)),
        )

    def pay_back(self, event: str, paid: int, fee: int) -> None:
        """By hand, in roubles."""
        came = self.books.charges[event].received
        paid = came.minor if came.currency == "RUB" else paid
        about = About(event_id=self.events[event], **_BY_HAND)  # type: ignore[arg-type] # a table
        self.both(
            lambda: self.books.pay_back(event, Sum(paid), fee),
            lambda: self.post(
                table.SUSPENSE_PAID_BACK, about, received=amount(came), paid=rub(paid), fee=rub(fee) if fee else None
            ),
        )

    def credit(self, event: str, customer: int, counted: int) -> None:
        """To a customer's balance."""
        came = self.books.charges[event].received
        counted = came.minor if came.currency == "RUB" else counted
        about = About(event_id=self.events[event], account_id=customer, reason="a further charge")
        self.both(
            lambda: self.books.credit(event, customer, counted),
            lambda: self.post(table.SUSPENSE_CREDITED, about, received=amount(came), counted=rub(counted)),
        )

    def assign(self, event: str, name: str, counted: int) -> None:
        """To an order in roubles; `counted` is what another asset is worth."""
        order, charge = self.books.orders[name], self.books.charges[event]
        came = charge.received
        worth = came.minor if came.currency == "RUB" else counted

        def done() -> None:
            self.payments[name] = money_rows.payment(
                self.tx, self.orders[name], self.events[event], provider=charge.provider
            )
            about = self._about(name, event_id=self.events[event], **_BY_HAND)
            received = amount(came)
            if order.kind == "top_up":
                self.post(table.SUSPENSE_TO_TOP_UP, about, received=received, counted=rub(worth))
                return
            over, short = max(0, worth - order.price), max(0, order.price - worth)
            if came.currency == "RUB":
                received = rub(worth - over)
                rest_received: Amount | None = rub(over) if over else None
            else:
                rest_received = Amount(0, came.currency) if over else None
            fact = table.SUSPENSE_TO_GIFT if order.kind == "gift" else table.SUSPENSE_TO_SALE
            more = {} if order.kind == "gift" else {"discount": rub(order.listed - order.price)}
            self.post(
                fact,
                about,
                received=received,
                counted=rub(worth - over),
                missing=rub(short) if short else None,
                rest=rub(credited(over, value=order.value, price=order.price)) if over else None,
                rest_received=rest_received,
                **more,
            )

        self.both(lambda: self.books.assign(event, name, worth), done)

    # Gifts, rewards, withdrawals ----------------------------------------------------------------------------------

    def claim(self, name: str) -> None:
        """A gift is claimed."""
        order = self.books.orders[name]
        discount = Amount(order.listed - order.price, order.currency)
        self.both(
            lambda: self.books.claim(name),
            lambda: self.post(
                table.GIFT_CLAIMED, self._about(name), price=Amount(order.price, order.currency), discount=discount
            ),
        )

    def return_gift(self, name: str, *, erased: bool) -> None:
        """A gift was not claimed."""
        order, about = self.books.orders[name], self._about(name)
        price = Amount(order.price, order.currency)

        def done() -> None:
            if not order.price:
                return
            if erased:
                self.post(table.GIFT_OF_ERASED, about, price=price)
            elif order.from_wallets:
                first, then = order.from_wallets
                self.post(table.GIFT_RETURNED_TO_WALLETS, about, topped_up=rub(first), earned=rub(then))
            else:
                self.post(table.GIFT_RETURNED, about, price=price, value=rub(order.value))

        self.both(lambda: self.books.return_gift(name, erased=erased), done)

    def reward(self, name: str, referrer: int, part: int) -> None:
        """For an order's money."""
        about = About(order_id=self.orders[name], payment_id=self.payments[name], account_id=referrer)
        self.both(
            lambda: self.books.reward(name, referrer, part), lambda: self.post(table.REWARD, about, reward=rub(part))
        )

    def release(self, name: str) -> None:
        """After the hold."""
        reward = self.books.rewards[name]
        about = About(order_id=self.orders[name], payment_id=self.payments[name], account_id=reward.referrer)
        self.both(
            lambda: self.books.release(name),
            lambda: self.post(table.REWARD_RELEASED, about, reward=rub(reward.amount)),
        )

    def take_back(self, name: str) -> None:
        """From held, else as far as it goes, with what was asked for and not yet approved."""
        reward, asked = self.books.rewards[name], self._asked()
        about = About(order_id=self.orders[name], payment_id=self.payments[name], account_id=reward.referrer)
        was = reward.state

        def done() -> None:
            if was == "held":
                self.post(table.HELD_REWARD_TAKEN_BACK, about, reward=rub(reward.amount))
                return
            request = asked.get(reward.referrer)
            earned = lock_wallets(self.tx, reward.referrer)[reward.referrer].earned
            if earned < reward.amount and request is not None:
                self._end(request)
                earned = lock_wallets(self.tx, reward.referrer)[reward.referrer].earned
            back = had_back(reward.amount, credited=reward.amount, there=earned)
            self.post(table.REWARD_TAKEN_BACK, about, taken=rub(back.taken), lost=rub(back.lost))

        self.both(lambda: self.books.take_back(name), done)

    def _asked(self) -> dict[int, str]:
        return {one.customer: name for name, one in self.books.withdrawals.items() if one.state == "requested"}

    def withdraw(self, customer: int, asked: int) -> None:
        """Earned money is asked for."""
        request = fresh("request")

        def done() -> None:
            self.withdrawals[request] = money_rows.withdrawal(self.tx, customer, asked)
            about = About(account_id=customer, withdrawal_id=self.withdrawals[request])
            self.post(table.WITHDRAWAL_ASKED, about, withdrawn=rub(asked))

        self.both(lambda: self.books.withdraw(request, customer, asked), done)

    def _end(self, request: str) -> None:
        withdrawal = self.books.withdrawals[request]
        money_rows.withdrawal_goes_on(self.tx, self.withdrawals[request], "returned")
        about = About(account_id=withdrawal.customer, withdrawal_id=self.withdrawals[request])
        self.post(table.WITHDRAWAL_RETURNED, about, withdrawn=rub(withdrawal.amount))

    def end_withdrawal(self, request: str) -> None:
        """Rejected or failed."""
        self.both(lambda: self.books.end_withdrawal(request), lambda: self._end(request))

    def pay_withdrawal(self, request: str, paid: Sum, fee: int) -> None:
        """Paid out."""
        withdrawal = self.books.withdrawals[request]
        about = About(account_id=withdrawal.customer, withdrawal_id=self.withdrawals[request])

        def done() -> None:
            money_rows.withdrawal_goes_on(self.tx, self.withdrawals[request], "paid")
            withdrawn, cost = rub(withdrawal.amount), rub(fee) if fee else None
            self.post(table.WITHDRAWAL_PAID, about, withdrawn=withdrawn, paid=amount(paid), fee=cost)

        self.both(lambda: self.books.pay_withdrawal(request, paid, fee), done)

    def bounce_withdrawal(self, request: str, returned: Sum) -> None:
        """It came back."""
        withdrawal = self.books.withdrawals[request]
        about = About(account_id=withdrawal.customer, withdrawal_id=self.withdrawals[request])

        def done() -> None:
            money_rows.withdrawal_goes_on(self.tx, self.withdrawals[request], "bounced")
            self.post(table.WITHDRAWAL_BOUNCED, about, withdrawn=rub(withdrawal.amount), returned=amount(returned))

        self.both(lambda: self.books.bounce_withdrawal(request, returned), done)

    # Money goes back ----------------------------------------------------------------------------------------------

    def refund(self, name: str, route: str, fee: int | None) -> None:
        """An order's money goes back by this route; by hand in roubles."""
        order = self.books.orders[name]
        unclaimed = order.kind == "gift" and order.state == "paid"
        in_balance = order.kind == "top_up" or order.state == "returned"
        cost = None if fee is None else Sum(fee, "RUB" if route == "hand" else order.received.currency)
        credited = order.value + order.rest
        all_of_it = Sum(order.received.minor + order.rest_received.minor, order.received.currency)
        sent = all_of_it if in_balance else order.received
        if route == "hand" and order.currency != "RUB":
            sent = Sum(order.value)
        elif route == "hand":
            sent = Sum(order.value if in_balance else order.price)
        price, rest = Amount(order.price, order.currency), order.rest

        def done() -> None:
            if not order.price:
                return
            provider = {"hand": "transfer", "balance": "balance", "wallets": "balance"}.get(route, order.provider)
            external = fresh("refund")
            refund_id = money_rows.refund(
                self.tx,
                self.payments[name],
                provider=provider,
                external_id=external,
                route={"hand": "bank", "balance": "balance", "wallets": "wallet"}.get(route, "provider"),
                kind="chargeback" if route == "chargeback" else "refund",
            )
            self.refunds[name] = refund_id
            about = self._about(name, provider=provider, external_id=external, refund_id=refund_id)
            costs = amount(cost) if cost else None
            there = lock_wallets(self.tx, order.customer)[order.customer].topped_up
            ours = route in {"provider", "hand"}
            if route == "wallets":
                first, then = order.from_wallets or (0, 0)
                fact = table.REFUND_OF_GIFT_TO_WALLETS if unclaimed else table.REFUND_TO_WALLETS
                self.post(fact, about, topped_up=rub(first), earned=rub(then))
            elif route == "balance":
                fact = table.REFUND_OF_GIFT_TO_BALANCE if unclaimed else table.REFUND_TO_BALANCE
                self.post(fact, about, price=price, value=rub(order.value))
            elif in_balance:
                back = had_back(sent.minor, credited=credited, there=credited if ours else there)
                fact = {
                    "provider": table.REFUND_OF_BALANCE_BY_PROVIDER,
                    "hand": table.REFUND_OF_BALANCE_BY_HAND,
                    "outside": table.REFUND_OF_BALANCE_FROM_OUTSIDE,
                    "chargeback": table.CHARGEBACK_OF_BALANCE,
                }[route]
                lost = {} if ours else {"lost": Amount(back.lost, sent.currency)}
                given_back = Amount(back.given_back, sent.currency)
                self.post(fact, about, taken=rub(back.taken), given_back=given_back, fee=costs, **lost)
            else:
                fact = {
                    "provider": table.REFUND_OF_GIFT_BY_PROVIDER if unclaimed else table.REFUND_BY_PROVIDER,
                    "hand": table.REFUND_OF_GIFT_BY_HAND if unclaimed else table.REFUND_BY_HAND,
                    "outside": table.REFUND_OF_GIFT_FROM_OUTSIDE if unclaimed else table.REFUND_FROM_OUTSIDE,
                    "chargeback": table.CHARGEBACK_OF_GIFT if unclaimed else table.CHARGEBACK,
                }[route]
                more: dict[str, Amount] = {}
                if rest:
                    left = order.rest_received
                    back = had_back(left.minor, credited=rest, there=rest if ours else there)
                    more = {"rest": rub(back.taken), "rest_given_back": Amount(back.given_back, left.currency)}
                    if not ours:
                        more["lost"] = Amount(back.lost, left.currency)
                self.post(fact, about, price=price, given_back=amount(sent), fee=costs, **more)

        self.both(lambda: self.books.refund(name, route, sent=sent, fee=cost), done)

    def refund_of_part(self, name: str, route: str, fee: int | None, until: Fraction) -> None:
        """The provider takes an order's money until so much is gone: `outside` or `chargeback`; of no gift that is not claimed."""
        order = self.books.orders[name]
        asset = order.received.currency
        cost = None if fee is None else Sum(fee, asset)
        whole = order.gone.denominator * until.denominator
        part = Part(whole, int(order.gone * whole), int(until * whole))
        shares = part.of_sale(
            SaleParts(order.price, order.received.minor, order.rest, order.rest_received.minor),
            in_one_currency=asset == order.currency,
        )

        def done() -> None:
            kind, external = "chargeback" if route == "chargeback" else "refund", fresh("refund")
            row = {"provider": order.provider, "external_id": external, "route": "provider", "kind": kind}
            part_of_charge = None if part.is_last else 1
            refund_id = money_rows.refund(self.tx, self.payments[name], part=part_of_charge, **row)
            self.refunds[name] = refund_id
            about = self._about(name, provider=order.provider, external_id=external, refund_id=refund_id)
            there = lock_wallets(self.tx, order.customer)[order.customer].topped_up
            costs = amount(cost) if cost else None
            if order.kind == "top_up":
                left = shares.came + shares.rest_came
                same = asset == "RUB" and order.value == order.received.minor
                back = _had_back(left, left if same else part.of(order.value + order.rest), there)
                fact = {"chargeback": table.CHARGEBACK_OF_BALANCE, "outside": table.REFUND_OF_BALANCE_FROM_OUTSIDE}[
                    route
                ]
                self.post(
                    fact,
                    about,
                    taken=rub(back.taken),
                    given_back=Amount(back.given_back, asset),
                    lost=Amount(back.lost, asset),
                    fee=costs,
                )
                return
            back = _had_back(shares.rest_came, shares.rest, there)
            self.post(
                {"chargeback": table.CHARGEBACK, "outside": table.REFUND_FROM_OUTSIDE}[route],
                about,
                price=Amount(shares.price, order.currency),
                given_back=Amount(shares.came, asset),
                rest=rub(back.taken),
                rest_given_back=Amount(back.given_back, asset),
                lost=Amount(back.lost, asset),
                fee=costs,
            )

        self.both(lambda: self.books.refund(name, route, fee=cost, until=until), done)

    def late_fee_of_refund(self, name: str, fee: int) -> None:
        """What the provider took for a refund is known now."""
        order = self.books.orders[name]
        cost = Sum(fee, order.received.currency)
        about = self._about(name, provider=order.provider, refund_id=self.refunds[name])
        self.both(
            lambda: self.books.late_fee_of_refund(name, cost),
            lambda: self.post(table.REFUND_FEE, about, fee=amount(cost)),
        )

    def refund_of_charge(self, event: str, name: str, route: str) -> None:
        """A further charge of this order, which was credited, goes back."""
        charge = self.books.charges[event]
        assert charge.credited is not None
        customer, credited = charge.credited
        came = charge.received

        def done() -> None:
            external = fresh("refund")
            refund_id = money_rows.refund(
                self.tx,
                self.payments[event],
                provider=charge.provider,
                external_id=external,
                route="provider",
                kind="chargeback" if route == "chargeback" else "refund",
            )
            about = About(
                order_id=self.orders[name],
                payment_id=self.payments[event],
                refund_id=refund_id,
                account_id=customer,
                provider=charge.provider,
                external_id=external,
            )
            there = lock_wallets(self.tx, customer)[customer].topped_up
            back = had_back(came.minor, credited=credited, there=credited if route == "provider" else there)
            given_back = Amount(back.given_back, came.currency)
            if route == "provider":
                self.post(table.REFUND_OF_BALANCE_BY_PROVIDER, about, taken=rub(back.taken), given_back=given_back)
                return
            fact = table.CHARGEBACK_OF_BALANCE if route == "chargeback" else table.REFUND_OF_BALANCE_FROM_OUTSIDE
            lost = Amount(back.lost, came.currency)
            self.post(fact, about, taken=rub(back.taken), given_back=given_back, lost=lost)

        self.both(lambda: self.books.refund_of_charge(event, route), done)

    # The operator's own -------------------------------------------------------------------------------------------

    def second_debit(self, event: str, fee: int = 0) -> None:
        """Listed once more."""
        charge = self.books.charges[event]
        about = About(provider=charge.provider, event_id=self.events[event])
        self.both(
            lambda: self.books.second_debit(event, charge.received, charge.provider, fee),
            lambda: self.post(
                table.SECOND_DEBIT, about, lost=amount(charge.received), fee=Amount(fee, charge.received.currency)
            ),
        )

    def payout(self, provider: str, settled: Sum, arrived: int, kept: int) -> None:
        """To the bank, in roubles."""
        came = settled if settled.currency == "RUB" else Sum(arrived)
        name = fresh("payout")
        about = About(provider=provider, external_id=name)
        fee = Amount(kept, settled.currency) if kept else None
        self.both(
            lambda: self.books.payout(name, provider, settled, came, kept),
            lambda: self.post(table.PAYOUT, about, settled=amount(settled), arrived=amount(came), fee=fee),
        )

    def owner(self, where: str, moved: Sum, *, comes: bool) -> None:
        """Money that is not the shop's."""
        name = fresh("owner")
        facts = {
            (True, True): table.OPENING_IN_BANK,
            (True, False): table.OWNER_TAKES_FROM_BANK,
            (False, True): table.OPENING_AT_PROVIDER,
            (False, False): table.OWNER_TAKES_FROM_PROVIDER,
        }
        about = About(provider=where, operation=name, **_BY_HAND)  # type: ignore[arg-type] # a table
        self.both(
            lambda: self.books.owner(name, where, moved, comes=comes),
            lambda: self.post(facts[where == "transfer", comes], about, moved=amount(moved)),
        )

    def commission(self, stars: int) -> None:
        """An affiliate's part."""
        name, cost = fresh("commission"), Sum(stars * NANO, "XTR")
        about = About(provider="stars", external_id=name)
        self.both(
            lambda: self.books.commission(name, cost),
            lambda: self.post(table.AFFILIATE_COMMISSION, about, fee=amount(cost)),
        )

    def operator_credit(self, customer: int, given: int) -> None:
        """An operator gives."""
        name = fresh("credit")
        about = About(account_id=customer, operation=name, **_BY_HAND)  # type: ignore[arg-type] # a table
        self.both(
            lambda: self.books.operator_credit(name, customer, given),
            lambda: self.post(table.OPERATOR_CREDIT, about, topped_up=rub(given)),
        )

    def operator_debit(self, customer: int, taken: int) -> None:
        """An operator takes."""
        name = fresh("debit")
        about = About(account_id=customer, operation=name, **_BY_HAND)  # type: ignore[arg-type] # a table

        def done() -> None:
            parts = lock_wallets(self.tx, customer)[customer].spent(taken)
            self.post(table.OPERATOR_DEBIT, about, topped_up=rub(parts.topped_up), earned=rub(parts.earned))

        self.both(lambda: self.books.operator_debit(name, customer, taken), done)

    def erase(self, customer: int) -> None:
        """A customer who has no request open."""
        held = sum(one.amount for one in self.books.rewards.values() if (one.referrer, one.state) == (customer, "held"))

        def done() -> None:
            has = lock_wallets(self.tx, customer)[customer]
            if has.topped_up or has.earned or held:
                first, then = rub(has.topped_up), rub(has.earned)
                about = About(account_id=customer)
                self.post(table.ERASURE, about, topped_up=first, paid=first, earned=then, held=rub(held))

        self.both(lambda: self.books.erase(customer), done)

    def reverse(self, key: str) -> None:
        """A transfer is undone."""

        def done() -> None:
            self._posted.append(ledger.reverse(self.tx, self.transfers[key], actor_id=17, reason="a slip"))

        self.both(lambda: self.books.reverse(key), done)
