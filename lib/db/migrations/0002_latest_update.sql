-- Which update had its effect last for a person: one that is delivered again after a later one must not bring its old
-- screen back over the newer. Null for accounts that have done nothing since this column came.
alter table accounts add column latest_update_id bigint;
