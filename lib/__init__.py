"""What every function shares. Each folder is one package; `pyproject.toml` says which package may import which."""

from lib import interrupted

interrupted.say_in_words()
