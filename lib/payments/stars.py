"""Telegram Stars: invoice links, and the list of all that moved (`getStarTransactions`). Amounts are whole Stars and nanostars.

A link can be paid by anyone, any number of times, and can be neither listed nor withdrawn: whether it takes money is decided at the
pre-checkout (`lib/domain/checkout.py`). Charges come as updates; what no update told of is found in the list.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from lib import json_reader
from lib.domain.listings import Commission, Debit
from lib.domain.settlement import Event, Money
from lib.payments import telegram_charges
from lib.payments.bot_api import BotApi, NotSent, Refused
from lib.payments.provider import Answer, GivenBack, Looked, PaidPage, ProviderError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    import httpx

    from lib.domain.inbox import StoredEvent
    from lib.domain.orders import Order
    from lib.domain.refund_requests import Charge
    from lib.payments.provider import Invoice, Unpaid
    from lib.payments.stars_account import StarsAccount

NAME = telegram_charges.STARS
PAGE = 100
"""How many transactions one call lists at most."""
_OVERLAP = 20
STAR = "XTR"
_NANO = 10**9
_PER_MILLE = 1000
_ALREADY = "CHARGE_ALREADY_REFUNDED"
_MOST_STARS = 10**15
_LATEST = 2**33
_DIGEST = "sha256:"
_VIA = "sweep"
_MOST_BACK = 50
"""Pages that are read from the list's end back for one charge: 5 000 transactions."""
_CLOCKS = timedelta(hours=1)
"""So far the list's moments and ours may be apart."""


def read(stored: StoredEvent) -> Event:
    """See `Provider.read`: an update, or a line of the list."""
    try:
        said = json_reader.read_object(stored.body)
    except json_reader.UnreadableJson as error:
        return telegram_charges.unreadable(stored, str(error))
    if "id" not in said:
        return telegram_charges.read(stored)
    event = event_of(said, stored.body, stored.via, stored.correlation_id)
    # a further debit of one charge goes by a name of its line's own
    again = event.kind == stored.kind == "chargeback" and stored.external_id.startswith(f"{event.charge_id}:")
    return replace(event, external_id=stored.external_id) if again else event


def connect(http: Callable[[], httpx.AsyncClient]) -> Stars | None:
    """See `Provider.connect`."""
    from lib.settings import plain  # noqa: PLC0415 -- only where Telegram is asked

    return Stars(BotApi(http, plain.telegram())) if plain.text("TELEGRAM_BOT_TOKEN") else None


def gives_back(http: Callable[[], httpx.AsyncClient]) -> GivesBack | None:
    """See `Provider.gives_back`."""
    asked = connect(http)
    return None if asked is None else GivesBack(asked)


def account(http: Callable[[], httpx.AsyncClient]) -> StarsAccount | None:
    """See `Provider.account`."""
    from lib.payments.stars_account import StarsAccount  # noqa: PLC0415 -- only where it is compared with the books

    asked = connect(http)
    return None if asked is None else StarsAccount(asked)


# A line of the list -------------------------------------------------------------------------------------------------


def event_of(line: Mapping[str, Any], body: bytes, via: str, correlation_id: str) -> Event:
    """The news that a transaction of the list is; of a charge, the same as its update brings."""
    key = telegram_charges.key(line.get("id"), line)
    source, receiver = partner_of(line, "source"), partner_of(line, "receiver")
    if source is not None and receiver is None:
        money, reason = _came(line, source)
        return Event(NAME, key, body, via, correlation_id, money, reason, payer_telegram_id=_person(source))
    if receiver is None or source is not None:
        return _other(f"line:{key}", body, via, correlation_id, "neither money that came nor money that left")
    if is_invoice(receiver):
        money, reason = _left(line, receiver)
        return Event(
            NAME, key, body, via, correlation_id, money, reason,
            kind="chargeback", payer_telegram_id=_person(receiver), charge_id=key,
        )  # fmt: skip
    said = receiver.get("type")
    kind = said if isinstance(said, str) else ""
    why = "withdrawn" if kind == "fragment" else f"spent by {kind}" if kind in _SPENT else "left, for what is not known"
    reason = f"{why}: {_said(_nanostars(line) or 0)}"
    return _other(f"debit:{key}", body, via, correlation_id, reason, alarming=not _came_back(receiver))


_SPENT = frozenset({"telegram_ads", "telegram_api", "user", "chat"})


def _other(key: str, body: bytes, via: str, correlation_id: str, reason: str, *, alarming: bool = True) -> Event:
    return Event(NAME, key, body, via, correlation_id, None, reason, kind="other", concerns_money=alarming)


def partner_of(line: Mapping[str, Any], side: str) -> Mapping[str, Any] | None:
    """Who is on that side of a line, `source` or `receiver`; None when no one is."""
    partner = line.get(side)
    return partner if isinstance(partner, dict) else None


def is_invoice(partner: Mapping[str, Any]) -> bool:
    """Whether it is a charge of an invoice, or what became of one: early lists do not name the kind."""
    return partner.get("type") == "user" and partner.get("transaction_type", "invoice_payment") == "invoice_payment"


def _person(partner: Mapping[str, Any]) -> int | None:
    user = partner.get("user")
    return json_reader.id_or_zero(user.get("id")) or None if isinstance(user, dict) else None


def _nanostars(said: Mapping[str, Any], *, of_either_sign: bool = False) -> int | None:
    """An amount of the Bot API (`amount` and `nanostar_amount`); None when it is none."""
    whole, part = said.get("amount"), said.get("nanostar_amount", 0)
    for number, most in ((whole, _MOST_STARS), (part, _NANO)):
        if not isinstance(number, int) or isinstance(number, bool) or abs(number) >= most:
            return None
        if number < 0 and not of_either_sign:
            return None
    return int(str(whole)) * _NANO + int(str(part))


def moved(line: Mapping[str, Any]) -> tuple[int, int, str]:
    """What a line moved as a whole, an affiliate's part of it, both in nanostars, and the side; zeros for what can't be read."""
    sides = [(side, partner) for side in ("source", "receiver") if (partner := partner_of(line, side)) is not None]
    if len(sides) != 1 or _came_back(sides[0][1]):
        return 0, 0, ""
    ((side, partner),) = sides
    return _gross(line, partner) or 0, _share(partner), side


def debit_of(stored: StoredEvent) -> tuple[str, int] | None:
    """Of news of a line by which Stars left, and no charge's: its id and how many nanostars; None for any other news."""
    try:
        line = json_reader.read_object(stored.body)
    except json_reader.UnreadableJson:
        return None
    whole, _, side = moved(line)
    receiver = partner_of(line, "receiver")
    if side != "receiver" or not whole or receiver is None or is_invoice(receiver):
        return None
    return telegram_charges.key(line.get("id"), line), whole


def moment_of(line: Mapping[str, Any]) -> datetime | None:
    """When it moved; None when the line does not say."""
    value = line.get("date")
    whole = isinstance(value, int) and not isinstance(value, bool) and 0 < value < _LATEST
    return datetime.fromtimestamp(int(str(value)), UTC) if whole else None


def _came_back(partner: Mapping[str, Any]) -> bool:
    """A withdrawal that failed: its Stars never left."""
    state = partner.get("withdrawal_state")
    return isinstance(state, dict) and state.get("type") == "failed"


def _share(partner: Mapping[str, Any]) -> int:
    affiliate = partner.get("affiliate")
    return abs(_nanostars(affiliate, of_either_sign=True) or 0) if isinstance(affiliate, dict) else 0


def _gross(line: Mapping[str, Any], partner: Mapping[str, Any]) -> int | None:
    """All that was charged, in nanostars. An affiliate's part is not in the line's amount, which is what the bot got.

    Should it be in it after all, its own per mille shows that: the part fits the smaller or the larger amount.
    """
    got, share = _nanostars(line), _share(partner)
    if got is None or not share:
        return got
    affiliate = partner.get("affiliate")
    rate = affiliate.get("commission_per_mille") if isinstance(affiliate, dict) else None
    if not isinstance(rate, int) or isinstance(rate, bool) or not 0 < rate < _PER_MILLE:
        return got + share
    beside, within = (abs(share * _PER_MILLE - rate * whole) for whole in (got + share, got))
    return got + share if beside <= within else got


def _came(line: Mapping[str, Any], source: Mapping[str, Any]) -> tuple[Money | None, str]:
    gross = _gross(line, source)
    if not gross:
        return None, "no amount or currency"
    stars, part = divmod(gross, _NANO)
    if is_invoice(source) and not part:
        return telegram_charges.charged(stars, STAR, source.get("invoice_payload"))
    reason = "not a whole number of Stars" if is_invoice(source) else "no payment of an invoice"
    exact = Money(stars, STAR, "", None, paid_asset=STAR, paid_amount=_decimal(gross))
    return exact, reason


def _left(line: Mapping[str, Any], receiver: Mapping[str, Any]) -> tuple[Money | None, str]:
    gross = _gross(line, receiver)
    if not gross:
        return None, "how many Stars left can't be read"
    stars, part = divmod(gross, _NANO)
    exact = {"paid_asset": STAR, "paid_amount": _decimal(gross)} if part else {}
    return Money(stars, STAR, "", None, **exact), ""


def _decimal(nanostars: int) -> str:
    whole, part = divmod(nanostars, _NANO)
    return f"{whole}.{part:09d}".rstrip("0").rstrip(".")


def _said(nanostars: int) -> str:
    return f"{_decimal(nanostars)} {STAR}" if nanostars else "an amount that can't be read"


# Asking -------------------------------------------------------------------------------------------------------------


class Stars:
    """What makes invoices and reads the list. Every call is bounded."""

    def __init__(self, api: BotApi) -> None:
        self.api = api

    @property
    def name(self) -> str:
        """See `Invoices`."""
        return NAME

    @property
    def label(self) -> str:
        """See `Invoices`."""
        return "Telegram Stars"

    @property
    def page(self) -> int:
        """See `Invoices`."""
        return PAGE

    @property
    def stride(self) -> int:
        """See `Invoices`."""
        return PAGE - _OVERLAP

    @property
    def asks_first(self) -> bool:
        """See `Invoices`."""
        return True

    async def make(self, order: Order, title: str) -> Invoice:
        """See `Invoices.make`. What is made twice is harmless: a pre-checkout lets one charge of an order through."""
        return await self.api.invoice_link(order, title)

    async def unpaid(self) -> AsyncIterator[Sequence[Unpaid]]:
        """See `Invoices.unpaid`: links can't be listed."""
        none: tuple[Sequence[Unpaid], ...] = ()
        for page in none:
            yield page

    async def look(self, invoice_ids: Sequence[str]) -> Looked:  # noqa: ARG002 -- as the port has it
        """See `Invoices.look`: links can't be asked about, and that says nothing of them."""
        return Looked({}, frozenset(), frozenset(), complete=False)

    async def listed(self, start: int) -> PaidPage:
        """See `Invoices.listed`: from the oldest on; what is new stands at the end."""
        lines = await self.lines(start)
        paid: dict[str, Mapping[str, Any]] = {}
        others, commissions, debits = [], [], []
        seen: Counter[tuple[str, datetime | None]] = Counter()
        for position, line in enumerate(lines):
            receiver = partner_of(line, "receiver")
            if receiver is not None and is_invoice(receiver) and partner_of(line, "source") is None:
                key, at = telegram_charges.key(line.get("id"), line), moment_of(line)
                seen[key, at] += 1
                whole, share, _ = moved(line)
                debits.append((Debit(key, at, seen[key, at], whole, STAR, position, share), line))
                continue
            if partner_of(line, "source") is None or partner_of(line, "receiver") is not None:
                others.append(line)
                continue
            key = telegram_charges.key(line.get("id"), line)
            paid[key] = line
            if share := _share(line["source"]):
                commissions.append(Commission(key, share, STAR))
        return PaidPage(paid, start + max(1, len(lines)), others, commissions, debits, len(lines))

    async def lines(self, start: int, limit: int = PAGE) -> list[dict[str, Any]]:
        """Transactions of the list, the oldest first, from the one on that has so many before it.

        Raises:
            ProviderError: could not ask.
        """
        result = await self.api.call("getStarTransactions", {"offset": start, "limit": limit})
        listed = result.get("transactions") if isinstance(result, dict) else None
        if not isinstance(listed, list):
            raise ProviderError("getStarTransactions: unreadable answer")
        # what is no object keeps its place: the next page begins after as many lines as this one had
        return [line if isinstance(line, dict) else {"unreadable": line} for line in listed]

    async def length(self) -> int:
        """How many transactions there are: Telegram does not say it.

        Raises:
            ProviderError: could not ask.
        """
        low, high = 0, PAGE
        while await self.lines(high, 1):
            low, high = high, high * 2
        while low < high:
            middle = (low + high) // 2
            if await self.lines(middle, 1):
                low = middle + 1
            else:
                high = middle
        return low

    async def balance(self) -> int:
        """What the bot holds now, in nanostars.

        Raises:
            ProviderError: could not ask.
        """
        result = await self.api.call("getMyStarBalance", {})
        held = _nanostars(result, of_either_sign=True) if isinstance(result, dict) else None
        if held is None:
            raise ProviderError("getMyStarBalance: unreadable answer")
        return held

    def event(self, said: Mapping[str, Any], via: str, correlation_id: str) -> Event:
        """See `Invoices.event`."""
        return event_of(said, json.dumps(said).encode(), via, correlation_id)

    async def withdraw(self, invoice_id: str) -> None:
        """See `Invoices.withdraw`: a link can't be; its order's pre-checkout is refused from now on."""


class GivesBack:
    """`refundStarPayment`: all of a charge, to whom it came from."""

    def __init__(self, stars: Stars) -> None:
        self._stars = stars

    async def give_back(self, charge: Charge, correlation_id: str) -> GivenBack:
        """See `GivesBack.give_back`."""
        if charge.payer_telegram_id is None or charge.charge_id.startswith(_DIGEST):
            return GivenBack(Answer.REFUSED, reason="who paid, or the charge's own id, is not known")
        asked = {"user_id": charge.payer_telegram_id, "telegram_payment_charge_id": charge.charge_id}
        try:
            if await self._stars.api.call("refundStarPayment", asked) is True:
                return GivenBack(Answer.DONE, _refund(charge, correlation_id))
        except Refused as error:
            return GivenBack(Answer.ALREADY if error.name == _ALREADY else Answer.REFUSED, reason=str(error))
        except ProviderError as error:
            return GivenBack(Answer.LATER if isinstance(error, NotSent) else Answer.UNKNOWN, reason=str(error))
        return GivenBack(Answer.UNKNOWN, reason="refundStarPayment: unreadable answer")

    async def outcome(self, charge: Charge, correlation_id: str) -> GivenBack:
        """See `GivesBack.outcome`: the list is read from its end back, as far as the charge itself.

        Of a charge that stands further back it is enough that the list was read to before it was to be given back.
        """
        try:
            end, first = await self._stars.length(), None
            for _ in range(_MOST_BACK):
                start = max(0, end - PAGE)
                lines = await self._stars.lines(start, end - start or 1)
                sides = [
                    side
                    for line in lines
                    for side in ("source", "receiver")
                    if line.get("id") == charge.charge_id and side in line
                ]
                if "receiver" in sides:
                    return GivenBack(Answer.DONE, _refund(charge, correlation_id))
                if "source" in sides or not start:
                    return GivenBack(Answer.NOT)
                end = start
                first = min((at for line in lines if (at := moment_of(line)) is not None), default=None)
            if first is not None and charge.asked_at is not None and first < charge.asked_at - _CLOCKS:
                return GivenBack(Answer.NOT)
        except ProviderError as error:
            return GivenBack(Answer.UNKNOWN, reason=str(error))
        return GivenBack(Answer.UNKNOWN, reason="the charge is not among the last transactions")


def _refund(charge: Charge, correlation_id: str) -> Event:
    """As the update about it tells it."""
    said = {
        "currency": charge.currency,
        "total_amount": charge.amount,
        "telegram_payment_charge_id": charge.charge_id,
    }
    update = {"message": {"refunded_payment": said, "from": {"id": charge.payer_telegram_id}}}
    body = json.dumps(update).encode()
    event = telegram_charges.read_update(update, body, correlation_id, _VIA)
    assert event is not None, "made of a refund"  # noqa: S101 -- for the type checker
    return event
