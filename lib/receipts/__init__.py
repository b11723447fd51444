"""The forms in which the tax office is told of receipts: one module each behind the port in `form.py`, listed in `registry.py`."""
