-- A pre migration of a later release, as large as they come: on every table of the main path it adds what code of before does not
-- know. The tests of rollback put it beside this tree's own.
alter table orders add column planted_note text, add column planted_rate numeric not null default 1;
alter table accounts add column planted_tags text[] not null default '{}';
alter table subscriptions add column planted_at timestamptz default atlas.now();
alter table payments add column planted_source text generated always as (provider || ':' || charge_id) stored;
alter table messages add column planted_priority integer not null default 0 check (planted_priority >= 0);
alter table nodes add column planted_region text;
alter table node_clients add column planted_seen timestamptz;
create index orders_planted on orders (planted_rate, id);
create table planted (
    order_id bigint primary key references orders,
    written_at timestamptz not null default atlas.now()
);
grant select, insert on planted to atlas_app;
create function planted_follows() returns trigger language plpgsql security definer
set search_path = atlas, pg_catalog, pg_temp as $$
begin
    insert into planted (order_id) values (new.id);
    return null;
end $$;
create trigger planted_follows after insert on orders for each row execute function planted_follows();
