-- A payment and a refund stand on news of the provider that moved the money, and of no other.
alter table payment_events add constraint payment_events_of_provider unique (provider, id);
alter table payments
    drop constraint payments_event_id_fkey,
    add constraint payment_on_its_providers_event foreign key (provider, event_id) references payment_events (provider, id);
alter table refunds
    drop constraint refunds_event_id_fkey,
    add constraint refund_on_its_providers_event foreign key (provider, event_id) references payment_events (provider, id);

-- when a sweep last ended well, for health: however long it has not
create index sweep_runs_well on sweep_runs (sweep, id desc) where outcome = 'done';
