"""The commands' ports in memory: a cloud, a Terraform whose plans a test writes, a Telegram that answers as the Bot API does."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infra.deploy.cloud import ObjectChanged, Policy, Project, Running, SecretVersion, Service, StoredObject
from infra.deploy.plan_words import Plan
from infra.deploy.talk import Talk
from infra.deploy.telegram import BotApi, TelegramRefused
from infra.deploy.terraform import SavedPlan, Terraform, discard, new_plan
from infra.deploy.world import World
from infra.google.client import GoogleError
from lib.telegram.webhook_terms import ALLOWED_UPDATES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

ROOT = Path(__file__).resolve().parents[3]
TOKEN = "700001:AAAA-made-up-token"
REPOSITORY = "europe-west1-docker.pkg.dev/atlas-dev-000001/atlas/functions"
RELEASES = {1: "1" * 16, 2: "2" * 16, 3: "3" * 16}
SECRETS = (
    "CRYPTOPAY_TOKEN",
    "DATABASE_URL",
    "HEALTH_KEY",
    "MIGRATE_DATABASE_URL",
    "NODE_MASTER_KEYS",
    "TELEGRAM_BOT_TOKEN",
    "TELEGRAM_PROVIDER_TOKEN",
    "TELEGRAM_WEBHOOK_SECRET",
    "XRAY_API_KEY",
)
VARIABLES = """
project_id   = "atlas-dev-000001"
region       = "europe-west1"
domain       = "vpn.example.org"
bundle_path  = "../../../../dist/source.zip"
alert_emails = ["oncall@example.org"]
runbooks_url = "https://example.org/runbooks"
settings     = { TELEGRAM_BOT_USERNAME = "atlas_bot", TELEGRAM_API_BASE = "https://telegram.example.org" }
"""


@dataclass
class FakeCloud:
    apis: set[str] = field(default_factory=set)
    buckets: set[str] = field(default_factory=set)
    objects: dict[str, tuple[bytes, int]] = field(default_factory=dict)
    versions: dict[str, list[tuple[str, bool]]] = field(default_factory=dict)
    """Secret = (value, enabled), the oldest first."""
    images: dict[str, str] = field(default_factory=dict)
    """Tagged image = digest."""
    runs: list[Running] = field(default_factory=list)
    policies: dict[str, Policy] = field(default_factory=dict)
    known_services: list[Service] = field(default_factory=list)
    failing_migration: bool = False
    failing_build: bool = False
    billing: bool = True
    here: frozenset[str] = frozenset({"europe-west1", "europe-west4"})
    waiting: set[str] = field(default_factory=set)
    read: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)

    def login(self) -> str:
        return "you@example.org"

    def project(self) -> Project:
        return Project("123", active=True)

    def billing_enabled(self) -> bool:
        return self.billing

    def regions(self) -> frozenset[str]:
        return self.here

    def policy(self, constraint: str) -> Policy:
        return self.policies.get(constraint, Policy(constraint))

    def enabled_apis(self, among: Iterable[str]) -> frozenset[str]:
        return frozenset(self.apis) & frozenset(among)

    def enable_apis(self, apis: Iterable[str]) -> None:
        self.changed.append("apis")
        self.apis |= set(apis)

    def has_bucket(self, name: str) -> bool:
        return name in self.buckets

    def make_bucket(self, name: str, region: str) -> None:
        self.changed.append(f"bucket {name} {region}")
        self.buckets.add(name)

    def read_object(self, bucket: str, name: str) -> StoredObject | None:
        found = self.objects.get(f"{bucket}/{name}")
        return StoredObject(found[0], str(found[1])) if found else None

    def write_object(self, bucket: str, name: str, content: bytes, generation: str | None) -> None:
        there = self.objects.get(f"{bucket}/{name}")
        if (str(there[1]) if there else None) != generation:
            raise ObjectChanged(name)
        self.objects[f"{bucket}/{name}"] = (content, there[1] + 1 if there else 1)

    def secret_versions(self, secret_id: str) -> list[SecretVersion]:
        listed = [SecretVersion(str(number), on) for number, (_, on) in enumerate(self.versions.get(secret_id, ()), 1)]
        return listed[::-1]

    def add_secret_version(self, secret_id: str, value: str) -> str:
        self.changed.append(f"secret {secret_id}")
        self.versions.setdefault(secret_id, []).append((value, True))
        return str(len(self.versions[secret_id]))

    def secret(self, secret_id: str, number: str) -> str:
        self.read.append(secret_id)
        value, enabled = self.versions[secret_id][int(number) - 1]
        if not enabled:
            raise GoogleError("secretmanager.access", 400, "FAILED_PRECONDITION", "disabled")
        return value

    def image_digest(self, image: str) -> str | None:
        name, _, digest = image.partition("@")
        return next((one for one in self.images.values() if one == digest), None) if digest else self.images.get(name)

    def start_build(self, request: dict[str, Any]) -> str:
        self.changed.append("build")
        self.runs.append(Running("build-1", "failed" if self.failing_build else "done", "step 0 failed", "https://log"))
        if not self.failing_build:
            self.images[request["images"][0]] = f"sha256:{len(self.images) + 1:064x}"
        return "build-1"

    def builds(self, tag: str) -> list[Running]:  # noqa: ARG002 -- as the port has it
        return [run for run in self.runs if run.name.startswith("build")]

    def build(self, name: str) -> Running:
        return next(run for run in self.runs if run.name == name)

    def job_run(self, name: str) -> Running:
        return self.build(name)

    def run_job(self, job: str, args: Sequence[str]) -> str:
        self.changed.append(f"migrate {args[-1]}")
        name = f"{job}-{len(self.runs)}"
        self.runs.append(Running(name, "failed" if self.failing_migration else "done", "exit code 1", "https://log"))
        return name

    def job_runs(self, job: str) -> list[Running]:
        return [run for run in self.runs if run.name.startswith(job)][::-1]

    def services(self) -> list[Service]:
        return self.known_services

    def queue_holds_work(self, queue: str) -> bool:
        return queue in self.waiting


@dataclass(frozen=True)
class FakeTerraform(Terraform):
    """Plans are what a test put into `planned`, in their order; after that empty."""

    planned: list[dict[str, Any]] = field(default_factory=list)
    told: dict[str, Any] = field(default_factory=dict)
    applied: list[Mapping[str, str]] = field(default_factory=list)
    state: list[str] = field(default_factory=list)
    replaced: list[str] = field(default_factory=list)
    plans: list[Path] = field(default_factory=list)

    def version(self) -> tuple[int, ...] | None:
        return (1, 11, 4)

    def init(self, bucket: str) -> None:
        pass

    def plan(
        self,
        *,
        targets: Sequence[str] = (),  # noqa: ARG002 -- as the real one
        variables: Mapping[str, str] | None = None,
        replace: Sequence[str] = (),
        destroy: bool = False,  # noqa: ARG002 -- as the real one
    ) -> SavedPlan:
        self.replaced.extend(replace)
        shown = self.planned.pop(0) if self.planned else {}
        path = new_plan(self.folder)
        path.touch()
        self.plans.append(path)
        return SavedPlan(path, Plan.read(shown), variables or {})

    def apply(self, saved: SavedPlan) -> None:
        self.applied.append(saved.variables)
        discard(saved.path)

    def outputs(self) -> dict[str, Any]:
        return self.told

    def addresses(self) -> list[str]:
        return self.state


@dataclass
class FakeTelegram:
    webhook: dict[str, Any] = field(default_factory=dict)
    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    another: str = ""
    """An address that another program puts back each time."""
    pending: int = 3
    username: str = "atlas_bot"

    def bot(self, base: str, token: str) -> BotApi:
        telegram = self

        class Bot(BotApi):
            def call(self, method: str, **arguments: Any) -> Any:
                return telegram.answer(method, arguments)

        return Bot(base, token)

    def answer(self, method: str, arguments: dict[str, Any]) -> Any:
        self.calls.append((method, arguments))
        match method:
            case "getMe":
                return {"username": self.username}
            case "getWebhookInfo":
                return self.webhook | {"pending_update_count": self.pending}
            case "setWebhook":
                if self.refusals:
                    raise TelegramRefused(f"setWebhook: {self.refusals.pop(0)}")
                kept = {name: arguments[name] for name in ("url", "max_connections", "allowed_updates")}
                self.webhook = kept | ({"url": self.another} if self.another else {})
                return True
            case _:
                return {}

    def methods(self) -> list[str]:
        return [method for method, _ in self.calls]


@dataclass
class Setting:
    """A world, and its parts by name."""

    world: World
    cloud: FakeCloud
    terraform: FakeTerraform
    telegram: FakeTelegram
    out: io.StringIO

    @property
    def said(self) -> str:
        return self.out.getvalue()


def outputs(release: int = 1) -> dict[str, Any]:
    tagged = f"{REPOSITORY}:{RELEASES[release]}"
    socket = "?host=/cloudsql/atlas-dev-000001:europe-west1:atlas"
    return {
        "build": {
            "release": RELEASES[release],
            "image": tagged,
            "repository": REPOSITORY,
            "request": {"images": [tagged], "tags": [f"atlas-{RELEASES[release]}"]},
        },
        "secrets": {name: name.lower().replace("_", "-") for name in SECRETS},
        "database_urls": {
            "DATABASE_URL": f"postgresql://atlas_functions:{{password}}@/atlas{socket}",
            "MIGRATE_DATABASE_URL": f"postgresql://atlas_owner:{{password}}@/atlas{socket}",
        },
        "migrate_job": {"name": "migrate", "args": {"pre": ["--pre"], "post": ["--post"]}, "timeout_s": 60},
        "services": {"telegram_webhook": "telegram-webhook", "health": "health"},
        "telegram_webhook": {"url": "https://telegram-webhook-1.europe-west1.run.app", "max_connections": 40},
        "urls": {"cryptobot_webhook": "https://cryptobot-webhook-1.europe-west1.run.app"},
    }


def world(tmp_path: Path, *, variables: str = VARIABLES, environment: Mapping[str, str] | None = None) -> Setting:
    """A dev environment of this checkout, whose variables lie below `tmp_path`."""
    folder = tmp_path / "infra" / "terraform" / "environments" / "dev"
    folder.mkdir(parents=True)
    (folder / "terraform.tfvars").write_text(variables)
    out = io.StringIO()
    given = {"TELEGRAM_BOT_TOKEN": TOKEN} if environment is None else environment
    talk = Talk(yes=True, environment=given, out=out)
    terraform = FakeTerraform(folder, talk.say, told=outputs())
    cloud, telegram = FakeCloud(), FakeTelegram()
    made = World(
        environment="dev",
        checkout=ROOT,
        talk=talk,
        terraform=terraform,
        connect=lambda _project, _region: cloud,
        bot_api=telegram.bot,
        pause=lambda _seconds: None,
    )
    return Setting(made, cloud, terraform, telegram, out)


def changed(kind: str, name: str, *actions: str, before: Any = None, after: Any = None) -> dict[str, Any]:
    """One entry of a plan's `resource_changes`."""
    return {
        "address": f"module.platform.{kind}.main",
        "mode": "managed",
        "type": kind,
        "change": {
            "actions": list(actions),
            "before": ({"name": name} | (before or {})) if actions != ("create",) else None,
            "after": ({"name": name} | (after or {})) if actions != ("delete",) else None,
        },
    }


ALLOWED = list(ALLOWED_UPDATES)
