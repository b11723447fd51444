"""What Crypto Pay says of its own account of our money: paid invoices with their fees, transfers, checks, and what it holds.

Withdrawals that the owner makes in @CryptoBot it lists nowhere: they are booked by hand, and only the balance tells of them.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Context, Decimal
from typing import TYPE_CHECKING, Any

from lib.domain.reconciliation import CHARGE, MOVEMENT, Line
from lib.payments import cryptopay, cryptopay_news
from lib.payments.provider import Listed, ProviderError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from lib.payments.cryptopay import CryptoPay

_MOST_PAGES = 50
_SLACK = timedelta(hours=1)
"""The list goes by when an invoice was made, which is before it was paid: an order lives half an hour."""
_EXACT = Context(prec=90)


class CryptoPayAccount:
    """See `ProviderAccount`."""

    lists = frozenset({CHARGE, MOVEMENT})
    begins: datetime | None = None
    ends: datetime | None = None

    def __init__(self, client: CryptoPay) -> None:
        self._client = client

    async def balances(self) -> Mapping[str, Decimal]:
        """See `ProviderAccount.balances`. Two tokens of one app, while it is rotated, tell of one balance."""
        held: dict[str, Decimal] = {}
        for rows in await self._client.of_each_app("getBalance"):
            for row in rows:
                asset, parts = _holding(row)
                for part in parts:
                    held[asset] = _EXACT.add(held.get(asset, Decimal(0)), part)
        return {asset: amount for asset, amount in held.items() if amount}

    async def lines(self, since: datetime | None) -> AsyncIterator[Listed]:
        """See `ProviderAccount.lines`.

        In which order invoices are listed is documented nowhere: only where a page shows the newest first does an old page end it.
        """
        seen: set[str] = set()
        offset, whole = 0, True
        for _ in range(_MOST_PAGES):
            page = await self._client.paid_invoices(offset)
            found = [line for item in page.items if (line := charge(item)) is not None and line.id not in seen]
            seen |= {line.id for line in found}
            whole &= page.complete
            yield Listed(found, complete=page.complete)
            if page.longest <= cryptopay.OVERLAP or _is_past(page.items, since):
                break
            offset = page.following(offset)
        else:
            whole = False
        for method, read in (("getTransfers", transfer), ("getChecks", check)):
            rows, all_of_them = await self._rows(method)
            yield Listed([line for row in rows if (line := read(row)) is not None], complete=whole and all_of_them)

    async def _rows(self, method: str) -> tuple[list[Mapping[str, Any]], bool]:
        """All that a method lists, and whether that is all: newest first, so what comes meanwhile moves the others on."""
        found: dict[str, Mapping[str, Any]] = {}
        for number in range(_MOST_PAGES):
            asked = {"offset": number * (cryptopay.PAGE - cryptopay.OVERLAP), "count": cryptopay.PAGE}
            answers = await self._client.of_each_app(method, asked)
            found |= {repr(sorted(row.items())): row for rows in answers for row in rows if isinstance(row, dict)}
            if max((len(rows) for rows in answers), default=0) <= cryptopay.OVERLAP:
                return list(found.values()), True
        return list(found.values()), False

    async def look(self, ids: Sequence[str]) -> Listed:
        """See `ProviderAccount.look`: by the ids of invoices; what has another id was in the list."""
        invoices = [one for one in ids if one.isascii() and one.isdecimal()]
        if not invoices:
            return Listed((), complete=True)
        looked = await self._client.look(invoices)
        lines = [line for item in looked.paid.values() if (line := charge(item)) is not None]
        return Listed(lines, complete=looked.complete)


def charge(invoice: Mapping[str, Any]) -> Line | None:
    """The line of a paid invoice, as exact as it is told; None when it is not paid or says of no money.

    What came is booked in the asset that came, and its fee in the asset of the fee; of an invoice that does not say what came, the
    agreed amount stands for it.
    """
    number = cryptopay_news.invoice_id_of(invoice)
    if invoice.get("status") != cryptopay_news.PAID or number is None:
        return None
    agreed = invoice.get("fiat") if invoice.get("currency_type") == "fiat" else invoice.get("asset")
    asset, amount = (
        cryptopay_news.asset_code(invoice.get("paid_asset")),
        cryptopay_news.decimal(invoice.get("paid_amount")),
    )
    if asset is None or amount is None:
        asset, amount = cryptopay_news.asset_code(agreed), cryptopay_news.decimal(invoice.get("amount"))
    if asset is None or amount is None:
        return None
    fee, fee_asset = (
        cryptopay_news.decimal(invoice.get("fee_amount")),
        cryptopay_news.asset_code(invoice.get("fee_asset")),
    )
    return Line(
        CHARGE,
        number,
        asset,
        amount,
        fee if fee is not None and fee_asset is not None else Decimal(0),
        fee_asset or "",
        _moment(invoice.get("paid_at")),
    )


def transfer(row: Mapping[str, Any]) -> Line | None:
    """The line of a transfer to a user: named `transfer:<id>`."""
    return _left("transfer", row, "transfer_id", "completed_at") if row.get("status") == "completed" else None


def check(row: Mapping[str, Any]) -> Line | None:
    """The line of a check that was activated, named `check:<id>`; until then it is on hold, and ours."""
    return _left("check", row, "check_id", "activated_at") if row.get("status") == "activated" else None


def _left(kind: str, row: Mapping[str, Any], number: str, moment: str) -> Line | None:
    asset, amount = cryptopay_news.asset_code(row.get("asset")), cryptopay_news.decimal(row.get("amount"))
    one = cryptopay_news.decimal(row.get(number))
    if asset is None or amount is None or one is None:
        return None
    return Line(MOVEMENT, f"{kind}:{format(one, 'f')}", asset, -amount, at=_moment(row.get(moment)))


def _is_past(items: Sequence[Mapping[str, Any]], since: datetime | None) -> bool:
    """Whether a page, and all that would follow it, is older than a moment."""
    numbers = [int(number) for item in items if (number := cryptopay_news.invoice_id_of(item)) is not None]
    moments = [_moment(item.get("created_at")) for item in items]
    if since is None or len(numbers) < 2 or numbers != sorted(numbers, reverse=True):  # noqa: PLR2004 -- one has no order
        return False
    paid = [_moment(item.get("paid_at")) for item in items]
    return all(one is not None and one < since - _SLACK for one in (*moments, *paid))


def _moment(value: object) -> datetime | None:
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return moment.replace(tzinfo=UTC) if moment is not None and moment.tzinfo is None else moment


def _holding(row: object) -> tuple[str, list[Decimal]]:
    """An asset, and what is available and on hold of it; nothing is an amount as well.

    Raises:
        ProviderError: it is unreadable.
    """
    asset = cryptopay_news.asset_code(row.get("currency_code")) if isinstance(row, dict) else None
    said = [row.get(name) for name in ("available", "onhold")] if isinstance(row, dict) else []
    parts = [Decimal(0) if cryptopay_news.is_nothing(one) else cryptopay_news.decimal(one) for one in said]
    if asset is None or None in parts:
        raise ProviderError("getBalance: unreadable answer")
    return asset, [part for part in parts if part is not None]
