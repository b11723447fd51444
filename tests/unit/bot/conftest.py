from __future__ import annotations

import lib.bot  # noqa: F401 -- before any test module imports aiogram, as in every process that runs the bot
