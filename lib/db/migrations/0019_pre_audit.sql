-- How far the invariants were asked (docs/data.md, Invariants): of what is new in a table, of a kind of thing in the walk of a night,
-- of an invariant that is asked as a whole.
create table invariant_marks (
    name text primary key,
    -- the last id that was asked about; what comes after is not
    position bigint not null check (position >= 0),
    -- of a chain, the hash that stood there
    hash bytea check (octet_length(hash) = 32),
    -- the night it is of; null: of what is new
    night date,
    marked_at timestamptz not null default atlas.now()
);

-- What was found violated, each thing once a day: that is when it alarms.
create table invariant_violations (
    id bigint generated always as identity primary key,
    -- UTC
    day date not null default cast(atlas.now() at time zone 'UTC' as date),
    invariant text not null check (invariant ~ '^[a-z_]+$'),
    key text not null,
    found_at timestamptz not null default atlas.now(),
    constraint violation_once_a_day unique (day, invariant, key)
);
create index invariant_violations_found on invariant_violations (found_at);
