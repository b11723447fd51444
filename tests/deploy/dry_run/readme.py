"""The commands of the README's chapters, word for word."""

from __future__ import annotations

import re
from pathlib import Path

README = Path(__file__).resolve().parents[3] / "infra" / "terraform" / "README.md"
_CHAPTER = re.compile(r"^## (.+)$", re.MULTILINE)
_BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def commands(chapter: str) -> list[str]:
    """Every line of the chapter's `sh` blocks, in their order."""
    parts = _CHAPTER.split(README.read_text("utf-8"))
    text = dict(zip(parts[1::2], parts[2::2], strict=True))[chapter]
    return [line for block in _BLOCK.findall(text) for line in block.splitlines() if line.strip()]
