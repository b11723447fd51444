"""A checkout, everything outside of it, and the README's commands run in it as a person runs them."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.deploy.dry_run import outside, terminal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sandbox.google.stand_in import Google
    from tests.deploy.dry_run.outside import ServedTelegram
    from tests.deploy.dry_run.terminal import Ended

_STEP = re.compile(r"^\[(\d+)/(\d+)\] (.+)$", re.MULTILINE)
_EDITOR = """import pathlib, sys
path = pathlib.Path(sys.argv[1])
text = path.read_text()
for old, new in {edits!r}.items():
    text = text.replace(old, new)
path.write_text(text)
"""


@dataclass
class DryRun:
    """One environment of one checkout, from nothing on.

    Args:
        checkout: see `checkout.fresh`.
        google: the stand-in, served.
        served: Telegram and the function's address, served.
        tools: a folder that is first on PATH: an editor, and a gcloud that takes the one command that is needed of it.
        environment: dev or prod.
    """

    checkout: Path
    google: Google
    served: ServedTelegram
    tools: Path
    environment: str = "prod"
    commands: int = 0
    ends: list[Ended] = field(default_factory=list)

    @property
    def project(self) -> str:
        return self.google.cloud.project

    @property
    def folder(self) -> Path:
        """Of the environment's root module."""
        return self.checkout / "infra" / "terraform" / "environments" / self.environment

    def lay_tools(self) -> None:
        """What a person has on their machine beside the checkout."""
        self.tools.mkdir(exist_ok=True)
        edits = {
            f'"atlas-{self.environment}-000000"': f'"{self.project}"',
            '"team@example.org"': '"team@atlas.example"',
            '"oncall@example.org"': '"oncall@atlas.example"',
            '"https://github.com/example/atlas/': '"https://github.com/atlas/atlas/',
            '"https://t.me/example_support"': '"https://t.me/atlas_support"',
            '"000000-000000-000000"': '"012345-6789AB-CDEF01"',
            '"example_bot"': f'"{outside.USERNAME}"\n  TELEGRAM_API_BASE = "{self.served.base}"\n  TELEGRAM_WEBHOOK_URL = "{self.served.webhook}"',
        }
        editor = self.tools / "editor"
        editor.write_text(f"#!{sys.executable}\n" + _EDITOR.format(edits=edits))
        gcloud = self.tools / "gcloud"
        gcloud.write_text(
            '#!/bin/sh\n[ "$*" = "auth application-default login" ] || { echo "gcloud $*: not known here" >&2; exit 2; }\n'
        )
        for tool in (editor, gcloud):
            tool.chmod(0o755)

    def env(self, **more: str) -> dict[str, str]:
        """What a shell on that machine has set."""
        kept = {
            name: os.environ[name]
            for name in ("HOME", "LANG", "TERRAFORM_OFFLINE_HOME", "TF_CLI_CONFIG_FILE", "TMPDIR")
            if name in os.environ
        }
        return (
            kept
            | self.google.environment()
            | {
                "PATH": f"{self.tools}:{os.environ['PATH']}",
                "EDITOR": str(self.tools / "editor"),
                "TF_OFFLINE_STRICT": "1",
                "TERM": "dumb",
                # What make would install is there already, under the environment of Python that is shared.
                "MAKEFLAGS": "-o .venv/.ready-deploy -o .venv/.ready",
            }
            | more
        )

    def at_terminal(self, command: str, **more: str) -> Ended:
        """One command as a person gives it; every question is answered with yes."""
        self.commands += 1
        ended = terminal.run(
            command, cwd=self.checkout, env=self.env(**more), secrets={"TELEGRAM_BOT_TOKEN": outside.TOKEN}
        )
        self.ends.append(ended)
        return ended

    def by_machine(self, *command: str, **more: str) -> subprocess.CompletedProcess[str]:
        """One command with YES=1 and the token in the environment."""
        env = self.env(TELEGRAM_BOT_TOKEN=outside.TOKEN, **more)
        return subprocess.run(
            command,
            cwd=self.checkout,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )

    @contextlib.contextmanager
    def stopped_after(self, *places: str) -> Iterator[dict[str, str]]:
        """Variables with which a command is killed (SIGKILL) at the first of these places that it reaches, once each."""
        folder = self.tools / "failpoints"
        folder.mkdir(exist_ok=True)
        for place in places:
            (folder / place).write_text("kill")
        yield {"ATLAS_FAILPOINTS": str(folder), "ENVIRONMENT": "local"}
        left = sorted(path.name for path in folder.iterdir())
        assert left == [], f"never reached: {left}\n{self.ends[-1].printed if self.ends else ''}"

    def deploy(self, **more: str) -> subprocess.CompletedProcess[str]:
        return self.by_machine(
            sys.executable, "-m", "infra.deploy", "deploy", "--env", self.environment, "--yes", **more
        )

    def rollback(self, **more: str) -> subprocess.CompletedProcess[str]:
        return self.by_machine(
            sys.executable, "-m", "infra.deploy", "rollback", "--env", self.environment, "--yes", **more
        )

    def terraform(self, *command: str) -> str:
        done = self.by_machine("terraform", f"-chdir={self.folder}", *command)
        assert done.returncode == 0, done.stdout
        return done.stdout

    def planned(self) -> dict[str, list[str]]:
        """What the next plan would change, address = actions."""
        self.terraform("plan", "-input=false", "-no-color", "-out=looked.plan")
        shown = json.loads(self.terraform("show", "-json", "looked.plan"))
        (self.folder / "looked.plan").unlink()
        return {
            one["address"]: one["change"]["actions"]
            for one in shown.get("resource_changes", ())
            if one["mode"] == "managed" and one["change"]["actions"] != ["no-op"]
        }

    def state(self, kind: str) -> dict[str, dict[str, Any]]:
        """Name = attributes, of every resource of a type."""
        return {str(row.get("name") or row.get("secret_id")): row for row in self.google.cloud.terraform.of(kind)}

    def images(self) -> dict[str, str]:
        """Function = the image that it runs."""
        rows = self.state("google_cloud_run_v2_service")
        return {name: row["template"][0]["containers"][0]["image"] for name, row in rows.items()}

    def releases(self) -> list[dict[str, Any]]:
        """The record of releases."""
        rows = self.google.cloud.store.table("objects").get(f"{self.project}-terraform", {})
        row = rows.get(f"atlas/releases/{self.environment}.json")
        if row is None:
            return []
        content = self.google.cloud.store.kept_bytes(row["bytes"])
        found: list[dict[str, Any]] = json.loads(content)["releases"]
        return found

    def secrets(self) -> list[str]:
        """Every value that Secret Manager holds."""
        tables = self.google.cloud.store.table("secret_versions").values()
        return [base64.b64decode(row["data"]).decode() for rows in tables for row in rows.values() if row["data"]]


def steps(printed: str) -> list[str]:
    """The titles of the steps that were begun."""
    return [found[3] for found in _STEP.finditer(printed)]
