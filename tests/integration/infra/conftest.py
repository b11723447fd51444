"""A project whose Cloud SQL instance is a Postgres on this machine, behind an end that asks for Google's certificates."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pg8000.native
import pytest

from infra import environment
from infra.google import database, secrets
from infra.google.client import Google
from sandbox.google import Google as StandIn
from sandbox.google.database_end import DatabaseEnd
from sandbox.postgres.server import SUPERUSER
from tests.integration import money_watch
from tests.sandbox.google import made

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sandbox.postgres.server import Postgres

OPERATOR = f"operator@{made.PROJECT}.iam.gserviceaccount.com"
READER = OPERATOR.removesuffix(".gserviceaccount.com")
PASSWORD = "marked-owner-password"


def as_superuser(postgres: Postgres, name: str = "postgres") -> Any:
    return closing(
        pg8000.native.Connection(
            SUPERUSER, host="127.0.0.1", port=postgres.port, password=postgres.password, database=name
        )
    )


@pytest.fixture(scope="module")
def server(postgres: Postgres) -> Iterator[Postgres]:
    """A server as Cloud SQL's: a reader for whom Google vouches, an owner with a password, a database `atlas`."""
    postgres.create_database("atlas", template="atlas_template")
    money_watch.remove(postgres.url("atlas"))
    with as_superuser(postgres) as session:
        place = Path(session.run("show hba_file")[0][0])
        before = place.read_text()
        session.run(f'create role "{READER}" login in role atlas_readonly')
        # As Cloud SQL makes it: it may make roles, and change those that it made. Of what migrations made it is the owner.
        session.run(f"create role atlas_owner login createrole password '{PASSWORD}' in role {SUPERUSER}")
        session.run("grant atlas_app to atlas_owner with admin option")  # which its maker has
        session.run("grant atlas_readonly to atlas_owner")  # by roles.sql
        place.write_text(f'host all "{READER}" 127.0.0.1/32 trust\n{before}')
        session.run("select pg_reload_conf()")
        yield postgres
        place.write_text(before)
        session.run("select pg_reload_conf()")
        postgres.drop_database("atlas")
        session.run(f'drop role "{READER}", atlas_owner')


@pytest.fixture(scope="module")
def end(server: Postgres) -> Iterator[DatabaseEnd]:
    """The instance's end of a connector."""
    with DatabaseEnd(("127.0.0.1", server.port)) as one:
        yield one


@pytest.fixture
def cloud(end: DatabaseEnd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    """A project with that instance, this process logged in there, and the variables of `dev`."""
    state = tmp_path / "terraform.tfstate"
    made.write(state, made.foundation())
    with StandIn(tmp_path / "google", made.PROJECT, terraform_state=state) as one:
        one.cloud.database_end = end
        end.logins.clear()
        for name, value in one.environment().items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(database, "SERVER_PORT", end.port)
        monkeypatch.setattr(environment, "TERRAFORM", tmp_path)
        given = {
            "project_id": made.PROJECT,
            "region": made.REGION,
            "secret_versions": {"MIGRATE_DATABASE_URL": "1"},
        }
        (tmp_path / "dev").mkdir()
        (tmp_path / "dev" / "terraform.tfvars.json").write_text(json.dumps(given))
        url = f"postgresql://atlas_owner:{PASSWORD}@/atlas?host=/cloudsql/{made.PROJECT}:{made.REGION}:atlas"
        secrets.add_version(Google(made.PROJECT), "migrate-database-url", url)
        yield one
