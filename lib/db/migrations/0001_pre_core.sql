-- The schema of the main path: accounts, orders, money, subscriptions, nodes, messages, and the machinery around them.
-- Constraints carry the invariants; each index says which query or which accident it is for.

-- One row that says what kind of environment this database belongs to. Only a local one may move its clock.
create table deployment (
    only_row boolean primary key default true check (only_row),
    environment text not null check (environment in ('local', 'dev', 'prod')),
    clock_offset interval not null default interval '0',
    -- days and months of the books are this zone's, prices this currency's; fixed at the first migration (money.md)
    books_zone text,
    books_currency text,
    constraint only_local_time_travels check (environment = 'local' or clock_offset = interval '0')
);

-- The one clock. plpgsql, not SQL: a SQL function with a subquery can't be inlined and would be started per call. Only a local
-- environment keeps it: elsewhere `migrate` puts clock.sql in its place, which costs nothing.
create function now() returns timestamptz language plpgsql stable parallel safe set search_path = atlas, pg_catalog as $$
begin
    return pg_catalog.now() + coalesce((select d.clock_offset from deployment d), interval '0');
end $$;

-- Customers ---------------------------------------------------------------------------------------------------------

create table accounts (
    id bigint generated always as identity primary key,
    telegram_id bigint unique,
    first_name text not null default '',
    username text,
    -- null until Telegram or they themselves said one: a default that were stored would pass for what was said
    language text check (language in ('ru', 'en')),
    language_chosen boolean not null default false,
    start_payload text check (length(start_payload) <= 64),
    referrer_id bigint references accounts,
    trial_used_at timestamptz,
    -- they blocked the bot or are gone; null again when they write
    unreachable_since timestamptz,
    -- Telegram refused more messages to this chat (429) until then
    chat_free_at timestamptz,
    -- they want no news (broadcasts, offers); receipts, keys and reminders still come
    news_muted_at timestamptz,
    -- which update had its effect last: one that is delivered again after a later one must not bring its old screen back
    latest_update_id bigint,
    -- updates in the minute that began then (limits on people): counted here because each update writes this row anyway
    updates_counted_from timestamptz,
    updates_counted integer not null default 0 check (updates_counted >= 0),
    created_at timestamptz not null default atlas.now(),
    -- the referrer is always the older account, so a cycle can't exist, whatever races
    constraint referrer_is_older check (referrer_id < id),
    constraint chosen_is_known check (language is not null or not language_chosen)
);
-- chats that are refused at this moment: two of them at once are taken for trouble of the whole bot
create index accounts_chat_paused on accounts (chat_free_at) where chat_free_at is not null;

-- Each answer to a question of consent, one row an answer; the newest of a person and kind counts. By Telegram id, not by
-- account: who refuses to have data kept has no account, and the refusal alone is stored.
create table consents (
    id bigint generated always as identity primary key,
    telegram_id bigint not null,
    kind text not null check (kind in ('data', 'terms')),
    -- of the text that was shown
    version integer not null check (version > 0),
    accepted boolean not null,
    answered_at timestamptz not null default atlas.now()
);
create index consents_newest on consents (telegram_id, kind, id desc);

-- Limits on people for what leaves no row of its own (a promo code that was refused). One row per person and kind, for the
-- window that began last.
create table rate_limits (
    account_id bigint not null references accounts,
    kind text not null check (kind in ('promo_tries')),
    window_started_at timestamptz not null,
    used integer not null check (used > 0),
    primary key (account_id, kind)
);

-- Chat state, one row per account, changed by compare-and-swap on its version.
create table fsm (
    account_id bigint primary key references accounts,
    state text not null,
    data jsonb not null default '{}',
    version bigint not null default 1,
    updated_at timestamptz not null default atlas.now()
);

-- How many trials began on a day; the row is the daily cap's lock.
create table trial_days (
    day date primary key,
    used integer not null check (used >= 0)
);

-- Money -------------------------------------------------------------------------------------------------------------

-- Written by `migrate` from lib/currencies.py, the one list; the functions can't add to it.
create table currencies (
    code text primary key check (code ~ '^[A-Z0-9]{2,12}$'),
    -- digits after the point in the books, and in prices and payments: Stars are sold whole and booked in nanostars
    exponent smallint not null check (exponent between 0 and 18),
    price_exponent smallint not null check (price_exponent between 0 and exponent)
);
alter table deployment
    add constraint books_currency_is_listed foreign key (books_currency) references currencies;

-- The chart of accounts: every code there is. An account is a code and a currency, and a customer's own for the two wallets.
create table ledger_codes (
    code text primary key,
    type text not null
        check (type in ('asset', 'equity', 'exchange', 'liability', 'suspense', 'income', 'contra-income', 'expense')),
    of_customer boolean not null default false,
    unique (code, of_customer)
);
insert into ledger_codes (code, type, of_customer) values
    ('clearing:cryptobot', 'asset', false), ('clearing:stars', 'asset', false), ('clearing:card', 'asset', false),
    ('bank', 'asset', false), ('owner', 'equity', false), ('exchange', 'exchange', false),
    ('user:topped_up', 'liability', true), ('user:earned', 'liability', true),
    ('gifts_outstanding', 'liability', false), ('withdrawals_payable', 'liability', false), ('referral_held', 'liability', false),
    ('suspense', 'suspense', false), ('revenue', 'income', false),
    ('discounts', 'contra-income', false), ('refunds', 'contra-income', false),
    ('provider_fees', 'expense', false), ('referral_cost', 'expense', false), ('goodwill', 'expense', false),
    ('chargebacks', 'expense', false), ('write_offs', 'expense', false);

-- Who takes money: the closed list. Wallets pay as `balance`, a full discount as `promo`, a transfer by hand as `transfer`.
create table providers (
    name text primary key,
    -- where what it took lies meanwhile; null: no money comes from outside
    clearing text references ledger_codes
);
insert into providers (name, clearing) values
    ('cryptobot', 'clearing:cryptobot'), ('stars', 'clearing:stars'), ('card', 'clearing:card'), ('transfer', 'bank'),
    ('balance', null), ('promo', null);

-- Refuses a status that may not follow the one before. The arrows stand at each table's triggers, `from>to`; the other trigger
-- lets a row begin in its first status alone. Neither calls this function unless there is something to check.
create function follow_arrows() returns trigger language plpgsql as $$
begin
    if tg_op = 'INSERT' or not old.status || '>' || new.status = any (tg_argv) then
        raise exception using errcode = 'check_violation', schema = tg_table_schema, table = tg_table_name, constraint = tg_name,
            message = tg_table_name || ' do not become ' || new.status
                      || case tg_op when 'INSERT' then ' at once' else ' after ' || old.status end;
    end if;
    return new;
end $$;

-- What was agreed before money is asked for (product.md, Payment methods; money.md, States). What was agreed never changes: the
-- functions may update only the columns of how it goes on (roles.sql).
create table orders (
    id bigint generated always as identity primary key,
    purchase_id uuid not null unique default gen_random_uuid(),
    account_id bigint not null references accounts,
    kind text not null check (kind in ('subscription', 'top_up', 'gift')),
    tariff text,
    period_days integer check (period_days > 0),
    -- by the price list of its day, and what it is sold for: minor units of `currency` (whole Stars)
    list_price bigint not null check (list_price > 0),
    price bigint not null,
    currency text not null references currencies,
    discount text check (discount in ('promo', 'vip', 'personal')),
    discount_percent smallint check (discount_percent between 1 and 100),
    -- the price in minor units of the books' currency, by the price list: rewards, tiers and statistics go by it
    value bigint not null,
    -- a month of a Stars subscription: its first order, and of each further month one order that names the first and the charge
    recurring boolean not null default false,
    parent_id bigint references orders,
    renewal_charge_id text check (renewal_charge_id <> ''),
    provider text not null references providers,
    status text not null default 'open' check (status in ('open', 'paid', 'expired', 'replaced')),
    invoice_id text check (invoice_id <> ''),
    -- null where there is no page to pay at: a charge that came by itself, an invoice that is a message
    invoice_url text check (invoice_url <> ''),
    -- which run is talking to the provider about this order's invoice, and until when no other may
    invoice_claimed_by uuid,
    invoice_claimed_until timestamptz,
    invoice_asked_at timestamptz,
    -- the pre-checkout that was accepted last, and until when no other is: two at once could both be charged
    checkout_query_id text,
    checkout_until timestamptz,
    -- set when the provider can no longer take money for it: the payments sweep stops asking
    provider_closed_at timestamptz,
    -- since when the provider's listings, otherwise good, lack its invoice: absence is no answer, only 24 h of it are
    provider_missing_since timestamptz,
    created_at timestamptz not null default atlas.now(),
    expires_at timestamptz not null,
    paid_at timestamptz,
    constraint only_top_ups_grant_no_time check ((kind = 'top_up') = (tariff is null) and (tariff is null) = (period_days is null)),
    constraint discount_is_whole check ((discount is null) = (discount_percent is null)),
    constraint discount_is_for_access check (discount is null or kind <> 'top_up'),
    constraint only_codes_make_it_free check (discount = 'promo' or discount_percent < 100),
    -- product.md, Discounts and promo codes: the discount is rounded down
    constraint price_is_list_less_discount check (price = list_price - list_price * coalesce(discount_percent, 0) / 100),
    constraint value_is_of_the_price check (value >= 0 and (value = 0) = (price = 0)),
    constraint free_asks_no_provider check ((price = 0) = (provider = 'promo')),
    constraint stars_are_sold_by_stars check ((currency = 'XTR') = (provider = 'stars')),
    constraint recurring_is_what_stars_offer check (
        not recurring or kind = 'subscription' and period_days = 30 and provider = 'stars' and price between 1 and 10000
                         and coalesce(discount, 'vip') = 'vip'),
    constraint child_is_recurring check (parent_id is null or recurring),
    constraint child_has_its_charge check ((parent_id is null) = (renewal_charge_id is null)),
    constraint child_is_younger check (parent_id < id),
    constraint paid_has_time check ((status = 'paid') = (paid_at is not null)),
    constraint invoice_claim_is_whole check ((invoice_claimed_by is null) = (invoice_claimed_until is null)),
    constraint checkout_is_whole check ((checkout_query_id is null) = (checkout_until is null)),
    unique (provider, invoice_id),
    -- what belongs to an order and an account names both; and a customer's orders
    constraint orders_of_account unique (account_id, id)
);
-- one live checkout per account and kind: a double tap can't make two. A child is made and paid in one transaction.
create unique index orders_one_open on orders (account_id, kind) where status = 'open' and parent_id is null;
-- a charge is one month
create unique index orders_one_child_per_charge on orders (provider, renewal_charge_id) where renewal_charge_id is not null;
-- the months of a Stars subscription
create index orders_of_parent on orders (parent_id, id) where parent_id is not null;
-- the payments sweep: whatever the provider may still take money for
create index orders_watched on orders (provider, id) where provider_closed_at is null and status <> 'paid';
create index orders_due on orders (expires_at, id) where status = 'open';
-- and those whose invoice may exist although its making was never heard of
create index orders_without_invoice on orders (provider, created_at)
    where provider_closed_at is null and status <> 'paid' and invoice_id is null;
create trigger orders_begin before insert on orders for each row when (new.status <> 'open') execute function follow_arrows();
create trigger orders_arrows before update of status on orders for each row when (new.status <> old.status)
    execute function follow_arrows('open>paid', 'open>expired', 'open>replaced', 'expired>paid', 'replaced>paid');

-- A month of a Stars subscription is sold by the terms of the first one. Run for such months only.
create function child_order_is_its_parents() returns trigger language plpgsql as $$
begin
    if not exists (
        select from atlas.orders p
        where p.id = new.parent_id and p.parent_id is null
          and (p.account_id, p.recurring, p.tariff, p.period_days, p.list_price, p.price, p.currency, p.value, p.provider)
              = (new.account_id, new.recurring, new.tariff, new.period_days, new.list_price, new.price, new.currency, new.value,
                 new.provider)
          and p.discount is not distinct from new.discount
    ) then
        raise exception using errcode = 'check_violation', schema = tg_table_schema, table = tg_table_name, constraint = tg_name,
            message = 'a renewal is sold by the terms of its first order';
    end if;
    return new;
end $$;
create trigger orders_child before insert on orders for each row when (new.parent_id is not null)
    execute function child_order_is_its_parents();

-- Inbox of what providers say about money: one row per natural key, never deleted by code. A key is used up by an effect alone:
-- an event without one (unmatched, no_money) is looked at again when more is said of it.
create table payment_events (
    id bigint generated always as identity primary key,
    provider text not null references providers,
    -- a refund carries the id of its charge, so the kind is part of the key
    kind text not null default 'charge' check (kind in ('charge', 'refund', 'chargeback', 'other')),
    external_id text not null,
    body bytea not null,
    -- digest of what the body says, as far as money goes: another body that says the same is the same news
    meaning text not null,
    via text not null check (via in ('webhook', 'sweep', 'update')),
    status text not null default 'new' check (status in ('new', 'settled', 'duplicate', 'unmatched', 'no_money')),
    reason text,
    amount numeric(38, 0) check (amount > 0 and amount < 'infinity'),
    currency text references currencies,
    order_id bigint references orders,
    -- who paid, as far as the provider says it: not always the customer whose order it is
    payer_telegram_id bigint check (payer_telegram_id > 0),
    attempts integer not null default 0 check (attempts >= 0),
    received_at timestamptz not null default atlas.now(),
    processed_at timestamptz,
    correlation_id text not null,
    -- how an operator ended an unmatched one
    resolved_at timestamptz,
    resolution text check (resolution in ('assigned', 'refunded', 'credited', 'no_money')),
    unique (provider, kind, external_id),
    constraint processed_has_time check ((status = 'new') = (processed_at is null)),
    constraint resolved_says_how check ((resolved_at is null) = (resolution is null)),
    constraint only_unmatched_is_resolved check (resolved_at is null or status = 'unmatched'),
    constraint currency_is_of_an_amount check (currency is null or amount is not null)
);
create index payment_events_new on payment_events (id) where status = 'new';
create index payment_events_unmatched on payment_events (id) where status = 'unmatched' and resolved_at is null;
create index payment_events_of_order on payment_events (order_id) where order_id is not null;

-- Bodies of an event that say something else than the one it stands for: what came before that one, or after its effect.
create table payment_event_bodies (
    event_id bigint not null references payment_events,
    meaning text not null,
    body bytea not null,
    via text not null check (via in ('webhook', 'sweep', 'update')),
    correlation_id text not null,
    received_at timestamptz not null default atlas.now(),
    primary key (event_id, meaning)
);

-- The books: rows are only ever added (the app role has no UPDATE or DELETE on them), so a payment never changes what it means.
create table payments (
    id bigint generated always as identity primary key,
    provider text not null references providers,
    charge_id text not null,
    kind text not null check (kind in ('settling', 'duplicate')),
    order_id bigint not null,
    account_id bigint not null,
    event_id bigint unique references payment_events,
    -- what was agreed, as the order has it; at 100 % off nothing is paid, and the provider is `promo`
    amount bigint not null,
    currency text not null references currencies,
    -- what really came and what the provider kept of it, exactly as it said, whole units: an asset may be one that the list of
    -- currencies lacks
    paid_asset text check (paid_asset ~ '^[A-Z0-9]{2,12}$'),
    paid_amount numeric check (paid_amount > 0 and paid_amount < 'infinity'),
    paid_rate numeric check (paid_rate > 0 and paid_rate < 'infinity'),
    fee_asset text check (fee_asset ~ '^[A-Z0-9]{2,12}$'),
    fee_amount numeric check (fee_amount > 0 and fee_amount < 'infinity'),
    created_at timestamptz not null default atlas.now(),
    unique (provider, charge_id),
    constraint nothing_is_paid_at_full_discount check (case provider when 'promo' then amount = 0 else amount > 0 end),
    constraint paid_amount_is_of_an_asset check (paid_asset is not null or paid_amount is null),
    constraint fee_is_of_an_asset check (fee_asset is not null or fee_amount is null),
    -- what comes from outside was told by its provider: the news stays beside it
    constraint outside_money_has_an_event check (event_id is not null or provider in ('balance', 'promo')),
    -- a payment can't name another customer's order
    constraint payment_of_the_orders_account foreign key (order_id, account_id) references orders (id, account_id),
    -- what is about a payment names its order with it
    constraint payments_of_one unique (id, order_id),
    -- or its customer; and a customer's payments
    constraint payments_of_account unique (account_id, id)
);
-- an order is settled by exactly one payment
create unique index payments_one_settling on payments (order_id) where kind = 'settling';
create index payments_of_order on payments (order_id);
create index payments_of_event on payments (event_id);

-- Days of the books are those of the zone that was fixed at the first migration.
create function books_day() returns date language plpgsql stable parallel safe as $$
begin
    return cast(atlas.now() at time zone (select d.books_zone from atlas.deployment d) as date);
end $$;

alter table deployment add constraint books_have_one_currency unique (books_currency);

create table ledger_accounts (
    id bigint generated always as identity primary key,
    code text not null,
    currency text not null references currencies,
    -- whose wallet it is; null: an account of the shop
    account_id bigint references accounts,
    -- kept for wallets alone: one shared hot row would queue every settlement behind it
    balance numeric(38, 0) not null default 0 constraint wallet_is_never_negative check (balance >= 0 and balance < 'infinity'),
    of_customer boolean not null generated always as (account_id is not null) stored,
    wallet_currency text generated always as (case when account_id is not null then currency end) stored,
    constraint only_wallets_cache check (of_customer or balance = 0),
    constraint code_of_the_chart foreign key (code, of_customer) references ledger_codes (code, of_customer),
    constraint wallet_in_the_books_currency foreign key (wallet_currency) references deployment (books_currency),
    unique (id, currency)
);
-- one account for a code and a currency, and one wallet of each kind for a customer
create unique index ledger_accounts_one on ledger_accounts (coalesce(account_id, 0), code, currency);

-- One fact of the books. Its key is made of the fact, so nothing is posted twice; what was wrong is undone by a transfer of its
-- own that names it.
create table ledger_transfers (
    id bigint generated always as identity primary key,
    key text not null unique,
    kind text not null check (kind in (
        'sale', 'top_up', 'gift_bought', 'gift_claimed', 'gift_returned', 'suspense', 'suspense_resolved', 'fee',
        'reward', 'reward_released', 'reward_reversed',
        'withdrawal_asked', 'withdrawal_returned', 'withdrawal_paid', 'withdrawal_bounced',
        'refund', 'chargeback', 'second_debit', 'payout', 'owner_movement', 'affiliate_commission',
        'operator_credit', 'operator_debit', 'erasure', 'correction')),
    -- how many entries it has: it is whole when it is committed, and takes no more later
    entries smallint not null check (entries > 0),
    -- what it is for
    order_id bigint references orders,
    payment_id bigint,
    event_id bigint references payment_events,
    account_id bigint references accounts,
    reverses_id bigint unique references ledger_transfers,
    -- the operator who did it, by Telegram id; null when it happened by itself or by the customer
    actor_id bigint check (actor_id > 0),
    reason text check (length(reason) between 1 and 1000),
    booked_at timestamptz not null default atlas.now(),
    books_day date not null default atlas.books_day(),
    unique (id, entries, books_day),
    constraint transfer_of_the_payments_order foreign key (payment_id, order_id) references payments (id, order_id),
    constraint payment_with_its_order check (payment_id is null or order_id is not null),
    constraint only_a_correction_reverses check ((kind = 'correction') = (reverses_id is not null)),
    constraint corrects_an_earlier_one check (reverses_id < id),
    constraint operators_say_who_and_why check (
        kind not in ('operator_credit', 'operator_debit', 'owner_movement', 'suspense_resolved', 'correction')
        or (actor_id is not null and reason is not null))
);
create index ledger_transfers_of_payment on ledger_transfers (payment_id) where payment_id is not null;
create index ledger_transfers_of_order on ledger_transfers (order_id) where order_id is not null;
create index ledger_transfers_of_event on ledger_transfers (event_id) where event_id is not null;
create index ledger_transfers_of_account on ledger_transfers (account_id) where account_id is not null;

-- An entry moves an amount from one account to another in one currency, so every transfer sums to zero in each currency by its
-- shape: nothing else can be written down.
create table ledger_entries (
    transfer_id bigint not null,
    number smallint not null,
    -- of the transfer, and the same there: no entry is added to one that is whole, or on another day
    entries smallint not null,
    books_day date not null,
    debit_account_id bigint not null,
    credit_account_id bigint not null,
    amount numeric(38, 0) not null check (amount > 0 and amount < 'infinity'),
    currency text not null,
    primary key (transfer_id, number),
    constraint entry_within_its_transfer check (number between 1 and entries),
    constraint entry_of_its_transfer
        foreign key (transfer_id, entries, books_day) references ledger_transfers (id, entries, books_day),
    constraint from_one_account_to_another check (debit_account_id <> credit_account_id),
    -- both sides are kept in the entry's currency
    constraint debit_in_its_currency foreign key (debit_account_id, currency) references ledger_accounts (id, currency),
    constraint credit_in_its_currency foreign key (credit_account_id, currency) references ledger_accounts (id, currency)
);
-- statements of an account, by day
create index ledger_entries_debit on ledger_entries (debit_account_id, books_day) include (amount);
create index ledger_entries_credit on ledger_entries (credit_account_id, books_day) include (amount);

-- At COMMIT: a transfer has all the entries that it says it has.
create function transfer_is_whole() returns trigger language plpgsql as $$
begin
    if (select count(*) from atlas.ledger_entries e where e.transfer_id = new.id) <> new.entries then
        raise exception using errcode = 'check_violation', constraint = 'transfer_is_whole',
            message = 'a transfer lacks entries';
    end if;
    return null;
end $$;
create constraint trigger transfer_is_whole after insert on ledger_transfers
    deferrable initially deferred for each row execute function transfer_is_whole();

-- Closed days of the books, one after the other, each at the earliest 3 h after its end (money.md, Postings). Nothing posts into one
-- that is closed, nor before it.
create table closed_days (
    -- none comes after an infinite one
    day date primary key check (isfinite(day)),
    closed_at timestamptz not null default atlas.now()
);

-- What each account had moved up to the end of a closed day: later balances begin here.
create table ledger_snapshots (
    day date not null references closed_days,
    ledger_account_id bigint not null references ledger_accounts,
    debit numeric(38, 0) not null check (debit >= 0 and debit < 'infinity'),
    credit numeric(38, 0) not null check (credit >= 0 and credit < 'infinity'),
    primary key (day, ledger_account_id)
);

-- Closed months (money.md, Reports): what the month was, as bytes that never change, and their hash.
create table closed_months (
    -- its first day; its last one is closed
    month date primary key constraint month_is_its_first_day check (extract(day from month) = 1),
    last_day date not null generated always as (cast(month + interval '1 month' - interval '1 day' as date)) stored
        references closed_days,
    statement bytea not null check (octet_length(statement) > 0),
    statement_sha256 bytea not null generated always as (sha256(statement)) stored,
    -- told to go on although money had lain in suspense for more than 24 h
    despite_suspense boolean not null default false,
    -- Telegram id of the operator; null: a command
    closed_by bigint check (closed_by > 0),
    closed_at timestamptz not null default atlas.now()
);

-- Postings that are under way commit before the day is closed, later ones see that it is: an insert of a transfer holds a lock
-- that this one waits for. Runs as the owner, who alone may take it.
create function close_day() returns trigger language plpgsql security definer
set search_path = atlas, pg_catalog, pg_temp as $$
begin
    lock table ledger_transfers in share mode;
    if coalesce(atlas.now() < cast(new.day + 1 as timestamp) at time zone (select d.books_zone from deployment d)
                              + interval '3 hours', true) then
        raise exception using errcode = 'check_violation', constraint = tg_name, message = 'a day is closed 3 h after its end';
    elsif new.day <> (select max(c.day) + 1 from closed_days c) then
        raise exception using errcode = 'check_violation', constraint = tg_name, message = 'days are closed one after the other';
    end if;
    return new;
end $$;
create trigger closed_days_in_order before insert on closed_days for each row execute function close_day();

create function refuse_closed_day() returns trigger language plpgsql as $$
begin
    -- the newest, by its index
    if new.books_day <= (select max(c.day) from atlas.closed_days c) then
        raise exception using errcode = 'check_violation', constraint = tg_name, message = 'this day of the books is closed';
    end if;
    return new;
end $$;
create trigger transfer_of_an_open_day before insert on ledger_transfers for each row execute function refuse_closed_day();

-- Access ------------------------------------------------------------------------------------------------------------

create table subscriptions (
    id bigint generated always as identity primary key,
    account_id bigint not null unique references accounts,
    tariff text not null,
    source text not null check (source in ('trial', 'payment', 'admin', 'renewal', 'gift')),
    status text not null check (status in ('active', 'frozen', 'expired')),
    activation_status text not null check (activation_status in ('pending', 'active', 'none')),
    uuid uuid unique,
    -- grows with every change of any of its node_clients rows, and survives them: no node is told two things under one version
    version bigint not null default 1 check (version > 0),
    started_at timestamptz not null,
    expires_at timestamptz not null,
    -- until when the time comes from a trial: it is never converted into another tariff's
    trial_until timestamptz,
    pending_since timestamptz,
    frozen_until timestamptz,
    auto_renew boolean not null default false,
    -- what an automatic renewal buys again
    last_period_days integer check (last_period_days > 0),
    -- for which end it was last tried: a renewal of one end is tried once
    last_auto_renewal_at timestamptz,
    -- the subscription URL's token: its generation, which key made it, and its sha256
    feed_generation integer not null default 1 check (feed_generation > 0),
    feed_key_id text,
    feed_sha256 bytea unique check (octet_length(feed_sha256) = 32),
    -- for which generation of `placement` its node clients were last written: an older one may lack a node
    placement bigint not null default 0,
    updated_at timestamptz not null default atlas.now(),
    constraint only_ended_has_no_uuid check ((status = 'expired') = (uuid is null)),
    constraint only_active_is_activated check ((status = 'active') = (activation_status <> 'none')),
    constraint pending_has_since check ((activation_status = 'pending') = (pending_since is not null)),
    constraint frozen_until_when check ((status = 'frozen') = (frozen_until is not null)),
    constraint feed_token_is_whole check ((feed_key_id is null) = (feed_sha256 is null)),
    constraint renewed_before_the_end check (last_auto_renewal_at <= expires_at),
    check (expires_at >= started_at)
);
create index subscriptions_due on subscriptions (expires_at, id) where status = 'active';
create index subscriptions_pending on subscriptions (pending_since) where activation_status = 'pending';
-- what a node that joined or came back may lack
create index subscriptions_to_place on subscriptions (placement, id) where status = 'active';

-- Every change of a subscription's end or UUID; the end of one that is active is the `expires_at` of its last row.
create table subscription_history (
    id bigint generated always as identity primary key,
    subscription_id bigint not null references subscriptions,
    event text not null check (event in
        ('granted', 'extended', 'activated', 'expired', 'reissued', 'frozen', 'thawed', 'revoked', 'renewed', 'converted')),
    source text not null,
    tariff text not null,
    uuid uuid not null,
    version bigint not null,
    expires_before timestamptz,
    expires_at timestamptz not null,
    payment_id bigint unique references payments,
    -- the operator who did it, by Telegram id; null when it happened by itself or by the customer
    actor_id bigint,
    created_at timestamptz not null default atlas.now()
);
create index subscription_history_of on subscription_history (subscription_id, id);

-- What is given, owed and given back --------------------------------------------------------------------------------

-- product.md, Discounts and promo codes. A code never changes but in how much of it is taken and whether it is stopped.
create table promo_codes (
    id bigint generated always as identity primary key,
    code text not null unique check (code ~ '^[A-Z0-9]{3,32}$'),
    percent smallint not null check (percent between 1 and 100),
    -- null: for every tariff
    tariffs text[] check (cardinality(tariffs) > 0),
    ends_at timestamptz,
    max_uses integer check (max_uses > 0),
    uses_per_account integer not null default 1 check (uses_per_account > 0),
    -- reserved and used ones; the statement that reserves counts here, so the last use can't be taken twice. Uses counted
    -- `over` are not among them.
    uses_taken integer not null default 0 check (uses_taken >= 0),
    stopped_at timestamptz,
    -- Telegram id of the operator; null: a command
    created_by bigint,
    created_at timestamptz not null default atlas.now(),
    constraint taken_within_the_limit check (uses_taken <= max_uses)
);

-- The code of an order (money.md, States): reserved with it, used by its settlement, released when the provider can take no
-- more money. An order has one or none: its key.
create table promo_uses (
    order_id bigint primary key,
    account_id bigint not null,
    promo_code_id bigint not null references promo_codes,
    status text not null default 'reserved' check (status in ('reserved', 'used', 'released')),
    reserved_at timestamptz not null default atlas.now(),
    used_at timestamptz,
    released_at timestamptz,
    -- released and paid after all: it counts beside the limit
    over boolean not null generated always as (used_at is not null and released_at is not null) stored,
    constraint used_has_time check ((status = 'used') = (used_at is not null)),
    constraint released_has_time check (
        case status when 'reserved' then released_at is null when 'released' then released_at is not null else true end),
    constraint promo_use_of_the_orders_account foreign key (order_id, account_id) references orders (id, account_id)
);
-- how often one customer took a code
create index promo_uses_taken on promo_uses (promo_code_id, account_id) where status <> 'released';
-- what may have to be released
create index promo_uses_reserved on promo_uses (order_id) where status = 'reserved';
create trigger promo_uses_begin before insert on promo_uses for each row when (new.status <> 'reserved')
    execute function follow_arrows();
create trigger promo_uses_arrows before update of status on promo_uses for each row when (new.status <> old.status)
    execute function follow_arrows('reserved>used', 'reserved>released', 'released>used');

-- What a customer gets less for than others, beside codes (product.md, Discounts and promo codes).
create table discounts (
    id bigint generated always as identity primary key,
    account_id bigint not null references accounts,
    kind text not null check (kind in ('vip', 'personal')),
    -- VIP's is the price list's
    percent smallint check (percent between 1 and 99),
    -- the rule that offered it, each once per customer; null: an operator (their Telegram id) or a command did
    rule text check (rule ~ '^[a-z][a-z_]*$'),
    given_by bigint,
    given_at timestamptz not null default atlas.now(),
    ends_at timestamptz,
    withdrawn_at timestamptz,
    constraint vip_percent_is_the_price_lists check ((kind = 'vip') = (percent is null)),
    constraint vip_is_for_good check (kind <> 'vip' or (ends_at is null and rule is null)),
    constraint given_by_rule_or_operator check (rule is null or given_by is null),
    constraint ends_after_it_began check (ends_at > given_at),
    constraint discounts_once_per_rule unique (account_id, rule)
);
create unique index discounts_one_vip on discounts (account_id) where kind = 'vip' and withdrawn_at is null;
create index discounts_of_account on discounts (account_id) where withdrawn_at is null;

-- A gift that was paid for (product.md, Subscription; money.md, States). One per order: its key.
create table gifts (
    order_id bigint primary key,
    -- the buyer
    account_id bigint not null,
    status text not null default 'paid' check (status in ('paid', 'claimed', 'returned', 'refunded')),
    -- the one-time link's token: which key made it, and its sha256
    link_key_id text not null,
    link_sha256 bytea not null unique check (octet_length(link_sha256) = 32),
    created_at timestamptz not null default atlas.now(),
    -- unclaimed, it then goes back to the buyer's balance
    claimable_until timestamptz not null,
    claimed_by bigint references accounts,
    -- the grant that the claim was
    history_id bigint unique references subscription_history,
    ended_at timestamptz,
    constraint claimed_says_by_whom check ((status = 'claimed') = (claimed_by is not null)),
    constraint claimed_is_granted check ((status = 'claimed') = (history_id is not null)),
    constraint gift_end_has_time check ((status = 'paid') = (ended_at is null)),
    constraint claimable_for_a_while check (claimable_until > created_at),
    constraint gift_of_the_buyers_order foreign key (order_id, account_id) references orders (id, account_id)
);
create index gifts_due on gifts (claimable_until, order_id) where status = 'paid';
create index gifts_of_account on gifts (account_id, order_id);
create trigger gifts_begin before insert on gifts for each row when (new.status <> 'paid') execute function follow_arrows();
create trigger gifts_arrows before update of status on gifts for each row when (new.status <> old.status)
    execute function follow_arrows('paid>claimed', 'paid>returned', 'paid>refunded');

-- Earned money that a customer asked to be paid out (product.md, Balance, top-up, withdrawal; money.md, States). The money left
-- `user:earned` when the row was made; amounts are minor units of the books' currency.
create table withdrawals (
    id bigint generated always as identity primary key,
    account_id bigint not null references accounts,
    amount bigint not null check (amount > 0),
    -- where it goes: seen by finance only (`atlas_readonly` may not read it), never logged, erased 90 days after the end
    destination_kind text not null check (destination_kind in ('card', 'sbp', 'ton', 'other')),
    destination text check (length(destination) between 1 and 200),
    destination_erased_at timestamptz,
    status text not null default 'requested' check (status in ('requested', 'approved', 'paid', 'failed', 'rejected', 'returned')),
    -- Telegram ids of the operators: who approved, the second person above the limit, who ended it
    approved_by bigint,
    confirmed_by bigint,
    ended_by bigint,
    -- what the customer is told of a rejection, a failure or a return
    reason text check (length(reason) between 1 and 1000),
    requested_at timestamptz not null default atlas.now(),
    approved_at timestamptz,
    ended_at timestamptz,
    returned_at timestamptz,
    constraint approved_is_whole check ((approved_at is null) = (approved_by is null)),
    constraint approved_before_it_is_paid check (
        case when status in ('requested', 'rejected') then approved_at is null
             when status in ('approved', 'paid', 'returned') then approved_at is not null else true end),
    constraint two_people_are_two check (confirmed_by is null or (approved_by is not null and confirmed_by <> approved_by)),
    constraint withdrawal_end_has_time check ((status in ('requested', 'approved')) = (ended_at is null)),
    constraint returned_has_time check ((status = 'returned') = (returned_at is not null)),
    constraint refusal_has_a_reason check (status not in ('rejected', 'failed', 'returned') or reason is not null),
    constraint destination_is_there_or_erased check ((destination is null) = (destination_erased_at is not null)),
    constraint destination_stays_to_the_end check (destination_erased_at is null or ended_at is not null)
);
-- one open at a time
create unique index withdrawals_one_open on withdrawals (account_id) where status in ('requested', 'approved');
create index withdrawals_open on withdrawals (id) where status in ('requested', 'approved');
create index withdrawals_to_erase on withdrawals (ended_at, id) where destination is not null and ended_at is not null;
create index withdrawals_of_account on withdrawals (account_id, id);
create trigger withdrawals_begin before insert on withdrawals for each row when (new.status <> 'requested')
    execute function follow_arrows();
create trigger withdrawals_arrows before update of status on withdrawals for each row when (new.status <> old.status)
    execute function follow_arrows('requested>approved', 'requested>rejected', 'requested>failed', 'approved>paid',
                                   'approved>failed', 'paid>returned');

-- The books, as payments: money of a payment that went back, by us or by force (money.md, Postings and States).
create table refunds (
    id bigint generated always as identity primary key,
    payment_id bigint not null references payments,
    kind text not null check (kind in ('refund', 'chargeback')),
    -- who moved it, and under which id: a provider by its own; to the balance or by hand (`balance`, `transfer`) by ours
    provider text not null references providers,
    external_id text not null check (external_id <> ''),
    route text not null check (route in ('provider', 'wallet', 'balance', 'bank')),
    -- of the payment's currency
    amount bigint not null check (amount > 0),
    currency text not null references currencies,
    -- what the provider took for it, exactly as it said, whole units
    fee_asset text check (fee_asset ~ '^[A-Z0-9]{2,12}$'),
    fee_amount numeric check (fee_amount > 0 and fee_amount < 'infinity'),
    event_id bigint unique references payment_events,
    reverses_access boolean not null default false,
    -- Telegram id of the operator; null: it happened by itself, or the provider told of it
    made_by bigint,
    reason text check (length(reason) between 1 and 1000),
    created_at timestamptz not null default atlas.now(),
    constraint fee_is_whole check ((fee_asset is null) = (fee_amount is null)),
    constraint chargebacks_are_the_providers check (kind = 'refund' or route = 'provider'),
    -- told twice, by two ways or in a list, it is one
    unique (provider, external_id),
    -- once is all of it
    constraint refunds_once_per_payment unique (payment_id, kind),
    constraint refunds_of_payment unique (payment_id, id)
);

-- A referrer's part of one payment's external money (product.md, Referral). One per payment: its key.
create table referral_rewards (
    payment_id bigint primary key,
    buyer_id bigint not null,
    referrer_id bigint not null references accounts,
    -- value of the external money in minor units of the books' currency; the buyers that made the tier; its percent
    base bigint not null check (base > 0),
    buyers integer not null check (buyers > 0),
    percent smallint not null check (percent between 1 and 100),
    amount bigint not null check (amount > 0),
    status text not null default 'held' check (status in ('held', 'earned', 'reversed')),
    held_until timestamptz not null,
    created_at timestamptz not null default atlas.now(),
    earned_at timestamptz,
    reversed_at timestamptz,
    -- what took it back; null: an erased customer's
    refund_id bigint,
    -- of an earned one, what could not be had back
    written_off bigint not null default 0,
    constraint reward_of_the_buyers_payment foreign key (payment_id, buyer_id) references payments (id, account_id),
    constraint reward_is_its_percent check (amount = base * percent / 100),
    constraint reward_goes_to_the_older_account check (referrer_id < buyer_id),
    constraint earned_has_time check (
        case status when 'held' then earned_at is null when 'earned' then earned_at is not null else true end),
    constraint earned_after_the_hold check (earned_at >= held_until),
    constraint reversed_has_time check ((status = 'reversed') = (reversed_at is not null)),
    constraint only_reversed_names_a_refund check (refund_id is null or status = 'reversed'),
    constraint only_earned_is_written_off check (
        written_off between 0 and amount and (written_off = 0 or (status = 'reversed' and earned_at is not null))),
    constraint reversed_by_its_payments_refund foreign key (payment_id, refund_id) references refunds (payment_id, id)
);
create index referral_rewards_due on referral_rewards (held_until, payment_id) where status = 'held';
-- the tier counts distinct buyers
create index referral_rewards_of_referrer on referral_rewards (referrer_id, buyer_id);
create trigger referral_rewards_begin before insert on referral_rewards for each row when (new.status <> 'held')
    execute function follow_arrows();
create trigger referral_rewards_arrows before update of status on referral_rewards for each row when (new.status <> old.status)
    execute function follow_arrows('held>earned', 'held>reversed', 'earned>reversed');

-- What the tax office is told of an external payment (money.md, Reports). due: to be told. annulling: told, and a refund is to be
-- told. A refund before it was told leaves nothing to tell.
create table receipts (
    payment_id bigint primary key references payments,
    status text not null default 'due' check (status in ('due', 'issued', 'annulling', 'annulled')),
    -- as paid, in minor units of the books' currency
    amount bigint not null check (amount > 0),
    -- what the receiving side calls it
    number text check (number <> ''),
    refund_id bigint,
    attempts integer not null default 0 check (attempts >= 0),
    next_attempt_at timestamptz not null default atlas.now(),
    created_at timestamptz not null default atlas.now(),
    issued_at timestamptz,
    annulled_at timestamptz,
    constraint issued_has_time check (
        case status when 'due' then issued_at is null when 'annulled' then true else issued_at is not null end),
    constraint only_issued_has_a_number check (number is null or issued_at is not null),
    constraint annulled_by_a_refund check ((status in ('annulling', 'annulled')) = (refund_id is not null)),
    constraint annulled_has_time check ((status = 'annulled') = (annulled_at is not null)),
    constraint annulled_by_its_payments_refund foreign key (payment_id, refund_id) references refunds (payment_id, id)
);
create index receipts_due on receipts (next_attempt_at, payment_id) where status in ('due', 'annulling');
create trigger receipts_begin before insert on receipts for each row when (new.status <> 'due') execute function follow_arrows();
create trigger receipts_arrows before update of status on receipts for each row when (new.status <> old.status)
    execute function follow_arrows('due>issued', 'due>annulled', 'issued>annulling', 'annulling>annulled');

-- What a transfer of the ledger is for: every fact names it, and its key is made of it (money.md, Postings).
alter table ledger_transfers
    add refund_id bigint,
    add withdrawal_id bigint references withdrawals,
    add constraint transfer_of_the_payments_refund foreign key (payment_id, refund_id) references refunds (payment_id, id),
    add constraint refund_with_its_payment check (refund_id is null or payment_id is not null),
    add constraint key_is_made_of_the_fact check (coalesce(case
        when kind in ('sale', 'top_up', 'gift_bought') then key = 'payment:' || cast(payment_id as text)
        when kind = 'gift_claimed' then key = 'gift:' || cast(order_id as text) || ':claimed'
        when kind = 'gift_returned' then key = 'gift:' || cast(order_id as text) || ':returned'
        when kind = 'suspense' then key = 'event:' || cast(event_id as text)
        when kind = 'suspense_resolved' then key = 'event:' || cast(event_id as text) || ':resolved'
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
create index ledger_transfers_of_refund on ledger_transfers (refund_id) where refund_id is not null;
create index ledger_transfers_of_withdrawal on ledger_transfers (withdrawal_id) where withdrawal_id is not null;

-- Nodes -------------------------------------------------------------------------------------------------------------

-- Whether a node's service can be called there: scheme, host or bracketed address, a port in its range, a plain path.
create function is_node_address(url text) returns boolean language sql immutable strict as $$
    select url ~ '^https?://([A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?|\[[0-9A-Fa-f:.]{2,45}\])(:([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]))?(/[A-Za-z0-9._~-]+)*$'
$$;

create table nodes (
    id bigint generated always as identity primary key,
    name text not null unique check (name ~ '^[a-z0-9][a-z0-9-]{0,62}$'),
    api_url text not null constraint api_url_is_an_address check (atlas.is_node_address(api_url)),
    -- name of the setting (a Secret Manager secret) that holds its key; the key itself is never here
    key_name text not null,
    -- active: takes new clients. draining: keeps those it has, takes none. retired: only gives back what it has.
    state text not null default 'active' check (state in ('active', 'draining', 'retired')),
    -- since when it has not answered; it keeps its clients and takes no new ones until it answers again
    lost_since timestamptz,
    country text check (country ~ '^[A-Z]{2}$'),
    city_ru text,
    city_en text,
    tags text[] not null default '{}',
    weight integer not null default 1 check (weight >= 0),
    -- sha256 of its certificate's public key, hex; the second one while the certificate is exchanged
    pin text check (pin ~ '^[0-9a-f]{64}$'),
    next_pin text check (next_pin ~ '^[0-9a-f]{64}$'),
    -- what it said last: another state_id means that it lost what it held
    state_id text,
    state_lost_at timestamptz,
    -- how far its clock is ahead of Atlas's; null while it can't tell
    clock_off_ms bigint,
    -- what an operator has to mend, in one word, and since when
    trouble text check (trouble in ('authentication', 'configuration', 'answer')),
    trouble_since timestamptz,
    -- the breaker: failed attempts in a row; not to be asked before `open_until`, but by the holder of the probe
    failures integer not null default 0 check (failures >= 0),
    open_until timestamptz,
    probing_by uuid,
    probing_until timestamptz,
    -- the same of the reconciliation's calls, which are slower and must not stop grants
    reconcile_failures integer not null default 0 check (reconcile_failures >= 0),
    reconcile_open_until timestamptz,
    created_at timestamptz not null default atlas.now(),
    constraint trouble_has_since check ((trouble is null) = (trouble_since is null)),
    constraint probe_is_whole check ((probing_by is null) = (probing_until is null)),
    constraint location_is_whole check ((country is null) = (city_ru is null) and (country is null) = (city_en is null))
);

-- Counts how often a node began to take clients: one row. Whatever was granted under an earlier generation is looked at again;
-- who reads generation and nodes in one statement sees every node of that generation.
create table placement (
    only_row boolean primary key default true check (only_row),
    generation bigint not null default 1
);
insert into placement default values;

-- Runs as the owner: the functions have no right on the row, or a generation that went back would hide who is to be placed.
create function placement_begins() returns trigger language plpgsql security definer
set search_path = atlas, pg_catalog, pg_temp as $$
begin
    update placement set generation = generation + 1;
    return null;
end $$;
create trigger placement_begins_with_a_node after insert on nodes for each row
    when (new.state = 'active' and new.lost_since is null) execute function placement_begins();
create trigger placement_begins_again after update of state, lost_since on nodes for each row
    when ((new.state = 'active' and new.lost_since is null) and not (old.state = 'active' and old.lost_since is null))
    execute function placement_begins();

-- Desired state: what each node is to hold. A row lives until its node has confirmed that the client is absent.
create table node_clients (
    subscription_id bigint not null references subscriptions,
    node_id bigint not null references nodes,
    uuid uuid not null,
    version bigint not null,
    wanted boolean not null,
    expires_at timestamptz not null,
    -- null: the node has confirmed nothing, or has lost it since
    applied_version bigint,
    applied_at timestamptz,
    -- the UUID that the node confirmed last, and the link that it built for it
    applied_uuid uuid,
    link text,
    attempts integer not null default 0,
    next_attempt_at timestamptz not null default atlas.now(),
    claimed_by uuid,
    claimed_until timestamptz,
    last_error text,
    changed_at timestamptz not null default atlas.now(),
    primary key (subscription_id, node_id),
    constraint link_of_what_was_confirmed check ((link is null) = (applied_uuid is null)),
    check (applied_version <= version)
);
-- a node's next batch, for each of the two sweeps: what it has not confirmed yet
create index node_clients_to_add on node_clients (node_id, next_attempt_at, subscription_id)
    where wanted and applied_version is distinct from version;
create index node_clients_to_remove on node_clients (node_id, next_attempt_at, subscription_id) where not wanted;

-- Notifications -----------------------------------------------------------------------------------------------------

create table messages (
    id bigint generated always as identity primary key,
    key text not null unique,
    account_id bigint not null references accounts,
    kind text not null,
    -- must: repeated after an attempt whose outcome is unknown; once: never
    delivery text not null check (delivery in ('must', 'once')),
    params jsonb not null default '{}',
    -- unreachable: kept; a must message is queued again when the customer writes. unclear: it may have been sent.
    -- failed: refused for good. cancelled: no longer true, or too late.
    status text not null default 'queued'
        check (status in ('queued', 'sent', 'unreachable', 'unclear', 'failed', 'cancelled')),
    -- not to be sent before, nor after
    due_at timestamptz not null default atlas.now(),
    not_after timestamptz check (not_after > due_at),
    -- how often it was about to be sent, and how many of these attempts ended with an unknown outcome; the running one
    -- is among them until its outcome is written, so a crash in the middle leaves it there
    attempts integer not null default 0 check (attempts >= 0),
    unknown_attempts integer not null default 0 check (unknown_attempts between 0 and attempts),
    claimed_by uuid,
    claimed_until timestamptz,
    telegram_message_id bigint,
    correlation_id text not null,
    created_at timestamptz not null default atlas.now(),
    finished_at timestamptz,
    last_error text,
    constraint finished_has_time check ((status = 'queued') = (finished_at is null)),
    constraint claimed_is_queued check (claimed_by is null or status = 'queued')
);
create index messages_due on messages (due_at, id) where status = 'queued';
-- what is owed to one customer; what an operator looks at
create index messages_of_account on messages (account_id, id);

-- Until when nothing is sent to Telegram, and why: it refuses the whole bot (a wrong token, flood control) or is out of reach.
-- One row, which every sender reads with the message or update that it takes up.
create table telegram_budget (
    only_row boolean primary key default true check (only_row),
    closed_until timestamptz not null default '-infinity',
    reason text not null default ''
);
insert into telegram_budget default values;

-- Machinery ---------------------------------------------------------------------------------------------------------

-- Telegram's updates: the key that makes a second delivery harmless, and the stored reply it is answered with.
create table updates (
    update_id bigint primary key,
    body text not null,
    received_at timestamptz not null default atlas.now(),
    done_at timestamptz,
    reply jsonb,
    attempts integer not null default 0,
    last_error text,
    correlation_id text not null,
    constraint done_has_reply check ((done_at is null) = (reply is null))
);
create index updates_waiting on updates (received_at) where done_at is null;
create index updates_done on updates (done_at) where done_at is not null;

-- Follow-up work of a transaction. Its task's name is sha256(id | attempt); done_at is set by the task's own transaction.
create table outbox (
    id bigint generated always as identity primary key,
    queue text not null,
    target text not null,
    payload jsonb not null,
    correlation_id text not null,
    attempt integer not null default 1 check (attempt > 0),
    created_at timestamptz not null default atlas.now(),
    -- not to be driven before this moment (a message put off by flood control)
    not_before timestamptz not null default atlas.now(),
    enqueued_at timestamptz,
    done_at timestamptz
);
-- its sweep's three questions: whose task was never made, enqueued too long ago, put off to a moment that has come
create index outbox_never_enqueued on outbox (id) where done_at is null and enqueued_at is null and attempt = 1;
create index outbox_enqueued on outbox (queue, enqueued_at, id) where done_at is null;
create index outbox_put_off on outbox (queue, not_before, id) where done_at is null and enqueued_at is null and attempt > 1;
create index outbox_done on outbox (done_at) where done_at is not null;
-- an update that is kept twice has one task: two would race to send one stored reply
create unique index outbox_one_per_update on outbox ((payload ->> 'update_id'))
    where target = 'task_update' and done_at is null;

create table sweep_runs (
    id bigint generated always as identity primary key,
    sweep text not null,
    tick text not null,
    started_at timestamptz not null,
    ended_at timestamptz not null,
    outcome text not null check (outcome in ('done', 'failed', 'timed_out')),
    claimed integer not null,
    done integer not null,
    failed integer not null,
    more boolean not null,
    error text
);
create index sweep_runs_last on sweep_runs (sweep, id desc);
-- retention: what is past its time, without reading the rest
create index sweep_runs_ended on sweep_runs (ended_at);

-- Switches an operator flips at run time. No row means on. Earlier values are in audit_log.
create table flags (
    name text primary key,
    enabled boolean not null,
    -- Telegram id; null: set by a command
    updated_by bigint,
    updated_at timestamptz not null default atlas.now()
);

-- Operators ---------------------------------------------------------------------------------------------------------

-- Who may do what besides the owners, who are a setting (ADMIN_IDS) and have no row. Several rows: several roles. A role
-- that is taken away is a row less; audit_log tells who had it when.
create table operators (
    telegram_id bigint not null,
    role text not null check (role in ('finance', 'support', 'marketing', 'observer')),
    granted_by bigint not null,
    granted_at timestamptz not null default atlas.now(),
    primary key (telegram_id, role)
);

-- What operators did, one row an action, in a chain: each row holds the hash of the one before, and audit_head the last one's,
-- so a row that was changed, removed or put in shows (lib/domain/audit.py). Ids have no gaps: the trigger gives them.
create table audit_log (
    id bigint primary key,
    created_at timestamptz not null,
    -- Telegram id; null: a command
    actor bigint,
    action text not null check (action ~ '^[a-z_]+(\.[a-z_]+)*$'),
    -- what it was done to: a kind of thing and its key
    subject_kind text not null check (subject_kind ~ '^[a-z_]+$'),
    subject_key text not null,
    before jsonb,
    after jsonb,
    correlation_id text not null,
    previous_hash bytea not null check (octet_length(previous_hash) = 32),
    hash bytea not null check (octet_length(hash) = 32)
);
create index audit_log_of_subject on audit_log (subject_kind, subject_key, id);
create index audit_log_of_actor on audit_log (actor, id);

create table audit_head (
    only_row boolean primary key default true check (only_row),
    last_id bigint not null check (last_id >= 0),
    last_hash bytea not null check (octet_length(last_hash) = 32)
);
insert into audit_head (last_id, last_hash) values (0, decode(repeat('00', 32), 'hex'));

-- Everything of a row but its hash. jsonb has one text for one value, and the time is a number: no session setting shows.
create function audit_hash(entry audit_log) returns bytea language sql stable parallel safe
set search_path = atlas, pg_catalog, pg_temp
return sha256(entry.previous_hash || convert_to(cast(jsonb_build_array(
    entry.id, extract(epoch from entry.created_at), entry.actor, entry.action, entry.subject_kind, entry.subject_key,
    entry.before, entry.after, entry.correlation_id) as text), 'UTF8'));

-- Links a new row to the chain. The lock on the head makes writers queue up until the one before them commits: a chain has one
-- order. Only operators' actions meet there, and no customer's transaction does. Runs as the owner, so that the functions
-- need no right on the head: they can add to the chain and can't rewrite it.
create function audit_link() returns trigger language plpgsql security definer
set search_path = atlas, pg_catalog, pg_temp as $$
declare
    head audit_head;
begin
    select * into strict head from audit_head for update;
    new.id := head.last_id + 1;
    new.created_at := atlas.now();
    new.previous_hash := head.last_hash;
    new.hash := audit_hash(new);
    update audit_head set last_id = new.id, last_hash = new.hash;
    return new;
end $$;
create trigger audit_link before insert on audit_log for each row execute function audit_link();
