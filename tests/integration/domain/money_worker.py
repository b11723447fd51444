"""A process of its own that moves money at random: `python -m tests.integration.domain.money_worker URL SEED STEPS`.

Each line of its output is one transaction: its place in the order of all commits, what was done, and what came of it.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

from lib.db import Database, StatementFailed, TooSlow
from lib.domain import adjustments, balance, freezing, inbox, refunds_by_hand, renewals, revoking
from lib.domain.adjustments import Adjustment, NotDone
from lib.domain.balance import Purchase
from lib.domain.ledger import BalanceTooLow
from lib.domain.pricelist import AutoRenewal
from lib.domain.refund_requests import NotRefunded
from lib.domain.refunds_by_hand import Route, Wanted
from lib.domain.renewals import Outcome
from tests.integration.domain.test_refunds import BY, PRICES, ordered, paid, top_up, went_back
from tests.quoting import at_list_price

if TYPE_CHECKING:
    from collections.abc import Callable

    from lib.db import Transaction
    from lib.domain.orders import Order
    from lib.domain.pricelist import PriceList
    from lib.domain.renewals import Renewed
    from lib.domain.settlement import Event, Received

# Every end is within the window, so that whatever comes may renew.
WIDE = replace(PRICES, auto_renewal=AutoRenewal(1_000_000, 1_000_001))
CUSTOMERS = (1, 2)
# Taken last of all and held until COMMIT: the moments are in the order of the commits.
_PLACE = "select pg_advisory_xact_lock(7399)"
_MOMENT = "select cast(extract(epoch from clock_timestamp()) * 1000000 as bigint)"
_CHARGES = """
select jsonb_build_object('charge', e.external_id, 'order', p.order_id, 'kind', p.kind, 'amount', p.amount)
from payments p join payment_events e on e.id = p.event_id order by p.id
"""
_PAYMENTS = "select jsonb_build_object('payment', id, 'order', order_id, 'provider', provider) from payments where kind = 'settling' order by id"

_MOST_TRIES = 100
Said = dict[str, Any]


class KeptError(RuntimeError):
    """News was recorded, and its settlement waited too long for a lock: it is taken back, and told again. In the end it is settled."""


def _received(tx: Transaction, event: Event, prices: PriceList) -> Received:
    """What came of news; kept for any other reason, it is told to the oracle, which knows no such thing."""
    received = inbox.receive(tx, event, prices)
    if received.outcome == "kept" and received.error.startswith(f"{TooSlow.__name__}:"):
        raise KeptError(received.error)
    return received


class Worker:
    """Draws what happens from what is there."""

    def __init__(self, seed: int) -> None:
        self._dice = random.Random(seed)  # noqa: S311 -- a test's
        self._seed, self._number = seed, 0

    def draw(self) -> Callable[[Transaction], Said]:
        """One happening; its choices are made once, however often the transaction is run."""
        self._number += 1
        ways = (self._paid, self._paid, self._again, self._bought, self._bought, self._went_back, self._went_back)
        life = (self._turned, self._turned, self._renewed, self._renewed, self._frozen, self._banned)
        way = self._dice.choice((*ways, self._adjusted, self._given_back, *life))
        luck = [self._dice.random() for _ in range(4)]
        name = f"{self._seed}-{self._number}"

        def run(tx: Transaction) -> Said:
            done = way(tx, name, luck)
            tx.execute(_PLACE)
            return done | {"at": tx.value(_MOMENT)}

        return run

    @staticmethod
    def _paid(tx: Transaction, name: str, luck: list[float]) -> Said:
        person = CUSTOMERS[int(luck[0] * len(CUSTOMERS))]
        over = int(luck[1] * 9_000) if luck[2] < 0.4 else 0
        try:
            with tx.savepoint("new_order"):
                order = _new_order(tx, person, luck)
        except StatementFailed as error:
            return _of_the_banned(error)
        charge = paid(order, name, amount=order.price + over)
        with _Noted() as noted:
            outcome = _received(tx, charge, WIDE).outcome
        return {
            "did": "paid", "order": order.id, "customer": order.account_id, "kind": order.kind, "price": order.price,
            "charge": name, "amount": order.price + over, "outcome": outcome, "renewed": noted.order(tx),
        }  # fmt: skip

    @staticmethod
    def _again(tx: Transaction, name: str, luck: list[float]) -> Said:
        found = [one for one in tx.values(_CHARGES) if one["kind"] == "settling"]
        if not found:
            return {"did": "nothing"}
        first = found[int(luck[0] * len(found))]
        purchase = tx.value("select purchase_id from orders where id = :id", id=first["order"])
        order = _order(tx, first["order"])
        amount = 100 + int(luck[1] * 9_000)
        charge = paid(order, name, amount=amount, purchase_id=purchase)
        outcome = _received(tx, charge, PRICES).outcome
        return {"did": "again", "order": order.id, "charge": name, "amount": amount, "outcome": outcome}

    @staticmethod
    def _bought(tx: Transaction, name: str, luck: list[float]) -> Said:
        account = _account(tx, luck[0])
        if account is None:
            return {"did": "nothing"}
        tariff = "plus" if luck[1] < 0.3 else "basic"
        quote = at_list_price(PRICES, tariff, 30, method="balance")
        said = {"did": "bought", "customer": account, "price": quote.price}
        try:
            with tx.savepoint("purchase"):
                made = balance.buy(tx, Purchase(account, name, tariff, 30, quote), PRICES, "c")
        except BalanceTooLow:
            return said | {"outcome": "too little", "order": f"none-{name}"}
        except StatementFailed as error:
            return _of_the_banned(error)
        return said | {"outcome": "bought", "order": made.order.id}

    @staticmethod
    def _went_back(tx: Transaction, name: str, luck: list[float]) -> Said:
        found = tx.values(_CHARGES)
        if not found:
            return {"did": "nothing"}
        one = found[int(luck[0] * len(found))]
        kind = "refund" if luck[1] < 0.5 else "chargeback"
        charge = paid(_order(tx, one["order"]), one["charge"], amount=one["amount"])
        received = _received(tx, went_back(charge, f"re-{name}", kind), PRICES)
        said = {"did": "went back", "order": one["order"], "charge": one["charge"], "of": one["kind"], "kind": kind}
        return said | {"amount": one["amount"], "news": name, "outcome": received.outcome, "reason": received.reason}

    @staticmethod
    def _adjusted(tx: Transaction, name: str, luck: list[float]) -> Said:
        account = _account(tx, luck[0])
        if account is None:
            return {"did": "nothing"}
        amount = 1 + int(luck[1] * 9_000)
        wanted = Adjustment(account, amount, BY.actor_id, "by chance", name)
        gives = luck[2] < 0.5
        said = {"did": "credit" if gives else "debit", "customer": account, "amount": amount, "name": name}
        try:
            with tx.savepoint("adjustment"):
                how = adjustments.credit if gives else adjustments.debit
                how(tx, wanted, BY.owners, currency="RUB", correlation_id="c")
        except (BalanceTooLow, NotDone):
            return said | {"outcome": "too little"}
        return said | {"outcome": "done"}

    @staticmethod
    def _given_back(tx: Transaction, _name: str, luck: list[float]) -> Said:
        found = tx.values(_PAYMENTS)
        if not found:
            return {"did": "nothing"}
        one = found[int(luck[0] * len(found))]
        route = Route.WALLET if one["provider"] == "balance" else Route.BALANCE
        said = {"did": "given back", "order": one["order"], "route": str(route)}
        try:
            with tx.savepoint("refund"):
                refunds_by_hand.refund(tx, Wanted(route, one["payment"]), BY, PRICES)
        except NotRefunded as error:
            return said | {"outcome": f"refused: {error}"}
        return said | {"outcome": "done"}

    @staticmethod
    def _turned(tx: Transaction, _name: str, luck: list[float]) -> Said:
        account = _account(tx, luck[0])
        if account is None:
            return {"did": "nothing"}
        said = {"did": "turned", "customer": account}
        if luck[1] < 0.3:
            renewals.turn_off(tx, account)
            return said | {"on": False}
        upcoming = renewals.upcoming(tx, account, WIDE)
        if upcoming is None or upcoming.price is None:
            return {"did": "nothing"}
        agreed = renewals.turn_on(tx, account, upcoming.order_id, upcoming.price, WIDE)
        return said | {"on": True} if agreed else {"did": "nothing"}

    @staticmethod
    def _renewed(tx: Transaction, name: str, luck: list[float]) -> Said:
        account = _account(tx, luck[0])
        if account is None:
            return {"did": "nothing"}
        done = renewals.renew(tx, account, WIDE, "c")
        said = {"did": "renewed", "customer": account, "outcome": str(done.outcome)}
        if done.outcome is Outcome.RENEWED:
            return said | _bought_by_itself(tx, done)
        if done.outcome is Outcome.LOW:
            upcoming = renewals.upcoming(tx, account, WIDE)
            assert upcoming is not None
            return said | {"order": f"none-{name}", "price": upcoming.price}
        return said

    @staticmethod
    def _frozen(tx: Transaction, _name: str, luck: list[float]) -> Said:
        account = _account(tx, luck[0])
        if account is not None:
            done = freezing.freeze(tx, account, 3, PRICES.access, correlation_id="c", actor_id=BY.actor_id)
            if isinstance(done, freezing.Refusal):
                freezing.thaw_now(tx, account, correlation_id="c", actor_id=BY.actor_id)
        return {"did": "nothing"}

    @staticmethod
    def _banned(tx: Transaction, _name: str, luck: list[float]) -> Said:
        account = _account(tx, luck[0])
        if account is None:
            return {"did": "nothing"}
        if luck[1] < 0.4:
            revoking.ban(tx, account, actor_id=BY.actor_id, reason="by chance", correlation_id="c")
            return {"did": "banned", "customer": account}
        revoking.unban(tx, account, actor_id=BY.actor_id, conversion=PRICES.conversion, correlation_id="c")
        return {"did": "unbanned", "customer": account}


class _Noted:
    """What a top-up renewed: settlement asks for it by itself, and says nothing of it but the work that follows."""

    def __init__(self) -> None:
        self._done: Renewed | None = None

    def __enter__(self) -> Self:
        self._really = renewals.after_top_up
        renewals.after_top_up = self._noting  # in this process, for one call
        return self

    def __exit__(self, *_: object) -> None:
        renewals.after_top_up = self._really

    def _noting(self, tx: Transaction, account_id: int, prices: PriceList, correlation_id: str) -> tuple[Renewed, str]:
        self._done, error = self._really(tx, account_id, prices, correlation_id)
        assert error == "", error
        return self._done, error

    def order(self, tx: Transaction) -> Said | None:
        done = self._done
        return None if done is None or done.outcome is not Outcome.RENEWED else _bought_by_itself(tx, done)


def _bought_by_itself(tx: Transaction, done: Renewed) -> Said:
    price = tx.value("select price from orders where id = :id", id=done.order_id)
    return {"order": done.order_id, "price": int(price)}


def _new_order(tx: Transaction, person: int, luck: list[float]) -> Order:
    return top_up(tx, 10_000 + int(luck[1] * 20_000)) if luck[3] < 0.5 else ordered(tx, telegram_id=person)


def _of_the_banned(error: StatementFailed) -> Said:
    """The database refuses their orders; anything else is a fault."""
    if "banned" not in str(error):
        raise error
    return {"did": "refused"}


def _order(tx: Transaction, order_id: int) -> Any:
    from lib.domain import orders

    account = tx.value("select account_id from orders where id = :id", id=order_id)
    found = orders.of_account(tx, account, order_id)
    assert found is not None
    return found


def _account(tx: Transaction, luck: float) -> int | None:
    known = tx.values("select id from accounts order by id")
    return int(known[int(luck * len(known))]) if known else None


async def _in_the_end(database: Database, run: Callable[[Transaction], Said]) -> Said:
    """What came of it; a lock or a statement that took too long left nothing, and a busy machine has many of those."""
    for _ in range(_MOST_TRIES):
        with suppress(TooSlow, KeptError):
            return await database.run(run)
    raise AssertionError(f"nothing came of it, {_MOST_TRIES} times")


async def main(url: str, seed: int, steps: int) -> None:
    worker = Worker(seed)
    database = Database(url, connections=1, application="money", guards=False)
    for _ in range(steps):
        run = worker.draw()
        run.idempotent = True  # type: ignore[attr-defined] # run again after a deadlock: nothing of it is left then
        sys.stdout.write(json.dumps(await _in_the_end(database, run)) + "\n")
    await database.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
