"""The commands over ports in memory: what they refuse, what they leave alone, what a second run finds done."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from infra.deploy import engine, folder_lock, releases, terraform, variable_files
from infra.deploy.__main__ import main
from infra.deploy.cloud import Policy, Service
from infra.deploy.commands import COMMANDS
from infra.deploy.problems import Declined, Refused
from infra.deploy.steps import (
    apis,
    by_hand,
    chosen_release,
    image,
    migrate_post,
    migrate_pre,
    policies,
    protection,
    record,
    release,
    serving,
    state,
    state_bucket,
    take_down,
)
from tests.unit.deploy import fakes

if TYPE_CHECKING:
    from pathlib import Path

IMAGE = f"{fakes.REPOSITORY}@sha256:{1:064x}"


def _recorded(number: int, *, schema: tuple[str, ...] = (), migrations: tuple[str, ...] = ()) -> releases.Recorded:
    return releases.Recorded(
        id=fakes.RELEASES[number],
        image=f"{fakes.REPOSITORY}@sha256:{number:064x}",
        commit=f"c{number}",
        secret_versions={"HEALTH_KEY": str(number)},
        migrations=migrations,
        schema=schema,
        at="2026-11-30T12:00:00+00:00",
    )


def _with_releases(setting: fakes.Setting, *known: releases.Recorded) -> None:
    for one in known:
        releases.add(setting.cloud, setting.world.bucket, "dev", one)
        setting.cloud.images[f"{fakes.REPOSITORY}:{one.id}"] = one.image.partition("@")[2]


@pytest.mark.parametrize(
    "call", [["deploy"], ["deploy", "--env", "local"], ["deploy", "--env", "prod", "--release", "1" * 16]]
)
def test_a_wrong_call_is_refused_before_anything_is_looked_at(
    call: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(call) == 2
    assert capsys.readouterr().err.startswith("deploy: ")


def test_without_a_yes_nothing_is_changed(tmp_path: Path) -> None:
    setting = fakes.world(tmp_path)
    setting.world.talk.yes = False
    with pytest.raises(Declined):
        engine.run("deploy", [state_bucket], setting.world)
    assert setting.cloud.changed == []
    assert "makes gs://atlas-dev-000001-terraform" in setting.said


@pytest.mark.parametrize("yes", [True, False])
def test_no_plan_is_left_lying_about(tmp_path: Path, *, yes: bool) -> None:
    setting = fakes.world(tmp_path)
    setting.world.talk.yes = yes
    planned = {"resource_changes": [fakes.changed("google_cloud_run_v2_service", "a", "create")]}
    setting.terraform.planned.append(planned)
    with contextlib.suppress(Declined):
        engine.run("deploy", [release, release], setting.world)
    assert len(setting.terraform.plans) == 1 + yes
    assert not any(path.exists() for path in setting.terraform.plans)


def test_plans_of_killed_commands_go_with_the_next_one_and_those_of_others_at_work_stay(tmp_path: Path) -> None:
    killed = subprocess.Popen([sys.executable, "-c", ""])
    killed.wait()
    first = terraform.new_plan(tmp_path)
    left = first.parent.with_name(f"{killed.pid}-left")
    nonsense = first.parent.with_name("of-no-process")
    for folder in (left, nonsense):
        folder.mkdir()
        (folder / "saved.plan").touch()
    other = first.parent.with_name(f"{os.getppid()}-other")
    other.mkdir()
    second = terraform.new_plan(tmp_path)
    assert set(first.parent.parent.iterdir()) == {first.parent, second.parent, other}
    assert first.parent.parent.is_relative_to(tmp_path)  # not where the whole machine keeps its own
    assert {path.stat().st_mode & 0o777 for path in (first.parent, first.parent.parent)} == {0o700}


def test_what_is_made_once_is_found_made(tmp_path: Path) -> None:
    setting = fakes.world(tmp_path)
    engine.run("deploy", [apis, state_bucket, policies], setting.world)
    assert setting.cloud.changed == ["apis", "bucket atlas-dev-000001-terraform europe-west1"]
    engine.run("deploy", [apis, state_bucket, policies], setting.world)
    assert len(setting.cloud.changed) == 2


def test_every_policy_in_the_way_is_said_at_once(tmp_path: Path) -> None:
    setting = fakes.world(tmp_path)
    setting.cloud.here = frozenset({"us-central1"})
    setting.cloud.policies = {
        "sql.restrictPublicIp": Policy("sql.restrictPublicIp", enforced=True),
        "run.managed.requireInvokerIam": Policy("run.managed.requireInvokerIam", enforced=True),
        "gcp.resourceLocations": Policy("gcp.resourceLocations", allowed=frozenset({"in:us-locations"})),
        "run.allowedIngress": Policy("run.allowedIngress", allowed=frozenset({"internal"})),
    }
    with pytest.raises(Refused) as refused:
        policies.look(setting.world)
    assert len(refused.value.problems) == 5


@pytest.mark.parametrize("allowed", [None, {"in:europe-locations"}, {"in:eu-locations"}, {"europe-west1"}])
def test_a_location_policy_that_lets_the_region_through_is_none_in_the_way(
    tmp_path: Path, allowed: set[str] | None
) -> None:
    setting = fakes.world(tmp_path)
    values = None if allowed is None else frozenset(allowed)
    setting.cloud.policies = {"gcp.resourceLocations": Policy("gcp.resourceLocations", allowed=values)}
    assert policies.look(setting.world) is None


def test_an_image_is_built_once_and_used_by_its_digest(tmp_path: Path) -> None:
    setting = fakes.world(tmp_path)
    engine.run("deploy", [image], setting.world)
    written = variable_files.release(setting.world.folder)
    assert written == variable_files.Release(fakes.RELEASES[1], IMAGE)
    (setting.world.folder / variable_files.RELEASE).unlink()  # stopped before it was written
    engine.run("deploy", [image, image], setting.world)
    assert variable_files.release(setting.world.folder) == written
    assert setting.cloud.changed == ["build"]


def test_a_build_that_failed_says_where_its_log_is(tmp_path: Path) -> None:
    setting = fakes.world(tmp_path)
    setting.cloud.failing_build = True
    with pytest.raises(Refused, match=r"step 0 failed[\s\S]*https://log"):
        engine.run("deploy", [image], setting.world)
    assert variable_files.release(setting.world.folder) is None


@pytest.mark.proves("N-61")
def test_a_failed_migration_ends_the_deploy_before_any_function_changes(tmp_path: Path) -> None:
    setting = fakes.world(tmp_path)
    setting.cloud.failing_migration = True
    setting.terraform.planned.append(
        {"resource_changes": [fakes.changed("google_cloud_run_v2_service", "a", "update")]}
    )
    with pytest.raises(Refused, match="no function has been changed") as caught:
        engine.run("deploy", [migrate_pre, release], setting.world)
    assert "make rotate ENV=dev NAME=MIGRATE_DATABASE_URL" in str(
        caught.value
    )  # of a password that only Secret Manager knows
    assert setting.terraform.applied == []


def test_functions_that_do_not_serve_are_said_with_the_platforms_words(tmp_path: Path) -> None:
    setting = fakes.world(tmp_path)
    variable_files.write_release(setting.world.folder, variable_files.Release(fakes.RELEASES[1], IMAGE))
    setting.cloud.known_services = [
        Service("telegram-webhook", IMAGE, serves=False, settled=True, words="the container did not listen"),
        Service("health", "another@sha256:0", serves=True, settled=True),
    ]
    with pytest.raises(Refused) as refused:
        serving.look(setting.world)
    assert "the container did not listen" in str(refused.value)
    assert len(refused.value.problems) == 2
    setting.cloud.known_services = [
        Service(name, IMAGE, serves=True, settled=True) for name in ("health", "telegram-webhook")
    ]
    assert serving.look(setting.world) is None


def test_a_function_that_never_came_up_is_made_anew_and_one_that_serves_an_older_revision_is_not(
    tmp_path: Path,
) -> None:
    setting = fakes.world(tmp_path)
    setting.cloud.known_services = [
        Service("health", IMAGE, serves=False, settled=True, ever_ready=False),
        Service("telegram-webhook", IMAGE, serves=False, settled=True, ever_ready=True),
    ]
    release.look(setting.world)
    assert setting.terraform.replaced == ['module.platform.module.function["health"].google_cloud_run_v2_service.main']


def test_a_release_is_recorded_once_with_the_migrations_that_it_knows(tmp_path: Path) -> None:
    setting = fakes.world(tmp_path)
    variable_files.write_release(setting.world.folder, variable_files.Release(fakes.RELEASES[1], IMAGE))
    engine.run("deploy", [record, record], setting.world)
    (entry,) = releases.read(setting.cloud, setting.world.bucket, "dev")
    assert (entry.id, entry.image) == (fakes.RELEASES[1], IMAGE)
    assert "0001_pre_core.sql" in entry.migrations


def test_two_deploys_at_once_lose_no_entry(tmp_path: Path) -> None:
    setting = fakes.world(tmp_path)
    cloud, bucket = setting.cloud, setting.world.bucket
    write = cloud.write_object
    interfered: list[bool] = []

    def interfering(*given: object) -> None:
        if not interfered:
            interfered.append(True)
            releases.add(cloud, bucket, "dev", _recorded(2, schema=("0009_post_less.sql",)))
        write(*given)  # type: ignore[arg-type]

    cloud.write_object = interfering  # type: ignore[method-assign,assignment]
    releases.add(cloud, bucket, "dev", _recorded(1))
    assert [one.id for one in releases.read(cloud, bucket, "dev")] == [fakes.RELEASES[2], fakes.RELEASES[1]]
    # What the other one's migrations did to the database counts for this entry as well.
    assert releases.read(cloud, bucket, "dev")[-1].schema == ("0009_post_less.sql",)


def test_another_machine_finds_what_runs(tmp_path: Path) -> None:
    setting = fakes.world(tmp_path)
    _with_releases(setting, _recorded(1), _recorded(2))
    engine.run("deploy", [state], setting.world)
    assert variable_files.release(setting.world.folder) == variable_files.Release(_recorded(2).id, _recorded(2).image)
    assert variable_files.secret_versions(setting.world.folder) == {"HEALTH_KEY": "2"}


@pytest.mark.proves("N-65")
def test_a_rollback_goes_to_the_release_before_and_stays_there_when_it_is_stopped_and_started_again(
    tmp_path: Path,
) -> None:
    setting = fakes.world(tmp_path)
    _with_releases(setting, _recorded(1), _recorded(2))
    under_way = variable_files.Release(_recorded(1).id, _recorded(1).image, back_from=_recorded(2).id)
    engine.run("rollback", [state, chosen_release], setting.world)
    assert variable_files.release(setting.world.folder) == under_way
    engine.run("rollback", [chosen_release], setting.world)
    assert variable_files.release(setting.world.folder) == under_way
    setting.world.wanted_release = fakes.RELEASES[2]
    engine.run("rollback", [chosen_release], setting.world)
    assert variable_files.release(setting.world.folder) == variable_files.Release(_recorded(2).id, _recorded(2).image)


@pytest.mark.proves("N-65")
def test_a_rollback_that_is_said_twice_or_stopped_at_its_end_does_not_go_there_and_back_again(tmp_path: Path) -> None:
    setting = fakes.world(tmp_path)
    setting.world.goes_back = True
    _with_releases(setting, _recorded(1), _recorded(2))
    for _ in range(3):
        engine.run("rollback", [state, chosen_release, record], setting.world)
        found = variable_files.release(setting.world.folder)
        assert found is not None
        assert (found.id, found.image) == (_recorded(1).id, _recorded(1).image)
    known = releases.read(setting.cloud, setting.world.bucket, "dev")
    assert [(one.id, one.back_from) for one in known[2:]] == [(fakes.RELEASES[1], fakes.RELEASES[2])]


def test_numbers_of_secrets_that_another_machine_has_replaced_are_not_put_back(tmp_path: Path) -> None:
    setting = fakes.world(tmp_path)
    _with_releases(setting, _recorded(2))
    variable_files.write_secret_versions(setting.world.folder, {"HEALTH_KEY": "1"})
    with pytest.raises(Refused, match="HEALTH_KEY: version 1 here, and the release that serves has 2"):
        engine.run("deploy", [state], setting.world)
    variable_files.write_secret_versions(setting.world.folder, {"HEALTH_KEY": "3"})  # a rotation that begins here
    engine.run("deploy", [state], setting.world)
    assert variable_files.secret_versions(setting.world.folder) == {"HEALTH_KEY": "3"}


def test_a_rollback_after_an_unfinished_deploy_goes_to_what_served_last(tmp_path: Path) -> None:
    setting = fakes.world(tmp_path)
    _with_releases(setting, _recorded(1), _recorded(2))
    unfinished = variable_files.Release(fakes.RELEASES[3], f"{fakes.REPOSITORY}@sha256:{3:064x}")
    variable_files.write_release(setting.world.folder, unfinished)
    engine.run("rollback", [chosen_release], setting.world)
    assert variable_files.release(setting.world.folder) == variable_files.Release(_recorded(2).id, _recorded(2).image)


@pytest.mark.proves("N-65")
def test_a_rollback_where_an_older_release_was_deployed_last_does_not_go_back_to_that_one(tmp_path: Path) -> None:
    setting = fakes.world(tmp_path)
    _with_releases(setting, _recorded(1), _recorded(2), _recorded(3))  # the last two by other machines
    variable_files.write_release(setting.world.folder, variable_files.Release(_recorded(1).id, _recorded(1).image))
    engine.run("rollback", [state, chosen_release], setting.world)
    assert variable_files.release(setting.world.folder) == variable_files.Release(_recorded(3).id, _recorded(3).image)
    assert "RELEASE= names another one" in setting.said
    engine.run("rollback", [state, chosen_release], setting.world)
    assert variable_files.release(setting.world.folder) == variable_files.Release(
        _recorded(2).id, _recorded(2).image, back_from=_recorded(3).id
    )


def test_a_second_command_in_the_same_folder_is_refused_before_it_looks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "infra" / "terraform" / "environments" / "dev"
    folder.mkdir(parents=True)
    monkeypatch.setattr("infra.deploy.__main__._CHECKOUT", tmp_path)
    for command in COMMANDS:
        with folder_lock.held(folder):
            assert main([command, "--env", "dev", "--yes"]) == 1
        said = capsys.readouterr()
        assert (said.out, "is at work in" in said.err) == ("", True)
    with folder_lock.held(folder):  # it was let go of
        pass


@pytest.mark.proves("N-65")
def test_a_rollback_over_a_migration_that_took_away_what_it_needs_or_without_its_image_is_refused(
    tmp_path: Path,
) -> None:
    setting = fakes.world(tmp_path)
    known = ("0001_pre_core.sql",)
    schema = (*known, "0002_pre_more.sql", "0003_post_less.sql")
    _with_releases(
        setting, _recorded(1, migrations=known, schema=known), _recorded(2, migrations=schema, schema=schema)
    )
    setting.cloud.images.clear()
    with pytest.raises(Refused) as refused:
        chosen_release.look(setting.world)
    assert "0003_post_less.sql took away" in str(refused.value)
    assert "not in the registry any more" in str(refused.value)


def test_a_rollback_to_what_never_served_is_refused(tmp_path: Path) -> None:
    setting = fakes.world(tmp_path)
    with pytest.raises(Refused, match="no release has served here yet"):
        chosen_release.look(setting.world)
    _with_releases(setting, _recorded(1))
    with pytest.raises(Refused, match="the only release"):
        chosen_release.look(setting.world)
    setting.world.wanted_release = fakes.RELEASES[3]
    with pytest.raises(Refused, match=f"RELEASE= one of: {fakes.RELEASES[1]}"):
        chosen_release.look(setting.world)


def test_post_migrations_are_left_out_where_there_is_none(tmp_path: Path) -> None:
    setting = fakes.world(tmp_path)
    if migrate_post.look(setting.world) is None:
        assert setting.cloud.changed == []


def test_prod_is_taken_down_only_once_it_is_unprotected_by_hand(tmp_path: Path) -> None:
    setting = fakes.world(tmp_path)
    setting.world.environment = "prod"
    setting.terraform.state.append("module.platform.google_sql_database_instance.main")
    with pytest.raises(Refused, match="prod is protected"):
        protection.look(setting.world)


def test_taking_down_needs_the_projects_id_typed_and_forgets_what_was_written_down(tmp_path: Path) -> None:
    setting = fakes.world(tmp_path)
    _with_releases(setting, _recorded(1))
    variable_files.write_secret_versions(setting.world.folder, {"HEALTH_KEY": "1"})
    setting.terraform.state.append("module.platform.google_sql_database_instance.main")
    with pytest.raises(Declined, match="CONFIRM=atlas-dev-000001"):
        engine.run("destroy", [take_down], setting.world)
    assert setting.terraform.applied == []
    setting.world.talk.environment = {"CONFIRM": "atlas-dev-000001"}
    engine.run("destroy", [take_down], setting.world)
    assert setting.terraform.applied == [{"protected": "false"}]
    assert releases.read(setting.cloud, setting.world.bucket, "dev") == []
    assert variable_files.secret_versions(setting.world.folder) is None
    setting.terraform.state.clear()
    assert take_down.look(setting.world) is None


def test_what_is_to_be_entered_by_hand_is_said_when_crypto_pay_is_offered(tmp_path: Path) -> None:
    setting = fakes.world(tmp_path)
    variable_files.write_secret_versions(setting.world.folder, {"CRYPTOPAY_TOKEN": "1"})
    by_hand.look(setting.world)
    assert "https://cryptobot-webhook-1.europe-west1.run.app" in setting.said


def test_what_a_first_deploy_leaves_open_is_said_until_it_is_there(tmp_path: Path) -> None:
    setting = fakes.world(tmp_path)
    by_hand.look(setting.world)
    assert "nodes-reachable is WRONG" in setting.said
    assert 'database_readers = ["user:' in setting.said
    for name, given in (
        ("readers", {"database_readers": ["user:me@example.org"]}),
        ("own", {"database": {"url_secret": "x"}}),
    ):
        setting = fakes.world(tmp_path / name)
        (setting.world.folder / "reader.auto.tfvars.json").write_text(json.dumps(given))
        by_hand.look(setting.world)
        assert "database_readers" not in setting.said


def test_another_checkout_is_told_which_instance_a_restore_put_in_force(tmp_path: Path) -> None:
    setting = fakes.world(tmp_path / "one")
    _with_releases(setting, _recorded(1))
    variable_files.write_release(setting.world.folder, variable_files.Release(fakes.RELEASES[1], IMAGE))
    variable_files.write_database_name(setting.world.folder, "atlas-2")
    engine.run("deploy", [record], setting.world)
    last = releases.read(setting.cloud, setting.world.bucket, "dev")[-1]
    assert last.database == "atlas-2"
    assert record.look(setting.world) is None
    for here, kept in (("", "atlas-2"), ("atlas-3", "atlas-3")):  # the second was restored here and is not deployed yet
        other = fakes.world(tmp_path / f"other{here}")
        _with_releases(other, last)
        if here:
            variable_files.write_database_name(other.world.folder, here)
        engine.run("deploy", [state], other.world)
        assert variable_files.database_name(other.world.folder) == kept


def test_a_damaged_file_of_variables_is_said_with_what_mends_it(tmp_path: Path) -> None:
    setting = fakes.world(tmp_path)
    (setting.world.folder / variable_files.RELEASE).write_text("[")
    with pytest.raises(Refused, match=r"rm .*release\.auto\.tfvars\.json"):
        variable_files.release(setting.world.folder)
