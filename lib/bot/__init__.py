"""The Telegram bot: routers, screens, delivery. Importing it brings in aiogram the cheap way, before anything else can."""

from lib.bot import deferred_models as deferred_models
