-- Nodes against Postgres: what a node holds and Postgres has no row for.

-- A client that a node listed and that has no row in node_clients, under the version it is held at. Its name is a subscription's id;
-- after a restore to an earlier moment there may be no such subscription.
create table orphan_clients (
    node_id bigint not null references nodes,
    client bigint not null check (client > 0),
    version bigint not null check (version > 0),
    seen_at timestamptz not null default atlas.now(),
    -- not removed before: the end of its grace, or of the pause after a removal that failed
    due_at timestamptz not null,
    claimed_by uuid,
    claimed_until timestamptz,
    primary key (node_id, client),
    constraint orphan_claim_is_whole check ((claimed_by is null) = (claimed_until is null))
);
create index orphan_clients_due on orphan_clients (node_id, due_at, client);
-- in the order in which a node lists its clients
create index orphan_clients_by_name on orphan_clients (node_id, (cast(client as text) collate "C"));
create index node_clients_by_name on node_clients (node_id, (cast(subscription_id as text) collate "C"));
