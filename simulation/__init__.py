"""The long run: the shop in one process, real functions on a real Postgres, and one seed that decides all that happens (docs/simulation.md)."""

import lib as _lib  # noqa: F401 -- Ctrl-C, from here on, is told in words (lib/interrupted.py)
