-- News of money that a command tells of: the purchase that proves a deploy (provider `test`, which no production has).
alter table payment_events
    drop constraint payment_events_via_check,
    add constraint payment_events_via_check check (via in ('webhook', 'sweep', 'update', 'command'));
alter table payment_event_bodies
    drop constraint payment_event_bodies_via_check,
    add constraint payment_event_bodies_via_check check (via in ('webhook', 'sweep', 'update', 'command'));

-- A further charge of a paid order ends as money that fits nothing does: credited, or given back.
alter table payment_events
    drop constraint only_unmatched_is_resolved,
    add constraint only_what_waits_is_resolved check (resolved_at is null or status in ('unmatched', 'duplicate'));
