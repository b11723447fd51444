"""One router per subject; each runs acts inside the effect transaction (lib/bot/turn.py)."""
