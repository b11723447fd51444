"""Functions anybody may call; each authenticates its caller itself."""
