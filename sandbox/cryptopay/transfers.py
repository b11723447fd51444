"""Transfers: coins sent from the app's balance to a user, once for each spend_id."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from sandbox.cryptopay import arguments
from sandbox.cryptopay.arguments import ID_LIMIT, ApiError, identifiers, one_of, page, refused
from sandbox.cryptopay.invoices import iso
from sandbox.cryptopay.rates import parse_amount, price, text_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from datetime import datetime

    from sandbox.cryptopay.store import Store

_SPEND_ID_LIMIT = 64
_COMMENT_LIMIT = 1024
_LEAST_USD, _MOST_USD = Decimal(1), Decimal(25_000)


class Transfers:
    """The app's transfers.

    Args:
        store: keeps them.
        assets: what can be sent.
        available: how much of an asset may be spent now.
    """

    def __init__(self, store: Store, assets: Collection[str], available: Callable[[str], Decimal]) -> None:
        self._store = store
        self._assets = assets
        self._available = available
        self._made = store.things("transfer")

    def make(self, asked: dict[str, Any], now: datetime) -> dict[str, Any]:
        """Result of transfer. The same spend_id with the same contents is answered as the first time and sends nothing.

        Raises:
            ApiError: 400, also when the balance is too small or the spend_id was used for another transfer.
        """
        wanted = self._wanted(asked)
        former = self._by_spend_id(wanted["spend_id"])
        if former is not None:
            if any(former.get(name) != wanted.get(name) for name in ("user_id", "asset", "amount", "comment")):
                raise ApiError(400, "SPEND_ID_ALREADY_USED")
            return self._answer(former)
        if Decimal(wanted["amount"]) > self._available(wanted["asset"]):
            raise ApiError(400, "NOT_ENOUGH_COINS")
        number = max(self._made, default=0) + 1
        made = {"transfer_id": number, **wanted, "status": "completed", "completed_at": iso(now)}
        self._made[number] = made
        self._store.keep_thing("transfer", number, made)
        return self._answer(made)

    def listed(self, asked: dict[str, Any]) -> list[dict[str, Any]]:
        """Result of getTransfers, newest first."""
        found = [self._made[number] for number in sorted(self._made, reverse=True)]
        if "transfer_ids" in asked:
            wanted = identifiers(asked["transfer_ids"], "transfer_ids")
            found = [made for made in found if made["transfer_id"] in wanted]
        if "asset" in asked:
            asset = one_of(asked, "asset", self._assets)
            found = [made for made in found if made["asset"] == asset]
        if "spend_id" in asked:
            found = [made for made in found if made["spend_id"] == str(asked["spend_id"])]
        return page(found, asked)

    def spent(self) -> list[tuple[str, Decimal]]:
        """What left the balance: asset and amount of each."""
        return [(made["asset"], Decimal(made["amount"])) for made in self._made.values()]

    def _wanted(self, asked: dict[str, Any]) -> dict[str, Any]:
        asset = one_of(asked, "asset", self._assets)
        amount = parse_amount(asked.get("amount"))
        if amount is None:
            raise refused("amount")
        worth = amount * price(asset, "USD")
        if worth < _LEAST_USD:
            raise ApiError(400, "AMOUNT_TOO_SMALL")
        if worth > _MOST_USD:
            raise ApiError(400, "AMOUNT_TOO_BIG")
        said = asked.get("spend_id")
        spend_id = arguments.text(
            {"spend_id": str(said)} if isinstance(said, int) else asked, "spend_id", len, _SPEND_ID_LIMIT
        )
        if spend_id is None:
            raise refused("spend_id")
        arguments.flag(asked, "disable_send_notification", default=False)
        wanted = {
            "user_id": arguments.integer(asked.get("user_id"), range(1, ID_LIMIT), "user_id"),
            "asset": asset,
            "amount": text_of(amount),
            "spend_id": spend_id,
        }
        comment = arguments.text(asked, "comment", len, _COMMENT_LIMIT)
        return wanted if comment is None else wanted | {"comment": comment}

    def _by_spend_id(self, spend_id: str) -> dict[str, Any] | None:
        return next((made for made in self._made.values() if made["spend_id"] == spend_id), None)

    @staticmethod
    def _answer(made: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in made.items() if name != "spend_id"}  # getTransfers alone tells it
