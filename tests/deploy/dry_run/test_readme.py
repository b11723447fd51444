"""The README's commands, word for word, from a fresh checkout to a shop that Telegram delivers to, and through its life."""

from __future__ import annotations

import json
import re
import sys
import time
from typing import TYPE_CHECKING

import pytest

from infra.deploy.commands import DEPLOY, DESTROY, ROLLBACK
from lib.telegram.webhook_terms import ALLOWED_UPDATES
from tests.deploy.dry_run import checkout, readme
from tests.deploy.dry_run.dry_run import steps

if TYPE_CHECKING:
    from collections.abc import Sequence

    from infra.deploy.engine import Step
    from tests.deploy.dry_run.dry_run import DryRun
    from tests.deploy.dry_run.terminal import Ended

# One of each kind, so that this costs seconds; the long sizes have the whole table.
_FEW = frozenset({"telegram_webhook", "cryptobot_webhook", "health", "task_update", "sweep_outbox"})
_TABLE_ROW = re.compile(r"^\| `([a-z_]+)` \|", re.MULTILINE)


def titles(command: Sequence[Step]) -> list[str]:
    return [step.TITLE for step in command]


def follow(dry_run: DryRun, chapter: str, **more: str) -> Ended:
    """Every command of a chapter; the last one's end."""
    ends = []
    for command in readme.commands(chapter):
        ends.append(dry_run.at_terminal(command, **more))
        assert ends[-1].code == 0, f"{command}\n{ends[-1].printed}"
    return ends[-1]


def assert_shop_is_open(dry_run: DryRun) -> None:
    """What a whole deploy comes to, however often it was begun."""
    assert dry_run.planned() == {}
    info = dry_run.served.call("getWebhookInfo")
    assert info["url"] == dry_run.served.webhook
    assert sorted(info["allowed_updates"]) == sorted(ALLOWED_UPDATES)
    assert {"deleteWebhook", "logOut"}.isdisjoint(dry_run.served.methods())
    last = dry_run.releases()[-1]
    assert set(dry_run.images().values()) == {last["image"]}
    assert "@sha256:" in last["image"]


def assert_no_secret_was_shown(dry_run: DryRun, *printed: str) -> None:
    written = "".join(path.read_text() for path in dry_run.folder.iterdir() if path.is_file()) + "".join(printed)
    for value in dry_run.secrets():
        assert value not in written
        password = re.match(r"postgresql://[^:]+:([^@]+)@", value)
        assert password is None or password[1] not in written


def test_the_readme_has_a_row_for_each_step() -> None:
    assert _TABLE_ROW.findall(
        readme.README.read_text("utf-8").partition("## Release")[2].partition("## Rollback")[0]
    ) == [step.NAME for step in DEPLOY]


@pytest.mark.proves("N-66")
@pytest.mark.proves("N-61")
@pytest.mark.proves("S2-1.2")
@pytest.mark.parametrize("dry_run", [("prod", _FEW)], indirect=True, ids=["prod"])
def test_first_deploy_stopped_once_and_started_again(dry_run: DryRun) -> None:
    """At a terminal, killed between a secret that was stored and its number."""
    dry_run.served.send("/start")  # before there is a webhook: it waits
    began = time.monotonic()
    *before, deploy = readme.commands("First deploy")
    for command in before:
        assert dry_run.at_terminal(command).code == 0
    with dry_run.stopped_after("deploy.secret_values.stored") as armed:
        stopped = dry_run.at_terminal(deploy, **armed)
    assert stopped.code != 0
    ended = dry_run.at_terminal(deploy)
    assert ended.code == 0, ended.printed
    assert steps(ended.printed) == titles(DEPLOY)
    assert_shop_is_open(dry_run)
    # There is no database here, so the update is refused with 503: it goes on waiting, and nothing was dropped.
    assert dry_run.served.call("getWebhookInfo")["pending_update_count"] == 1
    assert_no_secret_was_shown(dry_run, stopped.printed, ended.printed)
    versions = dry_run.google.cloud.store.table("secret_versions")
    assert {name: len(rows) for name, rows in versions.items()} == dict.fromkeys(versions, 1)
    minutes = (time.monotonic() - began) / 60
    print(f"checkout to running shop: {len(before) + 1} commands, {minutes:.1f} min, stopped once")  # noqa: T201 -- a figure for who reads


@pytest.mark.full
@pytest.mark.timeout(3000)
@pytest.mark.proves("N-66")
@pytest.mark.proves("N-65")
@pytest.mark.proves("N-61")
def test_a_life(dry_run: DryRun) -> None:
    """First deploy, release, failed migration, failed revision, rename of a row, import, rollback, a take-down that is refused."""
    follow(dry_run, "First deploy")
    assert_shop_is_open(dry_run)
    first = dry_run.releases()[-1]
    _nothing_to_do(dry_run)
    _second_release(dry_run)
    _failed_migration(dry_run)
    _rollback(dry_run, first)
    _renamed_row(dry_run)
    _failed_revision(dry_run)
    _import(dry_run)
    _take_down_of_prod(dry_run)


def _nothing_to_do(dry_run: DryRun) -> None:
    before = dry_run.releases()
    done = dry_run.deploy()
    assert done.returncode == 0, done.stdout
    assert dry_run.releases() == before
    assert "Go on?" not in done.stdout


def _published(dry_run: DryRun, name: str, text: str) -> None:
    """Another engineer's commit, which `git pull` brings."""
    path = dry_run.checkout / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    checkout.git(dry_run.checkout, "add", name)
    checkout.commit(dry_run.checkout, f"Change {name}")
    checkout.git(dry_run.checkout, "push", "-q", "origin", "HEAD:main")
    checkout.git(dry_run.checkout, "reset", "-q", "--hard", "HEAD~1")


def _second_release(dry_run: DryRun) -> None:
    """With a migration; settings and webhook as they were, updates that wait are kept."""
    before, number = dry_run.images(), _next_migration(dry_run)
    _published(dry_run, f"lib/db/migrations/{number:04}_pre_more.sql", "create table more (id integer primary key);\n")
    ended = follow(dry_run, "Release")
    assert f"runs {number:04}_pre_more.sql" in ended.printed
    assert_shop_is_open(dry_run)
    assert set(dry_run.images().values()).isdisjoint(before.values())
    assert [one["id"] for one in dry_run.releases()][-1] != dry_run.releases()[0]["id"]


def _next_migration(dry_run: DryRun) -> int:
    names = (dry_run.checkout / "lib" / "db" / "migrations").glob("[0-9]*.sql")
    return max(int(path.name[:4]) for path in names) + 1


def _failed_migration(dry_run: DryRun) -> None:
    """No function changes; the same command goes on once it is mended."""
    before, recorded = dry_run.images(), dry_run.releases()
    _published(dry_run, "lib/one_more.py", '"""Another release."""\n')
    dry_run.google.cloud.faults.executions.append("0003_pre_more.sql: a table is in use for too long")
    checkout.git(dry_run.checkout, "pull", "-q")
    failed = dry_run.deploy()
    assert failed.returncode == 1
    assert "a table is in use for too long; no function has been changed" in failed.stdout
    assert dry_run.images() == before
    assert dry_run.releases() == recorded
    done = dry_run.deploy()
    assert done.returncode == 0, done.stdout
    assert_shop_is_open(dry_run)


def _rollback(dry_run: DryRun, first: dict[str, object]) -> None:
    """To the release before, then to the first one by its id: no build, no webhook call that changes anything, an empty plan."""
    one_before = dry_run.releases()[-2]
    builds = len(dry_run.google.cloud.store.table("builds"))
    told = dry_run.served.methods().count("setWebhook")
    ended = follow(dry_run, "Rollback")
    assert steps(ended.printed) == titles(ROLLBACK)
    assert set(dry_run.images().values()) == {one_before["image"]}
    assert dry_run.planned() == {}
    by_id = dry_run.at_terminal(f"make rollback ENV=prod RELEASE={first['id']}")
    assert by_id.code == 0, by_id.printed
    assert set(dry_run.images().values()) == {first["image"]}
    assert dry_run.planned() == {}
    assert len(dry_run.google.cloud.store.table("builds")) == builds
    assert dry_run.served.methods().count("setWebhook") == told
    assert dry_run.served.call("getWebhookInfo")["url"] == dry_run.served.webhook


def _renamed_row(dry_run: DryRun) -> None:
    path = dry_run.checkout / "functions" / "table.json"
    _published(dry_run, "functions/table.json", path.read_text().replace('"task_notify"', '"task_deliver"'))
    ended = follow(dry_run, "Release")
    assert "DELETES function task-notify" in ended.printed
    assert "new function task-deliver" in ended.printed
    assert_shop_is_open(dry_run)
    assert "task-notify" not in dry_run.images()


def _failed_revision(dry_run: DryRun) -> None:
    """A function that is new and can't start: said in the platform's words; the same command makes it anew."""
    path = dry_run.checkout / "functions" / "table.json"
    table = json.loads(path.read_text())
    table["functions"]["task_again"] = table["functions"]["task_settle"]
    _published(dry_run, "functions/table.json", json.dumps(table))
    checkout.git(dry_run.checkout, "pull", "-q")
    dry_run.google.cloud.faults.revisions["task-again"] = "The user-provided container failed to start and listen"
    failed = dry_run.deploy()
    assert failed.returncode == 1
    assert "function task-again does not serve the new revision" in failed.stdout
    assert "failed to start and listen" in failed.stdout
    with dry_run.stopped_after("deploy.release") as armed:
        again = dry_run.deploy(**armed)
    assert "task-again never came up, so it is made anew" in again.stdout
    assert "DELETES function task-again and makes it anew" in again.stdout
    # The stand-in knows a service by its template alone, and so takes the new one for the old.
    del dry_run.google.cloud.store.table("revisions")["task-again"]
    done = dry_run.deploy()
    assert done.returncode == 0, done.stdout
    assert_shop_is_open(dry_run)


def _import(dry_run: DryRun) -> None:
    """What is there already and not in the state is taken over under the README's command."""
    (command,) = readme.commands("Change, rotate")
    dry_run.terraform("state", "rm", 'module.platform.google_cloud_tasks_queue.main["messages"]')
    command = command.replace("<PROJECT>", dry_run.project).replace("<REGION>", "europe-west1")
    ended = dry_run.at_terminal(command)
    assert ended.code == 0, ended.printed
    done = dry_run.deploy()
    assert done.returncode == 0, done.stdout
    assert_shop_is_open(dry_run)


def _take_down_of_prod(dry_run: DryRun) -> None:
    there = dry_run.images()
    ended = dry_run.at_terminal("make destroy ENV=prod")
    assert ended.code != 0
    assert "prod is protected" in ended.printed
    assert dry_run.images() == there


@pytest.mark.full
@pytest.mark.timeout(3000)
@pytest.mark.proves("N-66")
def test_a_small_shop(dry_run: DryRun) -> None:
    """First deploy of size small with the whole table, a second one that finds all done, then the shop grows to the standard size."""
    *before, deploy = readme.commands("First deploy")
    for command in before:
        assert dry_run.at_terminal(command).code == 0
    variables = dry_run.folder / "terraform.tfvars"
    variables.write_text(variables.read_text() + '\nsize = "small"\n')
    ended = dry_run.at_terminal(deploy)
    assert ended.code == 0, ended.printed
    assert_shop_is_open(dry_run)
    assert set(dry_run.images()) == {"telegram-webhook", "cryptobot-webhook", "health", "private"}
    (database,) = dry_run.state("google_sql_database_instance").values()
    assert database["settings"][0]["tier"] == "db-f1-micro"
    again = dry_run.deploy()
    assert again.returncode == 0, again.stdout
    assert len(dry_run.releases()) == 1
    variables.write_text(variables.read_text().replace('size = "small"', ""))
    grown = dry_run.deploy()
    assert grown.returncode == 0, grown.stdout
    assert_shop_is_open(dry_run)
    assert {"private"}.isdisjoint(dry_run.images())
    assert {"task-update", "sweep-outbox"} <= set(dry_run.images())


# What can't be well here, and why. The first two the README's first deploy says as well.
_CANT_BE_WELL_HERE = {
    "nodes-reachable": "no node was added yet",
    "database-backups": "the first night is to come",
    # a function's own address is Google's: *.run.app
    **dict.fromkeys(
        ("webhook-secret", "functions-answer", "functions-refuse", "functions-private", "functions-health"),
        "no answer: ConnectError",
    ),
}


@pytest.mark.full
@pytest.mark.timeout(3000)
@pytest.mark.proves("N-66")
def test_the_real_doctor_ends_a_deploy(with_doctor: DryRun) -> None:
    """It comes in as itself through Google's certificate to the database that the deploy migrated, and asks Telegram and Google."""
    shop = with_doctor
    shop.served.send("/start")  # waits for the webhook
    *before, deploy = readme.commands("First deploy")
    for command in before:
        assert shop.at_terminal(command).code == 0
    variables = shop.folder / "terraform.tfvars"
    operator = f'database_readers = ["serviceAccount:{shop.google.cloud.operator}"]'
    variables.write_text(f"{variables.read_text()}\n{operator}\n")
    ended = shop.at_terminal(deploy)
    assert steps(ended.printed) == titles(DEPLOY), ended.printed
    assert "the release serves, and the doctor found what is marked WRONG above" in ended.printed, ended.printed
    asked = shop.by_machine(sys.executable, "-m", "infra.doctor", "--env", "prod", "--json")
    report = json.loads(asked.stdout)
    wrong = {one["name"]: one["problems"] for one in report["checks"] if one["state"] == "WRONG"}
    assert wrong.keys() == _CANT_BE_WELL_HERE.keys(), wrong
    assert {name for name, said in wrong.items() if said == ["no answer: ConnectError"]} == {
        name for name, why in _CANT_BE_WELL_HERE.items() if why == "no answer: ConnectError"
    }
    # What can be well is: what the deploy migrated, set and made is there, as the real doctor sees it.
    well = {one["name"] for one in report["checks"] if one["state"] == "ok"}
    assert {"database", "database-roles", "schema", "invariants", "drift", "secret-versions", "services-ready"} <= well
    assert {
        "webhook-address",
        "webhook-kinds",
        "webhook-pending",
        "telegram-token",
        "queues-settings",
        "sweeps",
    } <= well
    assert (
        shop.served.call("getWebhookInfo")["pending_update_count"] == 0
    )  # what waited was taken, and is in the database
    assert_no_secret_was_shown(shop, *(one.printed for one in shop.ends), asked.stdout)


@pytest.mark.full
@pytest.mark.timeout(3000)
@pytest.mark.proves("N-66")
@pytest.mark.parametrize("dry_run", [("dev", _FEW)], indirect=True, ids=["dev"])
def test_take_down(dry_run: DryRun) -> None:
    """Stopped after each step and begun again; then nothing is there, what stays is named, and a new life can begin."""
    for command in readme.commands("First deploy"):
        ended = dry_run.at_terminal(command.replace("prod", "dev"))
        assert ended.code == 0, ended.printed
    (command,) = readme.commands("Take-down")
    for step in DESTROY:
        with dry_run.stopped_after(f"destroy.{step.NAME}") as armed:
            assert dry_run.at_terminal(command, **armed).code != 0
    ended = dry_run.at_terminal(command)
    assert ended.code == 0, ended.printed
    assert dry_run.images() == {}
    assert dry_run.terraform("state", "list").split() == []
    assert f"gs://{dry_run.project}-terraform" in ended.printed
    assert dry_run.releases() == []


@pytest.mark.full
@pytest.mark.timeout(6000)
@pytest.mark.proves("N-61")
def test_deploy_stopped_after_each_step_and_started_again(dry_run: DryRun) -> None:
    """SIGKILL: the same end as one that was never stopped, nothing made twice, an empty plan."""
    for command in readme.commands("First deploy")[:-1]:
        assert dry_run.at_terminal(command).code == 0
    for step in DEPLOY:
        with dry_run.stopped_after(f"deploy.{step.NAME}") as armed:
            stopped = dry_run.deploy(**armed)
        assert stopped.returncode == -9, f"{step.NAME}\n{stopped.stdout}"
    done = dry_run.deploy()
    assert done.returncode == 0, done.stdout
    assert_shop_is_open(dry_run)
    assert len(dry_run.releases()) == 1
    assert len(dry_run.google.cloud.store.table("builds")) == 1
    versions = dry_run.google.cloud.store.table("secret_versions")
    assert {name: len(rows) for name, rows in versions.items()} == dict.fromkeys(versions, 1)
