-- Money from outside that settles an order leaves its receipt, whatever statement and whichever release books it: nothing that takes
-- money can forget it.

-- when the refund annulled it: the day of its reversal
alter table receipts
    add refunded_at timestamptz,
    add constraint refund_has_its_moment check ((refund_id is null) = (refunded_at is null));

-- What a receipt of a payment is over: what came, where that was in the currency of the books; else by the order's value. What came
-- beyond the price is of it.
create function receipt_amount(paid payments) returns bigint language sql stable as $$
    select cast(case when paid.paid_asset = d.books_currency then round(paid.paid_amount * power(cast(10 as numeric), k.exponent))
                     else div(cast(paid.amount as numeric) * o.value, nullif(o.price, 0)) end as bigint)
    from atlas.orders o join atlas.deployment d on true join atlas.currencies k on k.code = d.books_currency where o.id = paid.order_id
$$;

create function leave_receipt() returns trigger language plpgsql as $$
begin
    insert into atlas.receipts (payment_id, amount)
    select new.id, atlas.receipt_amount(new) from atlas.providers v
    where v.name = new.provider and v.clearing is not null and atlas.receipt_amount(new) > 0;
    return null;
end $$;
create trigger payment_leaves_a_receipt after insert on payments for each row when (new.kind = 'settling')
    execute function leave_receipt();

insert into receipts (payment_id, amount, next_attempt_at, created_at)
select p.id, receipt_amount(p), p.created_at, p.created_at from payments p join providers v on v.name = p.provider
where p.kind = 'settling' and v.clearing is not null and receipt_amount(p) > 0
on conflict do nothing;
