"""A person at a terminal: reads what is printed, and answers the questions that are asked."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_QUESTION = re.compile(r"\[y/N\] $")
_SECRET = re.compile(r"([A-Z_]+) \(not shown; Enter for none\): $")
_TYPED = re.compile(r"Type (\S+): $")
_LONGEST_S = 560.0


@dataclass(frozen=True)
class Ended:
    """What a command came to.

    Attributes:
        code: of its end; negative: the signal.
        printed: everything that the terminal showed.
        asked: questions that were answered.
    """

    code: int
    printed: str
    asked: int


def run(command: str, *, cwd: Path, env: Mapping[str, str], secrets: Mapping[str, str]) -> Ended:
    """Run a line of shell at a terminal; say y to each question, give secrets where they are asked for, type what is to be typed."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        ["bash", "-c", command],
        cwd=cwd,
        env=dict(env),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    printed, asked, answered_at = "", 0, 0
    ends = time.monotonic() + _LONGEST_S
    try:
        while time.monotonic() < ends:
            readable, _, _ = select.select([ours], [], [], 0.1)
            if not readable:
                if process.poll() is not None:
                    break
                continue
            try:
                piece = os.read(ours, 65536)
            except OSError:  # the other end was closed
                break
            if not piece:
                break
            printed += piece.decode(errors="replace")
            answer = _answer(printed[answered_at:], secrets)
            if answer is not None:
                os.write(ours, f"{answer}\n".encode())
                answered_at, asked = len(printed), asked + 1
        return Ended(process.wait(timeout=30), printed.replace("\r\n", "\n"), asked)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        os.close(ours)


def _answer(text: str, secrets: Mapping[str, str]) -> str | None:
    if _QUESTION.search(text):
        return "y"
    if (found := _SECRET.search(text)) is not None:
        return secrets.get(found[1], "")
    if (found := _TYPED.search(text)) is not None:
        return found[1]
    return None
