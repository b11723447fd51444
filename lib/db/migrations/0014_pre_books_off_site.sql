-- The books off site (docs/books-off-site.md): which closed day is in which store, whole, and by which manifest.
create table ledger_exports (
    -- endpoint, bucket and folder, without any key: another place begins with the first day again
    store text not null check (store ~ '^https?://[^?#@]+$'),
    day date not null references closed_days,
    manifest_sha256 bytea not null check (octet_length(manifest_sha256) = 32),
    -- how the store itself keeps what was written, when it was asked
    protection text not null check (protection in ('locked', 'versioned', 'none')),
    exported_at timestamptz not null default atlas.now(),
    primary key (store, day)
);

-- a day's payments and orders, in the order in which they are copied
create index payments_of_time on payments (created_at, id);
create index orders_of_time on orders (created_at, id);
