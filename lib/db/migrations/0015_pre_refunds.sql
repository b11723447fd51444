-- Money that goes back (docs/data.md, Money that goes back).

-- News of a refund or chargeback names the charge whose money went back; `external_id` is the refund's own id.
alter table payment_events
    add charge_id text check (charge_id <> ''),
    add constraint only_what_goes_back_names_a_charge check (charge_id is null or kind in ('refund', 'chargeback'));
-- what was told of a charge
create index payment_events_of_charge on payment_events (provider, charge_id) where charge_id is not null;
-- and what waits for its charge
create index payment_events_ahead on payment_events (id) where status = 'unmatched' and resolved_at is null and charge_id is not null;

-- What went back is of a payment, or of a charge that never became one: money that fitted nothing. Once is all of it: given back by us
-- once, and taken by the provider once, of what we gave back to the balance or by hand before. What it takes again is a `second_debit`.
alter table refunds
    alter payment_id drop not null,
    add charge_event_id bigint references payment_events,
    add constraint refund_is_of_something check (payment_id is not null or charge_event_id is not null),
    drop constraint refunds_once_per_payment;
create unique index refunds_once_per_payment on refunds (payment_id) where route <> 'provider';
create unique index refunds_once_per_charge on refunds (charge_event_id) where route = 'provider';
create unique index refunds_one_debit_per_payment on refunds (payment_id) where route = 'provider';
create index refunds_of_charge on refunds (charge_event_id);
alter table ledger_transfers
    drop constraint refund_with_its_payment,
    add constraint transfer_of_a_refund foreign key (refund_id) references refunds;

-- A refund that a provider is to make: the row is there before its call (lib/payments/giving_back.py). sent: it may have been made; its
-- outcome is asked for before it is made again.
create table refund_requests (
    id bigint generated always as identity primary key,
    -- the charge's news
    event_id bigint not null references payment_events,
    status text not null default 'requested' check (status in ('requested', 'sent', 'done', 'refused')),
    -- whose balance holds the money, and how much of it is kept back until this ends, in minor units of the books
    account_id bigint references accounts,
    held numeric(38, 0) not null default 0 check (held >= 0 and held < 'infinity'),
    reverses_access boolean not null default false,
    -- Telegram id of the operator; null: it happened by itself
    made_by bigint check (made_by > 0),
    reason text not null check (length(reason) between 1 and 1000),
    correlation_id text not null,
    requested_at timestamptz not null default atlas.now(),
    -- which run is talking to the provider about it, and until when no other may
    claimed_by uuid,
    claimed_until timestamptz,
    attempts integer not null default 0 check (attempts >= 0),
    next_attempt_at timestamptz not null default atlas.now(),
    -- what the provider said last
    last_answer text,
    ended_at timestamptz,
    constraint refund_claim_is_whole check ((claimed_by is null) = (claimed_until is null)),
    constraint refund_end_has_time check ((status in ('requested', 'sent')) = (ended_at is null)),
    constraint held_is_of_a_balance check (held = 0 or account_id is not null)
);
-- a charge is given back once; what was refused may be asked for again
create unique index refund_requests_one on refund_requests (event_id) where status <> 'refused';
create index refund_requests_of_event on refund_requests (event_id);
create index refund_requests_of_account on refund_requests (account_id);
create index refund_requests_due on refund_requests (next_attempt_at, id) where status in ('requested', 'sent');
create trigger refund_requests_begin before insert on refund_requests for each row when (new.status <> 'requested')
    execute function follow_arrows();
create trigger refund_requests_arrows before update of status on refund_requests for each row when (new.status <> old.status)
    execute function follow_arrows('requested>sent', 'requested>done', 'requested>refused', 'sent>requested', 'sent>done',
                                   'sent>refused');

-- What is kept back of a balance while a refund of it is under way: it can't be spent meanwhile.
alter table ledger_accounts
    add held numeric(38, 0) not null default 0 check (held >= 0 and held < 'infinity'),
    -- below zero is `wallet_is_never_negative`
    add constraint held_is_there check (balance < 0 or balance >= held);

-- Time that a refund took off.
alter table subscription_history
    add refund_id bigint unique references refunds,
    drop constraint subscription_history_event_check,
    add constraint subscription_history_event_check check (event in
        ('granted', 'extended', 'activated', 'expired', 'reissued', 'frozen', 'thawed', 'revoked', 'renewed', 'converted', 'refunded')),
    add constraint refunded_names_its_refund check ((event = 'refunded') = (refund_id is not null));
