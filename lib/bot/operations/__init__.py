"""The operations desk: what waits, nodes, sweeps, switches, stored work. Loaded when an operator comes (lib/bot/routers/operator.py)."""
