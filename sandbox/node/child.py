"""Run one part in a process that dies with the one that started it. Run as a file, never imported.

`python xray_child.py core <config.json>`      the Xray core
`python xray_child.py sing-box <config.json>`  sing-box, the independent client
`python xray_child.py module <name>`           a Python module, as `python -m <name>`

It stands alone on purpose: the folder it lives in is not a package to its child, which sees what PYTHONPATH says.
"""

from __future__ import annotations

import ctypes
import os
import runpy
import signal
import sys
import threading
import time
from pathlib import Path

_PR_SET_PDEATHSIG = 1


def _die_with(parent: int) -> None:
    """Arrange a SIGKILL for this process when `parent` ends, however it ends."""
    if sys.platform == "linux":
        if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL) != 0:
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) refused")
    else:  # no such signal there: look twice a second who the parent is
        threading.Thread(target=_watch, args=(parent,), daemon=True).start()
    if os.getppid() != parent:  # it ended before the line above
        os._exit(1)


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def main() -> None:
    """Read the command line and become the part."""
    parent, kind, what = int(sys.argv[1]), sys.argv[2], sys.argv[3]
    _die_with(parent)
    # The folder of this file must not shadow the parts' own modules (`xray`).
    sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != Path(__file__).resolve().parent]
    match kind:
        case "core":
            from xray.xray import startFromJSON  # noqa: PLC0415 - only the part asked for is loaded

            startFromJSON(Path(what).read_text(encoding="utf-8"))
        case "sing-box":
            from singbox import startFromJSON as start_client  # noqa: N813, PLC0415 - its name; only the part asked for is loaded

            start_client(Path(what).read_text(encoding="utf-8"))
        case "module":
            sys.argv = [what]
            runpy.run_module(what, run_name="__main__", alter_sys=True)
        case _:
            raise SystemExit(f"unknown part {kind!r}")


main()
