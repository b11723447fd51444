-- Further charges that no one has credited or given back, however many were: health and the doctor count them.
create index payment_events_duplicate on payment_events (id) where status = 'duplicate' and resolved_at is null;
