"""What the money half of the schema refuses, even of its owner: each constraint is seen to refuse the statement it is for."""

from __future__ import annotations

import re
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
insert into orders (account_id, kind, tariff, period_days, list_price, price, value, currency, provider, expires_at)
select id, 'subscription', 'basic', 30, 14900, 14900, 14900, 'RUB', 'cryptobot', atlas.now() from accounts order by id;
update orders set status = 'paid', paid_at = atlas.now() where account_id = 1;
insert into payment_events (provider, external_id, body, meaning, via, status, processed_at, correlation_id)
select 'cryptobot', 'charge-' || n, '', '', 'sweep', 'settled', atlas.now(), 'c' from generate_series(1, 4) n;
insert into payments (provider, charge_id, kind, order_id, account_id, event_id, amount, currency)
values ('cryptobot', 'charge-1', 'settling', 1, 1, 1, 14900, 'RUB'),
       ('cryptobot', 'charge-3', 'duplicate', 1, 1, 3, 14900, 'RUB');
insert into refunds (payment_id, kind, provider, external_id, route, amount, currency)
values (1, 'refund', 'cryptobot', 'refund-1', 'provider', 14900, 'RUB');
insert into withdrawals (account_id, amount, destination_kind, destination) values (1, 50000, 'card', '1');
insert into ledger_accounts (code, currency, account_id)
values ('clearing:cryptobot', 'RUB', null), ('revenue', 'RUB', null), ('revenue', 'USDT', null), ('user:topped_up', 'RUB', 1);
begin;
insert into ledger_transfers (key, kind, entries, order_id, payment_id) values ('payment:1', 'sale', 1, 1, 1);
insert into ledger_entries (transfer_id, number, entries, books_day, debit_account_id, credit_account_id, amount, currency)
select 1, 1, 1, books_day, 1, 2, 14900, 'RUB' from ledger_transfers;
commit;
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


def account(**changes: str) -> str:
    row = {"code": "'bank'", "currency": "'RUB'"} | changes
    return f"insert into ledger_accounts ({', '.join(row)}) values ({', '.join(row.values())})"  # noqa: S608 -- the test's own words


def transfer(*entries: str, **changes: str) -> str:
    """An operator's credit; `entries` are statements beside it, as a rule one `entry()`."""
    row = {
        "key": "'operator_credit:1'",
        "kind": "'operator_credit'",
        "entries": "1",
        "account_id": "1",
        "actor_id": "17",
        "reason": "'a test'",
    } | changes
    written = f"insert into ledger_transfers ({', '.join(row)}) values ({', '.join(row.values())})"  # noqa: S608 -- the test's own words
    return "; ".join((written, *entries))


def entry(**changes: str) -> str:
    """Of the newest transfer."""
    row = {
        "number": "1",
        "entries": "1",
        "books_day": "books_day",
        "debit_account_id": "1",
        "credit_account_id": "2",
        "amount": "100",
        "currency": "'RUB'",
    } | changes
    return (
        f"insert into ledger_entries (transfer_id, {', '.join(row)})"  # noqa: S608 -- the test's own words
        f" select id, {', '.join(row.values())} from ledger_transfers order by id desc limit 1"
    )


def of_the_first(changes: str) -> str:
    """One entry more of the transfer that is whole already."""
    columns = "transfer_id, number, entries, books_day, debit_account_id, credit_account_id, amount, currency"
    return f"insert into ledger_entries ({columns}) select 1, {changes}, 1, 2, 100, 'RUB' from ledger_transfers where id = 1"  # noqa: S608 -- the test's own words


SALE = {
    "key": "'payment:1'",
    "kind": "'sale'",
    "order_id": "1",
    "payment_id": "1",
    "account_id": "null",
    "actor_id": "null",
    "reason": "null",
}
REFUND = {"key": "'refund:cryptobot:1'", "kind": "'refund'", "order_id": "1", "payment_id": "1", "refund_id": "1"}
CORRECTION = {"key": "'correction:1'", "kind": "'correction'", "reverses_id": "1"}

ALLOWED = {
    "a transfer with its entry": transfer(entry()),
    "a transfer of two entries": transfer(
        entry(entries="2"), entry(entries="2", number="2", debit_account_id="2", credit_account_id="4"), entries="2"
    ),
    "a refund": transfer(entry(debit_account_id="2", credit_account_id="1"), **REFUND),
    "a correction of a transfer": transfer(entry(debit_account_id="2", credit_account_id="1"), **CORRECTION),
    "an account in another currency": account(code="'clearing:cryptobot'", currency="'USDT'"),
    "the other wallet of a customer": account(code="'user:earned'", account_id="1"),
    "the same wallet of another customer": account(code="'user:topped_up'", account_id="2"),
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
    "a misspelt account": ("code_of_the_chart", account(code="'revenu'")),
    "a clearing account of a provider that no list has": ("code_of_the_chart", account(code="'clearing:cryptobto'")),
    "an account of the shop that is a customer's": ("code_of_the_chart", account(account_id="1")),
    "a wallet that is no customer's": ("code_of_the_chart", account(code="'user:earned'")),
    "a second wallet of one customer and kind": (
        "ledger_accounts_one",
        account(code="'user:topped_up'", account_id="1"),
    ),
    "a second account of one code and currency": ("ledger_accounts_one", account(code="'revenue'")),
    "a wallet in another currency than the books'": (
        "wallet_in_the_books_currency",
        account(code="'user:earned'", account_id="1", currency="'USDT'"),
    ),
    "an account in a currency that no list has": ("ledger_accounts_currency_fkey", account(currency="'XXX'")),
    "a wallet of less than nothing": (
        "wallet_is_never_negative",
        "update ledger_accounts set balance = -1 where account_id = 1",
    ),
    "a wallet of no number": (
        "wallet_is_never_negative",
        "update ledger_accounts set balance = 'NaN' where account_id = 1",
    ),
    "a balance kept of an account of the shop": (
        "only_wallets_cache",
        "update ledger_accounts set balance = 1 where account_id is null",
    ),
    "a type that is none": (
        "ledger_codes_type_check",
        "insert into ledger_codes (code, type) values ('petty_cash', 'money')",
    ),
    "a provider whose clearing account no chart has": (
        "providers_clearing_fkey",
        "insert into providers (name, clearing) values ('new', 'clearing:new')",
    ),
    "a fact that no list has": ("ledger_transfers_kind_check", transfer(entry(), kind="'settlement'")),
    "one fact twice": ("ledger_transfers_key_key", transfer(entry(), **SALE)),
    "a sale under another key": ("key_is_made_of_the_fact", transfer(entry(), **(SALE | {"key": "'payment:2'"}))),
    "a sale that names no payment": (
        "key_is_made_of_the_fact",
        transfer(entry(), **(SALE | {"payment_id": "null", "key": "'payment:'"})),
    ),
    "money for no order that no event told of": (
        "key_is_made_of_the_fact",
        transfer(entry(), kind="'suspense'", key="'event:1'"),
    ),
    "a key that says nothing": ("key_is_made_of_the_fact", transfer(entry(), key="'1'")),
    "a payment without its order": (
        "payment_with_its_order",
        transfer(entry(), **(SALE | {"order_id": "null"})),
    ),
    "a payment's transfer for another order": (
        "transfer_of_the_payments_order",
        transfer(entry(), **(REFUND | {"order_id": "2"})),
    ),
    "a refund's transfer that names no refund": (
        "key_is_made_of_the_fact",
        transfer(entry(), **(REFUND | {"refund_id": "null"})),
    ),
    "a refund of another payment": (
        "transfer_of_the_payments_refund",
        transfer(entry(), **(REFUND | {"payment_id": "2"})),
    ),
    "a refund that is none": (
        "transfer_of_a_refund",
        transfer(entry(), key="'refund:card:7'", kind="'refund'", refund_id="7"),
    ),
    "a withdrawal that is none": (
        "ledger_transfers_withdrawal_id_fkey",
        transfer(entry(), kind="'withdrawal_asked'", key="'withdrawal:7'", withdrawal_id="7"),
    ),
    "an operator's credit without the operator": (
        "operators_say_who_and_why",
        transfer(entry(), actor_id="null"),
    ),
    "an operator's credit without a reason": ("operators_say_who_and_why", transfer(entry(), reason="null")),
    "money out of suspense for no reason": (
        "suspense_ends_for_a_reason",
        transfer(entry(), kind="'suspense_resolved'", key="'event:2:resolved'", event_id="2", reason="null"),
    ),
    "a late fee that is of no charge": (
        "one_late_fee",
        transfer(entry(), kind="'fee'", key="'fee:event:7'", event_id="2"),
    ),
    "an empty reason": ("ledger_transfers_reason_check", transfer(entry(), reason="''")),
    "an operator who is no person": ("ledger_transfers_actor_id_check", transfer(entry(), actor_id="0")),
    "two corrections of one transfer": (
        "ledger_transfers_reverses_id_key",
        # the key says it already
        "; ".join(
            (
                "alter table ledger_transfers drop constraint ledger_transfers_key_key",
                transfer(entry(), **CORRECTION),
                transfer(entry(), **CORRECTION),
            )
        ),
    ),
    "a correction of nothing": (
        "key_is_made_of_the_fact",
        transfer(entry(), kind="'correction'", key="'correction:1'"),
    ),
    "a reversal that is called otherwise": ("only_a_correction_reverses", transfer(entry(), reverses_id="1")),
    "a correction of itself": (
        "corrects_an_earlier_one",
        (
            "insert into ledger_transfers (id, key, kind, entries, reverses_id, actor_id, reason) overriding system value"
            " values (99, 'correction:99', 'correction', 1, 99, 17, 'a test')"
        ),
    ),
    "a transfer without an entry": ("transfer_is_whole", transfer()),
    "a transfer that lacks an entry": ("transfer_is_whole", transfer(entry(entries="2"), entries="2")),
    "a transfer of no entries": ("ledger_transfers_entries_check", transfer(entries="0")),
    "an entry more of a transfer that is whole": ("entry_within_its_transfer", of_the_first("2, 1, books_day")),
    "an entry more that counts otherwise": ("entry_of_its_transfer", of_the_first("2, 2, books_day")),
    "an entry in place of one that is there": ("ledger_entries_pkey", of_the_first("1, 1, books_day")),
    "an entry on another day than its transfer's": (
        "entry_of_its_transfer",
        transfer(entry(books_day="books_day - 1")),
    ),
    "an entry of nothing": ("ledger_entries_amount_check", transfer(entry(amount="0"))),
    "an entry backwards": ("ledger_entries_amount_check", transfer(entry(amount="-100"))),
    "an entry of no number": ("ledger_entries_amount_check", transfer(entry(amount="'NaN'"))),
    "an entry from an account to itself": ("from_one_account_to_another", transfer(entry(credit_account_id="1"))),
    "an entry whose credit is in another currency": ("credit_in_its_currency", transfer(entry(credit_account_id="3"))),
    "an entry whose debit is in another currency": ("debit_in_its_currency", transfer(entry(debit_account_id="3"))),
    "unmatched is no payment": ("payments_kind_check", payment(kind="'unmatched'")),
    "a payment without an order": ("23502", payment(order_id="null")),
    "a payment without an account": ("23502", payment(account_id="null")),
    "another customer's order": ("payment_of_the_orders_account", payment(account_id="2")),
    "an order that is none": ("payment_of_the_orders_account", payment(order_id="77")),
    "a second settling payment": ("payments_one_settling", payment(kind="'settling'")),
    "one charge twice": ("payments_provider_charge_id_key", payment(charge_id="'charge-1'")),
    "one event, two payments": ("payments_event_id_key", payment(event_id="1")),
    "money on another provider's news": ("payment_on_its_providers_event", payment(provider="'stars'")),
    "money given back on another provider's news": (
        "refund_on_its_providers_event",
        """insert into refunds (payment_id, kind, provider, external_id, route, amount, currency, event_id)
           values (2, 'chargeback', 'stars', 'r', 'provider', 14900, 'RUB', 2)""",
    ),
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
        "only_what_waits_is_resolved",
        "update payment_events set resolved_at = atlas.now(), resolution = 'refunded' where id = 1",
    ),
    "an amount of an event in no currency of the list": (
        "payment_events_currency_fkey",
        event(amount="1", currency="'XXX'"),
    ),
    "an amount of an event that is no number": ("payment_events_amount_check", event(amount="'NaN'")),
    "a closed day before all days": ("closed_days_day_check", "insert into closed_days (day) values ('-infinity')"),
    "an order in a currency that no list has": ("orders_currency_fkey", "update orders set currency = 'XXX'"),
    "a currency with more digits in prices than in the books": (
        "currencies_check",
        "insert into currencies (code, exponent, price_exponent) values ('XXX', 0, 2)",
    ),
    "books in a currency that no list has": (
        "books_currency_is_listed",
        "delete from ledger_accounts where account_id is not null; update deployment set books_currency = 'XXX'",
    ),
}


# every kind there is -> what it is for, and the key that is made of it
KINDS = {
    "sale": ("order_id, payment_id", "payment:1"),
    "top_up": ("order_id, payment_id", "payment:1"),
    "gift_bought": ("order_id, payment_id", "payment:1"),
    "gift_claimed": ("order_id", "gift:1:claimed"),
    "gift_returned": ("order_id", "gift:1:returned"),
    "suspense": ("event_id", "event:1"),
    "suspense_resolved": ("event_id, actor_id, reason", "event:1:resolved"),
    "second_debit": ("event_id", "event:1:second_debit"),
    "fee": ("event_id", "fee:event:1"),
    "reward": ("order_id, payment_id", "reward:1"),
    "reward_released": ("order_id, payment_id", "reward:1:released"),
    "reward_reversed": ("order_id, payment_id", "reward:1:reversed"),
    "withdrawal_asked": ("withdrawal_id", "withdrawal:1"),
    "withdrawal_returned": ("withdrawal_id", "withdrawal:1:returned"),
    "withdrawal_paid": ("withdrawal_id", "withdrawal:1:paid"),
    "withdrawal_bounced": ("withdrawal_id", "withdrawal:1:bounced"),
    "refund": ("order_id, payment_id, refund_id", "refund:cryptobot:1"),
    "chargeback": ("order_id, payment_id, refund_id", "refund:stars:1"),
    "payout": ("", "payout:stars:1"),
    "affiliate_commission": ("", "affiliate_commission:stars:1"),
    "owner_movement": ("actor_id, reason", "owner_movement:opening"),
    "operator_credit": ("account_id, actor_id, reason", "operator_credit:1"),
    "operator_debit": ("account_id, actor_id, reason", "operator_debit:1"),
    "erasure": ("account_id", "erasure:1"),
    "correction": ("reverses_id, actor_id, reason", "correction:1"),
}


def of_kind(kind: str, key: str, names: str) -> str:
    """A transfer of that kind, whose key is free; every column it names holds 1."""
    nothing = {"account_id": "null", "actor_id": "null", "reason": "null"}
    named = {name: "'1'" for name in names.split(", ") if name}
    free = "delete from ledger_entries; delete from ledger_transfers where key = 'payment:1'"
    kept = "" if kind == "correction" else f"{free}; "
    return kept + transfer(entry(), **(nothing | named | {"kind": f"'{kind}'", "key": f"'{key}'"}))


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


FUNCTIONS_MAY = {
    "open an account": account(),
    "move a balance": "update ledger_accounts set balance = balance + 1 where account_id = 1",
    "hold a wallet": "select from ledger_accounts where account_id = 1 for no key update",
    "post": transfer(entry()),
    "add a node": "insert into nodes (name, api_url, key_name) values ('n1', 'http://127.0.0.1', 'XRAY_API_KEY')",
}
FUNCTIONS_MAY_NOT = {
    "change a payment": "update payments set kind = 'duplicate'",
    "remove a payment": "delete from payments",
    "change an entry": "update ledger_entries set amount = 1",
    "remove an entry": "delete from ledger_entries",
    "change a transfer": "update ledger_transfers set reason = 'another'",
    "remove a transfer": "delete from ledger_transfers",
    "choose a transfer's day": transfer(entry(), books_day="'2020-01-01'"),
    "choose a transfer's moment": transfer(entry(), booked_at="'2020-01-01'"),
    "open an account with a balance": account(code="'user:earned'", account_id="2", balance="5"),
    "change what an account is": "update ledger_accounts set code = 'bank' where code = 'revenue'",
    "change whose an account is": "update ledger_accounts set account_id = 2 where account_id = 1",
    "change an account's currency": "update ledger_accounts set currency = 'USD' where id = 2",
    "remove an account": "delete from ledger_accounts",
    "add to the chart": "insert into ledger_codes (code, type) values ('petty_cash', 'asset')",
    "change the chart": "update ledger_codes set type = 'expense' where code = 'revenue'",
    "add a provider": "insert into providers (name) values ('new')",
    "add a currency": "insert into currencies (code, exponent, price_exponent) values ('XXX', 2, 2)",
    "remove what a provider said": "delete from payment_events",
    "turn the generation of placement back": "update placement set generation = 0",
}


@pytest.mark.parametrize("name", FUNCTIONS_MAY)
def test_functions_may(owner: Connection, name: str) -> None:
    assert tried(owner, f"set local role atlas_app; {FUNCTIONS_MAY[name]}") is None


@pytest.mark.parametrize("name", FUNCTIONS_MAY_NOT)
def test_functions_may_not(owner: Connection, name: str) -> None:
    refused = tried(owner, f"set local role atlas_app; {FUNCTIONS_MAY_NOT[name]}")
    assert refused is not None
    assert refused.code == "42501"


@pytest.mark.parametrize("name", ALLOWED)
def test_what_is_right_is_taken(owner: Connection, name: str) -> None:
    assert tried(owner, ALLOWED[name]) is None


@pytest.mark.parametrize("name", FORBIDDEN)
def test_what_must_not_be_is_refused(owner: Connection, name: str) -> None:
    by, sql = FORBIDDEN[name]
    refused = tried(owner, sql)
    assert refused is not None
    assert by in {refused.constraint, refused.code}


@pytest.mark.parametrize("kind", KINDS)
def test_each_fact_names_what_it_is_for_and_has_a_key_of_it(owner: Connection, kind: str) -> None:
    names, key = KINDS[kind]
    assert tried(owner, of_kind(kind, key, names)) is None
    for wrong in ("", "1", f"{key[0]}:2", f"wrong:{key}"):
        refused = tried(owner, of_kind(kind, wrong, names))
        assert refused is not None
        assert refused.constraint == "key_is_made_of_the_fact"
    if names:
        assert tried(owner, of_kind(kind, key, "")) is not None


def test_these_are_all_kinds_there_are(owner: Connection) -> None:
    sql = "select pg_get_constraintdef(oid) from pg_constraint where conname = 'ledger_transfers_kind_check'"
    listed = str(owner.execute(sql, {})[1][0][0])
    assert set(re.findall("'([a-z_]+)'", listed)) == KINDS.keys()
