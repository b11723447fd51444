"""What the money half of the schema refuses, even of its owner: each constraint is seen to refuse the statement it is for."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from lib.db.connection import Connection, Timeouts
from lib.db.errors import StatementFailed
from lib.db.migrate import migrate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sandbox.postgres.server import Postgres

# Two customers, an order of each; the first one's is paid, and an event told of it.
_WORLD = """
insert into accounts (telegram_id) values (1), (2);
insert into orders (account_id, kind, tariff, period_days, price, currency, provider, status, paid_at, expires_at)
values (1, 'subscription', 'basic', 30, 14900, 'RUB', 'cryptobot', 'paid', atlas.now(), atlas.now()),
       (2, 'subscription', 'basic', 30, 14900, 'RUB', 'cryptobot', 'open', null, atlas.now());
insert into payment_events (provider, external_id, body, meaning, via, status, processed_at, correlation_id)
select 'cryptobot', 'charge-' || n, '', '', 'sweep', 'settled', atlas.now(), 'c' from generate_series(1, 4) n;
insert into payments (provider, charge_id, kind, order_id, account_id, event_id, amount, currency)
values ('cryptobot', 'charge-1', 'settling', 1, 1, 1, 14900, 'RUB');
"""


def payment(**changes: str) -> str:
    """A statement that is allowed as it stands: a second charge on the first customer's order."""
    row = {
        "provider": "'cryptobot'",
        "charge_id": "'charge-2'",
        "kind": "'duplicate'",
        "order_id": "1",
        "account_id": "1",
        "event_id": "2",
        "amount": "14900",
        "currency": "'RUB'",
    } | changes
    return f"insert into payments ({', '.join(row)}) values ({', '.join(row.values())})"  # noqa: S608 -- the test's own words


def event(**changes: str) -> str:
    row = {
        "provider": "'cryptobot'",
        "external_id": "'charge-9'",
        "body": "''",
        "meaning": "''",
        "via": "'sweep'",
        "correlation_id": "'c'",
    } | changes
    return f"insert into payment_events ({', '.join(row)}) values ({', '.join(row.values())})"  # noqa: S608 -- the test's own words


ALLOWED = {
    "a second charge on a paid order": payment(),
    "an asset that no list has, to the last digit": payment(
        paid_asset="'NEWCOIN'", paid_amount="0.0000000000000000000000000000001", fee_asset="'NEWCOIN'", fee_amount="1"
    ),
    "the settling payment of the other order": payment(kind="'settling'", order_id="2", account_id="2"),
    "nothing paid at 100 % off": payment(
        provider="'promo'", kind="'settling'", order_id="2", account_id="2", amount="0", event_id="null"
    ),
    "paid from a wallet": payment(
        provider="'balance'", kind="'settling'", order_id="2", account_id="2", event_id="null"
    ),
    "a refund under its charge's own id": event(external_id="'charge-1'", kind="'refund'"),
    "an unmatched event that an operator ended": event(
        status="'unmatched'", processed_at="atlas.now()", resolved_at="atlas.now()", resolution="'refunded'"
    ),
}

# what it is -> the constraint (or the kind of one that has no name) and the statement
FORBIDDEN = {
    "unmatched is no payment": ("payments_kind_check", payment(kind="'unmatched'")),
    "a payment without an order": ("23502", payment(order_id="null")),
    "a payment without an account": ("23502", payment(account_id="null")),
    "another customer's order": ("payment_of_the_orders_account", payment(account_id="2")),
    "an order that is none": ("payment_of_the_orders_account", payment(order_id="77")),
    "a second settling payment": ("payments_one_settling", payment(kind="'settling'")),
    "one charge twice": ("payments_provider_charge_id_key", payment(charge_id="'charge-1'")),
    "one event, two payments": ("payments_event_id_key", payment(event_id="1")),
    "money from outside that no event told of": ("outside_money_has_an_event", payment(event_id="null")),
    "an amount of nothing": ("nothing_is_paid_at_full_discount", payment(amount="0")),
    "a negative amount": ("nothing_is_paid_at_full_discount", payment(amount="-1")),
    "money from nowhere": ("nothing_is_paid_at_full_discount", payment(provider="'promo'", event_id="null")),
    "an agreement in a currency that no list has": ("payments_currency_fkey", payment(currency="'NEWCOIN'")),
    "a provider that no list has": ("payments_provider_fkey", payment(provider="'cryptobto'")),
    "an amount paid in nothing": ("paid_amount_is_of_an_asset", payment(paid_amount="1")),
    "a fee in nothing": ("fee_is_of_an_asset", payment(fee_amount="1")),
    "an asset that is no code": ("payments_paid_asset_check", payment(paid_asset="'us dt'")),
    "a paid amount that is none": ("payments_paid_amount_check", payment(paid_asset="'USDT'", paid_amount="'NaN'")),
    "a paid amount without end": ("payments_paid_amount_check", payment(paid_asset="'USDT'", paid_amount="'Infinity'")),
    "a negative fee": ("payments_fee_amount_check", payment(fee_asset="'USDT'", fee_amount="-1")),
    "a fee asset that is no code": ("payments_fee_asset_check", payment(fee_asset="'U'")),
    "a rate of nothing": ("payments_paid_rate_check", payment(paid_rate="0")),
    "one key twice": ("payment_events_provider_kind_external_id_key", event(external_id="'charge-1'")),
    "news of a provider that no list has": ("payment_events_provider_fkey", event(provider="'nowhere'")),
    "a payer who is no person": ("payment_events_payer_telegram_id_check", event(payer_telegram_id="0")),
    "an operator's end of what had an effect": (
        "only_unmatched_is_resolved",
        "update payment_events set resolved_at = atlas.now(), resolution = 'refunded' where id = 1",
    ),
    "an amount of an event in no currency of the list": (
        "payment_events_currency_fkey",
        event(amount="1", currency="'XXX'"),
    ),
    "an order in a currency that no list has": ("orders_currency_fkey", "update orders set currency = 'XXX'"),
    "a currency with more digits in prices than in the books": (
        "currencies_check",
        "insert into currencies (code, exponent, price_exponent) values ('XXX', 0, 2)",
    ),
    "books in a currency that no list has": (
        "books_currency_is_listed",
        "update deployment set books_currency = 'XXX'",
    ),
}


@pytest.fixture(scope="module")
def owner(postgres: Postgres) -> Iterator[Connection]:
    """A session of the schema's owner, whom no grant stops: what refuses here are the constraints themselves."""
    postgres.create_database("money_constraints")
    url = postgres.url("money_constraints")
    migrate(url, "local")
    with closing(Connection(url, application="test", timeouts=Timeouts())) as connection:
        connection.simple(_WORLD)
        yield connection
    postgres.drop_database("money_constraints")


def tried(connection: Connection, sql: str) -> StatementFailed | None:
    """What the database said to it, deferred constraints included; nothing stays."""
    connection.begin()
    try:
        connection.simple(sql)
        connection.simple("set constraints all immediate")
    except StatementFailed as refused:
        return refused
    finally:
        connection.rollback()
    return None


@pytest.mark.parametrize("name", ALLOWED)
def test_what_is_right_is_taken(owner: Connection, name: str) -> None:
    assert tried(owner, ALLOWED[name]) is None


@pytest.mark.parametrize("name", FORBIDDEN)
def test_what_must_not_be_is_refused(owner: Connection, name: str) -> None:
    by, sql = FORBIDDEN[name]
    refused = tried(owner, sql)
    assert refused is not None
    assert by in {refused.constraint, refused.code}
