-- What a node's breaker, the refilling of a node and the emptying of one that is drained have to remember (docs/architecture.md, Nodes).

alter table nodes
    -- since when its breaker is open: what does not answer for so long is lost
    add column open_since timestamptz,
    -- since when it answers again: what it has not confirmed is late only some time after that
    add column answers_since timestamptz,
    -- after it lost its state: up to which subscription its confirmations were forgotten; null when there is nothing to forget
    add column forgotten_to bigint check (forgotten_to >= 0),
    -- the last subscription that was looked at while it is drained: the next pass goes on after it
    add column drained_to bigint not null default 0 check (drained_to >= 0),
    add constraint open_is_whole check ((open_until is null) = (open_since is null));

-- One node's customers by id, a page at a time.
create index node_clients_held on node_clients (node_id, subscription_id) where wanted;
