-- Who may do what. Run after every migration, idempotent. Login users are made members of these roles by what makes
-- them (Terraform, the local runner); an owner without CREATEROLE works alone and is told so.
do $$
declare
    missing text;
begin
    foreach missing in array array['atlas_app', 'atlas_readonly'] loop
        if not exists (select from pg_catalog.pg_roles where rolname = missing) then
            execute pg_catalog.format('create role %I nologin', missing);
        end if;
    end loop;
exception
    when insufficient_privilege then
        raise notice 'roles atlas_app and atlas_readonly can not be created by %, grants are skipped', current_user;
        return;
    when duplicate_object then
        null; -- another database of this server is being migrated at the same moment
end $$;

do $$
begin
    if (select count(*) from pg_catalog.pg_roles where rolname in ('atlas_app', 'atlas_readonly')) < 2 then
        return;
    end if;
    grant usage on schema atlas to atlas_app, atlas_readonly;
    grant select on all tables in schema atlas to atlas_app, atlas_readonly;
    grant insert, update, delete on all tables in schema atlas to atlas_app;
    grant usage on all sequences in schema atlas to atlas_app;
    -- the books only grow
    revoke update, delete on payments, ledger_transfers, ledger_entries, subscription_history from atlas_app;
    -- which moment and which day a transfer is of is not for the functions to say; of an account they change the balance alone
    revoke insert on ledger_transfers from atlas_app;
    grant insert (key, kind, entries, order_id, payment_id, event_id, account_id, refund_id, withdrawal_id, reverses_id, actor_id,
                  reason)
        on ledger_transfers to atlas_app;
    revoke insert, update on ledger_accounts from atlas_app;
    grant insert (code, currency, account_id), update (balance, held) on ledger_accounts to atlas_app;
    revoke insert, update, delete on ledger_codes, providers from atlas_app;
    -- so do what operators did, and what people answered (which goes with the rest of a person's data)
    revoke update, delete on audit_log from atlas_app;
    revoke update on consents from atlas_app;
    revoke insert, update, delete on audit_head from atlas_app;
    revoke update, delete on payment_event_bodies from atlas_app;
    -- what was agreed stays: an order changes in how it goes on, and in nothing else
    revoke update on orders from atlas_app;
    grant update (status, paid_at, invoice_id, invoice_url, invoice_asked_at, invoice_claimed_by, invoice_claimed_until,
                  checkout_query_id, checkout_until, provider_closed_at, provider_missing_since) on orders to atlas_app;
    -- what is closed stays closed
    revoke insert, update, delete on closed_days, closed_months, ledger_snapshots from atlas_app;
    grant insert (day) on closed_days to atlas_app;
    grant insert (day, ledger_account_id, debit, credit) on ledger_snapshots to atlas_app;
    grant insert (month, statement, despite_suspense, closed_by) on closed_months to atlas_app;
    -- what differed from a provider's account stays told
    revoke update, delete on reconciliations, reconciliation_differences from atlas_app;
    grant update (compared_at, lines, matched, under_way, complete) on reconciliations to atlas_app;
    grant update (said, booked, last_seen_at, ended_at) on reconciliation_differences to atlas_app;
    -- and what was copied off site was copied so
    revoke insert, update, delete on ledger_exports from atlas_app;
    grant insert (store, day, manifest_sha256, protection) on ledger_exports to atlas_app;
    -- likewise what is given and owed; what was given back is of the books
    revoke update, delete on promo_codes, promo_uses, discounts, gifts, withdrawals, refunds, referral_rewards, receipts from atlas_app;
    grant update (uses_taken, stopped_at) on promo_codes to atlas_app;
    grant update (status, used_at, released_at) on promo_uses to atlas_app;
    grant update (withdrawn_at) on discounts to atlas_app;
    grant update (status, claimed_by, history_id, ended_at) on gifts to atlas_app;
    grant update (status, approved_by, approved_at, confirmed_by, ended_by, ended_at, returned_at, reason, destination,
                  destination_erased_at) on withdrawals to atlas_app;
    grant update (status, earned_at, reversed_at, refund_id, written_off) on referral_rewards to atlas_app;
    grant update (status, number, refund_id, refunded_at, attempts, next_attempt_at, issued_at, annulled_at) on receipts to atlas_app;
    revoke update, delete on refund_requests from atlas_app;
    grant update (status, held, claimed_by, claimed_until, attempts, next_attempt_at, last_answer, ended_at) on refund_requests to atlas_app;
    -- where a withdrawal goes is for finance's screens, not for those who read the database
    revoke select on withdrawals from atlas_readonly;
    grant select (id, account_id, amount, destination_kind, destination_erased_at, status, approved_by, confirmed_by, ended_by,
                  reason, requested_at, approved_at, ended_at, returned_at) on withdrawals to atlas_readonly;
    -- what was found violated stays found until its time
    revoke update on invariant_violations from atlas_app;
    revoke delete on invariant_marks from atlas_app;
    revoke delete on payment_events, orders, ledger_accounts, accounts, subscriptions from atlas_app;
    -- the clock and the list of migrations belong to the owner
    revoke insert, update, delete on deployment, schema_migrations, currencies from atlas_app;
    revoke insert, delete on telegram_budget from atlas_app;
    revoke insert, update, delete on placement from atlas_app;
end $$;

-- The functions' login, when Terraform or the local runner made it: a member of atlas_app and of nothing else. Cloud SQL makes each
-- user of its API a cloudsqlsuperuser with CREATEROLE and CREATEDB. What can't be taken away here, the migration refuses in words.
do $$
declare
    login record;
    other text;
begin
    select oid, rolcreaterole, rolcreatedb into login from pg_catalog.pg_roles where rolname = 'atlas_functions' and rolname <> current_user;
    if not found or not exists (select from pg_catalog.pg_roles where rolname = 'atlas_app') then
        return;
    end if;
    begin
        if not pg_catalog.pg_has_role(login.oid, 'atlas_app', 'member') then
            grant atlas_app to atlas_functions;
        end if;
    exception when insufficient_privilege then
        raise notice 'atlas_functions can not be made a member of atlas_app by %', current_user;
    end;
    for other in
        select given.rolname from pg_catalog.pg_auth_members m join pg_catalog.pg_roles given on given.oid = m.roleid
        where m.member = login.oid and given.rolname <> 'atlas_app'
    loop
        begin
            execute pg_catalog.format('revoke %I from atlas_functions', other);
        exception when insufficient_privilege then
            null;
        end;
    end loop;
    begin
        if login.rolcreaterole or login.rolcreatedb then
            alter role atlas_functions nocreaterole nocreatedb;
        end if;
    exception when insufficient_privilege then
        null;
    end;
end $$;

-- The owner may take on the reader's rights, to look without being able to write (infra/environment.py): making a role does not
-- bring that along. And who reads may see what other sessions do (docs/doctor.md), where the owner can give that away.
do $$
begin
    if not exists (select from pg_catalog.pg_roles where rolname = 'atlas_readonly') then
        return;
    end if;
    begin
        if not pg_catalog.pg_has_role('atlas_readonly', 'usage') then
            execute pg_catalog.format('grant atlas_readonly to %I', current_user);
        end if;
    exception when insufficient_privilege then
        raise notice '% may not take on the rights of atlas_readonly', current_user;
    end;
    begin
        if not pg_catalog.pg_has_role('atlas_readonly', 'pg_read_all_stats', 'usage') then
            grant pg_read_all_stats to atlas_readonly;
        end if;
    exception when insufficient_privilege then
        raise notice 'atlas_readonly is not given pg_read_all_stats: % may not grant it', current_user;
    end;
exception
    when duplicate_object or unique_violation then
        null; -- another database of this server is being migrated at the same moment
end $$;
