"""Text as Telegram takes it: markup, links, keyboards."""
