-- Bans, and what a freeze and an unban leave in the history (docs/product.md, Ban).

-- Why they are banned, since when, and by whom (Telegram id of the operator). Who is banned has no access, orders nothing and is given
-- nothing; their money lies still.
alter table accounts
    add banned_at timestamptz,
    add banned_by bigint check (banned_by > 0),
    add ban_reason text check (length(ban_reason) between 1 and 500),
    add constraint ban_is_whole check (
        (banned_at is null) = (banned_by is null) and (banned_at is null) = (ban_reason is null));
create index accounts_banned on accounts (id) where banned_at is not null;
-- operators look for a customer by @name
create index accounts_username on accounts (lower(username)) where username is not null;

-- A frozen end is after the freeze: what lies between is the time that is kept.
alter table subscriptions add constraint frozen_time_is_kept check (frozen_until < expires_at);
create index subscriptions_to_thaw on subscriptions (frozen_until, id) where status = 'frozen';

-- restored: an unban gave back what was left of the access that the ban ended.
alter table subscription_history
    drop constraint subscription_history_event_check,
    add constraint subscription_history_event_check check (event in
        ('granted', 'extended', 'activated', 'expired', 'reissued', 'frozen', 'thawed', 'revoked', 'renewed', 'converted', 'refunded',
         'restored'));

-- Who is banned is given no access and orders nothing, whichever way it is tried: the account's row is locked by each of them, and by
-- the ban. Run for what begins, never for what goes on.
create function refuse_the_banned() returns trigger language plpgsql as $$
begin
    if exists (select from atlas.accounts a where a.id = new.account_id and a.banned_at is not null) then
        raise exception using errcode = 'check_violation', schema = tg_table_schema, table = tg_table_name, constraint = tg_name,
            message = 'account ' || new.account_id || ' is banned';
    end if;
    return new;
end $$;
create trigger access_of_the_banned before insert on subscriptions for each row when (new.status <> 'expired')
    execute function refuse_the_banned();
create trigger access_of_the_banned_again before update of status on subscriptions for each row
    when (old.status = 'expired' and new.status <> 'expired') execute function refuse_the_banned();
create trigger orders_of_the_banned before insert on orders for each row when (new.parent_id is null)
    execute function refuse_the_banned();
