-- What must always be true, one named query each; a row that comes back is a violation. Run after every test that proves
-- an acceptance id, by the demo, and by hand (docs/runbooks/invariant-violated.md). Each says in words what it means.

-- name: active_has_uuid
-- Access that runs has a UUID to connect with.
select id from subscriptions where status = 'active' and uuid is null;

-- name: expired_has_none
-- Access that ended has neither a UUID nor a wanted client anywhere.
select s.id from subscriptions s left join node_clients c on c.subscription_id = s.id and c.wanted
where s.status = 'expired' and (s.uuid is not null or c.subscription_id is not null);

-- name: one_uuid_wanted
-- Nodes are never asked to hold two UUIDs of one subscription, nor another one than the subscription's.
select c.subscription_id from node_clients c join subscriptions s on s.id = c.subscription_id
where c.wanted group by c.subscription_id, s.uuid
having count(distinct c.uuid) > 1 or min(cast(c.uuid as text)) is distinct from cast(s.uuid as text);

-- name: activated_is_applied
-- "active" was said only after a node confirmed this very UUID.
select s.id from subscriptions s
where s.activation_status = 'active'
  and not exists (select from node_clients c
                  where c.subscription_id = s.id and c.uuid = s.uuid and c.applied_version is not null);

-- name: removed_in_time
-- Access that ended more than 15 minutes ago is gone from every node that can be reached.
select c.subscription_id from node_clients c
where not c.wanted and c.changed_at < atlas.now() - interval '15 minutes' and c.attempts = 0;

-- name: paid_order_has_one_settling_payment
select o.id from orders o left join payments p on p.order_id = o.id and p.kind = 'settling'
group by o.id, o.status having (o.status = 'paid') <> (count(p.id) = 1) or count(p.id) > 1;

-- name: settled_event_has_payment
-- An event that was settled left exactly one payment, with the price that was agreed.
select e.id from payment_events e left join payments p on p.event_id = e.id
where e.status in ('settled', 'duplicate')
group by e.id having count(p.id) <> 1;

-- name: payment_has_the_agreed_price
select p.id from payments p join orders o on o.id = p.order_id
where p.kind = 'settling' and (p.amount, p.currency) is distinct from (o.price, o.currency);

-- name: settling_payment_granted_once
select p.id from payments p join orders o on o.id = p.order_id left join subscription_history h on h.payment_id = p.id
where p.kind = 'settling' and o.kind = 'subscription' group by p.id having count(h.id) <> 1;

-- name: settling_payment_is_in_the_books
select p.id from payments p left join ledger_transfers t on t.key = 'payment:' || cast(p.id as text)
where p.kind = 'settling' group by p.id having count(t.id) <> 1;

-- name: ledger_sums_to_zero
-- Every currency by itself: what was debited was credited.
select currency from (
    select d.currency, -e.amount as amount from ledger_entries e join ledger_accounts d on d.id = e.debit_account_id
    union all
    select c.currency, e.amount from ledger_entries e join ledger_accounts c on c.id = e.credit_account_id
) moved group by currency having sum(amount) <> 0;

-- name: balances_are_their_entries
-- A customer's cached balance is what their entries say, and never negative.
select a.id from ledger_accounts a
where a.account_id is not null and a.balance is distinct from
    coalesce((select sum(e.amount) from ledger_entries e where e.credit_account_id = a.id), 0)
  - coalesce((select sum(e.amount) from ledger_entries e where e.debit_account_id = a.id), 0);

-- name: revenue_is_what_was_settled
-- Revenue in the books equals the list prices of settled orders, per currency.
select currency from (
    select e.currency, e.amount from ledger_entries e join ledger_accounts a on a.id = e.credit_account_id
    where a.code = 'revenue'
    union all
    select o.currency, -o.list_price * power(cast(10 as numeric), c.exponent - c.price_exponent)
    from orders o join currencies c on c.code = o.currency where o.status = 'paid'
) both_sides group by currency having sum(amount) <> 0;

-- name: one_live_checkout
select account_id from orders where status = 'open' group by account_id, kind having count(*) > 1;

-- name: once_messages_were_sent_once
select id from messages where delivery = 'once' and status = 'sent' and unknown_attempts > 0;

-- name: trial_mark_and_grant_together
-- An account that used the trial was granted one, and the other way round; never twice.
select a.id from accounts a left join subscriptions s on s.account_id = a.id
    left join subscription_history h on h.subscription_id = s.id and h.source = 'trial' and h.event in ('granted', 'extended')
group by a.id, a.trial_used_at having (a.trial_used_at is not null) <> (count(h.id) = 1);

-- name: trial_never_shortened_paid_access
-- The end a payment gave was never moved back by a trial.
select later.id from subscription_history later join subscription_history earlier
    on earlier.subscription_id = later.subscription_id and earlier.id < later.id
where later.source = 'trial' and later.event in ('granted', 'extended') and earlier.source = 'payment'
  and later.expires_at < earlier.expires_at;

-- name: done_update_has_reply
select update_id from updates where done_at is not null and reply is null;
