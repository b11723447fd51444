"""Telegram's updates without aiogram: reading, keeping, and the payment kinds whose answer can't wait for its import."""
