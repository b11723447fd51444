"""The operators' desk for money: what waits, customers, books. Loaded when an operator comes (lib/bot/routers/operator.py)."""
