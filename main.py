"""Where the platform looks for an entry point: imports the one module that `FUNCTION_TARGET` names, and nothing else."""

import importlib
import os

from functions import table

_target = os.environ.get("FUNCTION_TARGET", "")
_row = table.load().functions.get(_target)
if _row is None:
    raise SystemExit(f"FUNCTION_TARGET={_target!r} is none of: {', '.join(table.load().functions)}")

globals()[_target] = getattr(importlib.import_module(_row.module), _target)
