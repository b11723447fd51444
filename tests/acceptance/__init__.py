"""`make acceptance` and `make acceptance-sabotage`: what is proved, and whether the proofs can fail."""

import lib as _lib  # noqa: F401 -- Ctrl-C, from here on, is told in words (lib/interrupted.py)
