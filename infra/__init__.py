"""What makes Atlas run somewhere and keeps it running: Terraform, and the commands of operators."""

import lib as _lib  # noqa: F401 -- Ctrl-C, from here on, is told in words (lib/interrupted.py)
