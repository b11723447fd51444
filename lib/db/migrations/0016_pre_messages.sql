-- What is unsent of an account, by kind: cancelled once it is no longer true.
create index messages_unsent on messages (account_id, kind) where status = 'queued';

-- When `sweep_messages` looks at access next: the moment of its next reminder. Every change of the end asks for a look, whatever
-- made it, so that no grant, refund or thaw has to know when reminders are due.
alter table subscriptions add column remind_at timestamptz not null default '-infinity';
create index subscriptions_to_remind on subscriptions (remind_at, id) where status = 'active';
create function subscriptions_remind_anew() returns trigger language plpgsql set search_path = atlas, pg_catalog, pg_temp as $$
begin
    new.remind_at := '-infinity';
    return new;
end $$;
create trigger subscriptions_remind_anew before update of expires_at, status, source on subscriptions for each row
    when (new.status = 'active' and (new.expires_at is distinct from old.expires_at or new.status is distinct from old.status
                                     or new.source is distinct from old.source))
    execute function subscriptions_remind_anew();

-- One budget over all instances: the moments of the slots that were leased last, of all and of broadcasts.
alter table telegram_budget
    add column slots timestamptz[] not null default '{}',
    add column broadcast_slots timestamptz[] not null default '{}';
-- When this chat was sent something last, or its customer was answered: one message a second.
alter table accounts add column chat_sent_at timestamptz;
