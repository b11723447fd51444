"""A provider's own account that may say something else than it is, and what the comparisons ask of it."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from lib import currencies
from lib.payments.provider import Listed, ProviderError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from datetime import datetime

    from lib.domain.reconciliation import Line
    from lib.payments.provider import ProviderAccount


class Planted:
    """A provider's own account, which may say something else than it is.

    Attributes:
        changed: what takes the place of a line; None: it is missing.
        added: lines besides.
        more: held beyond what it holds, by asset.
        complete: whether its list is.
    """

    def __init__(self, true: ProviderAccount) -> None:
        self._true = true
        self.lists = true.lists
        self.begins, self.ends = true.begins, true.ends
        self.changed: dict[str, Line | None] = {}
        self.added: list[Line] = []
        self.more: dict[str, Decimal] = {}
        self.complete = True
        self.down = False

    async def balances(self) -> Mapping[str, Decimal]:
        if self.down:
            raise ProviderError("down")
        held = dict(await self._true.balances() or {})
        return held | {asset: held.get(asset, Decimal(0)) + amount for asset, amount in self.more.items()}

    async def lines(self, since: datetime | None) -> AsyncIterator[Listed]:
        async for page in self._true.lines(since):
            yield Listed(self._as_planted(page.lines), self.complete and page.complete)
        yield Listed(self.added, complete=True)

    async def look(self, ids: Sequence[str]) -> Listed:
        page = await self._true.look(ids)
        return Listed(self._as_planted(page.lines), self.complete and page.complete)

    def _as_planted(self, lines: Sequence[Line]) -> list[Line]:
        said = (self.changed.get(line.id, line) for line in lines)
        return [line for line in said if line is not None]


async def listed(account: ProviderAccount) -> dict[str, Line]:
    return {line.id: line async for page in account.lines(None) for line in page.lines}


def least(asset: str) -> Decimal:
    """One minor unit."""

    return Decimal(1).scaleb(-currencies.of(asset).digits)
