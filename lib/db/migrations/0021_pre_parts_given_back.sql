-- A provider may give back, or take, a part of a charge (docs/data.md, Money that goes back).

-- In minor units of what was charged; null: all that was left of it.
alter table refunds add part_of_charge bigint check (part_of_charge > 0),
    add constraint only_a_provider_takes_parts check (part_of_charge is null or route = 'provider');
drop index refunds_once_per_charge;
drop index refunds_one_debit_per_payment;
create unique index refunds_once_per_charge on refunds (charge_event_id) where route = 'provider' and part_of_charge is null;
create unique index refunds_one_debit_per_payment on refunds (payment_id) where route = 'provider' and part_of_charge is null;
