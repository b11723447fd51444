"""One router per subject; each runs actions inside the effect transaction (lib/bot/update_context.py)."""
