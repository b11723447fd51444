"""What may happen to a customer's access, done to Postgres and told to the model (tests/model/access.py): one name each.

All in one transaction, whose time stands still but for what is travelled: both say the same to the microsecond.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta
from enum import Enum
from typing import TYPE_CHECKING, Any
from uuid import UUID

from lib.db import StatementFailed
from lib.db.invariants import violations_in
from lib.domain import (
    adjustments,
    balance,
    freezing,
    provisioning,
    refunds_by_hand,
    reissue,
    renewals,
    revoking,
    subscriptions,
    trial,
)
from lib.domain.adjustments import Adjustment
from lib.domain.balance import Purchase
from lib.domain.provisioning import Answer, Heard
from lib.domain.refund_requests import NotRefunded, Why
from lib.domain.refunds_by_hand import Route, Wanted
from lib.domain.suspense_by_hand import By
from tests.integration.by_the_owner import travel
from tests.integration.sweeps.grants import PRICES, claim, meet, open_order, pay
from tests.model.access import DAY, DONE, Access, Rules, Status
from tests.quoting import at_list_price

if TYPE_CHECKING:
    from collections.abc import Callable

    from lib.db import Transaction
    from lib.domain.settlement import Event

StepOrTime = str | timedelta
"""One of `STEPS`, or time that passes."""
OPERATOR = 900_000_001
_BY = By(OPERATOR, frozenset({OPERATOR}), "a test", "c")
_INSTANT = timedelta(seconds=1)
_ROUNDED = timedelta(minutes=1)
"""A conversion is in whole minutes: of what was converted and then given back in part, the two round differently."""
_KEYS = "select h.uuid from subscription_history h join subscriptions s on s.id = h.subscription_id where s.account_id = :id order by h.id"
_CHARGES = {"first": ("basic", 30), "second": ("plus", 30), "third": ("basic", 90)}


def rules() -> Rules:
    """Of the price list, for the model."""
    return Rules(
        PRICES.conversion,
        trial=timedelta(hours=PRICES.trial.hours),
        trial_tariff=PRICES.trial.tariff,
        reissues_a_day=PRICES.access.reissues_a_day,
        freeze_every=timedelta(days=PRICES.access.freeze_every_days),
        renewed_before=timedelta(hours=PRICES.auto_renewal.window_hours),
    )


class Nodes:
    """Two nodes of the table, which remember a version of each client and refuse an older one."""

    def __init__(self, held: dict[tuple[int, int], tuple[int, UUID | None]]) -> None:
        self.held = held

    def present(self, node: int) -> list[UUID]:
        """The keys that it lets in."""
        return [uuid for (of, _), (_, uuid) in self.held.items() if of == node and uuid is not None]

    def converge(self, tx: Transaction, page: int = 10) -> None:
        """Each is brought to what it is to hold of so many customers."""
        for wanted in (True, False):
            for claimed in claim(tx, UUID(int=7), page, wanted=wanted):
                provisioning.record(
                    tx, claimed.node, [self._answer(work) for work in claimed.works], Heard(), correlation_id="c"
                )

    def _answer(self, work: provisioning.Work) -> Answer:
        name = (work.node_id, work.subscription_id)
        version, _ = self.held.get(name, (0, None))
        said: dict[str, Any] = {"version": work.version, "claimed_by": str(work.claimed_by)}
        if work.version < version:
            return Answer(
                work.subscription_id, work.node_id, applied=False, held_version=version, error="older", **said
            )
        self.held[name] = (work.version, work.uuid if work.wanted else None)
        return Answer(work.subscription_id, work.node_id, applied=True, link=f"vless://{work.uuid}", **said)


@dataclass
class Lived:
    """A customer in Postgres and in the model.

    Attributes:
        charges: news of payments from outside, for orders that were opened at the start.
        events: what happened, for a failure's text.
    """

    tx: Transaction
    account: int
    charges: dict[str, Event]
    model: Access = field(default_factory=lambda: Access(rules()))
    nodes: Nodes = field(default_factory=lambda: Nodes({}))
    events: list[str] = field(default_factory=list)

    @classmethod
    def begin(cls, tx: Transaction, telegram_id: int = 1) -> Lived:
        """A new customer with money on their balance, and orders that they may pay at any time."""
        account = meet(tx, telegram_id)
        given = Adjustment(account, 10_000_000, OPERATOR, "a test's own money", f"begin-{account}")
        adjustments.credit(tx, given, {OPERATOR}, currency="RUB", correlation_id="c")
        charges = {
            name: open_order(tx, telegram_id, *what, f"invoice-{name}-{account}") for name, what in _CHARGES.items()
        }
        return cls(tx, account, charges)

    def as_it_is(self) -> Lived:
        """The same customer, to be led another way."""
        return replace(self, nodes=Nodes(dict(self.nodes.held)), events=list(self.events))

    def lives(self, step: StepOrTime) -> None:
        """One of `STEPS`, or time that passes."""
        if isinstance(step, str):
            self.does(step)
        else:
            self.passes(step)
            self.events.append(f"after {step}")

    def does(self, name: str) -> None:
        """Do one of `STEPS`, an instant after what was before, and compare what both say of it."""
        self.passes(_INSTANT)
        self.events.append(name)
        told = self.done(name)
        expected, self.model = STEPS[name].told(self)
        assert told == expected, (self.events, told, expected)
        self.compare()

    def done(self, name: str) -> str:
        """Do it, and what came of it; the model is told nothing."""
        try:
            with self.tx.savepoint("step"):
                said = STEPS[name].done(self)
        except StatementFailed as error:
            if "of_the_banned" not in (error.constraint or ""):
                raise
            return "refused"
        except NotRefunded as refused:
            return {Why.WENT_BACK: "went-back", Why.NO_PAYMENT: "no-payment"}[refused.why]
        if isinstance(said, trial.Refusal):
            return "refused"
        return str(said.value) if isinstance(said, Enum) else said if isinstance(said, str) else DONE

    def passes(self, by: timedelta) -> None:
        """Time goes on."""
        travel(self.tx, by)
        self.model = self.model.passes(by)

    def compare(self) -> None:
        """The end, the tariff, the key, and what nodes are to hold."""
        held = subscriptions.current(self.tx, self.account)
        model, seen = self.model, self.events
        assert (held.status if held else "none") == model.status, (seen, held and held.status, model.status)
        if held is None:
            return
        assert (held.tariff, held.is_current) == (model.tariff, model.is_current), (seen, held.tariff, held.is_current)
        keys = list(dict.fromkeys(self.tx.values(_KEYS, id=self.account)))
        assert len(keys) == model.keys, (seen, len(keys), model.keys)
        assert held.uuid == (keys[model.key - 1] if model.key else None), (seen, "key")
        if model.left:
            left = held.expires_at - (held.frozen_until or subscriptions.now(self.tx))
            assert abs(left - model.left) < _ROUNDED, (seen, left, model.left)
        if model.still_for:
            assert held.frozen_until == subscriptions.now(self.tx) + model.still_for, (seen, "still_for")

    def settles(self) -> None:
        """Nodes are brought to what they are to hold: the key of running access on each, and nothing else."""
        for _ in range(2):
            self.nodes.converge(self.tx)
        held = subscriptions.current(self.tx, self.account)
        wanted = [held.uuid] if held is not None and self.model.status is Status.ACTIVE else []
        assert [self.nodes.present(1), self.nodes.present(2)] == [wanted, wanted], (self.events, "nodes")

    def lives_on(self) -> None:
        """Until all access is over: it ends when the model says, not a moment sooner."""
        if self.model.status is Status.FROZEN:
            self.passes(self.model.still_for)
            self.does("sweeps")
        if self.model.left > 2 * _ROUNDED:
            self.passes(self.model.left - 2 * _ROUNDED)
            self.does("sweeps")
            assert self.model.status is Status.ACTIVE
            self.settles()
        self.passes(2 * _ROUNDED)
        self.does("sweeps")
        self.settles()
        assert self.model.status is not Status.ACTIVE

    def has_invariants(self) -> None:
        """Every query of lib/db/invariants.sql comes back empty, inside this transaction."""
        found = violations_in(self.tx._connection)
        assert found == [], (self.events, found)


@dataclass(frozen=True)
class Step:
    """How it is done, and what the model says of it."""

    done: Callable[[Lived], object]
    told: Callable[[Lived], tuple[str, Access]]


def _pays(name: str) -> Step:
    tariff, days = _CHARGES[name]

    def done(of: Lived) -> str:
        received = pay(of.tx, of.charges[name])
        known = {"settled": DONE, "repeated": "repeated", "unmatched": "waits"}
        return known[received.outcome]

    def told(of: Lived) -> tuple[str, Access]:
        return of.model.paid(name, tariff, days)

    return Step(done, told)


def _buys(of: Lived) -> str:
    quote = at_list_price(PRICES, "plus", 90, method="balance")
    return (
        "repeated"
        if balance.buy(of.tx, Purchase(of.account, f"tap-{of.account}", "plus", 90, quote), PRICES, "c").already
        else DONE
    )


def _renews(of: Lived) -> str:
    outcome = renewals.renew(of.tx, of.account, PRICES, "c").outcome
    return DONE if outcome is renewals.Outcome.RENEWED else "nothing"


def _gives(of: Lived) -> None:
    of.tx.value("select id from accounts where id = :id for no key update", id=of.account)
    held = subscriptions.locked(of.tx, of.account)
    value = PRICES.conversion(subscriptions.running_tariff(held, "plus"), "plus")
    subscriptions.grant(
        of.tx, of.account, tariff="plus", seconds=7 * 86_400, source="admin", actor_id=OPERATOR, value=value
    )


def _refunds(name: str, *, with_access: bool) -> Step:
    charged = {"balance": "tap"}.get(name, f"invoice-{name}")

    def done(of: Lived) -> None:
        charge = f"{charged}-{of.account}"
        payment = of.tx.value("select id from payments where charge_id = :charge", charge=charge)
        if payment is None:
            raise NotRefunded("not paid", Why.NO_PAYMENT)
        route = Route.WALLET if name == "balance" else Route.BALANCE
        refunds_by_hand.refund(of.tx, Wanted(route, payment, reverses_access=with_access), _BY, PRICES)

    return Step(done, lambda of: of.model.refunded(name, with_access=with_access))


def _asks_to_renew(of: Lived) -> str:
    upcoming = renewals.upcoming(of.tx, of.account, PRICES)
    if upcoming is None or upcoming.price is None:
        return "refused"
    turned = renewals.turn_on(of.tx, of.account, upcoming.order_id, upcoming.price, PRICES)
    return DONE if turned else "refused"


def _sweeps(of: Lived) -> None:
    freezing.thaw_due(of.tx, 1_000, "c")
    subscriptions.expire(of.tx, 1_000, "c")


def _swept(of: Lived) -> tuple[str, Access]:
    return DONE, of.model.swept().swept()


STEPS: dict[str, Step] = {
    "pays first": _pays("first"),
    "pays second": _pays("second"),
    "pays third": _pays("third"),
    "buys": Step(_buys, lambda of: of.model.spent("balance", "plus", 90)),
    "renews": Step(_renews, lambda of: of.model.renewed_by_itself(f"renewal-{len(of.events)}")),
    "tries": Step(
        lambda of: trial.start(of.tx, of.account, PRICES.trial, "c"),
        lambda of: of.model.tried(),
    ),
    "is given": Step(_gives, lambda of: of.model.given("plus", 7)),
    "reissues": Step(
        lambda of: reissue.reissue(of.tx, of.account, correlation_id="c", a_day=PRICES.access.reissues_a_day),
        lambda of: of.model.reissued(),
    ),
    "is reissued": Step(
        lambda of: reissue.reissue(of.tx, of.account, correlation_id="c", actor_id=OPERATOR),
        lambda of: of.model.reissued(by_operator=True),
    ),
    "freezes": Step(
        lambda of: freezing.freeze(of.tx, of.account, 10, PRICES.access, correlation_id="c"),
        lambda of: of.model.frozen(10),
    ),
    "is frozen": Step(
        lambda of: freezing.freeze(of.tx, of.account, 3, PRICES.access, correlation_id="c", actor_id=OPERATOR),
        lambda of: of.model.frozen(3, by_operator=True),
    ),
    "thaws": Step(
        lambda of: freezing.thaw_now(of.tx, of.account, correlation_id="c"),
        lambda of: of.model.thawed(),
    ),
    "is revoked": Step(
        lambda of: revoking.revoke(of.tx, of.account, actor_id=OPERATOR, correlation_id="c"),
        lambda of: of.model.revoked(),
    ),
    "is banned": Step(
        lambda of: revoking.ban(of.tx, of.account, actor_id=OPERATOR, reason="a test", correlation_id="c"),
        lambda of: of.model.banned(),
    ),
    "is unbanned": Step(
        lambda of: revoking.unban(
            of.tx, of.account, actor_id=OPERATOR, conversion=PRICES.conversion, correlation_id="c"
        ),
        lambda of: of.model.unbanned(),
    ),
    "first goes back with its access": _refunds("first", with_access=True),
    "second goes back with its access": _refunds("second", with_access=True),
    "first goes back": _refunds("first", with_access=False),
    "balance goes back with its access": _refunds("balance", with_access=True),
    "asks to renew": Step(_asks_to_renew, lambda of: of.model.asked_to_renew()),
    "sweeps": Step(_sweeps, _swept),
}
DAYS = (timedelta(hours=2), DAY, 3 * DAY, 12 * DAY, 40 * DAY)
"""That may pass between two of them."""

STARTS: dict[str, tuple[StepOrTime, ...]] = {
    "new": (),
    "a month": ("pays first", 10 * DAY),
    "trial": ("tries", DAY),
    "trial, then paid": ("tries", DAY, "pays first"),
    "two tariffs": ("pays first", 10 * DAY, "pays second", DAY),
    "frozen": ("pays first", 10 * DAY, "freezes", 3 * DAY),
    "frozen too long": ("pays first", DAY, "freezes", 11 * DAY),
    "about to end": ("pays first", DAY, "asks to renew", 29 * DAY - timedelta(hours=3)),
    "over, not swept": ("pays first", "asks to renew", 31 * DAY),
    "ended": ("pays first", 31 * DAY, "sweeps"),
    "revoked": ("pays first", DAY, "is revoked"),
    "banned": ("pays first", DAY, "pays second", DAY, "is banned", DAY),
    "banned, given back": ("pays first", DAY, "is banned", DAY, "is unbanned"),
    "given": ("is given", DAY),
}
