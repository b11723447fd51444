-- What Telegram said of the bot's webhook when `sweep_outbox` last asked (getWebhookInfo). One row, which health reads: it must
-- not itself depend on Telegram.
create table telegram_webhook (
    only_row boolean primary key default true check (only_row),
    looked_at timestamptz not null default '-infinity',
    is_set boolean not null default true,
    pending integer not null default 0 check (pending >= 0),
    last_error_at timestamptz,
    last_error text,
    -- since when every look found that deliveries are refused or go nowhere; null when the last one did not
    refused_since timestamptz
);
insert into telegram_webhook default values;
