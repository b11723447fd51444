"""Consent to one's data being kept, asked for before anything of a person is, where the shop asks for it (product.md#screens-user)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lib import texts
from lib.bot import screen as screens
from lib.bot.callbacks import AnswerData, Go, Place
from lib.bot.screen import Screen, tap
from lib.domain import accounts, consents, updates
from lib.domain.accounts import DEFAULT_LANGUAGE
from lib.domain.updates import Handled

if TYPE_CHECKING:
    from lib.bot.screen import Call
    from lib.bot.update_context import UpdateContext
    from lib.db import Transaction
    from lib.domain.updates import Claimed
    from lib.texts import Texts

_LONGEST_PAYLOAD = 40
"""Characters of a deep link that the buttons carry on beside their own: data of a button has 64 bytes, codes of ours are shorter."""


def ask(tx: Transaction, context: UpdateContext, claimed: Claimed) -> Handled:
    """Instead of what the update asked for: what is kept and why. Nothing of the person is stored by it, nor is the update's body."""
    return _finished(tx, context, claimed, _question(context))


def answer(tx: Transaction, context: UpdateContext, claimed: Claimed) -> Handled | None:
    """Keep a refusal, alone; None after a yes: the update goes on as the person's first /start."""
    accepted = context.data_answer is True
    consents.answer(tx, context.person.telegram_id, consents.Kind.DATA, accepted=accepted)
    if accepted:
        return None
    known = tx.value("select exists (select from accounts where telegram_id = :id)", id=context.person.telegram_id)
    return _finished(tx, context, claimed, _refused(context, is_customer=bool(known)))


def _question(context: UpdateContext) -> Screen:
    say = _texts(context)
    payload = context.start_payload or ""
    carried = payload if len(payload) <= _LONGEST_PAYLOAD else ""
    rows = (
        (tap(say.plain("button-data-yes"), AnswerData(accepted=True, payload=carried)),),
        (tap(say.plain("button-data-no"), AnswerData(accepted=False, payload=carried)),),
    )
    version = str(consents.text_in_force(consents.Kind.DATA))
    return Screen(f"{say.html('privacy', version=version)}\n\n{say.html('data-question')}", rows)


def _refused(context: UpdateContext, *, is_customer: bool) -> Screen:
    say = _texts(context)
    changed = tap(say.plain("button-data-yes"), AnswerData(accepted=True, payload=""))
    if not is_customer:
        return Screen(say.html("data-refused"), ((changed,),))
    return Screen(say.html("data-refused-customer"), ((changed,), (tap(say.plain("button-menu"), Go(to=Place.MENU)),)))


def _texts(context: UpdateContext) -> Texts:
    return texts.of(accounts.language_told(context.person.language_code) or DEFAULT_LANGUAGE)


def _finished(tx: Transaction, context: UpdateContext, claimed: Claimed, shown: Screen) -> Handled:
    reply: list[Call] = screens.calls(shown, context.chat_id, message_id=context.message_id, query_id=context.query_id)
    updates.finish(tx, context.incoming.update_id, reply, forget_body=True)
    return Handled(reply, closed_until=claimed.closed_until)
