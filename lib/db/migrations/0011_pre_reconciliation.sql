-- Providers' own accounts against the books (docs/data.md, Books): that it was compared, and what differed.

create table reconciliations (
    provider text not null references providers,
    -- of the books, over for three hours
    day date not null,
    compared_at timestamptz not null default atlas.now(),
    -- lines of either side; those under way are no differences yet
    lines bigint not null check (lines >= 0),
    matched bigint not null check (matched between 0 and lines),
    under_way bigint not null check (under_way between 0 and lines),
    -- every line since the comparison before was seen on both sides, and what is held was compared
    complete boolean not null,
    primary key (provider, day)
);

-- One row for as long as a difference is by the same amount: it alarms once, and ends when a comparison no longer finds it.
create table reconciliation_differences (
    id bigint generated always as identity primary key,
    provider text not null references providers,
    day date not null,
    state text not null check (state in ('missing_here', 'missing_there', 'differs', 'balance')),
    -- the line; a balance has neither
    kind text not null check (kind in ('', 'charge', 'refund', 'payout', 'commission', 'movement')),
    external_id text not null,
    asset text not null check (length(asset) between 1 and 64),
    of_fee boolean not null,
    -- whole units, exact; null: nothing. An asset may be one that the list of currencies lacks
    said numeric check (said not in ('NaN', 'infinity', '-infinity')),
    booked numeric check (booked not in ('NaN', 'infinity', '-infinity')),
    off_by numeric not null generated always as (coalesce(said, 0) - coalesce(booked, 0)) stored,
    order_id bigint references orders,
    happened_at timestamptz,
    first_seen_at timestamptz not null default atlas.now(),
    last_seen_at timestamptz not null default atlas.now(),
    ended_at timestamptz,
    constraint only_a_balance_has_no_line check ((state = 'balance') = (kind = '') and (kind = '') = (external_id = '')),
    constraint differs_by_something check (said is distinct from booked)
);
create unique index reconciliation_differences_open on reconciliation_differences (provider, state, kind, external_id, asset, of_fee)
    where ended_at is null;
create index reconciliation_differences_of_order on reconciliation_differences (order_id) where order_id is not null;
