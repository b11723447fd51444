"""The seeds that the suite runs (`kept.toml`)."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Kept:
    """A seed with its size, and why it is kept."""

    seed: int
    customers: int
    days: float
    why: str


def kept() -> list[Kept]:
    """All of them."""
    found = tomllib.loads(Path(__file__).with_name("kept.toml").read_text())
    return [Kept(**one) for one in found["seeds"]]
