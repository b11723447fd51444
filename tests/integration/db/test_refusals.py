"""What a later careless statement can't do: every constraint of what is sold, owed and given is seen to refuse."""

from __future__ import annotations

import hashlib
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from lib.db.connection import Connection, Timeouts
from lib.db.errors import StatementFailed
from lib.db.migrate import migrate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sandbox.postgres.server import Postgres

_TERMS = "kind, tariff, period_days, list_price, price, value, currency, provider, expires_at"
_BASIC = "'subscription', 'basic', 30, 14900, 14900, 14900, 'RUB', 'cryptobot', atlas.now() + interval '30 minutes'"
_TOP_UP = "'top_up', null, null, 25000, 25000, 25000, 'RUB', 'cryptobot', atlas.now() + interval '30 minutes'"
_STARS = "'subscription', 'basic', 30, 150, 150, 14900, 'XTR', 'stars', atlas.now() + interval '30 minutes'"
# Anna's order is open; Boris's first month of a Stars subscription is, too; a gift of Boris's and Anna's top-up are paid, and Vera has access.
# Then a row of each table, in its first status.
_SEED = f"""
insert into accounts (first_name) values ('Anna'), ('Boris'), ('Vera');
insert into orders (account_id, {_TERMS}) values (1, {_BASIC});
insert into orders (account_id, recurring, {_TERMS}) values (2, true, {_STARS});
insert into orders (account_id, {_TERMS}) values (2, {_BASIC.replace("'subscription'", "'gift'")});
insert into orders (account_id, {_TERMS}) values (1, {_TOP_UP});
update orders set status = 'paid', paid_at = atlas.now() where id in (3, 4);
insert into payment_events (provider, external_id, body, meaning, via, correlation_id)
    values ('cryptobot', 'inv-3', '', '', 'webhook', 'c'), ('cryptobot', 'inv-4', '', '', 'webhook', 'c');
insert into payments (provider, charge_id, kind, order_id, account_id, event_id, amount, currency)
    values ('cryptobot', 'inv-3', 'settling', 3, 2, 1, 14900, 'RUB'), ('cryptobot', 'inv-4', 'settling', 4, 1, 2, 25000, 'RUB');
insert into subscriptions (account_id, tariff, source, status, activation_status, started_at, expires_at)
    values (3, 'basic', 'gift', 'expired', 'none', atlas.now() - interval '30 days', atlas.now());
insert into subscription_history (subscription_id, event, source, tariff, uuid, version, expires_at)
    select id, 'granted', source, tariff, gen_random_uuid(), 1, expires_at from subscriptions;
insert into promo_codes (code, percent, max_uses) values ('SPRING', 30, 1);
insert into promo_uses (order_id, account_id, promo_code_id) values (1, 1, 1);
insert into discounts (account_id, kind, percent, rule, ends_at)
    values (1, 'vip', null, null, null), (2, 'personal', 30, 'trial_ended', atlas.now() + interval '3 days');
insert into gifts (order_id, account_id, link_key_id, link_sha256, claimable_until)
    values (3, 2, '1', sha256('gift'), atlas.now() + interval '30 days');
insert into withdrawals (account_id, amount, destination_kind, destination) values (1, 50000, 'sbp', '+70000000000');
insert into refunds (payment_id, kind, provider, external_id, route, amount, currency)
    values (2, 'refund', 'cryptobot', 'refund-2', 'provider', 25000, 'RUB');
insert into refund_requests (event_id, reason, correlation_id) values (1, 'why', 'c');
insert into referral_rewards (payment_id, referrer_id, buyer_id, base, buyers, percent, amount, held_until)
    values (1, 1, 2, 14900, 3, 10, 1490, atlas.now() + interval '14 days');
insert into closed_days (day) values ('2020-01-31');
insert into closed_months (month, statement) values ('2020-01-01', 'all of it');
insert into ledger_accounts (code, currency) values ('revenue', 'RUB');
insert into ledger_snapshots (day, ledger_account_id, debit, credit) values ('2020-01-31', 1, 0, 100);
"""  # noqa: S608 -- constants of the test


@pytest.fixture(scope="module")
def seeded(postgres: Postgres) -> Iterator[str]:
    postgres.create_database("refusals")
    url = postgres.url("refusals")
    migrate(url, "local")
    with closing(Connection(url, application="test", timeouts=Timeouts())) as connection:
        connection.simple(_SEED)
    yield url
    postgres.drop_database("refusals")


@pytest.fixture(scope="module")
def connection(seeded: str) -> Iterator[Connection]:
    with closing(Connection(seeded, application="test", timeouts=Timeouts())) as connection:
        yield connection


@pytest.fixture
def session(connection: Connection) -> Iterator[Connection]:
    """The seeded rows, whatever a test did to them before."""
    connection.begin()
    yield connection
    connection.rollback()


_UNTRIGGERED = "set local session_replication_role = replica"  # the checks by themselves


def _first(changes: str) -> str:
    """Anna's order, changed."""
    return f"update orders set {changes} where id = 1"  # noqa: S608 -- constants of the test


def _child(
    parent: str = "2", charge: str = "'charge-2'", buyer: str = "2", terms: str = _STARS, *, recurring: bool = True
) -> str:
    """A further month of Boris's Stars subscription."""
    return (
        f"insert into orders (account_id, recurring, parent_id, renewal_charge_id, {_TERMS})"  # noqa: S608 -- constants of the test
        f" values ({buyer}, {recurring}, {parent}, {charge}, {terms})"
    )


def _inserted(terms: str, columns: str = "", values: str = "") -> str:
    """An order of Vera's."""
    return f"insert into orders (account_id, {columns}{_TERMS}) values (3, {values}{terms})"  # noqa: S608 -- constants of the test


_PAID = "status = 'paid', paid_at = atlas.now()"

ORDERS: list[tuple[str, ...]] = [
    ("orders_kind_check", _first("kind = 'donation'")),
    ("orders_period_days_check", _first("period_days = 0")),
    ("orders_list_price_check", _first("list_price = 0")),
    ("orders_discount_check", _first("discount = 'loyalty', discount_percent = 10, price = 13410")),
    ("orders_discount_percent_check", _first("discount = 'promo', discount_percent = 0")),
    ("orders_discount_percent_check", _first("discount = 'promo', discount_percent = 101, price = -149")),
    ("orders_status_check", _UNTRIGGERED, _first("status = 'refunded'")),
    ("orders_renewal_charge_id_check", _child(charge="''")),
    ("orders_invoice_id_check", _first("invoice_id = ''")),
    ("orders_invoice_url_check", _first("invoice_url = ''")),
    ("only_top_ups_grant_no_time", _first("kind = 'top_up'")),
    ("only_top_ups_grant_no_time", _first("tariff = null, period_days = null")),
    ("only_top_ups_grant_no_time", _first("period_days = null")),
    ("only_top_ups_grant_no_time", _first("tariff = null, kind = 'gift'")),
    ("discount_is_whole", _first("discount = 'vip'")),
    ("discount_is_whole", _first("discount_percent = 30, price = 10430")),
    (
        "discount_is_for_access",
        _first(
            "kind = 'top_up', tariff = null, period_days = null, discount = 'vip', discount_percent = 30, price = 10430"
        ),
    ),
    ("free_asks_no_provider", _first("provider = 'promo'")),
    ("free_asks_no_provider", _first("discount = 'promo', discount_percent = 100, price = 0, value = 0")),
    ("stars_are_sold_by_stars", _first("currency = 'XTR'")),
    ("stars_are_sold_by_stars", _first("provider = 'stars'")),
    (
        "orders_of_the_banned",
        "update accounts set banned_at = atlas.now(), banned_by = 1, ban_reason = 'a stolen card' where id = 3",
        _inserted(_BASIC),
    ),
    ("orders_account_id_fkey", "update orders set account_id = 99 where id = 2"),
    ("orders_currency_fkey", _first("currency = 'RUR'")),
    (
        "orders_parent_id_fkey",
        "update orders set parent_id = 0, renewal_charge_id = 'charge-2' where id = 2",
    ),
    ("orders_provider_fkey", _first("provider = 'bank'")),
    (
        "only_codes_make_it_free",
        _first("discount = 'vip', discount_percent = 100, price = 0, value = 0, provider = 'promo'"),
    ),
    ("price_is_list_less_discount", _first("price = 14899")),
    ("price_is_list_less_discount", _first("list_price = 14901")),
    ("price_is_list_less_discount", _first("discount = 'promo', discount_percent = 33, price = 9982")),
    ("value_is_of_the_price", _first("value = 0")),
    ("value_is_of_the_price", _first("value = -1")),
    ("value_is_of_the_price", _first("discount = 'promo', discount_percent = 100, price = 0, provider = 'promo'")),
    ("recurring_is_what_stars_offer", _first("recurring = true")),
    ("recurring_is_what_stars_offer", "update orders set period_days = 90 where id = 2"),
    ("recurring_is_what_stars_offer", "update orders set kind = 'gift' where id = 2"),
    ("recurring_is_what_stars_offer", "update orders set list_price = 10001, price = 10001 where id = 2"),
    (
        "recurring_is_what_stars_offer",
        "update orders set discount = 'promo', discount_percent = 30, price = 105 where id = 2",
    ),
    ("child_is_recurring", _UNTRIGGERED, _child(recurring=False)),
    ("child_has_its_charge", _child(charge="null")),
    ("child_has_its_charge", _first("renewal_charge_id = 'charge-1'")),
    ("child_is_younger", "update orders set parent_id = id, renewal_charge_id = 'charge-2' where id = 2"),
    ("paid_has_time", _first("status = 'paid'")),
    ("paid_has_time", _first("paid_at = atlas.now()")),
    ("invoice_claim_is_whole", _first("invoice_claimed_by = gen_random_uuid()")),
    ("invoice_claim_is_whole", _first("invoice_claimed_until = atlas.now()")),
    ("checkout_is_whole", _first("checkout_query_id = '1'")),
    ("checkout_is_whole", _first("checkout_until = atlas.now()")),
    (
        "orders_purchase_id_key",
        "update orders set purchase_id = (select purchase_id from orders where id = 2) where id = 1",
    ),
    (
        "orders_provider_invoice_id_key",
        _first("invoice_id = 'inv-1'"),
        _inserted(_BASIC, "invoice_id, ", "'inv-1', "),
    ),
    ("orders_one_open", _inserted(_BASIC), _inserted(_BASIC)),
    ("orders_one_child_per_charge", _child(), _child()),
    ("orders_begin", _inserted(_BASIC, "status, paid_at, ", "'paid', atlas.now(), ")),
    ("orders_begin", _inserted(_BASIC, "status, ", "'expired', ")),
    ("orders_arrows", _first(_PAID), _first("status = 'open', paid_at = null")),
    ("orders_arrows", _first(_PAID), _first("status = 'expired', paid_at = null")),
    ("orders_arrows", _first("status = 'expired'"), _first("status = 'open'")),
    ("orders_arrows", _first("status = 'expired'"), _first("status = 'replaced'")),
    ("orders_arrows", _first("status = 'replaced'"), _first("status = 'open'")),
    ("orders_child", _child(parent="1")),
    ("orders_child", _child(buyer="3")),
    ("orders_child", _child(terms=_STARS.replace("basic", "plus"))),
    ("orders_child", _child(terms=_STARS.replace("150, 150", "160, 160"))),
    ("orders_child", _child(terms=_STARS.replace("14900", "15000"))),
    ("orders_child", _child(terms=_STARS.replace("'stars'", "'card'"))),
    ("orders_child", _child(), _child(parent="(select max(id) from orders)", charge="'charge-3'")),
]
_USED = "update promo_uses set status = 'used', used_at = atlas.now()"
_RELEASED = "update promo_uses set status = 'released', released_at = atlas.now()"

PROMO: list[tuple[str, ...]] = [
    *(
        ("promo_codes_code_check", f"update promo_codes set code = '{code}'")  # noqa: S608 -- constants of the test
        for code in ("AB", "A" * 33, "spring", "A B", "ЁЖ1")
    ),
    ("promo_codes_percent_check", "update promo_codes set percent = 0"),
    ("promo_codes_percent_check", "update promo_codes set percent = 101"),
    ("promo_codes_tariffs_check", "update promo_codes set tariffs = '{}'"),
    ("promo_codes_max_uses_check", "update promo_codes set max_uses = 0"),
    ("promo_codes_uses_per_account_check", "update promo_codes set uses_per_account = 0"),
    ("promo_codes_uses_taken_check", "update promo_codes set uses_taken = -1"),
    ("taken_within_the_limit", "update promo_codes set uses_taken = 2"),
    ("promo_codes_code_key", "insert into promo_codes (code, percent) values ('SPRING', 10)"),
    ("promo_uses_pkey", "insert into promo_uses (order_id, account_id, promo_code_id) values (1, 1, 1)"),
    (
        "promo_use_of_the_orders_account",
        "insert into promo_uses (order_id, account_id, promo_code_id) values (2, 1, 1)",
    ),
    ("promo_uses_promo_code_id_fkey", "insert into promo_uses (order_id, account_id, promo_code_id) values (4, 1, 9)"),
    ("promo_uses_status_check", _UNTRIGGERED, "update promo_uses set status = 'over'"),
    ("used_has_time", "update promo_uses set status = 'used'"),
    ("used_has_time", "update promo_uses set used_at = atlas.now()"),
    ("released_has_time", "update promo_uses set status = 'released'"),
    ("released_has_time", "update promo_uses set released_at = atlas.now()"),
    (
        "promo_uses_begin",
        "insert into promo_uses (order_id, account_id, promo_code_id, status, used_at) values (4, 1, 1, 'used', atlas.now())",
    ),
    (
        "promo_uses_arrows",
        _USED,
        "update promo_uses set status = 'released', used_at = null, released_at = atlas.now()",
    ),
    ("promo_uses_arrows", _USED, "update promo_uses set status = 'reserved', used_at = null"),
    ("promo_uses_arrows", _RELEASED, "update promo_uses set status = 'reserved', released_at = null"),
    ("discounts_kind_check", "update discounts set kind = 'loyalty' where id = 2"),
    ("discounts_percent_check", "update discounts set percent = 0 where id = 2"),
    ("discounts_percent_check", "update discounts set percent = 100 where id = 2"),
    ("discounts_rule_check", "update discounts set rule = 'Trial ended' where id = 2"),
    ("vip_percent_is_the_price_lists", "update discounts set percent = 30 where id = 1"),
    ("vip_percent_is_the_price_lists", "update discounts set percent = null where id = 2"),
    ("vip_is_for_good", "update discounts set ends_at = given_at + interval '1 day' where id = 1"),
    ("vip_is_for_good", "update discounts set rule = 'trial_ended' where id = 1"),
    ("given_by_rule_or_operator", "update discounts set given_by = 5 where id = 2"),
    ("ends_after_it_began", "update discounts set ends_at = given_at where id = 2"),
    (
        "discounts_once_per_rule",
        "insert into discounts (account_id, kind, percent, rule) values (2, 'personal', 40, 'trial_ended')",
    ),
    ("discounts_one_vip", "insert into discounts (account_id, kind) values (1, 'vip')"),
    ("discounts_account_id_fkey", "insert into discounts (account_id, kind) values (9, 'vip')"),
]

_CLAIMED = "update gifts set status = 'claimed', claimed_by = 3, history_id = 1, ended_at = atlas.now()"
_RETURNED = "update gifts set status = 'returned', ended_at = atlas.now()"
_SECOND_GIFT = "insert into gifts (order_id, account_id, link_key_id, link_sha256, claimable_until) values"
_ENDED_GIFT = _SECOND_GIFT.replace(") values", ", status, ended_at) values")
_WITHDRAWAL = "insert into withdrawals (account_id, amount, destination_kind, destination, status, approved_by, approved_at) values"

GIFTS: list[tuple[str, ...]] = [
    ("gifts_link_sha256_check", "update gifts set link_sha256 = 'short'"),
    ("gifts_link_sha256_key", f"{_SECOND_GIFT} (2, 2, '1', sha256('gift'), atlas.now() + interval '1 day')"),
    ("gifts_pkey", f"{_SECOND_GIFT} (3, 2, '1', sha256('other'), atlas.now() + interval '1 day')"),
    ("gift_of_the_buyers_order", f"{_SECOND_GIFT} (1, 2, '1', sha256('other'), atlas.now() + interval '1 day')"),
    ("claimable_for_a_while", "update gifts set claimable_until = created_at"),
    ("gifts_status_check", _UNTRIGGERED, "update gifts set status = 'sold', ended_at = atlas.now()"),
    ("claimed_says_by_whom", "update gifts set status = 'claimed', history_id = 1, ended_at = atlas.now()"),
    ("claimed_says_by_whom", "update gifts set claimed_by = 3"),
    ("claimed_is_granted", "update gifts set status = 'claimed', claimed_by = 3, ended_at = atlas.now()"),
    ("claimed_is_granted", "update gifts set history_id = 1"),
    ("gift_end_has_time", "update gifts set status = 'returned'"),
    ("gift_end_has_time", "update gifts set ended_at = atlas.now()"),
    ("gifts_claimed_by_fkey", _CLAIMED.replace("claimed_by = 3", "claimed_by = 9")),
    ("gifts_history_id_fkey", _CLAIMED.replace("history_id = 1", "history_id = 9")),
    (
        "gifts_history_id_key",
        _CLAIMED,
        f"{_SECOND_GIFT} (2, 2, '1', sha256('other'), atlas.now() + interval '1 day')",
        f"{_CLAIMED} where order_id = 2",
    ),
    (
        "gifts_begin",
        f"{_ENDED_GIFT} (2, 2, '1', sha256('other'), atlas.now() + interval '1 day', 'returned', atlas.now())",
    ),
    (
        "gifts_arrows",
        _CLAIMED,
        "update gifts set status = 'paid', claimed_by = null, history_id = null, ended_at = null",
    ),
    ("gifts_arrows", _CLAIMED, "update gifts set status = 'refunded', claimed_by = null, history_id = null"),
    ("gifts_arrows", _RETURNED, _CLAIMED),
    ("gifts_arrows", _RETURNED, "update gifts set status = 'refunded'"),
]

_APPROVED = "update withdrawals set status = 'approved', approved_by = 5, approved_at = atlas.now()"
_REJECTED = "update withdrawals set status = 'rejected', reason = 'no such card', ended_at = atlas.now()"
_PAID_OUT = "update withdrawals set status = 'paid', ended_at = atlas.now()"
_FAILED = "update withdrawals set status = 'failed', reason = 'taken back', ended_at = atlas.now()"
_BOUNCED = "update withdrawals set status = 'returned', reason = 'the bank sent it back', returned_at = atlas.now()"

WITHDRAWALS: list[tuple[str, ...]] = [
    ("withdrawals_amount_check", "update withdrawals set amount = 0"),
    ("withdrawals_destination_kind_check", "update withdrawals set destination_kind = 'cash'"),
    ("withdrawals_destination_check", "update withdrawals set destination = ''"),
    ("withdrawals_destination_check", "update withdrawals set destination = repeat('1', 201)"),
    ("withdrawals_status_check", _UNTRIGGERED, "update withdrawals set status = 'sent', ended_at = atlas.now()"),
    ("withdrawals_reason_check", "update withdrawals set reason = ''"),
    ("withdrawals_reason_check", "update withdrawals set reason = repeat('a', 1001)"),
    ("approved_is_whole", "update withdrawals set status = 'approved', approved_at = atlas.now()"),
    ("approved_is_whole", "update withdrawals set approved_by = 5"),
    ("approved_before_it_is_paid", "update withdrawals set status = 'approved'"),
    ("approved_before_it_is_paid", "update withdrawals set approved_by = 5, approved_at = atlas.now()"),
    ("two_people_are_two", _APPROVED, "update withdrawals set confirmed_by = approved_by"),
    ("two_people_are_two", "update withdrawals set confirmed_by = 6"),
    ("withdrawal_end_has_time", _APPROVED, "update withdrawals set status = 'paid'"),
    ("withdrawal_end_has_time", "update withdrawals set ended_at = atlas.now()"),
    ("returned_has_time", _APPROVED, _PAID_OUT, "update withdrawals set status = 'returned', reason = 'bounced'"),
    ("returned_has_time", "update withdrawals set returned_at = atlas.now()"),
    ("refusal_has_a_reason", "update withdrawals set status = 'rejected', ended_at = atlas.now()"),
    ("destination_is_there_or_erased", "update withdrawals set destination = null"),
    ("destination_is_there_or_erased", _REJECTED, "update withdrawals set destination_erased_at = atlas.now()"),
    ("destination_stays_to_the_end", "update withdrawals set destination = null, destination_erased_at = atlas.now()"),
    ("withdrawals_account_id_fkey", "update withdrawals set account_id = 9"),
    (
        "withdrawals_one_open",
        _APPROVED,
        "insert into withdrawals (account_id, amount, destination_kind, destination) values (1, 50000, 'card', '4')",
    ),
    (
        "withdrawals_begin",
        f"{_WITHDRAWAL} (2, 50000, 'card', '4', 'approved', 5, atlas.now())",
    ),
    ("withdrawals_arrows", _PAID_OUT.replace("ended_at", "approved_by = 5, approved_at = atlas.now(), ended_at")),
    (
        "withdrawals_arrows",
        _APPROVED,
        _REJECTED.replace("ended_at", "approved_by = null, approved_at = null, ended_at"),
    ),
    ("withdrawals_arrows", _APPROVED, _PAID_OUT, "update withdrawals set status = 'approved', ended_at = null"),
    ("withdrawals_arrows", _APPROVED, _PAID_OUT, _FAILED),
    ("withdrawals_arrows", _REJECTED, "update withdrawals set status = 'requested', ended_at = null"),
    ("withdrawals_arrows", _FAILED, "update withdrawals set status = 'rejected'"),
    (
        "withdrawals_arrows",
        _APPROVED,
        _PAID_OUT,
        _BOUNCED,
        _PAID_OUT.replace("ended_at", "returned_at = null, ended_at"),
    ),
]

_REFUND = "insert into refunds (payment_id, kind, provider, external_id, route, amount, currency) values"

REFUNDS: list[tuple[str, ...]] = [
    ("refunds_payment_id_fkey", f"{_REFUND} (9, 'refund', 'cryptobot', 'refund-9', 'provider', 1, 'RUB')"),
    ("refunds_kind_check", "update refunds set kind = 'gift'"),
    ("refunds_provider_fkey", "update refunds set provider = 'bank'"),
    ("refunds_external_id_check", "update refunds set external_id = ''"),
    ("refunds_route_check", "update refunds set route = 'cash'"),
    ("refunds_amount_check", "update refunds set amount = 0"),
    ("refunds_currency_fkey", "update refunds set currency = 'RUR'"),
    ("refunds_fee_asset_check", "update refunds set fee_asset = 'usdt', fee_amount = 1"),
    ("refunds_fee_amount_check", "update refunds set fee_asset = 'USDT', fee_amount = 0"),
    ("refunds_fee_amount_check", "update refunds set fee_asset = 'USDT', fee_amount = 'infinity'"),
    ("refunds_fee_amount_check", "update refunds set fee_asset = 'USDT', fee_amount = 'NaN'"),
    ("refund_on_its_providers_event", "update refunds set event_id = 9"),
    (
        "refunds_event_id_key",
        "update refunds set event_id = 1",
        f"{_REFUND} (1, 'refund', 'cryptobot', 'refund-1', 'provider', 1, 'RUB')",
        "update refunds set event_id = 1 where payment_id = 1",
    ),
    ("refunds_reason_check", "update refunds set reason = ''"),
    ("fee_is_whole", "update refunds set fee_asset = 'USDT'"),
    ("fee_is_whole", "update refunds set fee_amount = 1"),
    ("chargebacks_are_the_providers", f"{_REFUND} (1, 'chargeback', 'balance', '1', 'balance', 1, 'RUB')"),
    ("refunds_provider_external_id_key", f"{_REFUND} (1, 'chargeback', 'cryptobot', 'refund-2', 'provider', 1, 'RUB')"),
    (
        "refunds_once_per_payment",
        f"{_REFUND} (2, 'refund', 'balance', '2', 'balance', 1, 'RUB')",
        f"{_REFUND} (2, 'refund', 'transfer', '3', 'bank', 1, 'RUB')",
    ),
    ("refunds_one_debit_per_payment", f"{_REFUND} (2, 'chargeback', 'cryptobot', 'cb', 'provider', 1, 'RUB')"),
    (
        "refunds_once_per_charge",
        "update refunds set charge_event_id = 2",
        (
            "insert into refunds (charge_event_id, kind, provider, external_id, route, amount, currency)"
            " values (2, 'chargeback', 'cryptobot', 'cb', 'provider', 1, 'RUB')"
        ),
    ),
    ("refunds_part_of_charge_check", "update refunds set part_of_charge = 0"),
    ("only_a_provider_takes_parts", "update refunds set part_of_charge = 1, route = 'balance'"),
    ("refunds_charge_event_id_fkey", "update refunds set charge_event_id = 9"),
    ("refund_is_of_something", "update refunds set payment_id = null"),
]

_REQUEST = "insert into refund_requests (event_id, reason, correlation_id) values"
_SENT = "update refund_requests set status = 'sent'"
_REFUSED = "update refund_requests set status = 'refused', ended_at = atlas.now()"

REFUND_REQUESTS: list[tuple[str, ...]] = [
    ("refund_requests_event_id_fkey", f"{_REQUEST} (9, 'why', 'c')"),
    ("refund_requests_account_id_fkey", "update refund_requests set account_id = 9"),
    (
        "refund_requests_status_check",
        _UNTRIGGERED,
        "update refund_requests set status = 'lost', ended_at = atlas.now()",
    ),
    ("refund_requests_held_check", "update refund_requests set held = -1, account_id = 1"),
    ("refund_requests_held_check", "update refund_requests set held = 'NaN', account_id = 1"),
    ("refund_requests_made_by_check", "update refund_requests set made_by = 0"),
    ("refund_requests_reason_check", "update refund_requests set reason = ''"),
    ("refund_requests_attempts_check", "update refund_requests set attempts = -1"),
    ("refund_claim_is_whole", "update refund_requests set claimed_by = gen_random_uuid()"),
    ("refund_end_has_time", "update refund_requests set ended_at = atlas.now()"),
    ("refund_end_has_time", _SENT, "update refund_requests set status = 'done'"),
    ("held_is_of_a_balance", "update refund_requests set held = 1"),
    ("refund_requests_one", f"{_REQUEST} (1, 'why', 'c')"),
    (
        "refund_requests_begin",
        "insert into refund_requests (event_id, reason, correlation_id, status) values (2, 'w', 'c', 'sent')",
    ),
    ("refund_requests_arrows", _REFUSED, "update refund_requests set status = 'requested', ended_at = null"),
    ("refund_requests_arrows", _REFUSED, "update refund_requests set status = 'done'"),
]

_EARNED = "update referral_rewards set status = 'earned', earned_at = held_until"
_REVERSED = "update referral_rewards set status = 'reversed', reversed_at = atlas.now()"
_REWARD = "insert into referral_rewards (payment_id, referrer_id, buyer_id, base, buyers, percent, amount, held_until{}) values"
_UNTIL = "atlas.now() + interval '14 days'"

REWARDS: list[tuple[str, ...]] = [
    ("referral_rewards_base_check", "update referral_rewards set base = 0"),
    ("referral_rewards_buyers_check", "update referral_rewards set buyers = 0"),
    ("referral_rewards_percent_check", "update referral_rewards set percent = 101, amount = 15049"),
    ("referral_rewards_amount_check", "update referral_rewards set base = 9, amount = 0"),
    ("referral_rewards_status_check", _UNTRIGGERED, "update referral_rewards set status = 'lost'"),
    ("reward_is_its_percent", "update referral_rewards set amount = 1491"),
    ("reward_goes_to_the_older_account", "update referral_rewards set referrer_id = 3"),
    ("reward_goes_to_the_older_account", "update referral_rewards set referrer_id = 2"),
    ("earned_has_time", "update referral_rewards set status = 'earned'"),
    ("earned_has_time", "update referral_rewards set earned_at = held_until"),
    (
        "earned_after_the_hold",
        "update referral_rewards set status = 'earned', earned_at = held_until - interval '1 second'",
    ),
    ("reversed_has_time", "update referral_rewards set status = 'reversed'"),
    ("reversed_has_time", "update referral_rewards set reversed_at = atlas.now()"),
    ("only_reversed_names_a_refund", "update referral_rewards set refund_id = 1"),
    ("reversed_by_its_payments_refund", f"{_REVERSED}, refund_id = 1"),
    ("only_earned_is_written_off", f"{_REVERSED}, written_off = 1"),
    ("only_earned_is_written_off", _EARNED, "update referral_rewards set written_off = 1"),
    ("only_earned_is_written_off", _EARNED, f"{_REVERSED}, written_off = 1491"),
    ("only_earned_is_written_off", _EARNED, f"{_REVERSED}, written_off = -1"),
    ("referral_rewards_pkey", f"{_REWARD.format('')} (1, 1, 2, 14900, 1, 10, 1490, {_UNTIL})"),
    ("reward_of_the_buyers_payment", f"{_REWARD.format('')} (9, 1, 2, 14900, 1, 10, 1490, {_UNTIL})"),
    ("referral_rewards_referrer_id_fkey", f"{_REWARD.format('')} (2, 0, 2, 14900, 1, 10, 1490, {_UNTIL})"),
    ("reward_of_the_buyers_payment", f"{_REWARD.format('')} (2, 1, 3, 14900, 1, 10, 1490, {_UNTIL})"),
    (
        "referral_rewards_begin",
        f"{_REWARD.format(', status, earned_at')} (2, 1, 2, 14900, 1, 10, 1490, {_UNTIL}, 'earned', {_UNTIL})",
    ),
    ("referral_rewards_arrows", _EARNED, "update referral_rewards set status = 'held', earned_at = null"),
    ("referral_rewards_arrows", _REVERSED, "update referral_rewards set status = 'held', reversed_at = null"),
    ("referral_rewards_arrows", _REVERSED, f"{_EARNED}, reversed_at = null"),
]

_ISSUED = "update receipts set status = 'issued', issued_at = atlas.now(), number = 'A-1' where payment_id = 2"
_ANNULLING = "update receipts set status = 'annulling', refund_id = 1, refunded_at = atlas.now() where payment_id = 2"

RECEIPTS: list[tuple[str, ...]] = [
    ("receipts_amount_check", "update receipts set amount = 0"),
    ("receipts_number_check", "update receipts set status = 'issued', issued_at = atlas.now(), number = ''"),
    ("receipts_attempts_check", "update receipts set attempts = -1"),
    ("receipts_status_check", _UNTRIGGERED, "update receipts set status = 'lost', issued_at = atlas.now()"),
    ("issued_has_time", "update receipts set status = 'issued'"),
    ("issued_has_time", "update receipts set issued_at = atlas.now()"),
    ("only_issued_has_a_number", "update receipts set number = 'A-1'"),
    ("annulled_by_a_refund", _ISSUED, "update receipts set status = 'annulling' where payment_id = 2"),
    ("annulled_by_a_refund", "update receipts set refund_id = 1 where payment_id = 2"),
    ("annulled_has_time", "update receipts set status = 'annulled', refund_id = 1 where payment_id = 2"),
    ("annulled_has_time", "update receipts set annulled_at = atlas.now()"),
    ("refund_has_its_moment", _ISSUED, "update receipts set status = 'annulling', refund_id = 1 where payment_id = 2"),
    ("refund_has_its_moment", "update receipts set refunded_at = atlas.now()"),
    (
        "annulled_by_its_payments_refund",
        "update receipts set status = 'annulled', annulled_at = atlas.now(), refund_id = 1, refunded_at = atlas.now() where payment_id = 1",
    ),
    ("receipts_pkey", "insert into receipts (payment_id, amount) values (1, 14900)"),
    ("receipts_payment_id_fkey", "insert into receipts (payment_id, amount) values (9, 14900)"),
    (
        "receipts_begin",
        "insert into receipts (payment_id, amount, status, issued_at) values (3, 1, 'issued', atlas.now())",
    ),
    (
        "receipts_arrows",
        _ISSUED,
        "update receipts set status = 'due', issued_at = null, number = null where payment_id = 2",
    ),
    (
        "receipts_arrows",
        "update receipts set status = 'annulling', refund_id = 1, issued_at = atlas.now() where payment_id = 2",
    ),
    (
        "receipts_arrows",
        _ISSUED,
        _ANNULLING,
        "update receipts set status = 'issued', refund_id = null, refunded_at = null where payment_id = 2",
    ),
]

_MONTH = "insert into closed_months (month, statement) values"
_SALE = "insert into ledger_transfers (key, kind, entries, order_id, payment_id) values ('payment:1', 'sale', 1, 3, 1)"


def _at(moment: str) -> str:
    """The clock of the session shows this, of the books' zone."""
    return f"update deployment set clock_offset = cast('{moment} Europe/Moscow' as timestamptz) - pg_catalog.now()"  # noqa: S608 -- constants of the test


CLOSING: list[tuple[str, ...]] = [
    ("closed_days_in_order", _at("2020-02-02 02:59:59"), "insert into closed_days (day) values ('2020-02-01')"),
    ("closed_days_in_order", "insert into closed_days (day) values ('2020-02-02')"),
    ("closed_days_pkey", "insert into closed_days (day) values ('2020-01-31')"),
    ("closed_days_in_order", "insert into closed_days (day) values ('2020-01-30')"),
    (
        "closed_days_in_order",
        "update deployment set books_zone = null",
        "insert into closed_days (day) values ('2020-02-01')",
    ),
    ("closed_days_day_check", "update closed_days set day = '-infinity'"),
    ("month_is_its_first_day", f"{_MONTH} ('2020-01-02', 'all of it')"),
    ("closed_months_last_day_fkey", f"{_MONTH} ('2020-02-01', 'all of it')"),
    ("closed_months_statement_check", f"{_MONTH} ('2020-02-01', '')"),
    ("closed_months_closed_by_check", "update closed_months set closed_by = 0"),
    ("closed_months_pkey", f"{_MONTH} ('2020-01-01', 'all of it')"),
    (
        "ledger_snapshots_day_fkey",
        "insert into ledger_snapshots (day, ledger_account_id, debit, credit) values ('2020-02-01', 1, 0, 0)",
    ),
    ("ledger_snapshots_ledger_account_id_fkey", "update ledger_snapshots set ledger_account_id = 9"),
    ("ledger_snapshots_debit_check", "update ledger_snapshots set debit = -1"),
    ("ledger_snapshots_debit_check", "update ledger_snapshots set debit = 'NaN'"),
    ("ledger_snapshots_credit_check", "update ledger_snapshots set credit = -1"),
    ("ledger_snapshots_credit_check", "update ledger_snapshots set credit = 'NaN'"),
    ("transfer_of_an_open_day", _at("2020-01-31 23:59:59"), _SALE),
    ("transfer_of_an_open_day", _at("2020-01-30 12:00"), _SALE),
]

REFUSED = [*CLOSING, *ORDERS, *PROMO, *GIFTS, *WITHDRAWALS, *REFUNDS, *REFUND_REQUESTS, *REWARDS, *RECEIPTS]


@pytest.mark.parametrize("case", REFUSED, ids=[f"{number}-{case[0]}" for number, case in enumerate(REFUSED)])
def test_a_forbidden_statement_is_refused_by_the_constraint_that_is_for_it(
    session: Connection, case: tuple[str, ...]
) -> None:
    constraint, *before, forbidden = case
    for statement in before:
        session.simple(statement)
    with pytest.raises(StatementFailed) as refused:
        session.simple(forbidden)
    assert refused.value.constraint == constraint


ALLOWED: list[tuple[str, ...]] = [
    (_first(_PAID),),
    (_first("status = 'expired'"), _first(_PAID)),
    (_first("status = 'replaced'"), _first(_PAID), _first(_PAID)),
    (_first("discount = 'promo', discount_percent = 33, price = 9983"),),
    (_first("discount = 'promo', discount_percent = 100, price = 0, value = 0, provider = 'promo'"),),
    (_first("kind = 'top_up', tariff = null, period_days = null"),),
    (_first("invoice_id = 'charge-1'"),),
    (
        _child(),
        _child(charge="'charge-3'"),
        "update orders set status = 'paid', paid_at = atlas.now() where parent_id = 2",
    ),
]


@pytest.mark.parametrize("statements", ALLOWED)
def test_what_the_rules_allow_is_taken(session: Connection, statements: tuple[str, ...]) -> None:
    for statement in statements:
        session.simple(statement)


_CONSTRAINTS = """
select c.conname from pg_constraint c
where c.contype in ('c', 'f', 'u') and c.conrelid = any (cast(cast(:tables as text[]) as regclass[]))
union
select cast(i.indexrelid as regclass)::text from pg_index i
where i.indisunique and not i.indisprimary and i.indrelid = any (cast(cast(:tables as text[]) as regclass[]))
union
select t.tgname from pg_trigger t where not t.tgisinternal and t.tgrelid = any (cast(cast(:tables as text[]) as regclass[]))
"""
TABLES = (
    "orders", "promo_codes", "promo_uses", "discounts", "gifts", "withdrawals", "refunds", "refund_requests", "referral_rewards", "receipts",
    "closed_days", "closed_months", "ledger_snapshots",
)  # fmt: skip
# unique because they are targets of foreign keys; with a primary key in them nothing can break them
_ONLY_TARGETS = {"orders_of_account", "refunds_of_payment"}


def test_every_constraint_was_seen_to_refuse(session: Connection) -> None:
    _, rows, _ = session.execute(_CONSTRAINTS, {"tables": "{" + ",".join(TABLES) + "}"})
    assert {name for (name,) in rows} - _ONLY_TARGETS == (
        {case[0] for case in REFUSED if not case[0].endswith("_pkey")} - {"transfer_of_an_open_day"}
    )


_RIGHTS = """
select t.name || coalesce('.' || a.attname, '') from unnest(cast(:tables as text[])) as t (name)
left join pg_attribute a on a.attrelid = cast(t.name as regclass) and a.attnum > 0 and :each
where case when :each then has_column_privilege('atlas_app', t.name, a.attname, :right)
           else has_table_privilege('atlas_app', t.name, :right) end
"""


def _granted(session: Connection, right: str, *, each_column: bool = False) -> set[str]:
    parameters = {"tables": "{" + ",".join(TABLES) + "}", "right": right, "each": each_column}
    return {name for (name,) in session.execute(_RIGHTS, parameters)[1]}


# What functions may change of a row that is there; what is not here is agreed, owed or done, and stays.
CHANGEABLE = {
    "orders": "status paid_at invoice_id invoice_url invoice_asked_at invoice_claimed_by invoice_claimed_until checkout_query_id"
    " checkout_until provider_closed_at provider_missing_since",
    "refund_requests": "status held claimed_by claimed_until attempts next_attempt_at last_answer ended_at",
    "promo_codes": "uses_taken stopped_at",
    "promo_uses": "status used_at released_at",
    "discounts": "withdrawn_at",
    "gifts": "status claimed_by history_id ended_at",
    "withdrawals": "status approved_by approved_at confirmed_by ended_by ended_at returned_at reason destination"
    " destination_erased_at",
    "referral_rewards": "status earned_at reversed_at refund_id written_off",
    "receipts": "status number refund_id refunded_at attempts next_attempt_at issued_at annulled_at",
}


def test_functions_change_how_a_row_goes_on_and_nothing_else(session: Connection) -> None:
    changeable = {f"{table}.{column}" for table, columns in CHANGEABLE.items() for column in columns.split()}
    assert _granted(session, "update", each_column=True) == changeable
    assert _granted(session, "delete") | _granted(session, "truncate") | _granted(session, "update") == set()
    assert _granted(session, "insert") == set(TABLES) - {"closed_days", "closed_months", "ledger_snapshots"}
    assert not _granted(session, "insert", each_column=True) & {"closed_days.closed_at", "closed_months.closed_at"}


def test_functions_close_a_day_and_a_month(session: Connection) -> None:
    session.simple(_at("2020-03-01 03:00"))
    session.simple("set local role atlas_app")
    for day in range(1, 30):
        session.simple(f"insert into closed_days (day) values ('2020-02-{day:02}')")  # noqa: S608 -- constants of the test
        session.simple(
            "insert into ledger_snapshots (day, ledger_account_id, debit, credit) select max(day), 1, 0, 100 from closed_days"
        )
    session.simple(f"{_MONTH} ('2020-02-01', 'all of it')")
    hashes = session.execute("select encode(statement_sha256, 'hex') from closed_months order by month", {})[1]
    assert [row[0] for row in hashes] == [hashlib.sha256(b"all of it").hexdigest()] * 2


def test_where_a_withdrawal_goes_is_not_read_with_the_rest(session: Connection) -> None:
    session.simple("set local role atlas_readonly")
    session.simple("select id, account_id, amount, status from withdrawals")
    with pytest.raises(StatementFailed) as refused:
        session.simple("select destination from withdrawals")
    assert refused.value.code == "42501"


_UNREADABLE = """
select c.relname || '.' || a.attname from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
where c.relnamespace = 'atlas'::regnamespace and c.relkind = 'r' and not has_column_privilege('atlas_readonly', a.attrelid, a.attnum, 'select')
"""


def test_the_reader_sees_every_column_but_that_one(session: Connection) -> None:
    """A column that is added later is not masked by being forgotten, nor seen by being granted with its table."""
    assert session.execute(_UNREADABLE, {})[1] == [["withdrawals.destination"]]


# What sweeps will ask of these tables, and the index that is for it.
DUE = {
    "promo_uses_reserved": "select order_id from promo_uses where status = 'reserved' and order_id > 0 order by order_id limit 100",
    "discounts_of_account": "select id from discounts where account_id = 1 and withdrawn_at is null",
    "gifts_due": "select order_id from gifts where status = 'paid' and claimable_until <= now() order by claimable_until, order_id",
    "withdrawals_open": "select id from withdrawals where status in ('requested', 'approved') order by id",
    "withdrawals_to_erase": "select id from withdrawals where destination is not null and ended_at is not null"
    " and ended_at <= now() - interval '90 days' order by ended_at, id",
    "referral_rewards_due": "select payment_id from referral_rewards where status = 'held' and held_until <= now()"
    " order by held_until, payment_id",
    "referral_rewards_of_referrer": "select count(distinct buyer_id) from referral_rewards where referrer_id = 1",
    "refund_requests_due": "select id from refund_requests where status in ('requested', 'sent') and next_attempt_at <= now()"
    " order by next_attempt_at, id",
    "receipts_due": "select payment_id from receipts where status in ('due', 'annulling') and next_attempt_at <= now()"
    " order by next_attempt_at, payment_id",
    "orders_of_account": "select id from orders where account_id = 1 order by id desc limit 10",
    "orders_of_parent": "select id from orders where parent_id = 2 order by id",
}


@pytest.mark.parametrize("index", DUE)
def test_what_is_due_is_found_by_the_index_that_is_for_it(session: Connection, index: str) -> None:
    """On a few rows only the planner's wish for a whole read has to be taken away; no sort may be left."""
    session.simple("set local enable_seqscan = off; set local enable_bitmapscan = off")
    plan = "\n".join(row[0] for row in session.execute(f"explain {DUE[index]}", {})[1])
    assert f" {index} " in plan
    assert "Sort" not in plan or "distinct" in DUE[index]
