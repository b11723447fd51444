"""`make bench`: what docs/performance.md promises, measured on one machine in one run."""

import lib as _lib  # noqa: F401 -- Ctrl-C, from here on, is told in words (lib/interrupted.py)
