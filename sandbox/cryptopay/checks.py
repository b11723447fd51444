"""Checks: links that give coins to who opens them first. Until then the coins are on hold."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from sandbox.cryptopay import arguments
from sandbox.cryptopay.arguments import ID_LIMIT, ApiError, identifier, identifiers, one_of, page, refused
from sandbox.cryptopay.invoices import InvoiceError, iso, new_hash
from sandbox.cryptopay.rates import parse_amount, text_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from datetime import datetime

    from sandbox.cryptopay.store import Store

_USERNAME_LIMIT = 32


class Checks:
    """The app's checks.

    Args:
        store: keeps them.
        assets: what can be given away.
        available: how much of an asset may be spent now.
    """

    def __init__(self, store: Store, assets: Collection[str], available: Callable[[str], Decimal]) -> None:
        self._store = store
        self._assets = assets
        self._available = available
        self._made = store.things("check")
        self._last_id = store.last_number("check")

    def make(self, asked: dict[str, Any], now: datetime, public_url: str) -> dict[str, Any]:
        """Result of createCheck.

        Raises:
            ApiError: 400, also when the balance is too small.
        """
        asset = one_of(asked, "asset", self._assets)
        amount = parse_amount(asked.get("amount"))
        if amount is None:
            raise refused("amount")
        pinned: dict[str, Any] = {}
        if "pin_to_user_id" in asked:
            pinned["pin_to_user_id"] = arguments.integer(asked["pin_to_user_id"], range(1, ID_LIMIT), "pin_to_user_id")
        username = arguments.text(asked, "pin_to_username", len, _USERNAME_LIMIT)
        if username is not None:
            pinned["pin_to_username"] = username.removeprefix("@").lower()
        if amount > self._available(asset):
            raise ApiError(400, "NOT_ENOUGH_COINS")
        self._last_id += 1
        made = {
            "check_id": self._last_id,
            "hash": new_hash("CQ"),
            "asset": asset,
            "amount": text_of(amount),
            "status": "active",
            "created_at": iso(now),
            **pinned,
        }
        self._keep(made)
        return _shown(made, public_url)

    def delete(self, asked: dict[str, Any]) -> bool:
        """Result of deleteCheck: the coins are available again."""
        number = identifier(asked, "check_id")
        if number not in self._made:
            raise ApiError(400, "CHECK_NOT_FOUND")
        if self._made[number]["status"] != "active":
            raise ApiError(400, "CHECK_ALREADY_ACTIVATED")
        del self._made[number]
        self._store.drop_thing("check", number)
        return True

    def listed(self, asked: dict[str, Any], public_url: str) -> list[dict[str, Any]]:
        """Result of getChecks, newest first."""
        found = [self._made[number] for number in sorted(self._made, reverse=True)]
        if "check_ids" in asked:
            wanted = identifiers(asked["check_ids"], "check_ids")
            found = [made for made in found if made["check_id"] in wanted]
        choices: dict[str, Collection[str]] = {"status": ("active", "activated"), "asset": self._assets}
        for name, allowed in choices.items():
            if name in asked:
                value = one_of(asked, name, allowed)
                found = [made for made in found if made[name] == value]
        return [_shown(made, public_url) for made in page(found, asked)]

    def by_hash(self, wanted: str) -> dict[str, Any] | None:
        """The check that a link names."""
        return next((made for made in self._made.values() if made["hash"] == wanted), None)

    def activate(self, check_id: int, user_id: int, username: str | None, now: datetime) -> None:
        """A user opens the link.

        Raises:
            InvoiceError: there is no such check, it was activated before, or it is for another user.
        """
        made = self._made.get(check_id)
        if made is None:
            raise InvoiceError(f"there is no check {check_id}")
        if made["status"] != "active":
            raise InvoiceError(f"check {check_id} was activated before")
        named = (username or "").removeprefix("@").lower()
        if made.get("pin_to_user_id", user_id) != user_id or made.get("pin_to_username", named) != named:
            raise InvoiceError(f"check {check_id} is for another user")
        made |= {"status": "activated", "activated_at": iso(now)}
        self._keep(made)

    def amounts(self, status: str) -> list[tuple[str, Decimal]]:
        """Asset and amount of each check of a status: active is on hold, activated is gone."""
        return [(made["asset"], Decimal(made["amount"])) for made in self._made.values() if made["status"] == status]

    def _keep(self, made: dict[str, Any]) -> None:
        self._made[made["check_id"]] = made
        self._store.keep_thing("check", made["check_id"], made)


def _shown(made: dict[str, Any], public_url: str) -> dict[str, Any]:
    told = {name: value for name, value in made.items() if not name.startswith("pin_to_")}
    return told | {"bot_check_url": f"{public_url}/check/{made['hash']}"}
