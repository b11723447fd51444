"""Payment providers: one module each behind the port in `provider.py`, listed in `registry.py`."""
