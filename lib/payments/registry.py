"""Which providers there are: one line each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lib.domain.settlement import Event
from lib.payments import card, cryptopay, stars, synthetic
from lib.settings import plain

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx

    from lib.domain.inbox import StoredEvent
    from lib.payments.provider import GivesBack, Invoices, Provider, ProviderAccount

PROVIDERS: tuple[Provider, ...] = (
    cryptopay,
    stars,
    card,
)  # fmt: skip
_OUTSIDE_PROD: tuple[Provider, ...] = (
    synthetic,
)  # fmt: skip


def providers(environment: str) -> dict[str, Provider]:
    """By name, those that take money in an environment. What only pretends to take money is none of production's."""
    return {one.NAME: one for one in PROVIDERS + (() if environment == "prod" else _OUTSIDE_PROD)}


def connected(http: Callable[[], httpx.AsyncClient]) -> dict[str, Invoices]:
    """By name, what asks each provider that is configured here and has invoices to ask about.

    Raises:
        UnusableSetting, InvalidPriceList: the configuration is wrong.
    """
    made = {name: one.connect(http) for name, one in providers(plain.environment()).items()}
    return {name: invoices for name, invoices in made.items() if invoices is not None}


def giving_back(http: Callable[[], httpx.AsyncClient]) -> dict[str, GivesBack]:
    """By name, what gives charges back of each provider that can and is configured here.

    Raises:
        UnusableSetting, InvalidPriceList: the configuration is wrong.
    """
    made = {name: one.gives_back(http) for name, one in providers(plain.environment()).items()}
    return {name: giver for name, giver in made.items() if giver is not None}


def accounts(http: Callable[[], httpx.AsyncClient]) -> dict[str, ProviderAccount]:
    """By name, the own account of each provider that is configured here and can be asked for it.

    Raises:
        UnusableSetting, InvalidPriceList: the configuration is wrong.
    """
    made = {name: one.account(http) for name, one in providers(plain.environment()).items()}
    return {name: account for name, account in made.items() if account is not None}


def read_again(stored: StoredEvent) -> Event:
    """The event of a stored body, by the reader of its provider.

    A provider that is not (or no longer) known gives an event without money: recorded as unmatched, for a person.
    """
    provider = providers(plain.environment()).get(stored.provider)
    if provider is None:
        return Event(
            stored.provider,
            stored.external_id,
            stored.body,
            stored.via,
            stored.correlation_id,
            None,
            "unknown provider",
            kind=stored.kind,
        )
    return provider.read(stored)
