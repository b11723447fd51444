-- What is unsent of an account, by kind: cancelled once it is no longer true.
create index messages_unsent on messages (account_id, kind) where status = 'queued';
