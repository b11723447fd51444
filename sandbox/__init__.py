"""Local stand-ins and the runner behind `make run`, `make demo` and the tests. Never deployed."""

import lib as _lib  # noqa: F401 -- Ctrl-C, from here on, is told in words (lib/interrupted.py)
