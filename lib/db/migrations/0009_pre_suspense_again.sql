-- Money of one event may come to suspense, and leave it, more than once: what is said later takes the place of what was said first,
-- and a correction undoes either. From the second time on the key ends with a number.
alter table ledger_transfers
    drop constraint key_is_made_of_the_fact,
    add constraint key_is_made_of_the_fact check (coalesce(case
        when kind in ('sale', 'top_up', 'gift_bought') then key = 'payment:' || cast(payment_id as text)
        when kind = 'gift_claimed' then key = 'gift:' || cast(order_id as text) || ':claimed'
        when kind = 'gift_returned' then key = 'gift:' || cast(order_id as text) || ':returned'
        when kind = 'suspense' then key ~ ('^event:' || cast(event_id as text) || '(:[1-9][0-9]*)?$')
        when kind = 'suspense_resolved' then key ~ ('^event:' || cast(event_id as text) || ':resolved(:[1-9][0-9]*)?$')
        when kind = 'second_debit' then key = 'event:' || cast(event_id as text) || ':second_debit'
        when kind = 'fee' then num_nonnulls(payment_id, event_id, refund_id) > 0 and key ~ '^fee:.'
        when kind = 'reward' then key = 'reward:' || cast(payment_id as text)
        when kind = 'reward_released' then key = 'reward:' || cast(payment_id as text) || ':released'
        when kind = 'reward_reversed' then key = 'reward:' || cast(payment_id as text) || ':reversed'
        when kind = 'withdrawal_asked' then key = 'withdrawal:' || cast(withdrawal_id as text)
        when kind = 'withdrawal_returned' then key = 'withdrawal:' || cast(withdrawal_id as text) || ':returned'
        when kind = 'withdrawal_paid' then key = 'withdrawal:' || cast(withdrawal_id as text) || ':paid'
        when kind = 'withdrawal_bounced' then key = 'withdrawal:' || cast(withdrawal_id as text) || ':bounced'
        when kind in ('refund', 'chargeback') then refund_id is not null and key ~ '^refund:[a-z]+:.'
        when kind in ('payout', 'affiliate_commission') then key ~ ('^' || kind || ':[a-z]+:.')
        when kind = 'owner_movement' then key ~ '^owner_movement:.'
        when kind in ('operator_credit', 'operator_debit') then account_id is not null and key ~ ('^' || kind || ':.')
        when kind = 'erasure' then key = 'erasure:' || cast(account_id as text)
        when kind = 'correction' then key = 'correction:' || cast(reverses_id as text)
        else true
    end, false));

-- As in 0008, by what is left of the charge's fee: what came with it, less what left suspense again, whichever time that was.
create or replace function fee_is_booked_once() returns trigger language plpgsql as $$
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
