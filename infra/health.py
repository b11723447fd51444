"""`make health ENV=prod`: what `health` answers to its key (docs/interface.md, Health). The key itself is shown nowhere.

A command of its own since a key on a command line is for every account of the machine to read, and this one is in Secret Manager.
"""

from __future__ import annotations

import argparse
import http.client
import json
import sys
from typing import Final

import httpx

from infra import environment
from infra.environment import NoEnvironment
from infra.google.client import BadEndpoint, GoogleError, NotLoggedIn

_ANSWER_S: Final = 45.0
"""Its start from nothing included."""


def main(arguments: list[str] | None = None) -> int:
    """0: all is well. 1: it is red, refuses, or does not answer. 2: it can't be asked."""
    parser = argparse.ArgumentParser(prog="python -m infra.health", description="Ask health, with its key.")
    parser.add_argument("--env", required=True, help="local, dev or prod")
    given = parser.parse_args(arguments)
    try:
        found = environment.load(given.env)
        key = found.secret("HEALTH_KEY")
        url = found.settings.get("FUNCTION_URL_TEMPLATE", "").replace("{name}", "health")
    except (NoEnvironment, BadEndpoint, NotLoggedIn, GoogleError) as error:
        return _complain(str(error), 2)
    try:
        with httpx.Client(timeout=_ANSWER_S, trust_env=False, follow_redirects=False) as client:
            answer = client.get(f"{url}/", headers={"X-Health-Key": key})
    except httpx.HTTPError as error:
        return _complain(f"{url} does not answer ({type(error).__name__}): docs/runbooks/health-unreachable.md", 1)
    if answer.status_code == http.client.FORBIDDEN:
        return _complain(f"{url} runs with another HEALTH_KEY: make deploy ENV={found.name}", 1)
    try:
        told = json.dumps(answer.json(), indent=2, ensure_ascii=False)
    except ValueError:
        return _complain(f"{url} answers {answer.status_code} and no JSON", 1)
    sys.stdout.write(f"{told}\n")
    return 0 if answer.status_code == http.client.OK else 1


def _complain(text: str, code: int) -> int:
    sys.stderr.writelines(f"health: {line}\n" for line in text.splitlines())
    return code


if __name__ == "__main__":
    sys.exit(main())
