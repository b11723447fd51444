-- Which peer is a node is said by its pins, and by them alone: off this machine a node is called by TLS and has one (docs/node.md, Pins).

-- The only way to a node without TLS: an address of this very machine. Never a name: which machine it is would be a resolver's word.
create function is_loopback_address(url text) returns boolean language sql immutable strict as $$
    select url ~ '^https?://(127(\.(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])){3}|\[::1\])(:|/|$)'
$$;

-- A row that was written before nodes had pins is for a person to mend, since no program knows what its certificate should be: this
-- file is undone, and the constraint's name says of what kind the row is (docs/node.md, Pins).
alter table nodes
    -- while the certificate is exchanged: until when the first pin counts; then the second one counts alone
    add column pin_until timestamptz,
    add constraint https_has_a_pin check ((api_url like 'https://%') = (pin is not null)),
    add constraint plain_http_is_loopback check (api_url like 'https://%' or atlas.is_loopback_address(api_url)),
    add constraint exchange_is_whole check ((next_pin is null) = (pin_until is null) and (next_pin is null or pin is not null)),
    add constraint pins_differ check (next_pin <> pin),
    drop constraint nodes_trouble_check,
    add constraint nodes_trouble_check check (trouble in ('authentication', 'configuration', 'answer', 'certificate'));
