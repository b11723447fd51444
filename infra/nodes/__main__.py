"""`python -m infra.nodes key|add|list|check|compare|drain`; what they are given comes as variables of the environment, as `make` passes them."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Final

from infra import environment as environments
from infra.google.client import GoogleError, NotLoggedIn
from infra.nodes import arguments, commands, comparison
from lib.db import DatabaseError, OutcomeUnknown

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from infra.environment import Environment
    from infra.nodes.arguments import Arguments

_REFUSED = 2
_COMMANDS: Final[dict[str, Callable[[Environment, Arguments], int]]] = {
    "key": commands.key,
    "add": commands.add,
    "list": commands.listing,
    "check": commands.check,
    "compare": comparison.compare,
    "drain": commands.drain,
}


def main(words: Sequence[str], given: Mapping[str, str], load: Callable[[str], Environment] = environments.load) -> int:
    """Run one command: 0 when it is done, 1 when something is wrong with a node, 2 when it can't be tried."""
    if len(words) != 1 or words[0] not in _COMMANDS:
        sys.stderr.write(f"usage: python -m infra.nodes {'|'.join(_COMMANDS)}\n")
        return _REFUSED
    try:
        read = arguments.read(words[0], given)
        return _COMMANDS[words[0]](load(read.environment), read)
    except arguments.BadArguments as error:
        problems = error.problems
    except OutcomeUnknown:
        sys.stderr.write("the database was lost while it was told: whether it changed is not known. Say it again\n")
        return _REFUSED
    except (environments.NoEnvironment, NotLoggedIn, GoogleError, commands.UnusableKey, DatabaseError) as error:
        problems = str(error).splitlines()
    sys.stderr.write(f"make node-{words[0]} can't be done, and nothing changed:\n")
    sys.stderr.writelines(f"  - {problem}\n" for problem in problems)
    return _REFUSED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
