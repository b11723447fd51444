"""What the commands say and ask. A secret is asked for without echo and never said."""

from __future__ import annotations

import getpass
import os
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TextIO

from infra.deploy.problems import Declined

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass
class Talk:
    """One person, or a machine that answers every question with yes.

    Args:
        yes: `YES=1`: nothing is asked; secrets come from the environment alone.
        environment: where secrets may be given, by the setting's name.
        out: where is spoken to.
    """

    yes: bool = False
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ, repr=False)
    out: TextIO = field(default_factory=lambda: sys.stdout)

    @property
    def asks(self) -> bool:
        """Whether there is a person who can be asked."""
        return not self.yes and sys.stdin.isatty()

    def say(self, line: str = "") -> None:
        """One line, at once: a deploy takes minutes and is watched."""
        self.out.write(f"{line}\n")
        self.out.flush()

    def agree(self, question: str) -> None:
        """Go on only with a yes.

        Raises:
            Declined: it was another answer, or there is no person to ask and no YES=1.
        """
        if self.yes:
            return
        if not sys.stdin.isatty():
            raise Declined(f"{question} There is no terminal to ask at; a machine says YES=1.")
        if input(f"  {question} [y/N] ").strip().lower() not in {"y", "yes"}:
            raise Declined("Nothing was changed in this step.")

    def confirm(self, question: str, word: str) -> None:
        """Go on only when `word` is typed; YES=1 is not enough, CONFIRM=<word> in the environment is.

        Raises:
            Declined: it was not.
        """
        given = self.environment.get("CONFIRM", "")
        if not given and sys.stdin.isatty() and not self.yes:
            given = input(f"  {question} Type {word}: ").strip()
        if given != word:
            raise Declined(f"Nothing was changed: {question} needs CONFIRM={word}.")

    def secret(self, setting: str) -> str:
        """A secret's value from the environment, else asked for without echo; "" when there is neither."""
        given = self.environment.get(setting, "").strip()
        if given or not self.asks:
            return given
        return getpass.getpass(f"  {setting} (not shown; Enter for none): ").strip()
