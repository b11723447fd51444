"""What every function shares. Each folder is one package; `pyproject.toml` says which package may import which."""
