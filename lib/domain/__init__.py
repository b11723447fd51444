"""The business: synchronous functions over the transaction they are given. No I/O, no clock, no aiogram, no cloud."""
