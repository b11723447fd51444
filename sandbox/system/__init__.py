"""All of Atlas put together on this machine."""
