"""The modules that speak to Google: each call once well, and the refusals they tell apart."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from infra.google import login, projects, secrets, sql
from infra.google.client import Google, GoogleError
from infra.google.waiting import TookTooLong, until
from tests.sandbox.google import made

if TYPE_CHECKING:
    from sandbox.google import Google as StandIn


def test_the_project_and_who_is_logged_in(google: Google, stand_in: StandIn) -> None:
    found = projects.get(google)
    assert (found.id, found.number, found.active) == (made.PROJECT, stand_in.cloud.number, True)
    assert login.email(google) == f"operator@{made.PROJECT}.iam.gserviceaccount.com"
    assert login.database_user(login.email(google)) == f"operator@{made.PROJECT}.iam"
    assert login.database_user("ann@example.org") == "ann@example.org"


def test_a_secret_has_versions_whose_states_count(google: Google) -> None:
    assert secrets.versions(google, "health-key") == []
    first, second = (secrets.add_version(google, "health-key", value) for value in ("marked-one", "marked-two"))
    assert [one.number for one in secrets.versions(google, "health-key")] == ["2", "1"]
    assert secrets.access(google, "health-key", first.number) == "marked-one"
    assert secrets.access(google, "health-key") == "marked-two"
    assert secrets.disable(google, "health-key", second.number).state == "DISABLED"
    with pytest.raises(GoogleError, match="DISABLED state") as caught:
        secrets.access(google, "health-key")
    assert (caught.value.status, caught.value.reason) == (400, "FAILED_PRECONDITION")
    for missing in (("health-key", "9"), ("no-such-secret", "1")):
        with pytest.raises(GoogleError) as caught:
            secrets.access(google, *missing)
        assert caught.value.missing
    for wrong in ("", "x" * 65_537):
        with pytest.raises(ValueError, match="1 to 65536 bytes"):
            secrets.add_version(google, "health-key", wrong)


def test_the_instance_its_logins_and_a_copy_of_it(google: Google, stand_in: StandIn) -> None:
    found = sql.instance(google, "atlas")
    assert (found.name, found.state, found.recovery_days) == ("atlas", "RUNNABLE", 7)
    sql.set_password(google, "atlas", "atlas_owner", "marked-password")
    assert "marked-password" not in (stand_in.folder / "google.json").read_text()
    for user, said in (("nothing", "does not exist"), ("engineers@example.org", "has no password")):
        with pytest.raises(GoogleError, match=said) as caught:
            sql.set_password(google, "atlas", user, "marked-password")
        assert "marked-password" not in str(caught.value)
    moment = (datetime.now(UTC) - timedelta(minutes=5)).isoformat(timespec="seconds").replace("+00:00", "Z")
    sql.clone(google, "atlas", "atlas-2", moment)
    assert sql.instance(google, "atlas-2").tier == found.tier
    sql.wait_until_it_serves(google, "atlas-2")
    with pytest.raises(GoogleError, match="already exists"):
        sql.clone(google, "atlas", "atlas-2", None)


def test_a_passing_failure_is_asked_again_where_that_may_be(
    google: Google, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr("googleapiclient.http.time.sleep", pauses.append)
    stand_in.cloud.faults.refuse("cloudresourcemanager.projects.get", 503, times=2)
    stand_in.cloud.faults.refuse("cloudresourcemanager.projects.get", 429)
    assert projects.get(google).active
    assert len(pauses) == 3
    stand_in.cloud.faults.refuse("secretmanager.projects.secrets.addVersion", 503)
    with pytest.raises(GoogleError) as caught:
        secrets.add_version(google, "health-key", "marked-value")
    assert caught.value.status == 503
    assert "marked-value" not in str(caught.value)
    assert len(pauses) == 3


def test_waiting_ends_at_its_limit(google: Google) -> None:  # noqa: ARG001 - the stand-in's short pauses
    with pytest.raises(TookTooLong, match="the thing has not ended after 0 s"):
        until(lambda: 1, lambda _seen: False, what="the thing", within_s=0)
