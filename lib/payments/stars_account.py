"""What Telegram says of the bot's Stars: all that moved (`getStarTransactions`), and what it holds (`getMyStarBalance`)."""

from __future__ import annotations

from decimal import Context, Decimal
from typing import TYPE_CHECKING, Any

from lib.domain.reconciliation import CHARGE, COMMISSION, MOVEMENT, PAYOUT, REFUND, Line
from lib.payments import stars, telegram_charges
from lib.payments.provider import Listed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from datetime import datetime

    from lib.payments.stars import Stars

_MOST_PAGES = 200
_EXACT = Context(prec=90)


class StarsAccount:
    """See `ProviderAccount`."""

    lists = frozenset({CHARGE, REFUND, PAYOUT, COMMISSION, MOVEMENT})
    begins: datetime | None = None
    ends: datetime | None = None

    def __init__(self, client: Stars) -> None:
        self._client = client

    async def balances(self) -> Mapping[str, Decimal]:
        """See `ProviderAccount.balances`."""
        held = await self._client.balance()
        return {stars.STAR: _stars(held)} if held else {}

    async def lines(self, since: datetime | None) -> AsyncIterator[Listed]:
        """See `ProviderAccount.lines`: from the newest page back, for the list begins with the oldest line."""
        end = await self._client.length()
        for _ in range(_MOST_PAGES):
            start = max(0, end - stars.PAGE)
            page = await self._client.lines(start, end - start) if end else []
            found = [line for said in page for line in lines_of(said)]
            oldest = min((line.at for line in found if line.at is not None), default=None)
            last = not start or (since is not None and oldest is not None and oldest < since)
            yield Listed(found, complete=True)
            if last:
                return
            end = start
        yield Listed((), complete=False)

    async def look(self, ids: Sequence[str]) -> Listed:
        """See `ProviderAccount.look`: Telegram can't be asked about one transaction."""
        return Listed((), complete=not ids)


def lines_of(said: Mapping[str, Any]) -> list[Line]:
    """A transaction as lines: the charge or refund as a whole, and an affiliate's part beside it."""
    gross, share, side = stars.moved(said)
    if not gross or not side:
        return []
    key, at = telegram_charges.key(said.get("id"), said), stars.moment_of(said)
    sign = 1 if side == "source" else -1
    found = [Line(_kind(said), key, stars.STAR, sign * _stars(gross), at=at)]
    if share:
        found.append(Line(COMMISSION, key, stars.STAR, -sign * _stars(share), at=at))
    return found


def _kind(said: Mapping[str, Any]) -> str:
    receiver = stars.partner_of(said, "receiver")
    if receiver is None:
        return CHARGE
    if stars.is_invoice(receiver):
        return REFUND
    return PAYOUT if receiver.get("type") == "fragment" else MOVEMENT


def _stars(nanostars: int) -> Decimal:
    return _EXACT.scaleb(Decimal(nanostars), -9)
