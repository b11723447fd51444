"""Messages outside a dialogue, by kind (product.md#messages). They say what is true when they are sent."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from lib import texts
from lib.bot.callbacks import Go, Place
from lib.bot.routers.access import key_rows
from lib.bot.screen import Call, Screen, message, tap
from lib.domain import accounts, messages, provisioning, reminders, renewals, revoking, subscriptions
from lib.domain import outbox as work

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from lib.db import Transaction
    from lib.domain.messages import Due, Wait
    from lib.domain.outbox import Item
    from lib.domain.pricelist import PriceList
    from lib.texts import Texts


_NO_LINK_S = 60.0
_AMOUNTS = ("price", "missing", "known")
"""Parameters of a message about a renewal that are money."""
_UNREACHABLE = ("unreachable", "unreachable")


@dataclass(frozen=True, slots=True)
class Facts:
    """What a message needs that is not in its parameters: the account's access as it is now.

    Attributes:
        link: the share link, or None while no node holds it, and once access has ended.
        until: the end of running access.
        uuid_start: the first digits of its UUID.
        left: what is left of running access.
        auto_renew: it renews by itself.
        frozen_until: until when it stands still; then `until` is None.
        ban_reason: why the customer is banned; None: they are not.
    """

    link: str | None
    until: datetime | None
    uuid_start: str = ""
    left: timedelta = timedelta()
    auto_renew: bool = False
    frozen_until: datetime | None = None
    ban_reason: str | None = None


def facts(tx: Transaction, account_id: int) -> Facts:
    """Read just before sending."""
    held = subscriptions.current(tx, account_id)
    until = held.expires_at if held is not None and held.is_current else None
    uuid_start = str(held.uuid)[:8] if held is not None and held.uuid is not None else ""
    auto_renew = held is not None and held.auto_renew
    left = until - subscriptions.now(tx) if until is not None else timedelta()
    ban = revoking.ban_of(tx, account_id)
    return Facts(
        provisioning.share_link(tx, account_id),
        until,
        uuid_start,
        left,
        auto_renew,
        held.frozen_until if held is not None else None,
        ban.reason if ban is not None else None,
    )


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of taking up a message.

    Attributes:
        outcome: `ready`; or why nothing is to be sent: its status, `missing`, `waits`.
        due: the claim, when it was claimed.
        calls: to be made, when it is ready.
        again: the work that brings it back, when it was put off.
        wait: until when, when it waits.
    """

    outcome: str
    due: Due | None = None
    calls: tuple[Call, ...] = ()
    again: Item | None = None
    wait: Wait | None = None


@dataclass(frozen=True, slots=True)
class Manner:
    """How messages are sent.

    Attributes:
        zone: of times in texts, and of quiet hours.
        prices: its quiet hours: a trial's tips wait while customers are left alone, also when they were queued before; and what a
            renewal would cost.
        patience_s: a wait no longer than this is left to the caller: the work is not put off.
    """

    zone: ZoneInfo
    prices: PriceList
    patience_s: float = 0.0


def take_up(tx: Transaction, message_id: int, outbox_id: int, manner: Manner) -> Taken:
    """Claim a message and say it in its customer's language by what is true now: one transaction.

    A message that can't be rendered fails the transaction, so nothing is counted: it was not sent.

    Raises:
        LookupError: no such kind, or a parameter is missing.
    """
    due = messages.claim(tx, message_id)
    tx.reach("notify.mid-transaction")
    if due is None:
        return _not_now(tx, message_id, outbox_id, manner.patience_s)
    if (end := _end(due)) is not None or due.telegram_id is None:
        return _over(tx, due, outbox_id, *(end or _UNREACHABLE))
    language = due.language or accounts.DEFAULT_LANGUAGE
    current = facts(tx, due.account_id)
    calls = compose(due.kind, due.params, language, chat_id=due.telegram_id, zone=manner.zone, current=current)
    if not calls and due.kind == "key" and _is_coming(due.params, current):
        # its message has one name for good, and the customer was told that it comes by itself
        again = messages.put_off(tx, due, outbox_id, _NO_LINK_S, "no node holds the key", own_trouble=False)
        return Taken("waits", again=again, wait=messages.wait(tx, message_id))
    if not calls or _renews(tx, due, current, manner.prices):  # nothing left to say
        return _over(tx, due, outbox_id, "cancelled", "no longer true")
    quiet = manner.prices.reminders.quiet
    if due.kind == reminders.TRIAL and (seconds := reminders.is_quiet(tx, quiet, manner.zone.key)):
        again = messages.put_off(tx, due, outbox_id, seconds, "quiet hours", own_trouble=False)
        return Taken("waits", again=again, wait=messages.wait(tx, message_id))
    return Taken("ready", due, tuple(calls))


def _end(due: Due) -> tuple[str, str] | None:
    """The status, and why, of a message that is not to be sent any more."""
    if due.is_spent:
        return "unclear", "every attempt ended without an outcome"
    if due.too_late:
        return "cancelled", "too late"
    return _UNREACHABLE if due.unreachable else None


def _renews(tx: Transaction, due: Due, current: Facts, prices: PriceList) -> bool:
    """Whether this speaks of the end of access that renews by itself, so that it does not end."""
    if due.kind != reminders.REMINDER or not current.auto_renew:
        return False
    held = subscriptions.current(tx, due.account_id)
    return held is not None and due.account_id in renewals.renewing(tx, (held.id,), prices)


def _is_coming(params: dict[str, Any], current: Facts) -> bool:
    """Whether access runs under the very key of the message, and no node holds it now."""
    return (
        current.link is None
        and current.until is not None
        and params.get("uuid_start", current.uuid_start) == current.uuid_start
    )


def _not_now(tx: Transaction, message_id: int, outbox_id: int, patience_s: float) -> Taken:
    wait = messages.wait(tx, message_id)
    if wait is None:
        return Taken("missing")
    if wait.status != "queued":
        work.finish(tx, outbox_id)
        return Taken(wait.status)
    if wait.seconds <= patience_s:
        return Taken("waits", wait=wait)
    # Not due yet, being sent by another task, or Telegram refuses the bot or this chat: a second after that has ended.
    return Taken("waits", again=work.put_off(tx, outbox_id, wait.seconds + 1), wait=wait)


def _over(tx: Transaction, due: Due, outbox_id: int, status: str, error: str) -> Taken:
    messages.finish(tx, due, outbox_id, status, error=error)
    return Taken(status, due)


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
            screen: Screen | None = (
                _top_up_receipt(say, params) if params.get("kind") == "top_up" else _receipt(say, params, zone)
            )
        case "credited":
            screen = _credited(say, params)
        case "refund":
            screen = _refund(say, params, zone)
        case "key":
            # of another UUID than today's: that key is gone, and today's has a message of its own
            is_current = params.get("uuid_start", current.uuid_start) == current.uuid_start
            screen = _key(say, zone, current) if is_current else None
        case "expired":
            screen = _expired(say, params, current)
        case reminders.REMINDER | reminders.TRIAL:
            screen = _ends_soon(say, kind, params, zone, current)
        case renewals.KIND:
            screen = _renewal(say, params, zone, current)
        case "thawed" | "revoked" | "banned" | "unbanned":
            screen = _changed(say, kind, zone, current)
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
    if rest := params.get("to_balance"):
        text += "\n" + say.html("message-receipt-rest", amount=say.money(rest["amount"], rest["currency"]))
    if params.get("by_itself"):
        text += "\n\n" + say.html("message-receipt-by-itself")
    if frozen := params.get("frozen_until"):
        how = say.html("order-frozen", until=say.moment(datetime.fromisoformat(frozen), zone))
    else:
        how = say.html("message-receipt-renewed" if params["renewed"] else "message-receipt-pending")
    beside = (
        tap(say.plain("button-auto-renewal"), Go(to=Place.AUTO_RENEWAL))
        if params.get("by_itself")
        else tap(say.plain("button-instruction"), Go(to=Place.INSTRUCTION))
    )
    rows = (
        (tap(say.plain("button-key"), Go(to=Place.KEY)), beside),
        (tap(say.plain("button-menu"), Go(to=Place.MENU)),),
    )
    return Screen(f"{text}\n\n{how}", rows)


def _credited(say: Texts, params: dict[str, Any]) -> Screen:
    text = say.html("message-credited", amount=say.money(params["amount"], params["currency"]))
    return Screen(text, ((tap(say.plain("button-menu"), Go(to=Place.MENU)),),))


def _refund(say: Texts, params: dict[str, Any], zone: ZoneInfo) -> Screen:
    route, amount = params["route"], say.money(params["amount"], params["currency"])
    lines = [
        say.html(
            "message-refund-provider"
            if route == "provider"
            else "message-refund-bank"
            if route == "bank"
            else "message-refund-balance",
            amount=amount,
        )
    ]
    if number := params.get("order_id"):
        lines.append(say.html("message-refund-order", number=str(number)))
    if until := params.get("until"):
        lines.append(say.html("message-refund-until", until=say.moment(datetime.fromisoformat(until), zone)))
    return Screen("\n".join(lines), ((tap(say.plain("button-menu"), Go(to=Place.MENU)),),))


def _top_up_receipt(say: Texts, params: dict[str, Any]) -> Screen:
    text = say.html(
        "message-receipt-top-up",
        number=str(params["order_id"]),
        price=say.money(params["amount"], params["currency"]),
        amount=say.money(params["credited"], params["books"]),
    )
    rows = ((tap(say.plain("button-balance"), Go(to=Place.BALANCE)), tap(say.plain("button-buy"), Go(to=Place.BUY))),)
    return Screen(text, rows)


def _key(say: Texts, zone: ZoneInfo, current: Facts) -> Screen | None:
    if current.link is None or current.until is None:
        return None
    until = say.moment(current.until, zone)
    return Screen(say.html("message-key", link=current.link, until=until), key_rows(say, current.link))


def _changed(say: Texts, kind: str, zone: ZoneInfo, current: Facts) -> Screen | None:
    """What an operator did to access, or a freeze that is over: said while it is still so."""
    menu = tap(say.plain("button-menu"), Go(to=Place.MENU))
    until = None if current.until is None else say.moment(current.until, zone)
    if kind == "thawed" and until is not None:
        return Screen(
            say.html("message-thawed", until=until), ((tap(say.plain("button-key"), Go(to=Place.KEY)),), (menu,))
        )
    if kind == "revoked" and until is None and current.ban_reason is None:
        return Screen(say.html("message-revoked"), ((tap(say.plain("button-support"), Go(to=Place.SUPPORT)), menu),))
    if kind == "banned" and current.ban_reason is not None:
        text = say.html("banned", reason=current.ban_reason)
        return Screen(text, ((tap(say.plain("button-support"), Go(to=Place.SUPPORT)), menu),))
    if kind == "unbanned" and current.ban_reason is None:
        text = say.html("message-unbanned")
        return Screen(
            text if until is None else text + "\n" + say.html("message-unbanned-until", until=until), ((menu,),)
        )
    return None


def _expired(say: Texts, params: dict[str, Any], current: Facts) -> Screen | None:
    if current.until is not None or current.frozen_until is not None:
        return None
    buy = tap(say.plain("button-buy"), Go(to=Place.BUY))
    menu = tap(say.plain("button-menu"), Go(to=Place.MENU))
    return Screen(say.html("message-expired-trial" if params.get("trial") else "message-expired"), ((buy,), (menu,)))


def _ends_soon(say: Texts, kind: str, params: dict[str, Any], zone: ZoneInfo, current: Facts) -> Screen | None:
    """What is left is what is left now. Of another end than today's there is nothing to say."""
    if current.until is None or current.until != datetime.fromisoformat(params["until"]):
        return None
    text = say.html(
        f"message-trial-{params['name']}" if kind == reminders.TRIAL else "message-reminder",
        left=say.left(current.left),
        until=say.moment(current.until, zone),
    )
    menu = (tap(say.plain("button-menu"), Go(to=Place.MENU)),)
    if kind == reminders.TRIAL and params["name"] == "tip":
        key = tap(say.plain("button-key"), Go(to=Place.KEY))
        return Screen(text, ((key, tap(say.plain("button-instruction"), Go(to=Place.INSTRUCTION))), menu))
    buy = tap(say.plain("button-buy" if kind == reminders.TRIAL else "button-renew"), Go(to=Place.BUY))
    if kind == reminders.REMINDER and current.auto_renew:  # what keeps it from renewing stands there
        why_not = tap(say.plain("button-auto-renewal"), Go(to=Place.AUTO_RENEWAL))
        return Screen(text, ((buy, why_not), menu))
    return Screen(text, ((buy,), menu))


def _renewal(say: Texts, params: dict[str, Any], zone: ZoneInfo, current: Facts) -> Screen | None:
    """What keeps access from renewing, or a higher price: of the end that it still has, and while it is to renew."""
    until = datetime.fromisoformat(params["expires_at"])
    if current.until != until or not current.auto_renew:
        return None
    why = params["why"]
    values = {"until": say.moment(until, zone)}
    if "price" in params:
        values["tariff"] = say.tariff(params["tariff"])
        values["period"] = say.plain("period", days=params["period_days"])
        values |= {name: say.money(params[name], params["currency"]) for name in _AMOUNTS if name in params}
    if "charged_from" in params:
        values["charged_from"] = say.moment(datetime.fromisoformat(params["charged_from"]), zone)
    match why:
        case "low":
            on = tap(say.plain("button-top-up"), Go(to=Place.BALANCE))
        case "not_sold":
            on = tap(say.plain("button-renew"), Go(to=Place.BUY))
        case _:
            on = tap(say.plain("button-auto-renewal"), Go(to=Place.AUTO_RENEWAL))
    rows = ((on,), (tap(say.plain("button-menu"), Go(to=Place.MENU)),))
    return Screen(say.html(f"message-renewal-{why.replace('_', '-')}", **values), rows)
