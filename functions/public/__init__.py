"""Functions any caller may call; each authenticates its caller itself."""
