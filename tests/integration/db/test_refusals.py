"""What a later careless statement can't do: every constraint of what is sold, owed and given is seen to refuse."""

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

_TERMS = "kind, tariff, period_days, list_price, price, value, currency, provider, expires_at"
_BASIC = "'subscription', 'basic', 30, 14900, 14900, 14900, 'RUB', 'cryptobot', atlas.now() + interval '30 minutes'"
_STARS = "'subscription', 'basic', 30, 150, 150, 14900, 'XTR', 'stars', atlas.now() + interval '30 minutes'"
# Two customers, each with an open order; the second one's is the first month of a Stars subscription.
_SEED = f"""
insert into accounts (first_name) values ('Anna'), ('Boris'), ('Vera');
insert into orders (account_id, {_TERMS}) values (1, {_BASIC});
insert into orders (account_id, recurring, {_TERMS}) values (2, true, {_STARS});
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
    ("orders_account_id_fkey", _first("account_id = 99")),
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
REFUSED = ORDERS


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
TABLES = ["orders"]
# unique because it is a foreign key's target; with a primary key in it nothing can break it
_ONLY_TARGETS = {"orders_of_account"}


def test_every_constraint_was_seen_to_refuse(session: Connection) -> None:
    _, rows, _ = session.execute(_CONSTRAINTS, {"tables": "{" + ",".join(TABLES) + "}"})
    assert {name for (name,) in rows} - _ONLY_TARGETS == {case[0] for case in REFUSED}


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
}


def test_functions_change_how_a_row_goes_on_and_nothing_else(session: Connection) -> None:
    changeable = {f"{table}.{column}" for table, columns in CHANGEABLE.items() for column in columns.split()}
    assert _granted(session, "update", each_column=True) == changeable
    assert _granted(session, "delete") | _granted(session, "truncate") | _granted(session, "update") == set()
    assert _granted(session, "insert") == set(TABLES)
