-- In tests only: at each COMMIT what it moved is compared, account by account, so that a violation names its transaction. Every
-- database of the integration tests has it (tests/integration/conftest.py).
create table public.money_watch (
    only_row boolean primary key default true check (only_row),
    -- a test of the machinery below the posting table turns this off for itself
    knows_rows boolean not null default true
);
insert into public.money_watch default values;

-- Which account each kind of transfer moves to which, as tests/postings_by_hand.py has it; `money` is the bank or any provider's.
create table public.money_rows (kind text, debit text, credit text, primary key (kind, debit, credit));

create function public.money_name(code text) returns text language sql immutable
return case when code = 'bank' or code like 'clearing:%' then 'money' else code end;

-- What a transaction moved of a customer's wallet is what its entries say: what it was before was said by an earlier COMMIT.
create function public.watch_wallet() returns trigger language plpgsql security definer
set search_path = atlas, pg_catalog, pg_temp as $$
declare
    held numeric;
    posted numeric;
begin
    select a.balance into held from ledger_accounts a where a.id = new.id;
    select coalesce((select sum(e.amount) from ledger_entries e where e.credit_account_id = new.id), 0)
         - coalesce((select sum(e.amount) from ledger_entries e where e.debit_account_id = new.id), 0) into posted;
    if held <> posted then
        raise exception using errcode = 'check_violation', constraint = 'watch_wallet', message = pg_catalog.format(
            'this transaction leaves %s of customer %s at %s, and its entries at %s', new.code, new.account_id, held, posted);
    end if;
    return null;
end $$;
create constraint trigger watch_wallet after insert or update of balance on ledger_accounts
    deferrable initially deferred for each row when (new.account_id is not null) execute function public.watch_wallet();

create function public.watch_entry() returns trigger language plpgsql security definer
set search_path = atlas, pg_catalog, pg_temp as $$
declare
    said record;
    account record;
begin
    select t.key, t.kind, t.reverses_id, d.code as debit, c.code as credit into said
    from ledger_transfers t, ledger_accounts d, ledger_accounts c
    where t.id = new.transfer_id and d.id = new.debit_account_id and c.id = new.credit_account_id;
    for account in
        select a.id, a.code, a.account_id, a.balance,
               coalesce((select sum(e.amount) from ledger_entries e where e.credit_account_id = a.id), 0)
             - coalesce((select sum(e.amount) from ledger_entries e where e.debit_account_id = a.id), 0) as posted
        from ledger_accounts a where a.id in (new.debit_account_id, new.credit_account_id) and a.account_id is not null
    loop
        if account.balance <> account.posted then
            raise exception using errcode = 'check_violation', constraint = 'watch_entry', message = pg_catalog.format(
                'transfer %s leaves %s of customer %s at %s, and its entries at %s', said.key, account.code, account.account_id,
                account.balance, account.posted);
        end if;
    end loop;
    if not (select w.knows_rows from public.money_watch w) then
        return null;
    elsif said.kind = 'correction' then
        if not exists (
            select from ledger_entries e
            where e.transfer_id = said.reverses_id and e.number = new.number and e.amount = new.amount
              and (e.debit_account_id, e.credit_account_id) = (new.credit_account_id, new.debit_account_id)
        ) then
            raise exception using errcode = 'check_violation', constraint = 'watch_entry',
                message = pg_catalog.format('transfer %s does not undo what it names', said.key);
        end if;
    elsif not exists (
        select from public.money_rows r
        where (r.kind, r.debit, r.credit) = (said.kind, public.money_name(said.debit), public.money_name(said.credit))
    ) then
        raise exception using errcode = 'check_violation', constraint = 'watch_entry',
            message = pg_catalog.format('transfer %s (%s) moves %s to %s', said.key, said.kind, said.debit, said.credit);
    end if;
    return null;
end $$;
create constraint trigger watch_entry after insert on ledger_entries
    deferrable initially deferred for each row execute function public.watch_entry();
