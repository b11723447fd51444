-- What must always be true and no constraint can say, one named query each; a row that comes back is a violation. Run after every
-- test that proves an acceptance id, by the demo, by sweep_audit, and by hand (docs/runbooks/invariant-violated.md). Each says in words
-- what it means. None repeats a constraint: a test plants a violation of each under all of them. Each is a few scans or looks at an
-- index, and none grows with the square of anything; the page tells what they cost.
--
-- `by <kind>`: what it returns are keys of that kind, and asked for some of them it reads those alone, which sweep_audit does: each hour
-- for what changed, each night for all, page by page. Where Postgres can't see that by itself, a line `--only` says it and counts then
-- alone. `hourly`: an index makes it cheap as it is. The others are asked each night as they are. A test judges what each reads.

-- Access ------------------------------------------------------------------------------------------------------------

-- name: end_is_explained by subscription
-- The end and the UUID of access that runs are those of its last history row.
select s.id from subscriptions s left join lateral (
    select h.uuid, h.expires_at from subscription_history h where h.subscription_id = s.id order by h.id desc limit 1
) last on true
where s.status <> 'expired' and (last.uuid, last.expires_at) is distinct from (s.uuid, s.expires_at);

-- name: grant_is_explained by subscription
-- Every grant has its reason: a payment, a trial, a gift, a renewal's payment, or the operator who made it; so has access that an
-- unban gave back.
select h.subscription_id from subscription_history h
where h.event = 'restored' and h.actor_id is null or h.event in ('granted', 'extended', 'renewed', 'converted') and not coalesce(case h.source
    when 'payment' then h.payment_id is not null
    when 'renewal' then h.payment_id is not null
    when 'admin' then h.actor_id is not null
    else h.source in ('trial', 'gift') and h.payment_id is null end, false);

-- name: history_is_a_chain by subscription
-- Each history row begins with the end that the row before it left: no change of an end is missing.
select subscription_id from (
    select h.subscription_id, h.expires_before, lag(h.expires_at) over (partition by h.subscription_id order by h.id) as left_by
    from subscription_history h
) rows where expires_before is distinct from left_by;

-- name: ended_only_when_over by subscription
-- Access ended by itself only once its time was over; access that ended before was revoked by an operator.
select h.subscription_id from subscription_history h
where h.event = 'expired' and h.created_at < h.expires_at or h.event = 'revoked' and h.actor_id is null;

-- name: ended_has_history by subscription
-- Access that is over has a history row that ended it.
select s.id from subscriptions s left join lateral (
    select h.event from subscription_history h where h.subscription_id = s.id order by h.id desc limit 1
) last on true
where s.status = 'expired' and last.event is distinct from 'expired' and last.event is distinct from 'revoked';

-- name: banned_have_no_access by subscription
-- Who is banned has no access, running or frozen.
select s.id from accounts a join subscriptions s on s.account_id = a.id where a.banned_at is not null and s.status <> 'expired';

-- name: renewal_is_of_running_access by subscription
-- What renewed by itself was running access, not frozen, of a customer who was not banned; it was paid from their own balance, under
-- the key of one of its ends, so once for each. (A month of a Stars subscription is a child order, paid elsewhere.)
select h.subscription_id from subscription_history h
join subscriptions s on s.id = h.subscription_id join accounts a on a.id = s.account_id
join payments p on p.id = h.payment_id join orders o on o.id = p.order_id
where h.source = 'renewal' and h.event in ('granted', 'extended', 'renewed', 'converted') and o.parent_id is null and (
    p.provider <> 'balance' or p.account_id <> a.id or not starts_with(p.charge_id, 'renewal:' || s.id || ':')
    or h.expires_before is null or h.created_at >= h.expires_before + interval '1 minute'
    or a.banned_at < h.created_at
    or 'frozen' = (select b.event from subscription_history b
                   where b.subscription_id = h.subscription_id and b.id < h.id order by b.id desc limit 1));

-- name: banned_have_nothing_open by order
-- Who is banned has no order open: what was open went with the ban.
select o.id from accounts a join orders o on o.account_id = a.id
where a.banned_at is not null and o.status = 'open' and o.parent_id is null;

-- name: ended_is_wanted_nowhere by subscription
-- No node is to hold a client of access that has ended or is frozen.
select c.subscription_id from node_clients c join subscriptions s on s.id = c.subscription_id
where c.wanted and s.status <> 'active';

-- name: wanted_client_is_its_subscription by subscription
-- Each client that a node is to hold has the UUID and the end of its subscription: one UUID everywhere, and no old end.
select c.subscription_id from node_clients c join subscriptions s on s.id = c.subscription_id
where c.wanted and s.status = 'active' and (c.uuid, c.expires_at) is distinct from (s.uuid, s.expires_at);

-- name: version_is_counted by subscription
-- A subscription's counter has reached every version that a node was told.
select c.subscription_id from node_clients c join subscriptions s on s.id = c.subscription_id where c.version > s.version;

-- name: placed_on_every_node by subscription
-- Access that counts as placed is wanted on every node that takes clients.
select s.id from subscriptions s join placement p on s.placement >= p.generation
cross join nodes n left join node_clients c on c.subscription_id = s.id and c.node_id = n.id and c.wanted
where s.status = 'active' and n.state = 'active' and n.lost_since is null and c.node_id is null;

-- name: activated_is_applied by subscription
-- "Ready" was said only after a node confirmed this very UUID.
select s.id from subscriptions s
where s.activation_status = 'active'
  and not exists (select from node_clients c where c.subscription_id = s.id and c.applied_uuid = s.uuid);

-- name: removed_in_time by subscription
-- Access that ended more than 15 minutes ago is gone from every node that can be reached, and could for so long.
select c.subscription_id from node_clients c join nodes n on n.id = c.node_id
where not c.wanted and c.changed_at < atlas.now() - interval '15 minutes'
  and n.open_until is null and n.lost_since is null
  and (n.answers_since is null or n.answers_since < atlas.now() - interval '15 minutes')
  and not (c.attempts > 0 and c.last_error like 'no answer%');

-- name: trial_mark_and_grant_together by account
-- An account that used the trial was granted one, and the other way round; never twice.
select a.id from accounts a left join subscriptions s on s.account_id = a.id
    left join subscription_history h on h.subscription_id = s.id and h.source = 'trial' and h.event in ('granted', 'extended')
group by a.id, a.trial_used_at having (a.trial_used_at is not null) <> (count(h.id) = 1);

-- name: trial_never_shortened_paid_access by subscription
-- The end a payment gave was never moved back by a trial.
select later.subscription_id from subscription_history later join subscription_history earlier
    on earlier.subscription_id = later.subscription_id and earlier.id < later.id
where later.source = 'trial' and later.event in ('granted', 'extended') and earlier.source = 'payment'
  and later.expires_at < earlier.expires_at;

-- name: trials_are_counted
-- No more trials began on a day than the day's counter says, which is what the daily cap goes by.
select begun.day from (
    select cast(a.trial_used_at at time zone 'UTC' as date) as day, count(*) as trials
    from accounts a where a.trial_used_at is not null group by 1
) begun left join trial_days d using (day) where begun.trials > coalesce(d.used, 0);

-- Money -------------------------------------------------------------------------------------------------------------

-- name: paid_order_has_one_settling_payment by order
-- An order is paid exactly when a payment settled it.
select o.id from orders o left join payments p on p.order_id = o.id and p.kind = 'settling'
where (o.status = 'paid') <> (p.id is not null);

-- name: closed_order_is_not_open by order
-- No customer is shown an open order for which its provider can take no more money.
select o.id from orders o where o.status = 'open' and o.provider_closed_at is not null;

-- name: event_is_its_payment by event
-- News that had an effect, by itself or by an operator, left a payment of that kind, and no payment stands on news that had none.
select coalesce(e.id, p.event_id)
from (
    select * from payment_events where kind = 'charge' and (status in ('settled', 'duplicate') or resolution = 'assigned')
    --only and id = any(cast(:keys as bigint[]))
) e full join (
    select * from payments where event_id is not null
    --only and event_id = any(cast(:keys as bigint[]))
) p on p.event_id = e.id
where (case when e.status = 'settled' or e.resolution = 'assigned' then 'settling' else e.status end) is distinct from p.kind;

-- name: payment_has_the_agreed_price by payment
-- What settled an order by itself is the price that was agreed or more, in its currency; and what was more, and nothing else of it,
-- went to the customer's balance. A top-up went there whole.
with credited as (
    select t.payment_id, sum(e.amount) as amount
    from ledger_transfers t join ledger_entries e on e.transfer_id = t.id join ledger_accounts c on c.id = e.credit_account_id
    where c.code = 'user:topped_up' and t.kind in ('sale', 'top_up', 'gift_bought', 'suspense_resolved')
    --only and t.payment_id = any(cast(:keys as bigint[]))
    group by t.payment_id
)
select p.id from payments p join orders o on o.id = p.order_id
left join payment_events e on e.id = p.event_id and e.resolution = 'assigned'
left join credited c on c.payment_id = p.id
where p.kind = 'settling'
  and (p.currency <> o.currency or (e.id is null and p.amount < o.price)
       or (o.kind <> 'top_up' or e.id is null)
          and coalesce(c.amount, 0) <> coalesce(div(cast(greatest(p.amount - o.price, 0) as numeric) * o.value, nullif(o.price, 0)), 0)
                                       + case o.kind when 'top_up' then o.value else 0 end);

-- name: settling_payment_granted by payment
-- Who paid for access was granted it.
select p.id from payments p join orders o on o.id = p.order_id left join subscription_history h on h.payment_id = p.id
where p.kind = 'settling' and o.kind = 'subscription' and h.id is null;

-- name: grant_is_of_the_buyer by payment
-- What a payment granted went to the account that paid.
select p.id from subscription_history h join payments p on p.id = h.payment_id join subscriptions s on s.id = h.subscription_id
where h.source = 'payment' and s.account_id <> p.account_id;

-- name: settling_payment_is_in_the_books by payment
-- What settled an order has its transfer: of its own, or out of suspense.
select p.id from payments p
left join ledger_transfers t on t.payment_id = p.id
    and (t.key = 'payment:' || p.id or t.kind = 'suspense_resolved' and t.event_id = p.event_id)
where p.kind = 'settling' and t.id is null;

-- name: sale_is_of_a_settling_payment by transfer
-- Only what settled an order is booked as sold: a second charge is none.
select t.id from ledger_transfers t join payments p on p.id = t.payment_id
where t.kind in ('sale', 'top_up', 'gift_bought') and p.kind <> 'settling';

-- name: sale_is_booked_at_its_price by transfer
-- What was sold, from outside, from balance or out of suspense, brought its list price to revenue and to discounts what its price is
-- below that. Nothing else brought anything there.
with booked as (
    select e.transfer_id, sum(e.amount) filter (where c.code = 'revenue') as revenue,
           sum(e.amount) filter (where d.code = 'discounts') as discount
    from ledger_entries e join ledger_accounts d on d.id = e.debit_account_id join ledger_accounts c on c.id = e.credit_account_id
    where ('revenue' in (c.code, d.code) or 'discounts' in (c.code, d.code))
    --only and e.transfer_id = any(cast(:keys as bigint[]))
    group by e.transfer_id
)
select t.id from ledger_transfers t left join booked b on b.transfer_id = t.id
left join payments p on p.id = t.payment_id and p.kind = 'settling'
left join orders o on o.id = t.order_id and (t.kind in ('sale', 'gift_claimed')
    or t.kind = 'suspense_resolved' and p.id is not null and o.kind = 'subscription')
left join currencies k on k.code = o.currency
where t.kind <> 'correction' and (coalesce(b.revenue, 0), coalesce(b.discount, 0))
      is distinct from (coalesce(o.list_price * power(cast(10 as numeric), k.exponent - k.price_exponent), 0),
                        coalesce((o.list_price - o.price) * power(cast(10 as numeric), k.exponent - k.price_exponent), 0));

-- name: money_received_is_booked by payment
-- What a payment brought to its provider's account in the books, in each currency, is what the provider says came, less its fee: to
-- less than one minor unit, for providers say more digits than the books hold. Money out of suspense had come before.
with settled as (
    select p.* from payments p left join payment_events e on e.id = p.event_id
    where p.kind = 'settling' and e.resolution is distinct from 'assigned'
    --only and p.id = any(cast(:keys as bigint[]))
), said as (
    select p.id, p.currency, greatest(p.amount, o.price) * power(cast(10 as numeric), k.exponent - k.price_exponent) as amount
    from settled p join orders o on o.id = p.order_id join currencies k on k.code = p.currency
    join providers v on v.name = p.provider and v.clearing is not null
    where coalesce(p.paid_asset, p.currency) = p.currency
    union all
    select p.id, p.paid_asset, p.paid_amount * power(cast(10 as numeric), k.exponent)
    from settled p join currencies k on k.code = p.paid_asset where p.paid_asset <> p.currency
    union all
    select p.id, p.fee_asset, -p.fee_amount * power(cast(10 as numeric), k.exponent)
    from settled p join currencies k on k.code = p.fee_asset
    where not exists (select from ledger_transfers f where f.kind = 'fee' and f.event_id = p.event_id) -- known alone, before this news
), moved as (
    select said.id, said.currency, said.amount from said join ledger_transfers t on t.key = 'payment:' || said.id
    union all
    select t.payment_id, e.currency, case when d.code = v.clearing then -e.amount else e.amount end
    from ledger_transfers t join settled p on p.id = t.payment_id join providers v on v.name = p.provider
    join ledger_entries e on e.transfer_id = t.id
    join ledger_accounts d on d.id = e.debit_account_id join ledger_accounts c on c.id = e.credit_account_id
    where t.key = 'payment:' || p.id and v.clearing in (d.code, c.code)
)
select id from moved group by id, currency having abs(sum(amount)) >= 1;

-- name: suspense_is_what_waits by event
-- Money that fitted nothing lies in suspense until it is resolved, and no other does: but for an asset that the list of currencies
-- lacks, whose event says so.
with held as (
    select t.event_id, sum(case c.code when 'suspense' then e.amount else -e.amount end) as amount
    from ledger_transfers t join ledger_entries e on e.transfer_id = t.id
    join ledger_accounts d on d.id = e.debit_account_id join ledger_accounts c on c.id = e.credit_account_id
    where 'suspense' in (d.code, c.code)
    --only and t.event_id = any(cast(:keys as bigint[]))
    group by t.event_id
)
select e.id from payment_events e left join held h on h.event_id = e.id
where e.status <> 'new' and e.kind = 'charge' and (coalesce(h.amount, 0) <> 0) is distinct from
      (e.status in ('unmatched', 'duplicate') and e.resolved_at is null and e.amount is not null
       and coalesce(e.reason, '') not like '%not booked: %');

-- name: duplicate_is_what_was_said by payment
-- Of a further charge of a paid order, what was put in suspense last is what its payment says came, to less than one minor unit; and
-- in the currency of the payment a balance was credited with the payment's amount.
select p.id from payments p
join currencies k on k.code = p.currency
left join currencies a on a.code = p.paid_asset
cross join lateral (
    select case when coalesce(p.paid_asset, p.currency) = p.currency
                then p.amount * power(cast(10 as numeric), k.exponent - k.price_exponent)
                else p.paid_amount * power(cast(10 as numeric), a.exponent) end as came
) said
left join lateral (
    select e.amount, e.currency from ledger_transfers t join ledger_entries e on e.transfer_id = t.id
    join ledger_accounts c on c.id = e.credit_account_id and c.code = 'suspense'
    where t.event_id = p.event_id and t.kind = 'suspense' order by t.id desc limit 1
) put on true
where p.kind = 'duplicate' and (
    put.currency <> coalesce(p.paid_asset, p.currency) or abs(put.amount - said.came) >= 1
    or exists (
        select from ledger_transfers t join ledger_entries e on e.transfer_id = t.id
        join ledger_accounts c on c.id = e.credit_account_id and c.code = 'user:topped_up'
        where t.event_id = p.event_id and t.kind = 'suspense_resolved' and e.currency = p.currency
          and e.amount <> p.amount * power(cast(10 as numeric), k.exponent - k.price_exponent)));

-- name: balances_are_their_entries by wallet
-- A customer's cached balance is what their entries say.
select a.id from ledger_accounts a
where a.account_id is not null and a.balance is distinct from
    coalesce((select sum(e.amount) from ledger_entries e where e.credit_account_id = a.id), 0)
  - coalesce((select sum(e.amount) from ledger_entries e where e.debit_account_id = a.id), 0);

-- name: correction_undoes_its_transfer by transfer
-- A correction moves back what the transfer that it names had moved, entry by entry, and nothing else.
select t.id from ledger_transfers t join ledger_transfers o on o.id = t.reverses_id
where t.entries <> o.entries or exists (
    select e.number, e.debit_account_id, e.credit_account_id, e.amount from ledger_entries e where e.transfer_id = t.id
    except
    select e.number, e.credit_account_id, e.debit_account_id, e.amount from ledger_entries e where e.transfer_id = o.id);

-- name: transfer_is_of_its_day by transfer
-- A transfer stands on the day of the books at which it was booked.
select t.id from ledger_transfers t cross join deployment d
where t.books_day <> cast(t.booked_at at time zone coalesce(d.books_zone, 'UTC') as date);

-- name: snapshots_are_their_entries
-- A closed day's snapshot holds, of each account that had moved by then, the sums of its entries up to that day.
with moved as (
    select account, day, sum(debit) as debit, sum(credit) as credit from (
        select debit_account_id as account, books_day as day, amount as debit, 0 as credit from ledger_entries
        union all
        select credit_account_id, books_day, 0, amount from ledger_entries
    ) sides group by account, day
), due as (
    select f.account, d.day from (select account, min(day) as day from moved group by account) f join closed_days d on d.day >= f.day
), said as (
    select coalesce(s.ledger_account_id, due.account) as account, coalesce(s.day, due.day) as day, s.debit, s.credit
    from due full join ledger_snapshots s on s.ledger_account_id = due.account and s.day = due.day
), lines as (
    select account, day, 0 as place, debit, credit, null as said_debit, null as said_credit from moved
    union all
    select account, day, 1, 0, 0, debit, credit from said
)
select account from (
    select account, place, said_debit, said_credit, sum(debit) over up_to as debit, sum(credit) over up_to as credit
    from lines window up_to as (partition by account order by day, place)
) sums where place = 1 and (said_debit, said_credit) is distinct from (debit, credit);

-- name: owed_is_what_is_open
-- What the books owe for withdrawals, rewards on hold and gifts not claimed is what the open ones come to.
with owed as (
    select 'withdrawals_payable' as code, d.books_currency as currency, w.amount
    from withdrawals w cross join deployment d where w.status in ('requested', 'approved')
    union all
    select 'referral_held', d.books_currency, r.amount from referral_rewards r cross join deployment d where r.status = 'held'
    union all
    select 'gifts_outstanding', o.currency, o.price * power(cast(10 as numeric), k.exponent - k.price_exponent)
    from gifts g join orders o on o.id = g.order_id join currencies k on k.code = o.currency where g.status = 'paid'
    union all
    select a.code, a.currency, case when e.credit_account_id = a.id then -e.amount else e.amount end
    from ledger_accounts a join ledger_entries e on a.id in (e.credit_account_id, e.debit_account_id)
    where a.code in ('withdrawals_payable', 'referral_held', 'gifts_outstanding')
)
select code from owed group by code, currency having sum(amount) <> 0;

-- name: promo_use_follows_its_order by order
-- A promo code counts as used exactly when the order that it was taken for is paid, and every order at its price has its use.
select o.id from orders o left join promo_uses u on u.order_id = o.id
where (o.discount = 'promo' or u.order_id is not null)
  and (u.order_id is null or o.discount is distinct from 'promo' or (u.status = 'used') <> (o.status = 'paid'));

-- name: promo_uses_are_counted
-- A promo code's counter is the number of its uses that were not released, those beside the limit left out.
select c.id from promo_codes c left join promo_uses u on u.promo_code_id = c.id and u.status <> 'released' and not u.over
group by c.id, c.uses_taken having count(u.order_id) <> c.uses_taken;

-- name: promo_uses_are_within_the_limit
-- No customer took a code more often than it allows each; uses beside its limit do not count.
select u.promo_code_id from promo_uses u join promo_codes c on c.id = u.promo_code_id where u.status <> 'released' and not u.over
group by u.promo_code_id, u.account_id, c.uses_per_account having count(*) > c.uses_per_account;

-- name: promo_price_is_its_codes by order
-- An order at a code's price has the percent of that code, and is of a tariff that the code is for.
select o.id from orders o join promo_uses u on u.order_id = o.id join promo_codes c on c.id = u.promo_code_id
where o.discount = 'promo' and (o.discount_percent <> c.percent or o.tariff <> all (c.tariffs));

-- name: value_is_the_price by order
-- Where an order's price is in the currency of the books, its value is that price.
select o.id from orders o join deployment d on d.books_currency = o.currency join currencies k on k.code = o.currency
where o.value <> o.price * power(cast(10 as numeric), k.exponent - k.price_exponent);

-- name: outside_money_has_its_receipt by payment
-- Money from outside that settled an order has its receipt, and nothing else has one.
select coalesce(p.id, r.payment_id)
from (select p.id from payments p join providers v on v.name = p.provider
      where p.kind = 'settling' and v.clearing is not null and p.amount > 0
      --only and p.id = any(cast(:keys as bigint[]))
) p full join (
    select * from receipts
    --only where payment_id = any(cast(:keys as bigint[]))
) r on r.payment_id = p.id
where p.id is null or r.payment_id is null;

-- name: receipt_is_of_its_payment by payment
-- What the tax office is told of a payment is what came for it: in the currency of the books as it came, else by the order's value.
select r.payment_id from receipts r join payments p on p.id = r.payment_id join orders o on o.id = p.order_id
cross join deployment d join currencies k on k.code = d.books_currency
where r.amount <> case when p.paid_asset = d.books_currency then round(p.paid_amount * power(cast(10 as numeric), k.exponent))
                       else div(cast(p.amount as numeric) * o.value, nullif(o.price, 0)) end;

-- name: receipt_is_annulled_with_its_payment by payment
-- No receipt stands of a payment that the books say was given back, or taken back: one of which a part went back has its receipt.
select r.payment_id from receipts r
where r.status in ('due', 'issued') and exists (
    select from ledger_transfers t left join ledger_transfers undone on undone.reverses_id = t.id
    where t.payment_id = r.payment_id and t.kind in ('refund', 'chargeback') and undone.id is null
      and not exists (select from refunds f where f.id = t.refund_id and f.part_of_charge is not null));

-- name: reward_is_of_outside_money by payment
-- A reward is for money from outside that settled an order of a customer whom that referrer brought, and no refund took it back.
select r.payment_id from referral_rewards r join payments p on p.id = r.payment_id join accounts a on a.id = p.account_id
where p.kind <> 'settling' or p.provider in ('balance', 'promo') or r.buyer_id <> p.account_id
   or r.referrer_id is distinct from a.referrer_id
   or r.status <> 'reversed' and exists (select from refunds f where f.payment_id = p.id);

-- name: refund_is_of_its_payment by refund
-- No more was given back than was paid, and in the same currency.
select r.id from refunds r join payments p on p.id = r.payment_id where r.currency <> p.currency or r.amount > p.amount;

-- name: parts_are_less_than_their_charge
-- What its provider took in parts is less than the charge: the last part has all that was left of it.
select r.charge_event_id from refunds r join payment_events e on e.id = r.charge_event_id
where r.part_of_charge is not null group by r.charge_event_id, e.amount having sum(r.part_of_charge) >= e.amount;

-- name: refund_is_in_the_books by refund
-- What went back has its transfer: of its own, or out of suspense.
select r.id from refunds r
where not exists (select from ledger_transfers t where t.refund_id = r.id and t.kind = r.kind)
  and not exists (select from ledger_transfers t where t.event_id = r.charge_event_id and t.kind = 'suspense_resolved');

-- name: held_is_what_is_asked_for
-- Kept back of a balance is what refunds that are under way will take, and nothing else.
select coalesce(a.account_id, r.account_id) from (
    select account_id, held from ledger_accounts where held <> 0
) a full join (
    select account_id, sum(held) as held from refund_requests where status in ('requested', 'sent') and held > 0 group by account_id
) r using (account_id) where a.held is distinct from r.held;

-- name: gift_is_its_order by order
-- A gift stands for an order of a gift that is paid, and every such order has its gift.
select o.id from orders o left join gifts g on g.order_id = o.id
where (o.kind = 'gift' and o.status = 'paid') <> (g.order_id is not null);

-- name: payment_was_told by payment
-- Each customer was told of their payment, or is still to be.
select p.id from payments p left join messages m on m.key = 'receipt:' || p.id
where p.kind = 'settling' and m.id is null;

-- Work that is owed -------------------------------------------------------------------------------------------------

-- name: key_was_told by subscription
-- Each customer whose access is ready was sent their key, or is still to be.
select s.id from subscriptions s left join messages m on m.key = 'key:' || s.id || ':' || left(cast(s.uuid as text), 8)
where s.activation_status = 'active' and s.expires_at > atlas.now() and (m.id is null or m.status = 'cancelled');

-- name: queued_message_is_driven
-- A message that is still to be sent has open work that sends it.
select m.id from messages m left join (
    select payload ->> 'message_id' as message_id from outbox where target = 'task_notify' and done_at is null
) work on work.message_id = cast(m.id as text)
where m.status = 'queued' and work.message_id is null;

-- name: owed_message_is_resumed by message
-- What is owed to a customer who can be reached again is queued again.
select m.id from messages m join accounts a on a.id = m.account_id
where m.status = 'unreachable' and m.delivery = 'must' and a.unreachable_since is null
  and (m.not_after is null or m.not_after > atlas.now());

-- name: once_messages_were_sent_once by message
-- No reminder or news was sent again after an attempt that may have reached the customer.
select m.id from messages m where m.delivery = 'once' and m.status = 'sent' and m.unknown_attempts > 0;

-- name: waiting_update_is_driven hourly
-- An update that waits has open work that runs it.
select u.update_id from updates u left join (
    select payload ->> 'update_id' as update_id from outbox where target = 'task_update' and done_at is null
) work on work.update_id = cast(u.update_id as text)
where u.done_at is null and work.update_id is null;

-- name: new_event_is_driven
-- News about money that could not be settled has open work that settles it.
select e.id from payment_events e left join (
    select payload ->> 'event_id' as event_id from outbox where target = 'task_settle' and done_at is null
) work on work.event_id = cast(e.id as text)
where e.status = 'new' and work.event_id is null;

-- name: no_end_was_passed_over hourly
-- A run of the sweep that finished ended everything that was over five minutes before it.
select s.id from subscriptions s where s.status = 'active'
  and s.expires_at < (select r.started_at - interval '5 minutes' from sweep_runs r
                      where r.sweep = 'expiry' and r.outcome = 'done' and not r.more order by r.id desc limit 1)
order by s.expires_at;

-- name: no_freeze_was_passed_over hourly
-- A run of the sweep that finished let everything run again whose freeze was over five minutes before it.
select s.id from subscriptions s where s.status = 'frozen'
  and s.frozen_until < (select r.started_at - interval '5 minutes' from sweep_runs r
                        where r.sweep = 'activation' and r.outcome = 'done' and not r.more order by r.id desc limit 1)
order by s.frozen_until;

-- name: no_client_was_passed_over
-- A run of the sweep that finished left no client untried that was due, and unclaimed, five minutes before it, on a node that
-- answers and may be asked.
select c.subscription_id from node_clients c join nodes n on n.id = c.node_id
where (not c.wanted or c.applied_version is distinct from c.version)
  and n.trouble is null and n.open_until is null
  and (n.answers_since is null or n.answers_since < atlas.now() - interval '5 minutes')
  and n.id not in (select silent.node_id from node_clients silent where silent.attempts > 0 and silent.last_error like 'no answer%')
  and greatest(c.next_attempt_at, c.claimed_until, c.changed_at) < (
    select max(r.started_at) - interval '5 minutes' from sweep_runs r
    where r.sweep = case when c.wanted then 'activation' else 'expiry' end and r.outcome = 'done' and not r.more);

-- name: no_order_was_passed_over hourly
-- A run of the sweep that finished left no order open whose time was over five minutes before it.
select o.id from orders o where o.status = 'open'
  and o.expires_at < (select r.started_at - interval '5 minutes' from sweep_runs r
                      where r.sweep = 'payments' and r.outcome = 'done' and not r.more order by r.id desc limit 1)
order by o.expires_at;

-- name: no_work_was_passed_over
-- A run of the sweep that finished left no work unhanded that was there, and due, five minutes before it.
select b.id from outbox b where b.done_at is null and b.enqueued_at is null
  and greatest(b.created_at, b.not_before) < (select max(r.started_at) - interval '5 minutes' from sweep_runs r
                                              where r.sweep = 'outbox' and r.outcome = 'done' and not r.more and r.failed = 0);

-- What operators did ------------------------------------------------------------------------------------------------

-- name: audit_chain_is_whole
-- No row of the audit log was changed, removed or put in since it was written.
select id from (
    select e.id, e.previous_hash, audit_hash(e) = e.hash as sound, lag(e.hash) over (order by e.id) as hash_before
    from audit_log e
) chain where not sound or previous_hash <> coalesce(hash_before, decode(repeat('00', 32), 'hex'))
union
select h.last_id from audit_head h left join audit_log e on e.id = h.last_id
where coalesce(e.hash, decode(repeat('00', 32), 'hex')) <> h.last_hash
   or h.last_id <> (select coalesce(max(id), 0) from audit_log);
