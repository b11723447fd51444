-- Lists of providers that begin with their oldest line, where what is new stands at the end: how many lines were taken up.
create table provider_listings (
    provider text primary key references providers,
    read_to bigint not null check (read_to >= 0)
);

-- What left by itself, a payout or what is not the shop's, ends as moved money.
alter table payment_events
    drop constraint payment_events_resolution_check,
    add constraint payment_events_resolution_check
        check (resolution in ('assigned', 'refunded', 'credited', 'no_money', 'moved'));

-- An affiliate's part comes back with its charge: the one correction that no operator makes.
alter table ledger_transfers
    drop constraint operators_say_who_and_why,
    add constraint operators_say_who_and_why check (
        kind not in ('operator_credit', 'operator_debit', 'owner_movement', 'correction')
        or (actor_id is not null and reason is not null)
        or (kind = 'correction' and actor_id is null and coalesce(reason = 'came back with its charge', false)));

-- Each debit of a charge in such a list: the first is its refund or chargeback, a further one is money lost.
create table listed_debits (
    provider text not null references providers,
    charge_id text not null,
    -- when it left, as the list says it; and which of several in that very second
    moved_at timestamptz not null,
    number integer not null check (number > 0),
    listed_at timestamptz not null default atlas.now(),
    primary key (provider, charge_id, moved_at, number)
);
