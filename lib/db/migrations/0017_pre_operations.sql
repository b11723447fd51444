-- What an operator looks at, each a short list among many rows: updates that were given up, messages that did not end well.
create index updates_given_up on updates (update_id) where done_at is not null and last_error is not null and reply = '[]';
create index messages_not_well on messages (id) where status in ('unclear', 'failed', 'unreachable');
