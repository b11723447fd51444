"""Names of before, for the purchase dialogue only."""

from __future__ import annotations

from lib.bot.update_context import ExternalCall as Errand
from lib.bot.update_context import UpdateContext as Scene
from lib.bot.update_context import UpdateRunner as Turn

__all__ = ["Errand", "Scene", "Turn"]
