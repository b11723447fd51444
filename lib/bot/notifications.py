"""Messages outside a dialogue, by kind (product.md#messages). They say what is true when they are sent."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from lib import texts
from lib.bot import wiring
from lib.bot.callbacks import Go, Place
from lib.bot.delivery import Outcome, send
from lib.bot.routers.access import key_rows
from lib.bot.screen import Call, Screen, message, tap
from lib.domain import provisioning, subscriptions

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from lib.db import Transaction
    from lib.domain.messages import Due
    from lib.texts import Texts

__all__ = ["Facts", "Outcome", "compose", "facts", "render", "send"]


@dataclass(frozen=True, slots=True)
class Facts:
    """What a message needs that is not in its parameters: the account's access as it is now.

    Attributes:
        link: the share link, or None while no node holds it, and once access has ended.
        until: the end of running access.
    """

    link: str | None
    until: datetime | None


def facts(tx: Transaction, account_id: int) -> Facts:
    """Read just before sending."""
    held = subscriptions.current(tx, account_id)
    until = held.expires_at if held is not None and held.is_current else None
    return Facts(provisioning.share_link(tx, account_id), until)


def render(tx: Transaction, due: Due) -> list[Call] | None:
    """The calls of a claimed message, by what is true now; None when there is nothing true left to say.

    Raises:
        LookupError: no such kind, or a parameter is missing.
    """
    if due.telegram_id is None:
        return None
    current = facts(tx, due.account_id)
    calls = compose(due.kind, due.params, due.language, chat_id=due.telegram_id, zone=wiring.zone(), current=current)
    return calls or None


def compose(
    kind: str, params: dict[str, Any], language: str, *, chat_id: int, zone: ZoneInfo, current: Facts
) -> list[Call]:
    """The calls that say it; none when there is nothing true left to say (a key that is gone, access that goes on).

    Raises:
        LookupError: no such kind, or a parameter is missing.
    """
    say = texts.of(language)
    match kind:
        case "receipt":
            screen: Screen | None = _receipt(say, params, zone)
        case "key":
            screen = _key(say, zone, current)
        case "expired":
            screen = _expired(say, params, current)
        case _:
            raise LookupError(f"no message of kind {kind}")
    return [message(chat_id, screen)] if screen is not None else []


def _receipt(say: Texts, params: dict[str, Any], zone: ZoneInfo) -> Screen:
    text = say.html(
        "message-receipt",
        number=str(params["order_id"]),
        tariff=say.tariff(params["tariff"]),
        period=say.plain("period", days=params["period_days"]),
        price=say.money(params["amount"], params["currency"]),
        until=say.moment(datetime.fromisoformat(params["expires_at"]), zone),
    )
    how = say.html("message-receipt-renewed" if params["renewed"] else "message-receipt-pending")
    rows = (
        (
            tap(say.plain("button-key"), Go(to=Place.KEY)),
            tap(say.plain("button-instruction"), Go(to=Place.INSTRUCTION)),
        ),
        (tap(say.plain("button-menu"), Go(to=Place.MENU)),),
    )
    return Screen(f"{text}\n\n{how}", rows)


def _key(say: Texts, zone: ZoneInfo, current: Facts) -> Screen | None:
    if current.link is None or current.until is None:
        return None
    until = say.moment(current.until, zone)
    return Screen(say.html("message-key", link=current.link, until=until), key_rows(say, current.link))


def _expired(say: Texts, params: dict[str, Any], current: Facts) -> Screen | None:
    if current.until is not None:
        return None
    buy = tap(say.plain("button-buy"), Go(to=Place.BUY))
    menu = tap(say.plain("button-menu"), Go(to=Place.MENU))
    return Screen(say.html("message-expired-trial" if params.get("trial") else "message-expired"), ((buy,), (menu,)))
