"""What the steps look at and change: one environment of one checkout."""

from __future__ import annotations

import subprocess
import time
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from infra import tfvars
from infra.deploy import releases, variable_files
from infra.deploy.plan_words import deleted_data, deleted_queues, lines
from infra.deploy.problems import Problem, Refused
from infra.deploy.terraform import discard

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from infra.deploy.cloud import Cloud
    from infra.deploy.plan_words import Plan
    from infra.deploy.talk import Talk
    from infra.deploy.telegram import BotApi
    from infra.deploy.terraform import Terraform

_LONGEST_PAUSE_S = 10.0
ENVIRONMENTS = ("dev", "prod")


@dataclass
class World:
    """Everything a step needs; what is not asked for is not looked at.

    Args:
        environment: `dev` or `prod`.
        checkout: the root of the repository.
        talk: the person.
        terraform: in the environment's folder.
        connect: makes the port to the cloud, of project and region.
        bot_api: makes the port to Telegram, of base and token.
        goes_back: this is a rollback.
        migrates: the command logs in as the database's owner: a deploy does.
        wanted_release: of a rollback, its id; "" for the one before.
        offline: everything outside is a stand-in on this machine, so loopback addresses are right ones.
    """

    environment: str
    checkout: Path
    talk: Talk
    terraform: Terraform
    connect: Callable[[str, str], Cloud]
    bot_api: Callable[[str, str], BotApi]
    offline: bool = False
    goes_back: bool = False
    migrates: bool = True
    wanted_release: str = ""
    pause: Callable[[float], None] = time.sleep
    made_secrets: dict[str, str] = field(default_factory=dict, repr=False)
    """Values that this run stored, so that it need not read them back."""

    open_plans: list[Path] = field(default_factory=list, repr=False)

    @property
    def folder(self) -> Path:
        """Of the environment's root module."""
        return self.terraform.folder

    @cached_property
    def inputs(self) -> dict[str, Any]:
        """Variables as the folder's files give them, without the two files that the commands write.

        Raises:
            Refused: a file can't be read.
        """
        own = {variable_files.RELEASE, variable_files.SECRETS}
        found: dict[str, Any] = {}
        try:
            for path in tfvars.files(self.folder):
                if path.name not in own:
                    found |= tfvars.read_file(path)
        except tfvars.UnreadableVariables as error:
            raise Refused(Problem(str(error), f"edit {self.folder / 'terraform.tfvars'}")) from None
        return found

    @property
    def project(self) -> str:
        """The project's id."""
        return str(self.inputs["project_id"])

    @property
    def region(self) -> str:
        """The region of everything."""
        return str(self.inputs["region"])

    @property
    def bucket(self) -> str:
        """The bucket of the state and of the record of releases."""
        return releases.bucket(self.project)

    @property
    def settings(self) -> dict[str, str]:
        """Settings that are no secrets."""
        return {str(name): str(value) for name, value in (self.inputs.get("settings") or {}).items()}

    @property
    def bundle(self) -> Path:
        """Where the source bundle lies."""
        return (self.folder / str(self.inputs["bundle_path"])).resolve()

    @cached_property
    def cloud(self) -> Cloud:
        """The project, as Google Cloud has it."""
        return self.connect(self.project, str(self.inputs.get("region") or ""))

    def secret_versions(self) -> dict[str, str]:
        """Setting = number in force, as far as it is known here: the commands' own file, else what a person wrote."""
        written = variable_files.secret_versions(self.folder)
        by_hand = self.inputs.get("secret_versions") or {}
        return written if written is not None else {str(name): str(number) for name, number in by_hand.items()}

    def secret(self, setting: str) -> str:
        """A secret's value in force; read from Secret Manager when this run did not make it.

        Raises:
            Refused: none is in force.
        """
        if setting in self.made_secrets:
            return self.made_secrets[setting]
        number = self.secret_versions().get(setting)
        if number is None:
            raise Refused(Problem(f"{setting} has no version in force", f"make deploy ENV={self.environment}"))
        self.made_secrets[setting] = self.cloud.secret(self.terraform.outputs()["secrets"][setting], number)
        return self.made_secrets[setting]

    def changes(
        self,
        targets: Sequence[str] = (),
        variables: Mapping[str, str] | None = None,
        replace: Sequence[str] = (),
    ) -> tuple[list[str], Callable[[], None]] | None:
        """What Terraform would do with these targets, in words, and how to have it done; None: nothing.

        Raises:
            Refused: the plan deletes what can't be made anew, or a queue that holds work.
            infra.deploy.terraform.TerraformFailed
        """
        saved = self.terraform.plan(targets=targets, variables=variables, replace=replace)
        self.open_plans.append(saved.path)
        self._refuse(saved.plan)
        told = lines(saved.plan)
        if saved.plan.empty and not _outputs_change(saved.plan):
            return None
        return told or ["only outputs change"], lambda: self.terraform.apply(saved)

    def discard_plans(self) -> None:
        """Those that were shown and not applied: a person said no, or nothing changes."""
        while self.open_plans:
            discard(self.open_plans.pop())

    def _refuse(self, plan: Plan) -> None:
        problems = deleted_data(plan) + [
            Problem(
                f"the plan deletes the queue {name}, on which tasks still wait",
                "let them run out, or pause what enqueues there, then the same command again",
            )
            for name in deleted_queues(plan)
            if self.cloud.queue_holds_work(name)
        ]
        if problems:
            raise Refused(*problems)

    def wait(self, what: str, seconds: float, done: Callable[[], bool]) -> bool:
        """Ask until it is done; False: not within so many seconds."""
        ends, pause, told = time.monotonic() + seconds, 0.2, False
        while not done():
            if time.monotonic() > ends:
                return False
            if not told:
                self.talk.say(f"    waiting for {what} (at most {seconds / 60:.0f} min)")
                told = True
            self.pause(pause)
            pause = min(pause * 1.5, _LONGEST_PAUSE_S)
        return True

    def commit(self) -> str:
        """The checkout's commit, with `+` when files differ from it; "" when git can't say."""
        try:
            run = subprocess.run(
                ["git", "describe", "--always", "--dirty=+", "--abbrev=12", "--exclude=*"],  # noqa: S607 -- found on PATH
                cwd=self.checkout,
                capture_output=True,
                text=True,
                check=False,
            )
        except OSError:
            return ""
        return run.stdout.strip() if run.returncode == 0 else ""


def _outputs_change(plan: Plan) -> bool:
    return any(plan.before_outputs.get(name) != value for name, value in plan.outputs.items())


def migrations(checkout: Path) -> tuple[str, ...]:
    """Names of the migrations that this checkout's code knows, in their order."""
    return tuple(sorted(path.name for path in (checkout / "lib" / "db" / "migrations").glob("[0-9]*_*.sql")))


def listed(names: Iterable[str]) -> str:
    """Names with commas between them, sorted."""
    return ", ".join(sorted(names))
