"""`make node-key`, `node-add`, `node-list`, `node-check`, `node-compare`, `node-drain`: the VPN nodes, as an operator sees to them (docs/node.md)."""
