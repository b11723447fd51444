-- Two who close the same day at once: the later one waits for the earlier one's postings and may then find the day closed. That is no
-- break of the order of days; the primary key sees to it, and an insert that says "on conflict do nothing" does nothing.
create or replace function close_day() returns trigger language plpgsql security definer
set search_path = atlas, pg_catalog, pg_temp as $$
begin
    lock table ledger_transfers in share mode;
    if coalesce(atlas.now() < cast(new.day + 1 as timestamp) at time zone (select d.books_zone from deployment d)
                              + interval '3 hours', true) then
        raise exception using errcode = 'check_violation', constraint = tg_name, message = 'a day is closed 3 h after its end';
    elsif new.day <> (select max(c.day) + 1 from closed_days c)
          and not exists (select from closed_days c where c.day = new.day) then
        raise exception using errcode = 'check_violation', constraint = tg_name, message = 'days are closed one after the other';
    end if;
    return new;
end $$;
