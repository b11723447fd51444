"""People, channels, their messages and clicks."""
