"""Terraform as the commands call it: in one environment's folder, plans saved and shown before they are applied."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infra.deploy.plan_words import Plan

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

OLDEST = (1, 11)
# A deploy that was killed leaves its Terraform at work, which ends by itself; until then it holds the lock of the state.
_PATIENT = "-lock-timeout=600s"
OVERRIDE = "offline_override.tf"
_PLANS = "atlas-plans"
_FRAME = re.compile(r"[│╷╵]|\x1b\[[0-9;]*m")
# Of what an apply prints, what a person who waits wants to see: what ended, and what takes long.
_PROGRESS = re.compile(r"^\S.*: (Creation|Modifications|Destruction) complete after|^\S.*: Still \w+\.\.\.")


class TerraformFailed(Exception):
    """Terraform said no; its own words, without the frame around them, are the text."""


@dataclass(frozen=True)
class SavedPlan:
    """A plan in a file that is gone when the `with` ends; `apply` does exactly this and nothing else."""

    path: Path
    plan: Plan
    variables: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True)
class Terraform:
    """One root module.

    Args:
        folder: of the environment.
        say: is told how far an apply is.
    """

    folder: Path
    say: Callable[[str], None] = field(repr=False)

    def version(self) -> tuple[int, ...] | None:
        """Which Terraform is on PATH; None: none, or none that can say."""
        if shutil.which("terraform") is None:
            return None
        try:
            told = json.loads(self._run("version", "-json"))["terraform_version"]
            return tuple(int(part) for part in re.findall(r"\d+", told)[:3])
        except (TerraformFailed, ValueError, KeyError):
            return None

    @property
    def keeps_state_here(self) -> bool:
        """The state is a file in the folder, not in the bucket: only where everything is done without a cloud."""
        return (self.folder / OVERRIDE).exists()

    def init(self, bucket: str) -> None:
        """Providers, modules, and the state of this environment in `bucket`.

        Raises:
            TerraformFailed
        """
        backend = [] if self.keeps_state_here else [f"-backend-config=bucket={bucket}", "-reconfigure"]
        self._run("init", "-input=false", "-no-color", *backend)

    def plan(
        self,
        *,
        targets: Sequence[str] = (),
        variables: Mapping[str, str] | None = None,
        replace: Sequence[str] = (),
        destroy: bool = False,
    ) -> SavedPlan:
        """What would change, saved.

        Args:
            targets: addresses; without any, everything.
            variables: beside the files of the folder; secrets go this way, by the environment, and into no file.
            replace: addresses of what is made anew whether it differs or not.
            destroy: what would be taken away, all of it.

        Raises:
            TerraformFailed
        """
        given = variables or {}
        path = new_plan(self.folder)
        options = [f"-target={target}" for target in targets] + [f"-replace={address}" for address in replace]
        options += ["-destroy"] if destroy else []
        try:
            self._run("plan", "-input=false", "-no-color", _PATIENT, f"-out={path}", *options, variables=given)
            shown = json.loads(self._run("show", "-json", str(path), variables=given))
        except BaseException:
            discard(path)
            raise
        return SavedPlan(path, Plan.read(shown), given)

    def apply(self, saved: SavedPlan) -> None:
        """Do what was planned.

        Raises:
            TerraformFailed: not all of it was done; what was is in the state.
        """
        try:
            self._run(
                "apply",
                "-input=false",
                "-no-color",
                _PATIENT,
                str(saved.path),
                variables=saved.variables,
                each_line=self.say,
            )
        finally:
            discard(saved.path)

    def outputs(self) -> dict[str, Any]:
        """Every output of the root module by name, as the last apply left it.

        Raises:
            TerraformFailed
        """
        return {name: one["value"] for name, one in json.loads(self._run("output", "-json")).items()}

    def addresses(self) -> list[str]:
        """What the state holds, data sources left out.

        Raises:
            TerraformFailed
        """
        return [line for line in self._run("state", "list").splitlines() if ".data." not in f".{line}"]

    def held(self) -> dict[str, dict[str, Any]]:
        """What the state holds, data sources left out: address = attributes.

        Raises:
            TerraformFailed
        """
        shown = json.loads(self._run("show", "-json"))
        return dict(_resources(shown.get("values", {}).get("root_module", {})))

    def forget(self, addresses: Sequence[str]) -> None:
        """Let go of what is there, without touching it.

        Raises:
            TerraformFailed
        """
        self._run("state", "rm", _PATIENT, *addresses)

    def take_in(self, address: str, name: str) -> None:
        """Take in what is there already, by the name that the provider imports it by.

        Raises:
            TerraformFailed
        """
        self._run("import", "-input=false", "-no-color", _PATIENT, address, name)

    def _run(
        self,
        *command: str,
        variables: Mapping[str, str] | None = None,
        each_line: Callable[[str], None] | None = None,
    ) -> str:
        environment = os.environ | {"TF_IN_AUTOMATION": "1", "TF_INPUT": "0", "CHECKPOINT_DISABLE": "1"}
        environment |= {f"TF_VAR_{name}": value for name, value in (variables or {}).items()}
        printed: list[str] = []
        with subprocess.Popen(  # noqa: S603 -- the arguments are this package's
            ["terraform", f"-chdir={self.folder}", *command],  # noqa: S607 -- found on PATH, whatever version manager put it there
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT if each_line else subprocess.PIPE,
            text=True,
        ) as process:
            if each_line is None:
                out, error = process.communicate()
            else:
                assert process.stdout is not None  # noqa: S101 -- asked for above
                for line in process.stdout:
                    printed.append(line)
                    if _PROGRESS.match(line):
                        each_line(line.rstrip())
                out, error = "".join(printed), ""
        if process.returncode:
            raise TerraformFailed(words(error or out))
        return out


def _resources(module: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for one in module.get("resources", ()):
        if one["mode"] == "managed":
            yield one["address"], one["values"]
    for child in module.get("child_modules", ()):
        yield from _resources(child)


def is_initialised(folder: Path) -> bool:
    """Whether `terraform init` came to its end in a root module: modules and providers are there."""
    data = folder / os.environ.get("TF_DATA_DIR", ".terraform")
    return (data / "modules" / "modules.json").is_file() and (data / "providers").is_dir()


def new_plan(folder: Path) -> Path:
    """Where a plan of this root module is saved: in a folder that no other account can enter. What killed commands left goes.

    It lies beside what `terraform init` keeps, which git ignores: a plan holds what Terraform was told, passwords as well.
    """
    place = folder / os.environ.get("TF_DATA_DIR", ".terraform") / _PLANS
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    for left in place.iterdir():
        owner = left.name.partition("-")[0]
        if not (owner.isdecimal() and _lives(int(owner))):
            shutil.rmtree(left, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=f"{os.getpid()}-", dir=place)) / "saved.plan"


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True  # another account's
    return True


def discard(path: Path) -> None:
    """A saved plan that is applied, or that is not wanted."""
    shutil.rmtree(path.parent, ignore_errors=True)


def words(output: str) -> str:
    """Terraform's complaint without frames and blank lines, from the first error on."""
    kept = [line.rstrip() for line in _FRAME.sub("", output).splitlines()]
    lines = [line.strip() for line in kept if line.strip()]
    first = next((number for number, line in enumerate(lines) if line.startswith("Error:")), 0)
    return "\n".join(lines[first:])
