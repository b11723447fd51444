"""What a customer reads of their money: the last charges with what became of them, and what moved the balance."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lib.bot import order_screen
from lib.bot.callbacks import Go, Place, ShowMoves
from lib.bot.screen import Screen, tap
from lib.domain import customer_money
from lib.domain.customer_money import FIRST

if TYPE_CHECKING:
    from lib.bot.update_context import UpdateContext
    from lib.db import Transaction
    from lib.domain.customer_money import Charge, Move
    from lib.texts import Texts

_CHARGES, _MOVES = 5, 8
_CAME = {
    "sale": "move-rest",
    "gift_bought": "move-rest",
    "top_up": "move-top-up",
    "gift_returned": "move-gift-returned",
    "suspense_resolved": "move-payment",
    "reward_released": "move-reward",
    "withdrawal_returned": "move-withdrawal-back",
    "withdrawal_bounced": "move-withdrawal-back",
    "refund": "move-refund",
    "operator_credit": "move-operator-credit",
}
_WENT = {
    "sale": "move-sale",
    "gift_bought": "move-gift",
    "reward_reversed": "move-reward-back",
    "withdrawal_asked": "move-withdrawal",
    "refund": "move-refund-taken",
    "chargeback": "move-chargeback",
    "operator_debit": "move-operator-debit",
}
TEXTS = frozenset({*_CAME.values(), *_WENT.values(), "move-duplicate", "move-other"})
"""Ids of the texts that a move may be told by."""


def charges(tx: Transaction, context: UpdateContext) -> str:
    """The last charges, each with what became of it; nothing when there is none."""
    found = customer_money.charges(tx, context.account.id, _CHARGES)
    if not found:
        return ""
    say = context.texts
    return "\n".join((say.html("charges"), *(_charge(context, one) for one in found)))


def _charge(context: UpdateContext, one: Charge) -> str:
    say = context.texts
    return say.html(
        "charge",
        when=context.moment(one.at),
        amount=price(say, one.amount, one.currency),
        what=order_screen.bought(say, one, context.prices.currency),
        state=say.plain(f"charge-{one.state.value}"),
    )


def price(say: Texts, amount: int | None, currency: str | None) -> str:
    """What was paid, where a currency of prices says it."""
    return "—" if amount is None or currency is None else say.money(amount, currency)


def show_moves(tx: Transaction, context: UpdateContext, before: int) -> Screen:
    """What moved the balance before that transfer; 0: the last moves. A forged one shows a page of one's own."""
    say = context.texts
    found = customer_money.moves(tx, context.account.id, before=before or FIRST, most=_MOVES + 1)
    page, more = found[:_MOVES], len(found) > _MOVES
    lines = [
        say.html(
            "move",
            when=context.moment(one.booked_at),
            amount=signed(say, one.amount, context.prices.currency),
            what=words(say, one),
        )
        for one in page
    ]
    text = "\n".join((say.html("moves"), *lines)) if lines else say.html("moves-none")
    older = ((tap(say.plain("button-older"), ShowMoves(before=page[-1].transfer_id)),),) if more else ()
    back = tap(say.plain("button-back"), Go(to=Place.BALANCE))
    return Screen(text, (*older, (back, tap(say.plain("button-menu"), Go(to=Place.MENU)))))


def words(say: Texts, one: Move) -> str:
    """What it was, and for which order."""
    told = (_CAME if one.amount > 0 else _WENT).get(one.kind, "move-other")
    if told == "move-payment" and one.of_duplicate:
        told = "move-duplicate"
    what = say.plain(told)
    return what if one.order_id is None else f"{what}, {say.plain('order-number', number=str(one.order_id))}"


def signed(say: Texts, amount: int, currency: str) -> str:
    """With a plus for what came, a minus for what went."""
    return f"{'+' if amount > 0 else ''}{say.booked(amount, currency)}"
