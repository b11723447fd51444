"""One update, one effect transaction (docs/architecture.md, rule 3).

A router names an action; it runs inside the transaction that consumes the update's key and stores the reply. An action that
needs an external call between two effects returns an `ExternalCall`: the transaction commits what it did so far without
finishing the update, the router makes the call with no transaction open, and a second action finishes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar, cast

from lib import texts
from lib.bot import data_consent
from lib.bot import screen as screens
from lib.bot.screen import Call, Rendered, Screen
from lib.db import idempotent
from lib.domain import accounts, consents, updates
from lib.domain.updates import Handled

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime
    from zoneinfo import ZoneInfo

    from lib.bot.services import Services
    from lib.db import Transaction
    from lib.domain.accounts import Account, Person
    from lib.domain.outbox import Item
    from lib.domain.pricelist import PriceList
    from lib.domain.updates import Claimed, Incoming
    from lib.texts import Texts


@dataclass(frozen=True, slots=True)
class ExternalCall:
    """A call to be made between two transactions of one update; each kind says of what."""


@dataclass(frozen=True, slots=True)
class UpdateContext:
    """Everything an action may know besides its transaction, all of it values.

    Attributes:
        chat_id: where the answer goes.
        message_id: the message that a button belongs to, when it can be edited into another text.
        query_id: the tap that waits for an answer.
        zone: in which times are shown.
        methods: the providers that one can pay by, by name, and what each is called on a button.
        balance_offered: whether one can pay from the balance.
        owners: Telegram ids of those who may do everything (`ADMIN_IDS`).
        gives_back: the providers that give charges back; None: not known here.
        asks_data: whether the shop asks for a person's data before it keeps any (`ASK_DATA_CONSENT`).
        start_payload: of the deep link that the person came by.
        starts: it is /start.
        data_answer: what the person answered to the question for their data, when this update is that answer.
        after_external_call: what is to be shown is known from outside, so it is newer than what another delivery of the same
            update may have stored meanwhile.
        redelivered: an earlier attempt at this update did not finish it, and may still be at work or have died at any point.
        known_account: None until the effect transaction has it.
        shown_in: the language of the answer when it is not the account's.
    """

    incoming: Incoming
    person: Person
    chat_id: int
    message_id: int | None
    query_id: str | None
    prices: PriceList
    zone: ZoneInfo
    support_url: str
    methods: Mapping[str, str]
    balance_offered: bool
    owners: frozenset[int] = frozenset()
    gives_back: frozenset[str] | None = None
    asks_data: bool = False
    start_payload: str | None = None
    starts: bool = False
    data_answer: bool | None = None
    after_external_call: bool = False
    redelivered: bool = False
    known_account: Account | None = None
    shown_in: str | None = None

    @property
    def account(self) -> Account:
        """The customer.

        Raises:
            RuntimeError: asked for outside the effect transaction.
        """
        if self.known_account is None:
            raise RuntimeError("the account is known in the effect transaction only")
        return self.known_account

    @property
    def texts(self) -> Texts:
        """The catalogue of the customer's language."""
        return texts.of(self.shown_in or self.account.language)

    def label(self, method: str) -> str:
        """What a provider is called on a button: by its own name, or in the customer's language where it is no name."""
        return self.texts.plain("method-card") if method == _CARD else self.methods[method]

    @property
    def correlation_id(self) -> str:
        """Of the update."""
        return self.incoming.correlation_id

    def moment(self, when: datetime) -> str:
        """A time as the customer reads it."""
        return self.texts.moment(when, self.zone)

    def in_language(self, language: str) -> UpdateContext:
        """The same, answered in another language."""
        return replace(self, shown_in=language)


_CARD = "card"
E = TypeVar("E", bound=ExternalCall)


@idempotent
def take_effect(
    tx: Transaction,
    context: UpdateContext,
    action: Callable[..., Screen | Rendered | ExternalCall],
    arguments: tuple[Any, ...],
) -> Handled | ExternalCall:
    """Consume the update, run `action(tx, context, *arguments)`, keep the reply: one transaction."""
    update_id = context.incoming.update_id
    account_query = accounts.meet_query(context.person, start_payload=context.start_payload, update_id=update_id)
    if context.asks_data:
        claimed = updates.claim(tx, context.incoming)
        if not claimed.done and (asked := _asked_for_data(tx, context, claimed)) is not None:
            return asked
        met = tx.ask(account_query)
    else:
        (claimed,), met = tx.together(updates.claim_query(context.incoming), account_query)
    if claimed.done:
        moved_on = accounts.has_moved_on(tx, context.person.telegram_id, update_id)
        if moved_on or not context.after_external_call:
            return Handled(_again(claimed.reply or [], moved_on=moved_on), closed_until=claimed.closed_until)
        met = [accounts.meet(tx, context.person, start_payload=context.start_payload, update_id=update_id)]
    (account,) = met
    outcome = action(tx, replace(context, known_account=account, redelivered=claimed.attempts > 0), *arguments)
    if isinstance(outcome, ExternalCall):
        return outcome
    owed = accounts.reached(tx, account.telegram_id) if account.was_unreachable else []
    rendered = outcome if isinstance(outcome, Rendered) else Rendered(outcome)
    reply = screens.calls(rendered.screen, context.chat_id, message_id=context.message_id, query_id=context.query_id)
    tx.reach("update.mid-transaction")
    updates.finish(tx, update_id, reply)
    return Handled(reply, (*rendered.follow_up, *owed), rendered.cap_reached, claimed.closed_until)


def _asked_for_data(tx: Transaction, context: UpdateContext, claimed: Claimed) -> Handled | None:
    """The question for a person's data, or their refusal; None when the update goes on."""
    if context.data_answer is not None:
        return data_consent.answer(tx, context, claimed)
    if consents.is_missing(tx, context.person.telegram_id, at_start=context.starts):
        return data_consent.ask(tx, context, claimed)
    return None


def _again(reply: list[Call], *, moved_on: bool) -> list[Call]:
    """The stored reply, for a second delivery: whether Telegram got the first one's is unknown.

    A customer whose later update had its effect has seen what came of that; an earlier screen must not replace it.
    """
    return [call for call in reply if call["method"] != "editMessageText"] if moved_on else reply


@idempotent
def finish_silently(
    tx: Transaction, incoming: Incoming, telegram_id: int | None = None, *, reachable: bool | None = None
) -> Handled:
    """Consume an update that is answered with nothing; one about a block or an unblock is noted on the account."""
    claimed = updates.claim(tx, incoming)
    if claimed.done:
        return Handled(claimed.reply or [], closed_until=claimed.closed_until)
    owed: list[Item] = []
    if telegram_id is not None and reachable is False:
        accounts.unreachable(tx, telegram_id)
    elif telegram_id is not None and reachable is True:
        owed = accounts.reached(tx, telegram_id)
    updates.finish(tx, incoming.update_id, [])
    return Handled([], tuple(owed))


class UpdateRunner:
    """What a router is given: the update's context, and the way to have its effect."""

    def __init__(self, services: Services, context: UpdateContext) -> None:
        self.services = services
        self.context = context
        self.handled: Handled | None = None

    async def run(self, action: Callable[..., Screen | Rendered], *arguments: Any) -> None:
        """Run an action that finishes the update.

        Raises:
            DatabaseError: nothing was changed; the sender is to try again.
        """
        await self.run_step(action, *arguments)

    async def start(
        self, action: Callable[..., Screen], start_payload: str | None, *, data_answer: bool | None = None
    ) -> None:
        """Run what /start shows, also once the question for the person's data is answered.

        Raises:
            DatabaseError: nothing was changed; the sender is to try again.
        """
        self.context = replace(self.context, start_payload=start_payload or None, starts=True, data_answer=data_answer)
        await self.run_step(action)

    async def run_step(self, action: Callable[..., Screen | Rendered | E], *arguments: Any) -> E | None:
        """Run an action that may ask for an external call; None when the update is finished.

        Raises:
            DatabaseError: nothing was changed; the sender is to try again.
        """
        outcome = await self.services.db.run(take_effect, self.context, action, arguments)
        if isinstance(outcome, Handled):
            self.handled = outcome
            return None
        self.context = replace(self.context, after_external_call=True)
        return cast("E", outcome)

    def add_follow_up(self, items: tuple[Item, ...]) -> None:
        """Work that another transaction of this update left behind."""
        if self.handled is not None and items:
            self.handled = replace(self.handled, follow_up=(*self.handled.follow_up, *items))
