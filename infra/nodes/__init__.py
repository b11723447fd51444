"""`make node-key`, `node-add`, `node-list`, `node-check`: the VPN nodes, as an operator sees to them (docs/node.md)."""
