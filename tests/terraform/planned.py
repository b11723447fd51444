"""Terraform in a folder, and what a plan says, by type and address."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from infra.terraform.check import environment

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Values = dict[str, Any]


class RefusedError(AssertionError):
    """Terraform said no; its words are the text, on one line."""


def _words(output: str) -> str:
    return " ".join(output.replace("│", " ").replace("╷", " ").replace("╵", " ").split())


@dataclass(frozen=True)
class Terraform:
    """One root module.

    Attributes:
        shared: it is planned in by many tests, and nothing may be applied.
    """

    folder: Path
    variables: Values = field(default_factory=dict)
    shared: bool = False

    def run(self, *command: str, strict: bool = False, variables: Values | None = None) -> str:
        """What a command printed.

        Raises:
            RefusedError: its exit code was neither 0 nor, for `-detailed-exitcode`, 2.
        """
        given = self.variables | (variables or {})
        values = {
            f"TF_VAR_{name}": value if isinstance(value, str) else json.dumps(value) for name, value in given.items()
        }
        known = {
            name: value for name, value in os.environ.items() if not name.startswith(("TF_VAR_", "TF_OFFLINE_STRICT"))
        }
        env = environment() | values | ({"TF_OFFLINE_STRICT": "1"} if strict else {})
        env = {
            name: value
            for name, value in env.items()
            if name in known or name in values or name.startswith(("TF_", "CHECKPOINT"))
        }
        done = subprocess.run(
            ["terraform", f"-chdir={self.folder}", *command],
            env=env,
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=580,
        )
        if done.returncode and not (done.returncode == 2 and "-detailed-exitcode" in command):
            raise RefusedError(_words(done.stdout))
        return done.stdout

    def init(self) -> None:
        """With the state in the folder."""
        (self.folder / "offline_override.tf").write_text('terraform {\n  backend "local" {}\n}\n')
        self.run("init", "-input=false", "-no-color")

    def plan(self, *arguments: str, variables: Values | None = None) -> Plan:
        """Plan, as JSON."""
        self.run("plan", "-no-color", "-input=false", "-out=plan.bin", *arguments, variables=variables)
        return Plan(json.loads(self.run("show", "-json", "plan.bin")))

    def apply(self, *arguments: str, variables: Values | None = None, strict: bool = True) -> None:
        """Apply without asking.

        Raises:
            PermissionError: others plan in this copy as well: what is applied would be in their plans.
        """
        if self.shared:
            raise PermissionError(f"{self.folder}: other tests plan here; apply in `own_prod`")
        self.run("apply", "-no-color", "-input=false", "-auto-approve", *arguments, variables=variables, strict=strict)

    def state(self) -> list[str]:
        """Addresses of what is there, data sources left out."""
        return [line for line in self.run("state", "list").splitlines() if ".data." not in f".{line}"]


@dataclass(frozen=True)
class Plan:
    """`terraform show -json` of a plan."""

    raw: Values

    def of(self, kind: str) -> dict[str, Values]:
        """Every planned resource of a type: address = values."""
        return {
            one["address"]: one["values"]
            for one in self._all(self.raw["planned_values"]["root_module"])
            if one["type"] == kind
        }

    def _all(self, module: Values) -> Iterator[Values]:
        for one in module.get("resources", []):
            if one["mode"] == "managed":
                yield one
        for child in module.get("child_modules", []):
            yield from self._all(child)

    @property
    def everything(self) -> dict[str, Values]:
        """Every planned resource, with its type added."""
        every = self._all(self.raw["planned_values"]["root_module"])
        return {one["address"]: one["values"] | {"_type": one["type"]} for one in every}

    @property
    def types(self) -> set[str]:
        """Types of all that is planned."""
        return {str(values["_type"]) for values in self.everything.values()}

    @property
    def changed(self) -> dict[str, list[str]]:
        """Address = actions, of all that is not left as it is."""
        return {
            change["address"]: change["change"]["actions"]
            for change in self.raw.get("resource_changes", [])
            if change["change"]["actions"] not in (["no-op"], ["read"])
        }

    def service(self, target: str) -> Values:
        """A function's service."""
        return self.of("google_cloud_run_v2_service")[
            f'module.platform.module.function["{target}"].google_cloud_run_v2_service.main'
        ]

    def account(self, target: str) -> str:
        """The email of a function's account."""
        email: str = self.service(target)["template"][0]["service_account"]
        return email


def container(service: Values) -> Values:
    """The one container of a service or job."""
    template = service["template"][0]
    inner = template["template"][0] if "template" in template else template
    one: Values = inner["containers"][0]
    return one


def plain_settings(service: Values) -> dict[str, str]:
    """Settings that are no secrets."""
    return {row["name"]: row["value"] for row in container(service)["env"] if not row["value_source"]}


def secret_settings(service: Values) -> dict[str, Values]:
    """Setting = { secret, version }."""
    return {
        row["name"]: row["value_source"][0]["secret_key_ref"][0]
        for row in container(service)["env"]
        if row["value_source"]
    }
