"""The README's commands, word for word, from a fresh checkout to a shop that Telegram delivers to, and through its life."""

from __future__ import annotations

import json
import re
import time
from typing import TYPE_CHECKING

import pytest

from infra.deploy.commands import DEPLOY, DESTROY, ROLLBACK
from lib.telegram.webhook_terms import ALLOWED_UPDATES
from tests.deploy.rehearsal import checkout, readme
from tests.deploy.rehearsal.rehearsal import steps

if TYPE_CHECKING:
    from collections.abc import Sequence

    from infra.deploy.engine import Step
    from tests.deploy.rehearsal.rehearsal import Rehearsal
    from tests.deploy.rehearsal.terminal import Ended

_TABLE_ROW = re.compile(r"^\| `([a-z_]+)` \|", re.MULTILINE)


def titles(command: Sequence[Step]) -> list[str]:
    return [step.TITLE for step in command]


def follow(rehearsal: Rehearsal, chapter: str, **more: str) -> Ended:
    """Every command of a chapter; the last one's end."""
    ends = []
    for command in readme.commands(chapter):
        ends.append(rehearsal.at_terminal(command, **more))
        assert ends[-1].code == 0, f"{command}\n{ends[-1].printed}"
    return ends[-1]


def assert_shop_is_open(rehearsal: Rehearsal) -> None:
    """What a whole deploy comes to, however often it was begun."""
    assert rehearsal.planned() == {}
    info = rehearsal.served.call("getWebhookInfo")
    assert info["url"] == rehearsal.served.webhook
    assert sorted(info["allowed_updates"]) == sorted(ALLOWED_UPDATES)
    assert {"deleteWebhook", "logOut"}.isdisjoint(rehearsal.served.methods())
    last = rehearsal.releases()[-1]
    assert set(rehearsal.images().values()) == {last["image"]}
    assert "@sha256:" in last["image"]


def assert_no_secret_was_shown(rehearsal: Rehearsal, *printed: str) -> None:
    written = "".join(path.read_text() for path in rehearsal.folder.iterdir() if path.is_file()) + "".join(printed)
    for value in rehearsal.secrets():
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
def test_first_deploy_stopped_once_and_started_again(rehearsal: Rehearsal) -> None:
    """At a terminal, killed between a secret that was stored and its number."""
    rehearsal.served.send("/start")  # before there is a webhook: it waits
    began = time.monotonic()
    *before, deploy = readme.commands("First deploy")
    for command in before:
        assert rehearsal.at_terminal(command).code == 0
    with rehearsal.stopped_after("deploy.secret_values.stored") as armed:
        stopped = rehearsal.at_terminal(deploy, **armed)
    assert stopped.code != 0
    ended = rehearsal.at_terminal(deploy)
    assert ended.code == 0, ended.printed
    assert steps(ended.printed) == titles(DEPLOY)
    assert_shop_is_open(rehearsal)
    # There is no database here, so the update is refused with 503: it goes on waiting, and nothing was dropped.
    assert rehearsal.served.call("getWebhookInfo")["pending_update_count"] == 1
    assert_no_secret_was_shown(rehearsal, stopped.printed, ended.printed)
    versions = rehearsal.google.cloud.store.table("secret_versions")
    assert {name: len(rows) for name, rows in versions.items()} == dict.fromkeys(versions, 1)
    minutes = (time.monotonic() - began) / 60
    print(f"checkout to running shop: {len(before) + 1} commands, {minutes:.1f} min, stopped once")  # noqa: T201 -- a figure for who reads


@pytest.mark.full
@pytest.mark.timeout(3000)
@pytest.mark.proves("N-66")
@pytest.mark.proves("N-65")
@pytest.mark.proves("N-61")
def test_a_life(rehearsal: Rehearsal) -> None:
    """First deploy, release, failed migration, failed revision, rename of a row, import, rollback, a take-down that is refused."""
    follow(rehearsal, "First deploy")
    assert_shop_is_open(rehearsal)
    first = rehearsal.releases()[-1]
    _nothing_to_do(rehearsal)
    _second_release(rehearsal)
    _failed_migration(rehearsal)
    _rollback(rehearsal, first)
    _renamed_row(rehearsal)
    _failed_revision(rehearsal)
    _import(rehearsal)
    _take_down_of_prod(rehearsal)


def _nothing_to_do(rehearsal: Rehearsal) -> None:
    before = rehearsal.releases()
    done = rehearsal.deploy()
    assert done.returncode == 0, done.stdout
    assert rehearsal.releases() == before
    assert "Go on?" not in done.stdout


def _published(rehearsal: Rehearsal, name: str, text: str) -> None:
    """Another engineer's commit, which `git pull` brings."""
    path = rehearsal.checkout / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    checkout.git(rehearsal.checkout, "add", name)
    checkout.commit(rehearsal.checkout, f"Change {name}")
    checkout.git(rehearsal.checkout, "push", "-q", "origin", "HEAD:main")
    checkout.git(rehearsal.checkout, "reset", "-q", "--hard", "HEAD~1")


def _second_release(rehearsal: Rehearsal) -> None:
    """With a migration; settings and webhook as they were, updates that wait are kept."""
    before, number = rehearsal.images(), _next_migration(rehearsal)
    _published(
        rehearsal, f"lib/db/migrations/{number:04}_pre_more.sql", "create table more (id integer primary key);\n"
    )
    ended = follow(rehearsal, "Release")
    assert f"runs {number:04}_pre_more.sql" in ended.printed
    assert_shop_is_open(rehearsal)
    assert set(rehearsal.images().values()).isdisjoint(before.values())
    assert [one["id"] for one in rehearsal.releases()][-1] != rehearsal.releases()[0]["id"]


def _next_migration(rehearsal: Rehearsal) -> int:
    names = (rehearsal.checkout / "lib" / "db" / "migrations").glob("[0-9]*.sql")
    return max(int(path.name[:4]) for path in names) + 1


def _failed_migration(rehearsal: Rehearsal) -> None:
    """No function changes; the same command goes on once it is mended."""
    before, recorded = rehearsal.images(), rehearsal.releases()
    _published(rehearsal, "lib/one_more.py", '"""Another release."""\n')
    rehearsal.google.cloud.faults.executions.append("0003_pre_more.sql: a table is in use for too long")
    checkout.git(rehearsal.checkout, "pull", "-q")
    failed = rehearsal.deploy()
    assert failed.returncode == 1
    assert "a table is in use for too long; no function has been changed" in failed.stdout
    assert rehearsal.images() == before
    assert rehearsal.releases() == recorded
    done = rehearsal.deploy()
    assert done.returncode == 0, done.stdout
    assert_shop_is_open(rehearsal)


def _rollback(rehearsal: Rehearsal, first: dict[str, object]) -> None:
    """To the release before, then to the first one by its id: no build, no webhook call that changes anything, an empty plan."""
    one_before = rehearsal.releases()[-2]
    builds = len(rehearsal.google.cloud.store.table("builds"))
    told = rehearsal.served.methods().count("setWebhook")
    ended = follow(rehearsal, "Rollback")
    assert steps(ended.printed) == titles(ROLLBACK)
    assert set(rehearsal.images().values()) == {one_before["image"]}
    assert rehearsal.planned() == {}
    by_id = rehearsal.at_terminal(f"make rollback ENV=prod RELEASE={first['id']}")
    assert by_id.code == 0, by_id.printed
    assert set(rehearsal.images().values()) == {first["image"]}
    assert rehearsal.planned() == {}
    assert len(rehearsal.google.cloud.store.table("builds")) == builds
    assert rehearsal.served.methods().count("setWebhook") == told
    assert rehearsal.served.call("getWebhookInfo")["url"] == rehearsal.served.webhook


def _renamed_row(rehearsal: Rehearsal) -> None:
    path = rehearsal.checkout / "functions" / "table.json"
    _published(rehearsal, "functions/table.json", path.read_text().replace('"task_notify"', '"task_deliver"'))
    ended = follow(rehearsal, "Release")
    assert "DELETES function task-notify" in ended.printed
    assert "new function task-deliver" in ended.printed
    assert_shop_is_open(rehearsal)
    assert "task-notify" not in rehearsal.images()


def _failed_revision(rehearsal: Rehearsal) -> None:
    """A function that is new and can't start: said in the platform's words; the same command makes it anew."""
    path = rehearsal.checkout / "functions" / "table.json"
    table = json.loads(path.read_text())
    table["functions"]["task_again"] = table["functions"]["task_settle"]
    _published(rehearsal, "functions/table.json", json.dumps(table))
    checkout.git(rehearsal.checkout, "pull", "-q")
    rehearsal.google.cloud.faults.revisions["task-again"] = "The user-provided container failed to start and listen"
    failed = rehearsal.deploy()
    assert failed.returncode == 1
    assert "function task-again does not serve the new revision" in failed.stdout
    assert "failed to start and listen" in failed.stdout
    done = rehearsal.deploy()
    assert done.returncode == 0, done.stdout
    assert "task-again never came up, so it is made anew" in done.stdout
    assert_shop_is_open(rehearsal)


def _import(rehearsal: Rehearsal) -> None:
    """What is there already and not in the state is taken over under the README's command."""
    (command,) = readme.commands("Change, rotate")
    rehearsal.terraform("state", "rm", 'module.platform.google_cloud_tasks_queue.main["messages"]')
    command = command.replace("<PROJECT>", rehearsal.project).replace("<REGION>", "europe-west1")
    ended = rehearsal.at_terminal(command)
    assert ended.code == 0, ended.printed
    done = rehearsal.deploy()
    assert done.returncode == 0, done.stdout
    assert_shop_is_open(rehearsal)


def _take_down_of_prod(rehearsal: Rehearsal) -> None:
    there = rehearsal.images()
    ended = rehearsal.at_terminal("make destroy ENV=prod")
    assert ended.code != 0
    assert "prod is protected" in ended.printed
    assert rehearsal.images() == there


@pytest.mark.full
@pytest.mark.timeout(3000)
@pytest.mark.proves("N-66")
@pytest.mark.parametrize("rehearsal", ["dev"], indirect=True)
def test_take_down(rehearsal: Rehearsal) -> None:
    """Stopped after each step and begun again; then nothing is there, what stays is named, and a new life can begin."""
    for command in readme.commands("First deploy"):
        ended = rehearsal.at_terminal(command.replace("prod", "dev"))
        assert ended.code == 0, ended.printed
    (command,) = readme.commands("Take-down")
    for step in DESTROY:
        with rehearsal.stopped_after(f"destroy.{step.NAME}") as armed:
            assert rehearsal.at_terminal(command, **armed).code != 0
    ended = rehearsal.at_terminal(command)
    assert ended.code == 0, ended.printed
    assert rehearsal.images() == {}
    assert rehearsal.terraform("state", "list").split() == []
    assert f"gs://{rehearsal.project}-terraform" in ended.printed
    assert rehearsal.releases() == []


@pytest.mark.full
@pytest.mark.timeout(6000)
@pytest.mark.proves("N-61")
def test_deploy_stopped_after_each_step_and_started_again(rehearsal: Rehearsal) -> None:
    """SIGKILL: the same end as one that was never stopped, nothing made twice, an empty plan."""
    for command in readme.commands("First deploy")[:-1]:
        assert rehearsal.at_terminal(command).code == 0
    for step in DEPLOY:
        with rehearsal.stopped_after(f"deploy.{step.NAME}") as armed:
            stopped = rehearsal.deploy(**armed)
        assert stopped.returncode == -9, f"{step.NAME}\n{stopped.stdout}"
    done = rehearsal.deploy()
    assert done.returncode == 0, done.stdout
    assert_shop_is_open(rehearsal)
    assert len(rehearsal.releases()) == 1
    assert len(rehearsal.google.cloud.store.table("builds")) == 1
    versions = rehearsal.google.cloud.store.table("secret_versions")
    assert {name: len(rows) for name, rows in versions.items()} == dict.fromkeys(versions, 1)
