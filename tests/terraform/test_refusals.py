"""What a plan refuses, and that it says why in words that name the culprit."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.terraform.planned import RefusedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.terraform.planned import Terraform

TABLE = json.loads((Path(__file__).resolve().parents[2] / "functions/table.json").read_text())


def _row(target: str, **changes: Any) -> Callable[[dict[str, Any]], None]:
    return lambda table: table["functions"][target].update(changes)


def _queue(name: str, **changes: Any) -> Callable[[dict[str, Any]], None]:
    return lambda table: table["queues"][name].update(changes)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param(
            _row("sweep_expiry", timeout_s=700, deadline_s=800),
            "faster than the sweep's limit: sweep_expiry every 60 s, but it may work 700 s",
            id="too-fast",
        ),
        pytest.param(
            _row("sweep_expiry", schedule="*/5 9-17 * * *"),
            "a schedule is unix-cron: every minute, every n minutes or hours, hourly or daily, in UTC; not so: sweep_expiry (*/5 9-17 * * *)",
            id="odd-schedule",
        ),
        pytest.param(_row("sweep_expiry", schedule=None), "not so: sweep_expiry (none)", id="no-schedule"),
        pytest.param(
            _row("sweep_payments", second_pass_s=60),
            "second_pass_s must lie before the next tick: sweep_payments",
            id="second-pass",
        ),
        pytest.param(
            _row("sweep_expiry", timeout_s=110),
            "a sweep's timeout_s must be longer than its hard limit of 120 s",
            id="short-sweep",
        ),
        pytest.param(
            _row("sweep_outbox", max_instances=2),
            "a sweep has one runner, so max_instances is 1: sweep_outbox",
            id="two-runners",
        ),
        pytest.param(
            _row("task_settle", deadline_s=2000),
            "limits of Cloud Tasks and Cloud Scheduler; not so: task_settle",
            id="long-deadline",
        ),
        pytest.param(
            _row("task_settle", queue="payment"),
            "a task names a queue of the table, nothing else names one; not so: task_settle",
            id="unknown-queue",
        ),
        pytest.param(
            lambda table: table["queues"].update(
                {"Mail_out": table["queues"]["nodes"], "x" * 25: table["queues"]["nodes"]}
            ),
            f"its tasks call as the account tasks-<queue>; not so: Mail_out, {'x' * 25}",
            id="queue-name",
        ),
        pytest.param(
            _row("health", enqueues=["mail"]),
            "a function puts tasks on a queue that is not there: health (mail)",
            id="unknown-enqueue",
        ),
        pytest.param(
            _row("health", trigger="open"), "a trigger is public, task or schedule; not so: health (open)", id="trigger"
        ),
        pytest.param(
            _row("health", min_instances=3),
            "min_instances <= max_instances and connections >= 2; not so: health",
            id="instances",
        ),
        pytest.param(
            _row("task_settle", timeout_s=45),
            "task_settle: its request timeout (45 s) must be shorter than what its caller waits (45 s)",
            id="deadline-order",
        ),
        pytest.param(
            _row("task_settle", timeout_s=4),
            "task_settle: its request timeout (4 s) must be longer than a database call may take (5 s)",
            id="socket-order",
        ),
        pytest.param(
            _row("task_settle", cpu=0.5),
            "task_settle: below 1 CPU the platform allows a concurrency of 1 only, not 8",
            id="half-a-cpu",
        ),
        pytest.param(
            _row("task_settle", connections=100, max_instances=2),
            "task_settle: an instance can't have more than 100 connections",
            id="socket-connections",
        ),
        pytest.param(
            _queue("nodes", max_retry_s=0), "queue nodes needs max_attempts and max_retry_s above 0", id="endless-queue"
        ),
        pytest.param(
            _queue("nodes", min_backoff_s=60), "queue nodes has a min_backoff_s above its max_backoff_s", id="backoff"
        ),
    ],
)
def test_a_bad_table_is_refused_in_words(
    platform: Terraform, tmp_path: Path, change: Callable[[dict[str, Any]], None], words: str
) -> None:
    table = copy.deepcopy(TABLE)
    change(table)
    (tmp_path / "table.json").write_text(json.dumps(table))
    with pytest.raises(RefusedError) as refused:
        platform.plan(variables={"table_path": str(tmp_path / "table.json")})
    assert words in str(refused.value)


@pytest.mark.proves("S2-3.connections")
@pytest.mark.parametrize("tier", ["db-f1-micro", "db-g1-small"])
def test_a_tier_too_small_for_the_connection_sum_is_refused(platform: Terraform, tier: str) -> None:
    needed = sum(row["max_instances"] * row["connections"] for row in TABLE["functions"].values())
    with pytest.raises(RefusedError) as refused:
        platform.plan(variables={"database": {"tier": tier}})
    assert f"Too many connections: {tier} takes" in str(refused.value)
    assert f"but functions may open {needed} (sum of max_instances x connections)" in str(refused.value)


@pytest.mark.proves("S2-3.connections")
def test_one_connection_too_many_is_refused_and_one_less_is_not(platform: Terraform) -> None:
    fits = platform.plan(variables={"database": {"tier": "db-custom-2-7680"}})
    sums = fits.raw["planned_values"]["outputs"]["connections"]["value"]
    reserve = sums["limit"] - sums["functions"] - sums["locks"]
    platform.plan(variables={"database": {"tier": "db-custom-2-7680", "reserved_connections": reserve}})
    with pytest.raises(RefusedError, match=f"{reserve + 1} are reserved: {sums['limit'] + 1}"):
        platform.plan(variables={"database": {"tier": "db-custom-2-7680", "reserved_connections": reserve + 1}})


@pytest.mark.proves("S2-3.connections")
def test_more_instances_than_the_database_takes_are_refused(platform: Terraform, tmp_path: Path) -> None:
    table = copy.deepcopy(TABLE)
    table["functions"]["telegram_webhook"]["max_instances"] = 100
    (tmp_path / "table.json").write_text(json.dumps(table))
    with pytest.raises(RefusedError, match="Too many connections: db-custom-2-7680 takes 400"):
        platform.plan(variables={"table_path": str(tmp_path / "table.json")})


_SHA = "0123456789abcdef" * 4
_IMAGE = f"europe-west1-docker.pkg.dev/atlas-prod-123456/atlas/functions@sha256:{_SHA}"
_LONG = "long-enough-password-000000"
# Variables that are wrong, and what each is told; all of a batch in one plan.
BATCHES: dict[str, list[tuple[dict[str, Any], list[str]]]] = {
    "forms": [
        ({"alert_emails": ["not-an-address"]}, ["alert_emails needs at least one address"]),
        (
            {"budget": {"billing_account": "mine", "amount": 0.5, "currency": "rubles"}},
            [
                "budget.billing_account must look like 012345-6789AB-CDEF01",
                "budget.amount must be a whole number",
                "budget.currency must be the three letters of the billing account's currency",
            ],
        ),
        ({"builder": "gcr.io/buildpacks/builder:latest"}, ["builder must be an image with a version or a digest"]),
        ({"bundle_path": "nowhere.zip"}, ["There is no source bundle at bundle_path (nowhere.zip)"]),
        (
            {
                "database": {
                    "tier": "huge",
                    "name": "Atlas",
                    "backups_kept": 1,
                    "reserved_connections": 1,
                    "disk_limit_gb": 1,
                }
            },
            [
                "database.tier must be db-f1-micro, db-g1-small or db-custom-",
                "database.name must be lower-case",
                "database.backups_kept must be at least 7",
                "database.reserved_connections must be at least 8",
                "database.disk_limit_gb must be a whole number, at least 10",
            ],
        ),
        ({"database_readers": ["you@example.org"]}, ["database_readers are like user:you@example.org"]),
        (
            {"domain": "https://vpn.example.org/"},
            ["domain must be a bare lower-case host name such as vpn.example.org"],
        ),
        ({"environment": "local"}, ["environment must be dev or prod"]),
        ({"overrides": {"health": {"max_instances": 1.5}}}, ["overrides are whole numbers"]),
        ({"project_id": "My Project"}, ["project_id must be a project's id"]),
        ({"python_version": "2.7"}, ["python_version must be 3.11 or newer"]),
        ({"region": "europe-west1-b"}, ["region must be a region such as europe-west1: not a zone"]),
        (
            {"release": {"id": "v1", "image": "europe-west1-docker.pkg.dev/atlas-prod-123456/atlas/functions:v1"}},
            ["release.id must be 16 hexadecimal digits", "release.image must name an image by its digest"],
        ),
        ({"runbooks_url": "docs/runbooks"}, ["runbooks_url must be an https address"]),
        ({"secret_versions": {"DATABASE_URL": "latest"}}, ["secret_versions must hold numbers"]),
        (
            {"settings": {"DATABASE_URL": "postgresql://..."}},
            ["settings: DATABASE_URL: no setting of this name", "a secret, whose value belongs into Secret Manager"],
        ),
        ({"size": "tiny"}, ["size must be standard or small"]),
    ],
    "what-the-service-would-refuse": [
        ({"alert_emails": [f"a{n}@example.org" for n in range(6)]}, ["alert_emails may hold at most five addresses"]),
        ({"bundle_path": "main.tf"}, ["There is no source bundle at bundle_path (main.tf)"]),
        ({"database": {"tier": "db-custom-3-15360", "name": "a" * 29}}, ["1 CPU or an even number", "28 at most"]),
        (
            {"database_passwords": {"owner": "short@", "functions": "short@"}},
            [
                "must have at least 24 characters",
                "may have letters, digits, - and _ only",
                "must differ: the functions must not be the owner",
            ],
        ),
        ({"domain": "x-1.europe-west1.run.app"}, ["domain must be one of your own"]),
        ({"region": "europe-wset1"}, ["region europe-wset1 is not known"]),
        (
            {
                "settings": {
                    "LOG_LEVEL": "verbose",
                    "ADMIN_IDS": "bob",
                    "DISPLAY_TZ": "Mars Base",
                    "XRAY_API_URL": "http://node1.example.org:8443",
                    "TELEGRAM_API_BASE": "telegram.example.org",
                    "TELEGRAM_BOT_USERNAME": "@atlas_bot",
                }
            },
            [
                "settings: LOG_LEVEL must be DEBUG",
                "settings: ADMIN_IDS must be Telegram's numbers",
                "settings: DISPLAY_TZ is a zone such as",
                "settings: TELEGRAM_API_BASE, XRAY_API_URL must be an https address",
                "settings: TELEGRAM_BOT_USERNAME is the bot's name without @",
            ],
        ),
    ],
    "memory-below": [
        ({"database": {"tier": "db-custom-8-3840"}}, ["memory is a multiple of 256 MB, at least 3840"]),
        ({"alert_emails": ["a@example.org", "a@example.org"]}, ["each once"]),
        ({"bundle_path": "tests/tables/no_schedule.json"}, ["bundle_path (tests/tables/no_schedule.json) is no zip"]),
        ({"region": "mars-north1"}, ["region mars-north1 is not known"]),
        ({"release": {"id": "0" * 16, "image": _IMAGE + "0"}}, ["release.image must name an image by its digest"]),
        (
            {"settings": {"CRYPTOPAY_WEBHOOK_URL": "https://"}},
            ["settings: CRYPTOPAY_WEBHOOK_URL must be an https address"],
        ),
    ],
    "memory-above": [
        ({"database": {"tier": "db-custom-2-30720"}}, ["0.9 to 6.5 GB for each CPU"]),
        ({"database_passwords": {"owner": f"{_LONG}/:#@", "functions": _LONG}}, ["letters, digits, - and _ only"]),
        ({"alert_emails": []}, ["alert_emails needs at least one address"]),
        ({"region": "EU"}, ["region must be a region such as europe-west1"]),
    ],
    "memory-uneven": [
        ({"database": {"tier": "db-custom-1-6100"}}, ["a multiple of 256 MB"]),
        ({"database_passwords": None}, ["database_passwords and database_password_version go together"]),
    ],
    "too-many-cpus": [({"database": {"tier": "db-custom-98-200704"}}, ["1 CPU or an even number up to 96"])],
    "two-databases": [
        (
            {"database": {"tier": "db-f1-micro", "url_secret": "postgresql://u:p@db.example.org/atlas"}},
            ["database takes either a tier (Cloud SQL) or url_secret", "never the address itself"],
        )
    ],
    "no-database": [({"database": {}}, ["not neither"])],
    "the-owners-secret": [
        ({"database": {"url_secret": "migrate-database-url"}}, ["not the owner's migrate-database-url"])
    ],
}


@pytest.mark.parametrize("batch", BATCHES)
def test_every_bad_variable_is_told_at_once(platform: Terraform, batch: str) -> None:
    wrong: dict[str, Any] = {}
    for values, _ in BATCHES[batch]:
        wrong |= values
    with pytest.raises(RefusedError) as refused:
        platform.plan(variables=wrong)
    told = str(refused.value)
    assert [words for _, said in BATCHES[batch] for words in said if words not in told] == []
    assert _LONG not in told


@pytest.mark.parametrize("tier", ["db-custom-1-6656", "db-custom-96-638976"])
def test_tiers_at_the_edges_of_what_the_service_has_are_taken(platform: Terraform, tier: str) -> None:
    (database,) = platform.plan(variables={"database": {"tier": tier}}).of("google_sql_database_instance").values()
    assert database["settings"][0]["tier"] == tier


def test_an_unknown_secret_and_a_missing_one_are_told_by_name(platform: Terraform) -> None:
    with pytest.raises(RefusedError) as refused:
        platform.plan(variables={"secret_versions": {"DATABASE_URL": "1", "HEALTH_KEY": "1", "PASSWORD": "1"}})
    assert "no version yet: MIGRATE_DATABASE_URL, TELEGRAM_BOT_TOKEN, TELEGRAM_WEBHOOK_SECRET" in str(refused.value)
    assert "names what no function reads: PASSWORD" in str(refused.value)


def test_methods_that_are_not_offered_need_no_secret(platform: Terraform) -> None:
    versions = dict.fromkeys(
        ("DATABASE_URL", "HEALTH_KEY", "MIGRATE_DATABASE_URL", "TELEGRAM_BOT_TOKEN", "TELEGRAM_WEBHOOK_SECRET"), "1"
    )
    text = json.dumps(platform.plan(variables={"secret_versions": versions}).raw["planned_values"]["root_module"])
    assert '"name": "CRYPTOPAY_TOKEN"' not in text
    assert '"name": "DATABASE_URL"' in text
