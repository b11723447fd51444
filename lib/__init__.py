"""What every function shares. Each folder is one room; `pyproject.toml` says which room may know which."""
