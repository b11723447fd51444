"""The Cloud SQL instance of a dry run: a Postgres on this machine, with the users that Terraform made and what the job migrates.

What it is not: Cloud SQL gives each user that its API makes more rights than these have; who comes in as themselves is let in by the
certificate alone.
"""

from __future__ import annotations

import base64
import contextlib
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pg8000.native

from sandbox.google.database_end import DatabaseEnd
from sandbox.postgres.server import SUPERUSER, Postgres

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sandbox.google.cloud import Cloud

SERVER_PORT = 3307  # each instance's own end of a connector (infra/google/database.py)
_DATABASE = "atlas"
_PASSWORDS = {"atlas_owner": "MIGRATE_DATABASE_URL", "atlas_functions": "DATABASE_URL"}


class Instance:
    """Postgres behind a connector's end, at an address of loopback that is this run's own.

    Args:
        server: started.
        cloud: says which users there are, and has their passwords.
        checkout: whose migrations run.
    """

    def __init__(self, server: Postgres, cloud: Cloud, checkout: Path) -> None:
        self._server, self._cloud, self._checkout = server, cloud, checkout
        # One of 127.0.0.0/8 by the process, so that two runs on one machine do not meet.
        self.address = f"127.{77 + os.getpid() // 65_536 % 100}.{os.getpid() // 256 % 256}.{os.getpid() % 256}"
        self.end = DatabaseEnd(("127.0.0.1", server.port), listens=(self.address, SERVER_PORT))

    @contextlib.contextmanager
    def serving(self) -> Iterator[None]:
        """In the cloud until the block ends."""
        with self.end:
            self._cloud.database_end = self.end
            self._cloud.run_job = self.run_job
            self._cloud.set_facts(address=self.address)
            yield

    def run_job(self, arguments: list[str]) -> str | None:
        """What the job that migrates runs, with the newest secret; why it failed, or None."""
        self._make_users()
        env = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        env |= {"MIGRATE_DATABASE_URL": self.url("atlas_owner"), "ENVIRONMENT": "prod"}
        begin = arguments.index("-m") + 1 if "-m" in arguments else 0
        done = subprocess.run(
            [sys.executable, "-m", arguments[begin] if begin else "lib.migrate", *arguments[begin + 1 :]],
            cwd=self._checkout,
            env=env,
            check=False,
            capture_output=True,
            text=True,
        )
        self._make_readers()
        return None if done.returncode == 0 else done.stderr.strip()

    def url(self, user: str) -> str:
        """Where that user logs in from this machine."""
        return self._server.url(_DATABASE, user, self._password(user))

    def _password(self, user: str) -> str:
        rows = self._cloud.store.table("secret_versions")[_PASSWORDS[user].lower().replace("_", "-")]
        newest = rows[max(rows, key=int)]["data"]
        return urlsplit(base64.b64decode(newest).decode()).password or ""

    def _make_users(self) -> None:
        """As Terraform had the platform make them, and their database."""
        names = {row["name"] for row in self._cloud.terraform.of("google_sql_user")}
        with self._session("postgres") as session:
            for name in sorted(names & _PASSWORDS.keys()):
                if not session.run("select 1 from pg_roles where rolname = :name", name=name):
                    more = "createrole" if name == "atlas_owner" else ""
                    session.run(f"create role {name} login {more} password '{self._password(name)}'")
            if not session.run("select 1 from pg_database where datname = :name", name=_DATABASE):
                session.run(f"create database {_DATABASE} owner atlas_owner")
                session.run("grant pg_read_all_stats to atlas_owner with admin option")

    def _make_readers(self) -> None:
        """Who may read as themselves: the account of this run. The platform gives the role once the first migration made it."""
        reader = self._cloud.operator.removesuffix(".gserviceaccount.com")
        with self._session(_DATABASE) as session:
            if session.run("select 1 from pg_roles where rolname = :name", name=reader):
                return
            if not session.run("select 1 from pg_roles where rolname = 'atlas_readonly'"):
                return
            session.run(f'create role "{reader}" login in role atlas_readonly')
            place = Path(session.run("show hba_file")[0][0])
            place.write_text(f'host all "{reader}" 127.0.0.1/32 trust\n{place.read_text()}')
            session.run("select pg_reload_conf()")

    @contextlib.contextmanager
    def _session(self, database: str) -> Iterator[Any]:
        with contextlib.closing(
            pg8000.native.Connection(
                SUPERUSER, host="127.0.0.1", port=self._server.port, password=self._server.password, database=database
            )
        ) as session:
            yield session
