-- What a customer agreed to when they turned auto-renewal on: at most so much, in minor units of the books' currency, for what
-- that order bought. Another purchase is another agreement.
alter table subscriptions
    add renewal_price bigint check (renewal_price > 0),
    add renewal_order_id bigint references orders,
    add renewal_agreed_at timestamptz,
    add constraint renewal_agreement_is_whole check (
        (renewal_price is null) = (renewal_order_id is null) and (renewal_price is null) = (renewal_agreed_at is null)),
    add constraint renewal_is_agreed_to check (not auto_renew or renewal_price is not null);

-- what is about to end and renews by itself
create index subscriptions_to_renew on subscriptions (expires_at, id) where auto_renew and status = 'active';
create index subscriptions_of_renewal_order on subscriptions (renewal_order_id) where renewal_order_id is not null;
