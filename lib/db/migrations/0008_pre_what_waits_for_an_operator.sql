-- Further charges that no one has credited or given back, however many were: health and the doctor count them.
create index payment_events_duplicate on payment_events (id) where status = 'duplicate' and resolved_at is null;

-- As in 0006, but for a fee that left suspense again with what it came with: what the provider said later is booked in its place,
-- and a fee of that which is known only then is the first that the books have.
create or replace function fee_is_booked_once() returns trigger language plpgsql as $$
begin
    if new.refund_id is null then
        perform from atlas.payment_events e where e.id = new.event_id for no key update;
    end if;
    if exists (
        select from atlas.ledger_transfers t
        join atlas.ledger_entries e on e.transfer_id = t.id
        join atlas.ledger_accounts a on a.id = e.debit_account_id and a.code = 'provider_fees'
        where case when new.refund_id is not null then t.refund_id = new.refund_id
                   else t.kind in ('sale', 'top_up', 'gift_bought', 'suspense')
                        and (t.event_id = new.event_id
                             or t.payment_id = (select p.id from atlas.payments p where p.event_id = new.event_id)) end
          and not (t.kind = 'suspense' and exists (
              select from atlas.ledger_transfers r
              join atlas.ledger_entries u on u.transfer_id = r.id
              join atlas.ledger_accounts f on f.id = u.credit_account_id and f.code = 'provider_fees'
              where r.key = t.key || ':resolved'))
    ) then
        raise exception using errcode = 'unique_violation', schema = tg_table_schema, table = tg_table_name, constraint = tg_name,
            message = 'the fee of this charge is booked';
    end if;
    return new;
end $$;
