"""Calls to the service beside Xray on each node, and the one way nodes are brought to what Postgres wants."""
