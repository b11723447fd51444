-- Statements that leave exactly one invariant violated, each run alone under every constraint and trigger: `planted`, the invariant's name.
-- `excused` look like a violation and are none. {trial}, {paid} and {ended} are subscriptions, {order} is open, {payment} is the one of {paid}.

-- planted: end_is_explained
update subscriptions set expires_at = expires_at + interval '1 day' where id = {paid};
update node_clients set expires_at = expires_at + interval '1 day' where subscription_id = {paid};

-- planted: end_is_explained
insert into subscription_history (subscription_id, event, source, tariff, uuid, version, expires_before, expires_at, actor_id)
    select id , 'extended', 'admin', tariff, coalesce(uuid, gen_random_uuid()), version, expires_at, expires_at + interval '1 day', 1
    from subscriptions where id = {paid};

-- planted: grant_is_explained
insert into subscription_history (subscription_id, event, source, tariff, uuid, version, expires_before, expires_at, actor_id)
    select id , 'extended', 'admin', tariff, coalesce(uuid, gen_random_uuid()), version, expires_at, expires_at, null
    from subscriptions where id = {paid};

-- planted: grant_is_explained
insert into subscription_history (subscription_id, event, source, tariff, uuid, version, expires_before, expires_at, actor_id)
    select id , 'extended', 'payment', tariff, coalesce(uuid, gen_random_uuid()), version, expires_at, expires_at, 1
    from subscriptions where id = {paid};

-- planted: grant_is_explained
insert into subscription_history (subscription_id, event, source, tariff, uuid, version, expires_before, expires_at, actor_id)
    select id , 'renewed', 'renewal', tariff, coalesce(uuid, gen_random_uuid()), version, expires_at, expires_at, 1
    from subscriptions where id = {paid};

-- planted: grant_is_explained
insert into subscription_history (subscription_id, event, source, tariff, uuid, version, expires_before, expires_at, actor_id)
    select id , 'extended', 'because', tariff, coalesce(uuid, gen_random_uuid()), version, expires_at, expires_at, 1
    from subscriptions where id = {paid};

-- planted: history_is_a_chain
insert into subscription_history (subscription_id, event, source, tariff, uuid, version, expires_before, expires_at, actor_id)
    select id , 'extended', 'admin', tariff, coalesce(uuid, gen_random_uuid()), version, expires_at - interval '1 day', expires_at, 1
    from subscriptions where id = {paid};

-- planted: history_is_a_chain
delete from subscription_history where subscription_id = {ended} and event = 'granted';
update accounts set trial_used_at = null where id = (select account_id from subscriptions where id = {ended});

-- planted: ended_only_when_over
insert into subscription_history (subscription_id, event, source, tariff, uuid, version, expires_before, expires_at, actor_id)
    select id , 'revoked', 'admin', tariff, coalesce(uuid, gen_random_uuid()), version, expires_at, expires_at, null
    from subscriptions where id = {ended};

-- planted: ended_only_when_over
insert into subscription_history (subscription_id, event, source, tariff, uuid, version, expires_before, expires_at, actor_id)
    select id , 'expired', 'trial', tariff, coalesce(uuid, gen_random_uuid()), version, expires_at, expires_at, 1
    from subscriptions where id = {ended};
update subscription_history set created_at = expires_at - interval '1 second'
    where id = (select max(id) from subscription_history);

-- planted: ended_has_history
delete from subscription_history where subscription_id = {ended} and event = 'expired';

-- planted: ended_has_history
insert into subscription_history (subscription_id, event, source, tariff, uuid, version, expires_before, expires_at, actor_id)
    select id , 'activated', 'trial', tariff, coalesce(uuid, gen_random_uuid()), version, expires_at, expires_at, 1
    from subscriptions where id = {ended};

-- planted: ended_is_wanted_nowhere
insert into node_clients (subscription_id, node_id, uuid, version, wanted, expires_at)
    select id , 1, gen_random_uuid(), 1, true, expires_at
    from subscriptions where id = {ended};

-- planted: wanted_client_is_its_subscription
update node_clients set expires_at = expires_at - interval '1 day' where subscription_id = {paid} and node_id = 2;

-- planted: wanted_client_is_its_subscription
update node_clients set uuid = gen_random_uuid() where subscription_id = {paid} and node_id = 2;

-- planted: version_is_counted
update node_clients set version = version + 9 where subscription_id = {paid} and node_id = 2;

-- planted: placed_on_every_node
delete from node_clients where subscription_id = {paid} and node_id = 2;

-- planted: placed_on_every_node
update node_clients set wanted = false where subscription_id = {paid} and node_id = 2;

-- planted: activated_is_applied
update node_clients set applied_uuid = gen_random_uuid() where subscription_id = {paid};

-- planted: activated_is_applied
update node_clients set applied_uuid = null, link = null, applied_version = null where subscription_id = {paid};

-- planted: removed_in_time
insert into node_clients (subscription_id, node_id, uuid, version, wanted, expires_at, attempts, last_error, changed_at)
    select id , 1, gen_random_uuid(), 1, false, expires_at, 0, null, atlas.now() - interval '16 minutes'
    from subscriptions where id = {ended};

-- planted: removed_in_time
insert into node_clients (subscription_id, node_id, uuid, version, wanted, expires_at, attempts, last_error, changed_at)
    select id , 1, gen_random_uuid(), 1, false, expires_at, 1, 'HTTP 401', atlas.now() - interval '16 minutes'
    from subscriptions where id = {ended};

-- planted: removed_in_time
insert into node_clients (subscription_id, node_id, uuid, version, wanted, expires_at, attempts, last_error, changed_at)
    select id , 1, gen_random_uuid(), 1, false, expires_at, 90, 'refused by the node', atlas.now() - interval '16 minutes'
    from subscriptions where id = {ended};

-- planted: trial_mark_and_grant_together
update accounts set trial_used_at = null where id = (select account_id from subscriptions where id = {trial});

-- planted: trial_mark_and_grant_together
insert into subscription_history (subscription_id, event, source, tariff, uuid, version, expires_before, expires_at, actor_id)
    select id , 'extended', 'trial', tariff, coalesce(uuid, gen_random_uuid()), version, expires_at, expires_at, 1
    from subscriptions where id = {trial};

-- planted: trial_never_shortened_paid_access
update subscription_history set expires_at = (select expires_at + interval '1 day'
    from subscriptions where id = {paid})
    where subscription_id = {paid};
update subscription_history set expires_before = expires_at where subscription_id = {paid} and event <> 'granted';
insert into subscription_history (subscription_id, event, source, tariff, uuid, version, expires_before, expires_at, actor_id)
    select id , 'extended', 'trial', tariff, coalesce(uuid, gen_random_uuid()), version, expires_at + interval '1 day', expires_at, 1
    from subscriptions where id = {paid};
update accounts set trial_used_at = atlas.now() - interval '30 days'
    where id = (select account_id
    from subscriptions where id = {paid});
insert into trial_days (day, used) select cast(atlas.now() at time zone 'UTC' - interval '30 days' as date), 1;

-- planted: trials_are_counted
update trial_days set used = 0;

-- planted: trials_are_counted
delete from trial_days;

-- planted: paid_order_has_one_settling_payment
update orders set status = 'paid', paid_at = atlas.now() where id = {order};

-- planted: closed_order_is_not_open
update orders set provider_closed_at = atlas.now() where id = {order};

-- planted: event_is_its_payment
insert into payment_events (provider, external_id, body, meaning, via, status, processed_at, correlation_id)
    values ('cryptobot', '9', '', '', 'webhook', 'settled', atlas.now(), 'c');

-- planted: event_is_its_payment
insert into payment_events (provider, external_id, body, meaning, via, status, processed_at, correlation_id)
    values ('cryptobot', '9', '', '', 'webhook', 'duplicate', atlas.now(), 'c');

-- planted: payment_has_the_agreed_price
update payments set amount = amount - 1 where id = {payment};
update receipts set amount = amount - 1 where payment_id = {payment};

-- planted: settling_payment_granted
update subscription_history set payment_id = null, source = 'admin', actor_id = 1 where payment_id = {payment};

-- planted: grant_is_of_the_buyer
update subscription_history set payment_id = null, source = 'admin', actor_id = 1 where payment_id = {payment};
insert into subscription_history (subscription_id, event, source, tariff, uuid, version, expires_before, expires_at, actor_id)
    select id , 'extended', 'payment', tariff, coalesce(uuid, gen_random_uuid()), version, expires_at, expires_at, 1
    from subscriptions where id = {trial};
update subscription_history set payment_id = {payment} where id = (select max(id) from subscription_history);

-- planted: payment_was_told
delete from messages where kind = 'receipt';

-- planted: key_was_told
delete from messages where kind = 'key' and account_id = (select account_id from subscriptions where id = {paid});

-- planted: queued_message_is_driven
update outbox set done_at = atlas.now() where target = 'task_notify' and done_at is null;

-- planted: queued_message_is_driven
delete from outbox where target = 'task_notify';

-- planted: owed_message_is_resumed
update accounts set unreachable_since = null;

-- planted: once_messages_were_sent_once
update messages set unknown_attempts = 1, attempts = 2 where delivery = 'once' and status = 'sent';

-- planted: waiting_update_is_driven
insert into updates (update_id, body, correlation_id) values (9, '', 'c');

-- planted: new_event_is_driven
insert into payment_events (provider, external_id, body, meaning, via, correlation_id)
    values ('cryptobot', '9', '', '', 'webhook', 'c');

-- planted: no_end_was_passed_over
update deployment set clock_offset = clock_offset + interval '90 days';
insert into sweep_runs (sweep, tick, started_at, ended_at, outcome, claimed, done, failed, more)
    values ('expiry', 't', atlas.now(), atlas.now(), 'done', 0, 0, 0, false);

-- planted: no_client_was_passed_over
update node_clients set applied_version = null, claimed_by = gen_random_uuid(), claimed_until = atlas.now() - interval '1 hour', next_attempt_at = atlas.now() - interval '1 hour', changed_at = atlas.now() - interval '1 hour'
    where subscription_id = {paid} and node_id = 2;
insert into sweep_runs (sweep, tick, started_at, ended_at, outcome, claimed, done, failed, more)
    values ('activation', 't', atlas.now(), atlas.now(), 'done', 0, 0, 0, false);

-- planted: no_order_was_passed_over
update orders set expires_at = atlas.now() - interval '6 minutes' where id = {order};
insert into sweep_runs (sweep, tick, started_at, ended_at, outcome, claimed, done, failed, more)
    values ('payments', 't', atlas.now(), atlas.now(), 'done', 0, 0, 0, false);

-- planted: no_work_was_passed_over
update outbox set created_at = atlas.now() - interval '1 hour', not_before = atlas.now() - interval '1 hour'
    where done_at is null;
insert into sweep_runs (sweep, tick, started_at, ended_at, outcome, claimed, done, failed, more)
    values ('outbox', 't', atlas.now(), atlas.now(), 'done', 0, 0, 0, false);

-- planted: audit_chain_is_whole
update audit_log set actor = 2 where id = 1;

-- planted: audit_chain_is_whole
delete from audit_log where id = 1;

-- planted: audit_chain_is_whole
delete from audit_log where id = 2;

-- planted: audit_chain_is_whole
delete from audit_log;

-- planted: audit_chain_is_whole
update audit_head set last_hash = sha256('');

-- excused: a node that does not answer
insert into node_clients (subscription_id, node_id, uuid, version, wanted, expires_at, attempts, last_error, changed_at)
    select id , 1, gen_random_uuid(), 1, false, expires_at, 3, 'no answer: ReadTimeout', atlas.now() - interval '16 minutes'
    from subscriptions where id = {ended};

-- excused: a run that did not finish
update deployment set clock_offset = clock_offset + interval '90 days';
insert into sweep_runs (sweep, tick, started_at, ended_at, outcome, claimed, done, failed, more)
    values ('expiry', 't', atlas.now(), atlas.now(), 'done', 0, 0, 0, true);

-- excused: a drained node lacks who came later
delete from node_clients where subscription_id = {paid} and node_id = 2;
update nodes set state = 'draining' where id = 2;

-- excused: a node that joined a moment ago
insert into nodes (id, name, api_url, key_name) overriding system value values (3, 'n3', 'http://127.0.0.3:1', 'K');

-- planted: settling_payment_is_in_the_books
delete from ledger_entries;
delete from ledger_transfers;

-- planted: sale_is_of_a_settling_payment
insert into payment_events (provider, external_id, body, meaning, via, status, processed_at, correlation_id)
    values ('cryptobot', '9', '', '', 'webhook', 'duplicate', atlas.now(), 'c');
insert into payments (provider, charge_id, kind, order_id, account_id, event_id, amount, currency)
    select p.provider, '9', 'duplicate', p.order_id, p.account_id, e.id, p.amount, p.currency
    from payments p join payment_events e on e.external_id = '9' where p.id = {payment};
insert into ledger_transfers (key, kind, entries, order_id, payment_id)
    select 'payment:' || id, 'sale', 1, order_id, id from payments where charge_id = '9';
insert into ledger_entries (transfer_id, number, entries, books_day, debit_account_id, credit_account_id, amount, currency)
    select t.id, 1, 1, t.books_day, e.debit_account_id, e.credit_account_id, e.amount, e.currency
    from ledger_transfers t join ledger_entries e on e.transfer_id < t.id;

-- planted: sale_is_booked_at_its_price
insert into ledger_accounts (code, currency) values ('goodwill', 'RUB');
update ledger_entries set credit_account_id = (select max(id) from ledger_accounts);

-- planted: money_received_is_booked
insert into ledger_accounts (code, currency) values ('bank', 'RUB');
update ledger_entries set debit_account_id = (select max(id) from ledger_accounts);

-- planted: money_received_is_booked
update payments set fee_asset = 'USDT', fee_amount = 0.01 where id = {payment};

-- planted: suspense_is_what_waits
insert into payment_events (provider, external_id, body, meaning, via, status, processed_at, correlation_id, amount, currency, reason)
    values ('cryptobot', '9', '', '', 'webhook', 'unmatched', atlas.now(), 'c', 14900, 'RUB', 'no such order');

-- planted: duplicate_is_what_was_said
insert into payment_events (provider, external_id, body, meaning, via, status, processed_at, correlation_id, amount, currency)
    values ('cryptobot', '9', '', '', 'webhook', 'duplicate', atlas.now(), 'c', 14900, 'RUB');
insert into payments (provider, charge_id, kind, order_id, account_id, event_id, amount, currency)
    select p.provider, '9', 'duplicate', p.order_id, p.account_id, e.id, 14900, 'RUB'
    from payments p join payment_events e on e.external_id = '9' where p.id = {payment};
insert into ledger_accounts (code, currency) values ('suspense', 'RUB');
insert into ledger_transfers (key, kind, entries, event_id)
    select 'event:' || id, 'suspense', 1, id from payment_events where external_id = '9';
insert into ledger_entries (transfer_id, number, entries, books_day, debit_account_id, credit_account_id, amount, currency)
    select t.id, 1, 1, t.books_day, d.id, c.id, 100, 'RUB' from ledger_transfers t, ledger_accounts d, ledger_accounts c
    where t.kind = 'suspense' and d.code = 'clearing:cryptobot' and d.currency = 'RUB' and c.code = 'suspense';

-- planted: duplicate_is_what_was_said
insert into payment_events (provider, external_id, body, meaning, via, status, processed_at, correlation_id, amount, currency,
                            resolved_at, resolution)
    values ('cryptobot', '9', '', '', 'webhook', 'duplicate', atlas.now(), 'c', 14900, 'RUB', atlas.now(), 'credited');
insert into payments (provider, charge_id, kind, order_id, account_id, event_id, amount, currency)
    select p.provider, '9', 'duplicate', p.order_id, p.account_id, e.id, 14900, 'RUB'
    from payments p join payment_events e on e.external_id = '9' where p.id = {payment};
insert into ledger_accounts (code, currency) values ('exchange', 'RUB');
insert into ledger_accounts (code, currency, account_id, balance)
    select 'user:topped_up', 'RUB', account_id, 100 from payments where id = {payment};
insert into ledger_transfers (key, kind, entries, event_id, payment_id, order_id, account_id, reason)
    select 'event:' || event_id || ':resolved', 'suspense_resolved', 1, event_id, id, order_id, account_id, 'r'
    from payments where charge_id = '9';
insert into ledger_entries (transfer_id, number, entries, books_day, debit_account_id, credit_account_id, amount, currency)
    select t.id, 1, 1, t.books_day, d.id, c.id, 100, 'RUB' from ledger_transfers t, ledger_accounts d, ledger_accounts c
    where t.kind = 'suspense_resolved' and d.code = 'exchange' and c.code = 'user:topped_up';

-- planted: sale_is_booked_at_its_price
insert into ledger_accounts (code, currency) values ('bank', 'RUB');
insert into ledger_transfers (key, kind, entries, actor_id, reason) values ('owner_movement:1', 'owner_movement', 1, 1, 'r');
insert into ledger_entries (transfer_id, number, entries, books_day, debit_account_id, credit_account_id, amount, currency)
    select t.id, 1, 1, t.books_day, d.id, c.id, 1, 'RUB' from ledger_transfers t, ledger_accounts d, ledger_accounts c
    where t.kind = 'owner_movement' and d.code = 'bank' and c.code = 'revenue' and c.currency = 'RUB';

-- planted: balances_are_their_entries
insert into ledger_accounts (code, currency, account_id, balance)
    select 'user:topped_up', 'RUB', account_id, 1 from payments where id = {payment};

-- planted: correction_undoes_its_transfer
insert into ledger_transfers (key, kind, entries, reverses_id, actor_id, reason)
    select 'correction:' || id, 'correction', entries, id, 17, 'a slip' from ledger_transfers;
insert into ledger_entries (transfer_id, number, entries, books_day, debit_account_id, credit_account_id, amount, currency)
    select t.id, e.number, t.entries, t.books_day, e.debit_account_id, e.credit_account_id, e.amount, e.currency
    from ledger_transfers t join ledger_entries e on e.transfer_id = t.reverses_id;

-- planted: transfer_is_of_its_day
update ledger_transfers set booked_at = booked_at - interval '3 days';

-- planted: owed_is_what_is_open
insert into withdrawals (account_id, amount, destination_kind, destination)
    select account_id, 50000, 'card', '4' from payments where id = {payment};

-- planted: promo_use_follows_its_order
insert into promo_codes (code, percent, uses_taken) values ('SPRING', 10, 1);
insert into promo_uses (order_id, account_id, promo_code_id)
    select o.id, o.account_id, c.id from orders o cross join promo_codes c where o.id = {order};

-- planted: promo_uses_are_counted
insert into promo_codes (code, percent, uses_taken) values ('SPRING', 10, 1);

-- planted: reward_is_of_outside_money
insert into referral_rewards (payment_id, buyer_id, referrer_id, base, buyers, percent, amount, held_until)
    select id, account_id, account_id - 1, 14900, 1, 10, 1490, atlas.now() from payments where id = {payment};
update referral_rewards set status = 'reversed', reversed_at = atlas.now();

-- planted: refund_is_of_its_payment
insert into refunds (payment_id, charge_event_id, kind, provider, external_id, route, amount, currency)
    select id, event_id, 'refund', provider, '9', 'provider', amount + 1, currency from payments where id = {payment};
insert into ledger_accounts (code, currency) values ('refunds', 'RUB'), ('bank', 'RUB');
insert into ledger_transfers (key, kind, entries, payment_id, order_id, refund_id)
    select 'refund:cryptobot:9', 'refund', 1, p.id, p.order_id, r.id from payments p join refunds r on r.payment_id = p.id;
insert into ledger_entries (transfer_id, number, entries, books_day, debit_account_id, credit_account_id, amount, currency)
    select t.id, 1, 1, t.books_day, d.id, c.id, 1, 'RUB' from ledger_transfers t, ledger_accounts d, ledger_accounts c
    where t.kind = 'refund' and d.code = 'refunds' and c.code = 'bank' and c.currency = 'RUB';
update receipts set status = 'annulled', annulled_at = atlas.now(), refunded_at = atlas.now(), refund_id = r.id
    from refunds r where r.payment_id = receipts.payment_id;

-- planted: parts_are_less_than_their_charge
insert into refunds (payment_id, charge_event_id, kind, provider, external_id, route, amount, currency, part_of_charge)
    select id, event_id, 'refund', provider, '9', 'provider', amount, currency, amount from payments where id = {payment};
insert into ledger_accounts (code, currency) values ('refunds', 'RUB'), ('bank', 'RUB');
insert into ledger_transfers (key, kind, entries, payment_id, order_id, refund_id)
    select 'refund:cryptobot:9', 'refund', 1, p.id, p.order_id, r.id from payments p join refunds r on r.payment_id = p.id;
insert into ledger_entries (transfer_id, number, entries, books_day, debit_account_id, credit_account_id, amount, currency)
    select t.id, 1, 1, t.books_day, d.id, c.id, 1, 'RUB' from ledger_transfers t, ledger_accounts d, ledger_accounts c
    where t.kind = 'refund' and d.code = 'refunds' and c.code = 'bank' and c.currency = 'RUB';

-- planted: refund_is_in_the_books
insert into refunds (payment_id, charge_event_id, kind, provider, external_id, route, amount, currency)
    select id, event_id, 'refund', provider, '9', 'provider', amount, currency from payments where id = {payment};
update receipts set status = 'annulled', annulled_at = atlas.now(), refunded_at = atlas.now(), refund_id = r.id
    from refunds r where r.payment_id = receipts.payment_id;

-- planted: held_is_what_is_asked_for
insert into ledger_accounts (code, currency, account_id) select 'user:topped_up', 'RUB', account_id from payments where id = {payment};
insert into refund_requests (event_id, account_id, held, reason, correlation_id)
    select event_id, account_id, 1, 'asked', 'c' from payments where id = {payment};

-- planted: gift_is_its_order
insert into gifts (order_id, account_id, link_key_id, link_sha256, claimable_until)
    select id, account_id, 'k', sha256(''), atlas.now() + interval '30 days' from orders where id = {order};
update gifts set status = 'returned', ended_at = atlas.now();

-- planted: promo_uses_are_within_the_limit
update promo_codes set uses_per_account = 1;
insert into promo_codes (code, percent, uses_taken) values ('SPRING', 10, 2);
insert into orders (account_id, kind, tariff, period_days, list_price, price, value, currency, provider, discount, discount_percent,
                    expires_at)
    select o.account_id, kind, 'basic', 30, 14900, 13410, 13410, 'RUB', 'cryptobot', 'promo', 10, atlas.now() + interval '1 hour'
    from (select account_id from orders where id = {order}) o, (values ('gift')) kinds (kind);
update orders set status = 'expired' where id = {order};
insert into orders (account_id, kind, tariff, period_days, list_price, price, value, currency, provider, discount, discount_percent,
                    expires_at)
    select account_id, 'subscription', 'basic', 30, 14900, 13410, 13410, 'RUB', 'cryptobot', 'promo', 10, atlas.now() + interval '1 hour'
    from orders where id = {order};
insert into promo_uses (order_id, account_id, promo_code_id)
    select o.id, o.account_id, c.id from orders o cross join promo_codes c where o.discount = 'promo';

-- planted: promo_price_is_its_codes
update orders set status = 'expired' where id = {order};
insert into promo_codes (code, percent, uses_taken) values ('SPRING', 20, 1);
insert into orders (account_id, kind, tariff, period_days, list_price, price, value, currency, provider, discount, discount_percent,
                    expires_at)
    select account_id, 'subscription', 'basic', 30, 14900, 13410, 13410, 'RUB', 'cryptobot', 'promo', 10, atlas.now() + interval '1 hour'
    from orders where id = {order};
insert into promo_uses (order_id, account_id, promo_code_id)
    select o.id, o.account_id, c.id from orders o cross join promo_codes c where o.discount = 'promo';

-- planted: promo_price_is_its_codes
update orders set status = 'expired' where id = {order};
insert into promo_codes (code, percent, tariffs, uses_taken) values ('SPRING', 10, array['plus'], 1);
insert into orders (account_id, kind, tariff, period_days, list_price, price, value, currency, provider, discount, discount_percent,
                    expires_at)
    select account_id, 'subscription', 'basic', 30, 14900, 13410, 13410, 'RUB', 'cryptobot', 'promo', 10, atlas.now() + interval '1 hour'
    from orders where id = {order};
insert into promo_uses (order_id, account_id, promo_code_id)
    select o.id, o.account_id, c.id from orders o cross join promo_codes c where o.discount = 'promo';

-- planted: value_is_the_price
update orders set value = value + 1 where id = {order};

-- planted: outside_money_has_its_receipt
delete from receipts where payment_id = {payment};

-- planted: outside_money_has_its_receipt
insert into payment_events (provider, external_id, body, meaning, status, processed_at, amount, currency, via, correlation_id)
    select provider, 'twice', '', '', 'duplicate', atlas.now(), amount, currency, 'webhook', 'c' from payments where id = {payment};
update payment_events set resolved_at = atlas.now(), resolution = 'credited' where external_id = 'twice';
insert into payments (provider, charge_id, kind, order_id, account_id, event_id, amount, currency)
    select p.provider, 'twice', 'duplicate', p.order_id, p.account_id, e.id, p.amount, p.currency
    from payments p cross join payment_events e where p.id = {payment} and e.external_id = 'twice';
insert into receipts (payment_id, amount) select id, amount from payments where charge_id = 'twice';

-- planted: receipt_is_of_its_payment
update receipts set amount = amount - 1 where payment_id = {payment};

-- planted: receipt_is_annulled_with_its_payment
insert into refunds (payment_id, kind, provider, external_id, route, amount, currency)
    select id, 'refund', provider, 'back', 'provider', amount, currency from payments where id = {payment};
insert into ledger_accounts (code, currency) values ('refunds', 'RUB'), ('clearing:cryptobot', 'RUB') on conflict do nothing;
insert into ledger_transfers (key, kind, entries, order_id, payment_id, refund_id)
    select 'refund:' || r.provider || ':back', 'refund', 1, p.order_id, p.id, r.id
    from refunds r join payments p on p.id = r.payment_id where r.external_id = 'back';
insert into ledger_entries (transfer_id, number, entries, books_day, debit_account_id, credit_account_id, amount, currency)
    select t.id, 1, 1, t.books_day, d.id, c.id, 14900, 'RUB'
    from ledger_transfers t join ledger_accounts d on d.code = 'refunds' join ledger_accounts c
        on c.code = 'clearing:cryptobot' and c.currency = 'RUB'
    where t.kind = 'refund';

-- planted: snapshots_are_their_entries
update deployment set clock_offset = clock_offset + interval '2 days';
insert into closed_days (day) select books_day from ledger_transfers limit 1;

-- planted: snapshots_are_their_entries
update deployment set clock_offset = clock_offset + interval '2 days';
insert into closed_days (day) select books_day from ledger_transfers limit 1;
insert into ledger_snapshots (day, ledger_account_id, debit, credit)
    select d.day, a.id, coalesce((select sum(e.amount) from ledger_entries e where e.debit_account_id = a.id), 0),
           coalesce((select sum(e.amount) + 1 from ledger_entries e where e.credit_account_id = a.id), 0)
    from closed_days d cross join ledger_accounts a
    where exists (select from ledger_entries e where a.id in (e.debit_account_id, e.credit_account_id));

-- planted: snapshots_are_their_entries
update deployment set clock_offset = clock_offset + interval '3 days';
insert into closed_days (day) select books_day from ledger_transfers limit 1;
insert into ledger_snapshots (day, ledger_account_id, debit, credit)
    select d.day, a.id, coalesce((select sum(e.amount) from ledger_entries e where e.debit_account_id = a.id), 0),
           coalesce((select sum(e.amount) from ledger_entries e where e.credit_account_id = a.id), 0)
    from closed_days d cross join ledger_accounts a
    where exists (select from ledger_entries e where a.id in (e.debit_account_id, e.credit_account_id));
insert into closed_days (day) select max(day) + 1 from closed_days;

-- excused: a closed day with its snapshot
update deployment set clock_offset = clock_offset + interval '2 days';
insert into closed_days (day) select books_day from ledger_transfers limit 1;
insert into ledger_snapshots (day, ledger_account_id, debit, credit)
    select d.day, a.id, coalesce((select sum(e.amount) from ledger_entries e where e.debit_account_id = a.id), 0),
           coalesce((select sum(e.amount) from ledger_entries e where e.credit_account_id = a.id), 0)
    from closed_days d cross join ledger_accounts a
    where exists (select from ledger_entries e where a.id in (e.debit_account_id, e.credit_account_id));

-- excused: a receipt that was told
update receipts set status = 'issued', issued_at = atlas.now() where payment_id = {payment};

-- planted: grant_is_explained
insert into subscription_history (subscription_id, event, source, tariff, uuid, version, expires_before, expires_at, actor_id)
    select id , 'restored', 'payment', tariff, coalesce(uuid, gen_random_uuid()), version, expires_at, expires_at, null
    from subscriptions where id = {paid};

-- planted: banned_have_no_access
update accounts set banned_at = atlas.now(), banned_by = 1, ban_reason = 'because' where id = (select account_id from subscriptions where id = {paid});

-- planted: banned_have_nothing_open
update accounts set banned_at = atlas.now(), banned_by = 1, ban_reason = 'because' where id = (select account_id from orders where id = {order});

-- planted: renewal_is_of_running_access
update subscription_history set source = 'renewal' where payment_id = {payment};

-- planted: ended_is_wanted_nowhere
update subscriptions set status = 'frozen', frozen_until = atlas.now() + interval '1 day', activation_status = 'none' where id = {paid};

-- planted: no_freeze_was_passed_over
update subscriptions set status = 'frozen', frozen_until = atlas.now() - interval '1 hour', activation_status = 'none' where id = {paid};
update node_clients set wanted = false where subscription_id = {paid};
insert into sweep_runs (sweep, tick, started_at, ended_at, outcome, claimed, done, failed, more)
    values ('activation', 't', atlas.now(), atlas.now(), 'done', 0, 0, 0, false);

-- excused: access that is frozen
update subscriptions set status = 'frozen', frozen_until = atlas.now() + interval '1 day', activation_status = 'none' where id = {paid};
update node_clients set wanted = false where subscription_id = {paid};
