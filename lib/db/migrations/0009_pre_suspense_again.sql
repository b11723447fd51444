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
