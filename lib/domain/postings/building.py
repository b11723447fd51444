"""A transfer made of a fact of the posting table."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict, Unpack

from lib.domain.ledger import Entry, Posting
from lib.domain.postings.table import CLEARING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lib.domain.postings.table import Fact, Leg

_WITHOUT = frozenset({"balance", "promo"})
_ELSEWHERE = {"transfer": "bank"}
_PROVIDER = re.compile(r"[a-z]+")
_WALLET = "user:"


def clearing(provider: str) -> str:
    """Where the money lies that this provider took; the database's table `providers` says the same.

    Raises:
        LookupError: no money from outside comes by it.
    """
    if provider in _WITHOUT or _PROVIDER.fullmatch(provider) is None:
        raise LookupError(f"no clearing account of {provider!r}")
    return _ELSEWHERE.get(provider, f"clearing:{provider}")


@dataclass(frozen=True, slots=True)
class Amount:
    """Minor units of the books; 0 is nothing, or what can't be counted of a currency that the list lacks."""

    minor: int
    currency: str


class Amounts(TypedDict, total=False):
    """What a fact moves, by the names of `table.AMOUNTS`; None is none."""

    price: Amount
    discount: Amount | None
    value: Amount
    received: Amount
    rest: Amount | None
    rest_received: Amount | None
    fee: Amount | None
    topped_up: Amount
    earned: Amount
    counted: Amount
    missing: Amount | None
    given_back: Amount
    rest_given_back: Amount | None
    taken: Amount
    lost: Amount | None
    reward: Amount
    held: Amount
    withdrawn: Amount
    paid: Amount
    returned: Amount
    arrived: Amount
    settled: Amount
    moved: Amount


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What a fact is about; which of it a fact needs, the table says.

    Attributes:
        account_id: whose wallets are meant; of a reward, the referrer.
        provider: whose clearing account is meant; of a refund, who gives it back.
        external_id: of a refund, a payout or a commission, at its provider.
        operation: what makes an operator's doing one: a key of its own.
        actor_id: the operator, by Telegram id.
        reason: in the operator's words, or why it happened by itself.
    """

    order_id: int | None = None
    payment_id: int | None = None
    event_id: int | None = None
    account_id: int | None = None
    refund_id: int | None = None
    withdrawal_id: int | None = None
    provider: str | None = None
    external_id: str | None = None
    operation: str | None = None
    actor_id: int | None = None
    reason: str | None = None


def posting(fact: Fact, about: About, **amounts: Unpack[Amounts]) -> Posting:
    """The transfer of a fact, with the entries that its rows make of these amounts.

    The currency rule: a row with two amounts is one entry when both are in one currency, and otherwise two, both through `exchange`.

    Raises:
        LookupError: no clearing account of that provider.
        ValueError: not what the table says of this fact: something is lacking or too much, or nothing moves.
    """
    given = {name: amount for name, amount in amounts.items() if isinstance(amount, Amount)}
    _check(fact, about, given)
    entries = tuple(entry for leg in fact.legs for entry in _entries(fact, leg, about, given))
    if not entries:
        raise ValueError(f"{fact.name}: nothing moves, so there is nothing to post")
    return Posting(
        fact.kind,
        fact.key.format(**{name: getattr(about, name) for name in _in_key(fact)}),
        entries,
        order_id=about.order_id,
        payment_id=about.payment_id,
        event_id=about.event_id,
        account_id=about.account_id,
        refund_id=about.refund_id,
        withdrawal_id=about.withdrawal_id,
        actor_id=about.actor_id,
        reason=about.reason,
    )


def _in_key(fact: Fact) -> list[str]:
    return re.findall(r"{(\w+)}", fact.key)


def _check(fact: Fact, about: About, given: dict[str, Amount]) -> None:
    needed = {*_in_key(fact), *fact.about}
    if fact.by_operator or fact.says_why:
        needed.add("reason")
    if fact.by_operator:
        needed.add("actor_id")
    if unsaid := sorted(name for name in needed if not getattr(about, name)):
        raise ValueError(f"{fact.name}: does not say {', '.join(unsaid)}")
    known = {name for leg in fact.legs for name in (leg.amount, leg.debited) if name}
    if foreign := sorted(given.keys() - known):
        raise ValueError(f"{fact.name}: has no {', '.join(foreign)}")
    for leg in fact.legs:
        lacking = sorted({leg.amount, leg.debited or leg.amount} - given.keys())
        if lacking and not (leg.optional and not given.keys() & {leg.amount, leg.debited}):
            raise ValueError(f"{fact.name}: lacks {', '.join(lacking)}")
    if negative := sorted(name for name, amount in given.items() if amount.minor < 0):
        raise ValueError(f"{fact.name}: less than nothing of {', '.join(negative)}")


def _entries(fact: Fact, leg: Leg, about: About, given: dict[str, Amount]) -> Iterator[Entry]:
    to = given.get(leg.amount)
    if to is None:
        return
    of = given[leg.debited or leg.amount]
    debit, credit = (_account(fact, code, about) for code in (leg.debit, leg.credit))
    sides: tuple[Entry, ...]
    if of.currency != to.currency:
        sides = (Entry(debit, "exchange", of.minor, of.currency), Entry("exchange", credit, to.minor, to.currency))
    elif of.minor != to.minor:
        raise ValueError(f"{fact.name}: {leg.debited} and {leg.amount} differ in one currency")
    else:
        sides = (Entry(debit, credit, to.minor, to.currency),)
    yield from (entry for entry in sides if entry.amount)


def _account(fact: Fact, code: str, about: About) -> str:
    if code == CLEARING:
        if about.provider is None:
            raise ValueError(f"{fact.name}: does not say provider")
        return clearing(about.provider)
    if code.startswith(_WALLET) and about.account_id is None:
        raise ValueError(f"{fact.name}: does not say account_id")
    return code
