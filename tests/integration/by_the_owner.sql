-- In tests only: a step of a test's own that no function may take, as moving the clock, inside a transaction of the functions' login.
-- The code under test does not know of it, so it has the functions' rights and no others.
create function public.by_the_owner(statement text) returns void language plpgsql security definer as $$
begin
    execute statement;
end $$;
