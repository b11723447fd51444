-- What the posting table asks of the database beside 0001 (docs/postings.md).

-- A transaction that began on a day that is closed by now is run again, today: a serialization failure, which `Database.run` repeats.
create or replace function refuse_closed_day() returns trigger language plpgsql as $$
begin
    -- the newest, by its index
    if new.books_day <= (select max(c.day) from atlas.closed_days c) then
        raise exception using errcode = 'serialization_failure', schema = tg_table_schema, table = tg_table_name,
            constraint = tg_name, message = 'this day of the books is closed';
    end if;
    return new;
end $$;

-- Money leaves suspense by an operator, or by itself: a further charge that is given back or credited at once. Either says why.
alter table ledger_transfers
    drop constraint operators_say_who_and_why,
    add constraint operators_say_who_and_why check (
        kind not in ('operator_credit', 'operator_debit', 'owner_movement', 'correction')
        or (actor_id is not null and reason is not null)),
    add constraint suspense_ends_for_a_reason check (kind <> 'suspense_resolved' or reason is not null),
    -- a fee that is known later is of one charge, by its event, or of one refund
    add constraint one_late_fee check (kind <> 'fee' or coalesce(key = case
        when refund_id is not null then 'fee:refund:' || cast(refund_id as text)
        else 'fee:event:' || cast(event_id as text) end, false));

-- A fee is booked once a charge: what came with it, less what left suspense again, whichever time that was. The event is locked
-- first, as in a settlement, so the entries of one that is under way are seen.
create function fee_is_booked_once() returns trigger language plpgsql as $$
begin
    if new.refund_id is null then
        perform from atlas.payment_events e where e.id = new.event_id for no key update;
    end if;
    if exists (
        select from atlas.ledger_transfers t
        join atlas.ledger_entries e on e.transfer_id = t.id
        join atlas.ledger_accounts d on d.id = e.debit_account_id
        join atlas.ledger_accounts c on c.id = e.credit_account_id
        where 'provider_fees' in (d.code, c.code)
          and case when new.refund_id is not null then t.refund_id = new.refund_id
                   else (t.event_id = new.event_id
                         or t.payment_id = (select p.id from atlas.payments p where p.event_id = new.event_id))
                        and (t.kind in ('sale', 'top_up', 'gift_bought', 'suspense')
                             or t.kind = 'suspense_resolved' and c.code = 'provider_fees') end
        group by e.currency
        having sum(case d.code when 'provider_fees' then e.amount else -e.amount end) > 0
    ) then
        raise exception using errcode = 'unique_violation', schema = tg_table_schema, table = tg_table_name, constraint = tg_name,
            message = 'the fee of this charge is booked';
    end if;
    return new;
end $$;
create trigger fee_is_booked_once before insert on ledger_transfers for each row when (new.kind = 'fee')
    execute function fee_is_booked_once();

-- a day of the books: its closing, and balances at a moment after the last closed one
create index ledger_transfers_of_day on ledger_transfers (books_day, id);
