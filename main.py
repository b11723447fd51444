"""Where the platform looks for an entry point: imports the one module that `FUNCTION_TARGET` names, and nothing else.

In front of each function stands the answer to the platform's probes (lib/web/alive.py).
"""

import importlib
import os

from lib import function_table
from lib.web import alive

_target = os.environ.get("FUNCTION_TARGET", "")
_module = function_table.load().module(_target)
if _module is None:
    raise SystemExit(f"FUNCTION_TARGET={_target!r} is none of: {', '.join(function_table.load().targets())}")

globals()[_target] = alive.answering(getattr(importlib.import_module(_module), _target), _target)
